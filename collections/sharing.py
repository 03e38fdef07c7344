"""What an owner does alike with collections and with concepts, from page and API."""

from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from search.errors import InvalidQuery, NotFound

from .models import Collection, Concept
from .models.ownership import new_token

MAX_OWNED = 1_000

SharedObject = Collection | Concept
T = TypeVar("T", Collection, Concept)


def check_room(user: Any, model: type[SharedObject]) -> None:
    """To be called in the transaction in which there is one more.

    Raises InvalidQuery when the user has as many as one may have.
    """
    # Two made at once are counted one after the other.
    get_user_model().objects.select_for_update(no_key=True).get(pk=user.pk)
    if model.objects.owned_by(user).count() >= MAX_OWNED:
        names = model._meta.verbose_name_plural
        raise InvalidQuery(
            f"You have {MAX_OWNED:,} {names}, which is the most. Delete one first."
        )


def set_visibility(thing: SharedObject, visibility: str) -> None:
    """Decides who may see it. Once private again, a link given away leads nowhere."""
    thing.visibility = visibility
    if visibility == thing.Visibility.PRIVATE:
        thing.share_token = None
    else:
        thing.share_token = thing.share_token or new_token()
    thing.save(update_fields=["visibility", "share_token"])


def renew_link(thing: SharedObject) -> None:
    """Revokes the link that was given away. Raises InvalidQuery if there is none."""
    if thing.visibility == thing.Visibility.PRIVATE:
        name = thing._meta.verbose_name
        raise InvalidQuery(f"This {name} has no link: only you see it.")
    thing.share_token = new_token()
    thing.save(update_fields=["share_token"])


def link_of(thing: SharedObject) -> str:
    """The path of its page as its owner gives it away."""
    page = str(thing._meta.model_name)
    if thing.visibility == thing.Visibility.UNLISTED:
        return reverse(page, kwargs={"token": thing.share_token})
    return reverse(page, args=[thing.pk])


def delete(thing: SharedObject) -> None:
    """For a while its owner can bring it back."""
    thing.deleted_at = timezone.now()
    thing.save(update_fields=["deleted_at"])


@transaction.atomic
def undelete(user: Any, model: type[T], key: UUID) -> T | None:
    """What the user deleted is there again; None if it was not, or too long ago.

    Raises InvalidQuery when there is no room for it.
    """
    found = model.objects.deleted_by(user).filter(pk=key).first()
    if found is not None:
        check_room(user, model)
        found.deleted_at = None
        found.save(update_fields=["deleted_at"])
    return found


NONE = "There is no such collection, or it is not open to you."


@dataclass(frozen=True)
class CollectionAccess:
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


def find_readable(
    user: Any, collection_id: UUID | None = None, token: str = ""
) -> CollectionAccess:
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
    return CollectionAccess(
        found, token, is_mine=not token and found.owner_id == user.pk
    )


def find_owned(user: Any, collection_id: UUID) -> Collection:
    """What the user may change. Raises NotFound."""
    found = Collection.objects.owned_by(user).filter(pk=collection_id).first()
    if found is None:
        raise NotFound(NONE)
    return found


def lock_owned(user: Any, collection_id: UUID) -> Collection:
    """The same, kept from all other changes until the transaction ends."""
    owned = Collection.objects.owned_by(user).select_for_update()
    found = owned.filter(pk=collection_id).first()
    if found is None:
        raise NotFound(NONE)
    return found
