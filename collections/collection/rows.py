"""The items of a collection as rows of a file, read in batches."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import QuerySet

from search.models import Dataset
from search.retrieval import item_lookup
from search.retrieval.item_lookup import ItemState

from ..models import Collection, CollectionItem
from ..models.ownership import AnyUser
from ..pagination import ORDERS

COLUMNS = (
    "id",
    "dataset",
    "url",
    "caption",
    "width",
    "height",
    "nsfw",
    "license",
    "note",
    "position",
    "added_at",
)
BATCH_ROWS = 2_000

Row = dict[str, Any]


def batches(
    collection: Collection, user: AnyUser, *, with_notes: bool
) -> Iterator[list[Row]]:
    """Yield the rows in the order made by hand, in batches of BATCH_ROWS or fewer.

    A row has COLUMNS, and the note only if `with_notes`. Items of datasets that the
    user may not see are left out without a trace. Those that were removed by
    request are left out; those that their dataset lost otherwise are in it, as they
    were when they were added. Raises SearchUnavailable: the engine knows the state.
    """
    order, last = ORDERS["hand"], None
    while True:
        members: QuerySet[CollectionItem] = collection.items.visible_to(user)
        if last is not None:
            members = order.after(members, last)
        batch = list(order.sorted(members)[:BATCH_ROWS])
        if not batch:
            return
        last = (batch[-1].position, batch[-1].pk)
        removed = _removed(batch)
        rate(batch)
        yield [
            _row(member, with_notes)
            for member in batch
            if (member.dataset, member.item) not in removed
        ]


def rate(members: Iterable[CollectionItem]) -> None:
    """Set `nsfw`, not saved, to the rating of datasets that have one as a whole."""
    ratings = Dataset.objects.whole_ratings()
    for member in members:
        member.nsfw = ratings.get(member.dataset, member.nsfw)


def states_of(members: list[CollectionItem]) -> dict[tuple[str, int], ItemState]:
    """Return the states of items in their datasets, by dataset and id.

    Raises SearchUnavailable.
    """
    urls: dict[str, dict[int, str]] = {}
    for member in members:
        urls.setdefault(member.dataset, {})[member.item] = member.url
    return {
        (slug, item_id): state
        for slug, wanted in urls.items()
        for item_id, state in item_lookup.states(slug, wanted).items()
    }


def _removed(members: list[CollectionItem]) -> set[tuple[str, int]]:
    states = states_of(members).items()
    return {key for key, state in states if state is ItemState.REMOVED}


def _row(member: CollectionItem, with_notes: bool) -> Row:
    row = {name: getattr(member, name) for name in COLUMNS if name != "id"}
    row |= {"id": member.item, "added_at": member.added_at.isoformat()}
    if not with_notes:
        del row["note"]
    return {name: row[name] for name in COLUMNS if name in row}
