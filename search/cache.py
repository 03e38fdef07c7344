"""The cache, which may be away: then nothing is kept, and nothing else goes wrong."""

import logging
from typing import Any

from django.core.cache import cache

VERSION = 4  # count it up when the classes that are pickled change

logger = logging.getLogger(__name__)


def get(key: str) -> Any:
    """What was kept under a key; None when there is nothing, or no cache."""
    try:
        return cache.get(key, version=VERSION)
    # A cache is one of many libraries', each with errors of its own.
    except Exception:
        logger.exception("The cache does not answer.")
        return None


def set(key: str, value: Any, seconds: int) -> bool:
    """Whether it could be kept."""
    try:
        cache.set(key, value, seconds, version=VERSION)
    except Exception:
        logger.exception("The cache does not answer.")
        return False
    return True
