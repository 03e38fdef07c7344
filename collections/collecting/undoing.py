"""What was taken away or moved, kept for a while so that it can be undone."""

import secrets
from typing import Any

from search import cache
from search.errors import InvalidQuery

from ..models import Collection

KEPT_S = 3_600


def keep(collection: Collection, what: str, value: Any) -> str:
    """Returns the token by which it is found again; '' if it could not be kept."""
    token = secrets.token_urlsafe(12)
    kept = cache.keep(_key(collection, token), (what, value), KEPT_S)
    return token if kept else ""


def kept(collection: Collection, token: str) -> tuple[str, Any]:
    """What was kept of this collection. Raises InvalidQuery when it is gone."""
    found = cache.kept(_key(collection, token[:40]))
    if found is None:
        raise InvalidQuery("This can no longer be undone.")
    return found


def _key(collection: Collection, token: str) -> str:
    return f"undo:{collection.pk}:{token}"
