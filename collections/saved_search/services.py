"""Save, rename, move and delete searches. Only their owner sees them."""

from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Min, QuerySet
from django.utils import timezone

from search.errors import InvalidQuery

from .. import undo_tokens
from ..models import SavedSearch
from ..models.ownership import AnyUser
from ..models.saved_search import MAX_NAME_LENGTH
from ..positions import Gap, make_positions
from .saved_query import SavedQuery

MAX_SAVED = 500
DELETED = "saved-search"  # kind of undo token


def saved_searches_of(user: AnyUser) -> QuerySet[SavedSearch]:
    return SavedSearch.objects.visible_to(user)


def saved_query_of(saved: SavedSearch) -> SavedQuery:
    return SavedQuery(saved.dataset, saved.address)


def find_same(user: AnyUser, query: SavedQuery) -> SavedSearch | None:
    """Return the user's saved search of this query, if there is one."""
    return saved_searches_of(user).filter(address=query.address).first()


@transaction.atomic
def save(user: Any, query: SavedQuery, name: str) -> tuple[SavedSearch, bool]:
    """Save a search as the first one; return it and whether it is new.

    Raises InvalidQuery for a name that is too long, and for too many searches.
    """
    name = _clean_name(name) or query.name(user)
    # Two tabs, or a double click, save one after the other.
    get_user_model().objects.select_for_update(no_key=True).get(pk=user.pk)
    if found := find_same(user, query):
        return found, False
    mine = saved_searches_of(user)
    if mine.count() >= MAX_SAVED:
        raise InvalidQuery(
            f"You have {MAX_SAVED} saved searches. Delete one to save another."
        )
    saved = SavedSearch.objects.create(
        owner=user,
        name=name,
        dataset=query.dataset,
        address=query.address,
        looked_at=timezone.now(),
    )
    move_to(saved, 1)
    return saved, True


def rename(saved: SavedSearch, name: str) -> None:
    """Set the name; an empty one is replaced by the words of the search."""
    saved.name = _clean_name(name) or saved_query_of(saved).name(saved.owner)
    saved.save(update_fields=["name", "changed_at"])


def _clean_name(name: str) -> str:
    name = " ".join(name.replace("\0", " ").split())
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidQuery(f"Use up to {MAX_NAME_LENGTH} characters for the name.")
    return name


def change(saved: SavedSearch, query: SavedQuery) -> None:
    """Replace the query; the name stays."""
    saved.dataset, saved.address = query.dataset, query.address
    saved.looked_at = timezone.now()
    saved.save(update_fields=["dataset", "address", "looked_at", "changed_at"])


def mark_viewed(user: AnyUser, query: SavedQuery) -> datetime | None:
    """Record that the user looks at the hits of a query.

    Returns when they did so before; None if the query is not saved.
    """
    mine = saved_searches_of(user).filter(address=query.address)
    before = mine.aggregate(earliest=Min("looked_at"))["earliest"]
    if before is not None:
        mine.update(looked_at=timezone.now())
    return before


def move(saved: SavedSearch, after: SavedSearch | None) -> None:
    """Move a search behind another one, or to the front."""
    others = list(_others(saved).values_list("pk", flat=True))
    place = 1
    if after is not None and after.pk in others:
        place = others.index(after.pk) + 2
    move_to(saved, place)


def move_one_step(saved: SavedSearch, down: bool) -> None:
    """Move a search one place down or up; the last and the first stay."""
    place = list(_ordered(saved.owner)).index(saved) + 1
    move_to(saved, max(1, place + 1 if down else place - 1))


@transaction.atomic
def move_to(saved: SavedSearch, place: int) -> None:
    """Move a search to a place, counted from 1; beyond the end, to the last."""

    def find_gap() -> Gap:
        positions = list(_others(saved).values_list("position", flat=True))
        before, behind = positions[: place - 1], positions[place - 1 :]
        return before[-1] if before else None, behind[0] if behind else None

    [saved.position] = make_positions(_ordered(saved.owner), find_gap, 1)
    saved.save(update_fields=["position"])


def _ordered(user: AnyUser) -> QuerySet[SavedSearch]:
    return saved_searches_of(user).order_by("position", "-created_at")


def _others(saved: SavedSearch) -> QuerySet[SavedSearch]:
    return _ordered(saved.owner).exclude(pk=saved.pk)


def delete(saved: SavedSearch) -> str:
    """Delete a search. Returns the undo token, for `restore`."""
    token = undo_tokens.store(saved.owner_id, DELETED, undo_tokens.fields_of(saved))
    saved.delete()
    return token


def restore(user: AnyUser, token: str) -> SavedSearch:
    """Undo a deletion. Raises InvalidQuery or NotFound, as undo_tokens.load."""
    saved = SavedSearch(**undo_tokens.load(user, DELETED, token))
    SavedSearch.objects.bulk_create([saved], ignore_conflicts=True)
    return saved
