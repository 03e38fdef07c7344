"""Which collection a request is about, and whether its sender may change it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.urls import reverse

from search.errors import NotFound

from ..models import Collection

NONE = "There is no such collection, or it is not open to you."


@dataclass(frozen=True)
class Reached:
    """A collection, and the way to it: by its id, or by the token of its link."""

    collection: Collection
    token: str = ""
    is_mine: bool = False

    def address(self, name: str = "collection", **more: Any) -> str:
        """That of one of its pages, by the same way."""
        way: dict[str, Any] = {"collection_id": self.collection.pk}
        if self.token:
            way = {"token": self.token}
        return reverse(name, kwargs=way | more)


def reached(user: Any, collection_id: UUID | None = None, token: str = "") -> Reached:
    """What the user may see; through a link it is for reading alone.

    Raises NotFound.
    """
    found = None
    if token:
        found = Collection.objects.behind_link(token).first()
    elif collection_id is not None:
        found = Collection.objects.visible_to(user).filter(pk=collection_id).first()
    if found is None:
        raise NotFound(NONE)
    return Reached(found, token, is_mine=not token and found.owner_id == user.pk)


def own(user: Any, collection_id: UUID) -> Collection:
    """What the user may change. Raises NotFound."""
    found = Collection.objects.owned_by(user).filter(pk=collection_id).first()
    if found is None:
        raise NotFound(NONE)
    return found


def locked(user: Any, collection_id: UUID) -> Collection:
    """The same, kept from all other changes until the transaction ends."""
    owned = Collection.objects.owned_by(user).select_for_update()
    found = owned.filter(pk=collection_id).first()
    if found is None:
        raise NotFound(NONE)
    return found
