"""The searches that a user made of late: private, and only if they are to be kept."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from itertools import groupby
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from ..account.services import keeps_history
from ..models import HistoryEntry
from ..undo_tokens import sign, unsign
from .search_address import SavedQuery

MAX_STORED = 500
LABEL = HistoryEntry._meta.get_field("label").max_length
DELETED = "deleted history entry"


def history_of(user: Any) -> QuerySet[HistoryEntry]:
    return HistoryEntry.objects.visible_to(user)


def saved_query_of(entry: HistoryEntry) -> SavedQuery:
    return SavedQuery(entry.dataset, entry.address)


def record(user: Any, asking: SavedQuery) -> bool:
    """Keeps a search, or moves it up; False for a user who wants none kept."""
    if not keeps_history(user):
        return False
    entry = HistoryEntry(
        owner=user,
        dataset=asking.dataset,
        address=asking.address,
        label=", ".join(asking.words(user))[:LABEL],
        digest=asking.digest,
        searched_at=timezone.now(),
    )
    # In one statement: two tabs may tell of the same search at once.
    HistoryEntry.objects.bulk_create(
        [entry],
        update_conflicts=True,
        unique_fields=["owner", "digest"],
        update_fields=["searched_at"],
    )
    old = history_of(user).values_list("pk", flat=True)[MAX_STORED:]
    if surplus := list(old):
        history_of(user).filter(pk__in=surplus).delete()
    return True


def delete(entry: HistoryEntry) -> str:
    """Returns what `restore` brings it back from."""
    told = sign(
        entry.owner_id,
        DELETED,
        id=str(entry.pk),
        dataset=entry.dataset,
        address=entry.address,
        label=entry.label,
        digest=entry.digest,
        searched_at=entry.searched_at.isoformat(),
    )
    entry.delete()
    return told


def restore(user: Any, told: str) -> None:
    """Raises InvalidQuery, or NotFound for what another has deleted.

    Where the search has been made again meanwhile, there is nothing to bring back.
    """
    fields = unsign(user, DELETED, told)
    fields["searched_at"] = datetime.fromisoformat(fields["searched_at"])
    entry = HistoryEntry(owner=user, **fields)
    HistoryEntry.objects.bulk_create([entry], ignore_conflicts=True)


def clear(user: Any) -> int:
    """Deletes all of it; how many searches that were."""
    count, _ = history_of(user).delete()
    return count


def by_day(
    entries: Iterable[HistoryEntry],
) -> Iterator[tuple[date, list[HistoryEntry]]]:
    """The latest day first."""
    for day, of_day in groupby(
        entries, lambda entry: timezone.localdate(entry.searched_at)
    ):
        yield day, list(of_day)
