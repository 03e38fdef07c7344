"""What can be done with saved searches. Each is its owner's alone."""

from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Min, QuerySet
from django.utils import timezone

from search.errors import InvalidQuery

from ..models import SavedSearch
from ..models.saved_search import MAX_NAME_LENGTH
from ..undo_tokens import sign, unsign
from .search_address import SavedQuery

MAX_SAVED = 500
MIN_GAP = 1e-6  # between two positions; where it is smaller, all are numbered anew
DELETED = "deleted saved search"


def saved_searches_of(user: Any) -> QuerySet[SavedSearch]:
    return SavedSearch.objects.visible_to(user)


def saved_query_of(saved: SavedSearch) -> SavedQuery:
    return SavedQuery(saved.dataset, saved.address)


def find_same(user: Any, asking: SavedQuery) -> SavedSearch | None:
    """The one that the user has of this search already."""
    return saved_searches_of(user).filter(address=asking.address).first()


@transaction.atomic
def save(user: Any, asking: SavedQuery, name: str) -> tuple[SavedSearch, bool]:
    """Puts a search first among the saved ones; False with the one that was there."""
    name = _checked(name) or asking.name(user)
    # Two tabs, or a double click, save it one after the other.
    users = get_user_model().objects.select_for_update(no_key=True)
    users.get(pk=user.pk)
    if found := find_same(user, asking):
        return found, False
    mine = saved_searches_of(user)
    if mine.count() >= MAX_SAVED:
        raise InvalidQuery(
            f"You have {MAX_SAVED} saved searches. Delete one to save another."
        )
    first = mine.aggregate(least=Min("position"))["least"]
    return SavedSearch.objects.create(
        owner=user,
        name=name,
        dataset=asking.dataset,
        address=asking.address,
        position=_between(None, first),
        looked_at=timezone.now(),
    ), True


def rename(saved: SavedSearch, name: str) -> None:
    """Without a name it is called by its words."""
    saved.name = _checked(name) or saved_query_of(saved).name(saved.owner)
    saved.save(update_fields=["name", "changed_at"])


def _checked(name: str) -> str:
    name = " ".join(name.replace("\0", " ").split())
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidQuery(f"A name has up to {MAX_NAME_LENGTH} characters.")
    return name


def change(saved: SavedSearch, asking: SavedQuery) -> None:
    """Has it ask for something else, under the same name."""
    saved.dataset, saved.address = asking.dataset, asking.address
    saved.looked_at = timezone.now()
    saved.save(update_fields=["dataset", "address", "looked_at", "changed_at"])


def mark_viewed(user: Any, asking: SavedQuery) -> datetime | None:
    """Notes that its hits are being looked at.

    Returns when they were before, None where the search is not a saved one.
    """
    mine = saved_searches_of(user).filter(address=asking.address)
    before = mine.aggregate(least=Min("looked_at"))["least"]
    if before is not None:
        mine.update(looked_at=timezone.now())
    return before


@transaction.atomic
def move(saved: SavedSearch, after: SavedSearch | None) -> None:
    """Puts one behind another, or first of all."""
    others = saved_searches_of(saved.owner).exclude(pk=saved.pk)
    ordered = list(others.only("position", "created_at"))
    place = ordered.index(after) + 1 if after in ordered else 0
    left = ordered[place - 1].position if place else None
    right = ordered[place].position if place < len(ordered) else None
    if left is not None and right is not None and right - left < MIN_GAP:
        ordered.insert(place, saved)
        for position, each in enumerate(ordered):
            each.position = position
        SavedSearch.objects.bulk_update(ordered, ["position"])
    else:
        saved.position = _between(left, right)
        saved.save(update_fields=["position"])


def _between(left: float | None, right: float | None) -> float:
    if left is None:
        return 0 if right is None else right - 1
    return left + 1 if right is None else (left + right) / 2


def move_one_step(saved: SavedSearch, down: bool) -> None:
    """Moves one a place down or up; the last and the first stay where they are."""
    ordered = list(saved_searches_of(saved.owner).only("position", "created_at"))
    place = ordered.index(saved)
    if down and place + 1 < len(ordered):
        move(saved, ordered[place + 1])
    elif not down and place:
        move(saved, ordered[place - 2] if place > 1 else None)


def place_at(saved: SavedSearch, place: int) -> None:
    """Makes it the one at this place, counted from 1; beyond the end, the last."""
    others = list(
        saved_searches_of(saved.owner)
        .exclude(pk=saved.pk)
        .only("position", "created_at")
    )
    before = others[: place - 1]
    move(saved, before[-1] if before else None)


def delete(saved: SavedSearch) -> str:
    """Returns what `restore` brings it back from."""
    told = sign(
        saved.owner_id,
        DELETED,
        id=str(saved.pk),
        name=saved.name,
        dataset=saved.dataset,
        address=saved.address,
        position=saved.position,
        looked_at=saved.looked_at.isoformat(),
    )
    saved.delete()
    return told


def restore(user: Any, told: str) -> SavedSearch:
    """Raises InvalidQuery, or NotFound for what another has deleted."""
    fields = unsign(user, DELETED, told)
    fields["looked_at"] = datetime.fromisoformat(fields["looked_at"])
    saved, _ = SavedSearch.objects.get_or_create(
        pk=fields.pop("id"), owner=user, defaults=fields
    )
    return saved
