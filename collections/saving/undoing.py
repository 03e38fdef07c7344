"""What was deleted, in the hands of whoever deleted it: signed, for an hour.

The page posts it back to undo. In the database nothing of it stays.
"""

from typing import Any

from django.core import signing

from search.errors import InvalidQuery, NotFound

WITHIN_S = 3_600


def sealed(owner: int, kind: str, **fields: Any) -> str:
    """The fields are what JSON holds."""
    return signing.dumps({"owner": owner, **fields}, salt=kind, compress=True)


def unsealed(user: Any, kind: str, text: str) -> dict[str, Any]:
    """The fields. Raises InvalidQuery when it is too late, NotFound for another's."""
    try:
        fields = signing.loads(text, salt=kind, max_age=WITHIN_S)
    except signing.BadSignature as error:
        raise InvalidQuery("This can no longer be undone.") from error
    if fields.pop("owner") != user.pk:
        raise NotFound("This was not yours.")
    return fields
