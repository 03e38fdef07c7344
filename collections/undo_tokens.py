"""Undo tokens: what a change needs to be undone, in the cache for an hour.

Deleted collections and concepts need none: their rows are only marked as deleted.
"""

import secrets
from typing import Any

from django.db import models

from search import cache
from search.errors import InvalidQuery, NotFound

from .models.ownership import AnyUser

LIFETIME_S = 3_600


def store(owner_id: int, kind: str, value: Any) -> str:
    """Return a token that its owner can undo a change with; "" without a cache."""
    token = secrets.token_urlsafe(12)
    is_stored = cache.set(_key(kind, token), (owner_id, value), LIFETIME_S)
    return token if is_stored else ""


def load(user: AnyUser, kind: str, token: str) -> Any:
    """Return the value of a token.

    Raises InvalidQuery for an expired one and NotFound for that of another user.
    """
    stored = cache.get(_key(kind, token[:40]))
    if stored is None:
        raise InvalidQuery("This can no longer be undone.")
    owner_id, value = stored
    if owner_id != user.pk:
        raise NotFound("This was not yours.")
    return value


def fields_of(row: models.Model) -> dict[str, Any]:
    """Return the fields that make the same row again."""
    fields = row._meta.concrete_fields
    return {field.attname: getattr(row, field.attname) for field in fields}


def _key(kind: str, token: str) -> str:
    return f"undo:{kind}:{token}"
