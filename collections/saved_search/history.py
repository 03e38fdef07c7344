"""The recent searches of a user: private, and stored only if the user wants it."""

from collections.abc import Iterable, Iterator
from datetime import date
from itertools import groupby
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from .. import undo_tokens
from ..account.services import keeps_history
from ..models import HistoryEntry
from ..models.ownership import AnyUser
from .saved_query import SavedQuery

MAX_STORED = 500
MAX_LABEL_LENGTH = HistoryEntry._meta.get_field("label").max_length
DELETED = "history-entry"  # kind of undo token


def history_of(user: AnyUser) -> QuerySet[HistoryEntry]:
    """Return the searches of a user, the latest first."""
    return HistoryEntry.objects.visible_to(user)


def saved_query_of(entry: HistoryEntry) -> SavedQuery:
    return SavedQuery(entry.dataset, entry.address)


def record(user: Any, query: SavedQuery) -> bool:
    """Store a search, or move it to the top. Returns False if the user wants none."""
    if not keeps_history(user):
        return False
    entry = HistoryEntry(
        owner=user,
        dataset=query.dataset,
        address=query.address,
        label=", ".join(query.words(user))[:MAX_LABEL_LENGTH],
        digest=query.digest,
        searched_at=timezone.now(),
    )
    # In one statement: two tabs may report the same search at once.
    HistoryEntry.objects.bulk_create(
        [entry],
        update_conflicts=True,
        unique_fields=["owner", "digest"],
        update_fields=["searched_at"],
    )
    surplus = list(history_of(user).values_list("pk", flat=True)[MAX_STORED:])
    if surplus:
        history_of(user).filter(pk__in=surplus).delete()
    return True


def delete(entry: HistoryEntry) -> str:
    """Delete an entry. Returns the undo token, for `restore`."""
    fields = undo_tokens.fields_of(entry)
    token = undo_tokens.store(entry.owner_id, DELETED, fields)
    entry.delete()
    return token


def restore(user: AnyUser, token: str) -> None:
    """Undo a deletion, unless the same search has been made again meanwhile.

    Raises InvalidQuery or NotFound, as undo_tokens.load.
    """
    entry = HistoryEntry(**undo_tokens.load(user, DELETED, token))
    HistoryEntry.objects.bulk_create([entry], ignore_conflicts=True)


def clear(user: AnyUser) -> int:
    """Delete all entries. Returns how many there were."""
    count, _ = history_of(user).delete()
    return count


def by_day(
    entries: Iterable[HistoryEntry],
) -> Iterator[tuple[date, list[HistoryEntry]]]:
    """Group sorted entries by the local day."""
    for day, of_day in groupby(
        entries, lambda entry: timezone.localdate(entry.searched_at)
    ):
        yield day, list(of_day)
