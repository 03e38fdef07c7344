"""The members of a collection as rows to be handed on, read little by little."""

from collections.abc import Iterator
from typing import Any

from search.retrieval import item_lookup
from search.retrieval.item_lookup import ItemState

from ..models import Collection, CollectionItem
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
AT_ONCE = 2_000  # members in memory

Row = dict[str, Any]


def batches(collection: Collection, *, with_notes: bool) -> Iterator[list[Row]]:
    """The rows in the order made by hand, AT_ONCE or fewer at a time.

    A row has COLUMNS, without the note if notes are not asked for. What must not be
    shown is left out; what its dataset lost otherwise is there, as it was when it came
    in. Raises SearchUnavailable, since the engine knows what must not be shown.
    """
    order, place = ORDERS["hand"], None
    while True:
        members = collection.items.all()
        if place is not None:
            members = order.beyond(members, place)
        some = list(order.sorted(members)[:AT_ONCE])
        if not some:
            return
        place = (some[-1].position, some[-1].pk)
        removed = _removed(some)
        yield [
            _row(member, with_notes)
            for member in some
            if (member.dataset, member.item) not in removed
        ]


def states_of(members: list[CollectionItem]) -> dict[tuple[str, int], ItemState]:
    """How members stand in their datasets, by dataset and item.

    Raises SearchUnavailable.
    """
    urls: dict[str, dict[int, str]] = {}
    for member in members:
        urls.setdefault(member.dataset, {})[member.item] = member.url
    return {
        (slug, item_id): standing
        for slug, wanted in urls.items()
        for item_id, standing in item_lookup.states(slug, wanted).items()
    }


def _removed(members: list[CollectionItem]) -> set[tuple[str, int]]:
    standings = states_of(members).items()
    return {key for key, standing in standings if standing is ItemState.REMOVED}


def _row(member: CollectionItem, with_notes: bool) -> Row:
    row = {name: getattr(member, name) for name in COLUMNS if name != "id"}
    row |= {"id": member.item, "added_at": member.added_at.isoformat()}
    if not with_notes:
        del row["note"]
    return {name: row[name] for name in COLUMNS if name in row}
