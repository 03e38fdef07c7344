"""Members come into a collection, and leave it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from search.errors import InvalidQuery, NotFound
from search.retrieval import item_lookup

from ..models import Collection, CollectionItem
from .asked_items import Key, by_dataset, rows_of
from .reaching import locked

MOST_MEMBERS = 50_000
GAP = 1_024.0  # between the positions of neighbours, at first
SNAPSHOT = ("url", "caption", "width", "height", "nsfw", "license")
TOGETHER = 1_000  # rows in a statement

Known = dict[Key, dict[str, Any]]  # of items, what a member has of SNAPSHOT


@dataclass(frozen=True)
class Added:
    """What came of adding: how many are new, were there before, are unknown."""

    batch: UUID
    new: tuple[Key, ...]
    there: int
    unknown: int


def add(user: Any, collection_id: UUID, keys: list[Key]) -> Added:
    """Adds items at the end, each with what the engine knows of it.

    Raises NotFound if the collection is not there (any more) for the user,
    InvalidQuery if it would be too large, SearchUnavailable.
    """
    return put_in(user, collection_id, keys, snapshots(keys))


def put_in(user: Any, collection_id: UUID, keys: list[Key], known: Known) -> Added:
    """The same with what the engine knows, so that a transaction need not wait for it.

    Raises NotFound, InvalidQuery.
    """
    batch = uuid4()
    with transaction.atomic():
        collection = locked(user, collection_id)
        there = _there(collection, keys)
        new = [key for key in keys if key in known and key not in there]
        check_room(collection, len(new))
        last = last_position(collection)
        CollectionItem.objects.bulk_create(
            [
                CollectionItem(
                    collection=collection,
                    dataset=key.dataset,
                    item=key.item,
                    position=last + GAP * place,
                    batch=batch,
                    **known[key],
                )
                for place, key in enumerate(new, 1)
            ],
            batch_size=TOGETHER,
            ignore_conflicts=True,
        )
        count_anew(collection)
    unknown = sum(key not in known and key not in there for key in keys)
    return Added(batch, tuple(new), len(there), unknown)


def remove(collection: Collection, keys: list[Key]) -> list[dict[str, Any]]:
    """Takes items out of a locked collection; returns their rows, for put_back."""
    rows = rows_of(collection.items.all(), keys)
    gone = [dict(row) for row in rows.values()]
    rows.delete()
    count_anew(collection)
    return gone


def put_back(collection: Collection, rows: list[dict[str, Any]]) -> None:
    """Brings rows back into a locked collection as they were.

    One that has been added again meanwhile stays as it is now.
    """
    check_room(collection, len(rows))
    CollectionItem.objects.bulk_create(
        [CollectionItem(**row) for row in rows],
        batch_size=TOGETHER,
        ignore_conflicts=True,
    )
    count_anew(collection)


def take_back(collection: Collection, batch: UUID) -> int:
    """Undoes an addition to a locked collection; returns how many left it."""
    gone, _ = collection.items.filter(batch=batch).delete()
    count_anew(collection)
    return gone


def last_position(collection: Collection) -> float:
    last = collection.items.aggregate(last=Max("position"))["last"]
    return 0.0 if last is None else last


def check_room(collection: Collection, more: int) -> None:
    if collection.size + more > MOST_MEMBERS:
        raise InvalidQuery(
            f"A collection holds up to {MOST_MEMBERS:,} pictures; "
            f"“{collection.name}” has {collection.size:,} already."
        )


def count_anew(collection: Collection) -> None:
    """To be called whenever members have come or gone."""
    collection.size = collection.items.count()
    collection.changed_at = timezone.now()
    collection.save(update_fields=["size", "changed_at"])


def snapshots(keys: list[Key]) -> Known:
    """What is kept of items; those unknown or removed are left out.

    Raises SearchUnavailable.
    """
    known = {}
    for slug, ids in by_dataset(keys).items():
        try:
            found = item_lookup.facts(slug, ids)
        except NotFound:
            continue  # a dataset that is not there has no items
        for item_id, row in found.items():
            known[Key(slug, item_id)] = _snapshot(row)
    return known


def _snapshot(row: dict[str, Any]) -> dict[str, Any]:
    # PostgreSQL has no character NUL.
    return {
        name: value.replace("\0", "") if isinstance(value, str) else value
        for name, value in ((name, row[name]) for name in SNAPSHOT)
    } | {"nsfw": row["nsfw"][:40]}


def _there(collection: Collection, keys: list[Key]) -> set[Key]:
    rows = rows_of(collection.items.all(), keys)
    return {Key(*row) for row in rows.values_list("dataset", "item")}
