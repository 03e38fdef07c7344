"""Find, share, delete and restore collections and concepts, for pages and the API."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from search.errors import InvalidQuery, NotFound

from .models.ownership import AnyUser, Shared, new_token

MAX_OWNED = 1_000

T = TypeVar("T", bound=Shared)


@dataclass(frozen=True)
class Access(Generic[T]):
    """An object that a user may read, found by its id or by its link's token."""

    object: T
    token: str = ""
    is_mine: bool = False

    def address(self, name: str = "") -> str:
        """Return the path of a page of the object, the main one by default.

        Through a link, the page of the link.
        """
        name = name or str(self.object._meta.model_name)
        key = {"token": self.token} if self.token else {"key": self.object.pk}
        return reverse(name, kwargs=key)


def find_readable(
    model: type[T], user: AnyUser, key: UUID | None = None, token: str = ""
) -> Access[T]:
    """Return what the user may see, by its id or by the token of a link.

    Through a link it is read-only, even for its owner. Raises NotFound.
    """
    found: T | None
    if token:
        found = _rows(model).with_token(token).first()
    else:
        found = _rows(model).visible_to(user).filter(pk=key).first()
    if found is None:
        raise not_found(model)
    return access_of(found, user) if not token else Access(found, token)


def access_of(found: T, user: AnyUser) -> Access[T]:
    """Return the access of a user to an object that was found by its id."""
    return Access(found, is_mine=found.owner_id == user.pk)


def find_owned(model: type[T], user: AnyUser, key: UUID) -> T:
    """Return what the user may change. Raises NotFound."""
    found: T | None = _rows(model).owned_by(user).filter(pk=key).first()
    if found is None:
        raise not_found(model)
    return found


def lock_owned(model: type[T], user: AnyUser, key: UUID) -> T:
    """Return what the user may change, locked until the transaction ends.

    Raises NotFound.
    """
    owned = _rows(model).owned_by(user).select_for_update()
    found: T | None = owned.filter(pk=key).first()
    if found is None:
        raise not_found(model)
    return found


def _rows(model: type[Shared]) -> Any:
    return model.objects  # its type would be that of the abstract base


def parse_uuid(text: str, error: Exception) -> UUID:
    """Return the UUID that a text spells. Raises `error` for any other text."""
    try:
        return UUID(text)
    except ValueError:
        raise error from None


def not_found(model: type[Shared]) -> NotFound:
    name = model._meta.verbose_name
    return NotFound(f"There is no such {name}, or you cannot view it.")


def check_room(user: Any, model: type[Shared]) -> None:
    """Raise InvalidQuery when the user has as many as one may have.

    Call it in the transaction that adds one: concurrent ones wait for each other.
    """
    get_user_model().objects.select_for_update(no_key=True).get(pk=user.pk)
    if _rows(model).owned_by(user).count() >= MAX_OWNED:
        names = model._meta.verbose_name_plural
        raise InvalidQuery(
            f"You have {MAX_OWNED:,} {names}, which is the maximum. Delete one first."
        )


def rename(shared: Shared) -> None:
    """Save the name and the description."""
    # No other fields: they may have changed meanwhile.
    shared.save(update_fields=["name", "description", "changed_at"])


def set_visibility(shared: Shared, visibility: str) -> None:
    """Set who may see it. Making it private revokes its link."""
    shared.visibility = visibility
    if visibility == shared.Visibility.PRIVATE:
        shared.share_token = None
    else:
        shared.share_token = shared.share_token or new_token()
    shared.save(update_fields=["visibility", "share_token"])


def renew_link(shared: Shared) -> None:
    """Replace the link by another one. Raises InvalidQuery if there is none."""
    if shared.visibility == shared.Visibility.PRIVATE:
        name = shared._meta.verbose_name
        raise InvalidQuery(f"This {name} has no link: it is private.")
    shared.share_token = new_token()
    shared.save(update_fields=["share_token"])


def link_of(shared: Shared) -> str:
    """Return the path that the owner gives to others."""
    if shared.visibility == shared.Visibility.UNLISTED:
        page = str(shared._meta.model_name)
        return reverse(page, kwargs={"token": shared.share_token})
    return shared.get_absolute_url()


def delete(shared: Shared) -> None:
    """Mark it as deleted; `restore` undoes that for a while."""
    shared.deleted_at = timezone.now()
    shared.save(update_fields=["deleted_at"])


@transaction.atomic
def restore(model: type[T], user: AnyUser, key: UUID) -> T:
    """Undo a deletion by the user.

    Raises NotFound if nothing was deleted, or too long ago; InvalidQuery when the user
    has as many as one may have.
    """
    found: T | None = _rows(model).deleted_by(user).filter(pk=key).first()
    if found is None:
        raise not_found(model)
    check_room(user, model)
    found.deleted_at = None
    found.save(update_fields=["deleted_at"])
    return found
