"""Cache access that degrades to a miss while the backend is down."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.cache import cache

from .circuits import Circuit
from .errors import SearchUnavailable

VERSION = 9  # count it up when the classes that are pickled change

Result = TypeVar("Result")
logger = logging.getLogger(__name__)


def get(key: str) -> Any:
    """Return the value of a key; None on a miss, or if the cache is down."""
    return attempt(lambda: cache.get(key, version=VERSION))


def set(key: str, value: Any, seconds: int) -> bool:
    """Store a value; return whether that worked."""

    def store() -> bool:
        cache.set(key, value, seconds, version=VERSION)
        return True

    return bool(attempt(store))


def expire(key: str, seconds: int) -> None:
    """Have a key expire in some seconds, if the cache is there."""
    attempt(lambda: cache.touch(key, seconds, version=VERSION))


def attempt(use: Callable[[], Result]) -> Result | None:
    """Return what a use of the cache returns; None if the cache is down.

    While it hangs, only one use in two seconds waits for it.
    """
    try:
        with CIRCUIT.calling():
            return use()
    except SearchUnavailable:
        return None
    # Backends raise the exceptions of their own libraries.
    except Exception:
        logger.exception("The cache does not answer.")
        return None


def _is_outage(error: BaseException) -> bool:
    from redis import ConnectionError, TimeoutError

    return isinstance(error, ConnectionError | TimeoutError | OSError)


CIRCUIT = Circuit("The cache does not respond.", _is_outage)
