"""What was taken away or moved, kept for a while so that it can be undone."""

import secrets
from typing import Any

from django.core import signing

from search import cache
from search.errors import InvalidQuery, NotFound

from .models import Collection

KEPT_S = 3_600


def store(collection: Collection, what: str, value: Any) -> str:
    """Returns the token by which it is found again; '' if it could not be kept."""
    token = secrets.token_urlsafe(12)
    kept = cache.set(_key(collection, token), (what, value), KEPT_S)
    return token if kept else ""


def load(collection: Collection, token: str) -> tuple[str, Any]:
    """What was kept of this collection. Raises InvalidQuery when it is gone."""
    found = cache.get(_key(collection, token[:40]))
    if found is None:
        raise InvalidQuery("This can no longer be undone.")
    return found


def _key(collection: Collection, token: str) -> str:
    return f"undo:{collection.pk}:{token}"


WITHIN_S = 3_600


def sign(owner: int, kind: str, **fields: Any) -> str:
    """The fields are what JSON holds."""
    return signing.dumps({"owner": owner, **fields}, salt=kind, compress=True)


def unsign(user: Any, kind: str, text: str) -> dict[str, Any]:
    """The fields. Raises InvalidQuery when it is too late, NotFound for another's."""
    try:
        fields = signing.loads(text, salt=kind, max_age=WITHIN_S)
    except signing.BadSignature as error:
        raise InvalidQuery("This can no longer be undone.") from error
    if fields.pop("owner") != user.pk:
        raise NotFound("This was not yours.")
    return fields
