"""Cache access that degrades to a miss while the backend is down."""

import logging
from typing import Any

from django.core.cache import cache

VERSION = 8  # count it up when the classes that are pickled change

logger = logging.getLogger(__name__)


def get(key: str) -> Any:
    """Return the value of a key; None on a miss, or if the cache is down."""
    try:
        return cache.get(key, version=VERSION)
    # Backends raise the exceptions of their own libraries.
    except Exception:
        logger.exception("The cache does not answer.")
        return None


def set(key: str, value: Any, seconds: int) -> bool:
    """Store a value; return whether that worked."""
    try:
        cache.set(key, value, seconds, version=VERSION)
    except Exception:
        logger.exception("The cache does not answer.")
        return False
    return True
