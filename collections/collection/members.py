"""Members come into a collection, and leave it."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from search.errors import InvalidQuery, NotFound
from search.retrieval import item_lookup

from ..models import Collection, CollectionItem
from ..sharing import lock_owned
from .item_keys import ItemKey, by_dataset, rows_of

MAX_MEMBERS = 50_000
GAP = 1_024.0  # between the positions of neighbours, at first
SNAPSHOT = ("url", "caption", "width", "height", "nsfw", "license")
TOGETHER = 1_000  # rows in a statement

Known = dict[ItemKey, dict[str, Any]]  # of items, what a member has of SNAPSHOT


@dataclass(frozen=True)
class Added:
    """What came of adding: how many are new, were there before, are unknown."""

    batch: UUID
    new: tuple[ItemKey, ...]
    there: int
    unknown: int


def add(user: Any, collection_id: UUID, keys: list[ItemKey]) -> Added:
    """Adds items at the end, each with what the engine knows of it.

    Raises NotFound if the collection is not there (any more) for the user,
    InvalidQuery if it would be too large, SearchUnavailable.
    """
    return insert(user, collection_id, keys, snapshots(keys))


def insert(user: Any, collection_id: UUID, keys: list[ItemKey], known: Known) -> Added:
    """The same with what the engine knows, so that a transaction need not wait for it.

    Raises NotFound, InvalidQuery.
    """
    batch = uuid4()
    with transaction.atomic():
        collection = lock_owned(Collection, user, collection_id)
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
        recount(collection)
    unknown = sum(key not in known and key not in there for key in keys)
    return Added(batch, tuple(new), len(there), unknown)


def remove(collection: Collection, keys: list[ItemKey]) -> list[dict[str, Any]]:
    """Takes items out of a locked collection; returns their rows, for put_back."""
    rows = rows_of(collection.items.all(), keys)
    gone = [dict(row) for row in rows.values()]
    rows.delete()
    recount(collection)
    return gone


def undo_remove(collection: Collection, rows: list[dict[str, Any]]) -> None:
    """Brings rows back into a locked collection as they were.

    One that has been added again meanwhile stays as it is now.
    """
    check_room(collection, len(rows))
    CollectionItem.objects.bulk_create(
        [CollectionItem(**row) for row in rows],
        batch_size=TOGETHER,
        ignore_conflicts=True,
    )
    recount(collection)


def undo_add(collection: Collection, batch: UUID) -> int:
    """Undoes an addition to a locked collection; returns how many left it."""
    gone, _ = collection.items.filter(batch=batch).delete()
    recount(collection)
    return gone


def last_position(collection: Collection) -> float:
    last = collection.items.aggregate(last=Max("position"))["last"]
    return 0.0 if last is None else last


def check_room(collection: Collection, more: int) -> None:
    if collection.size + more > MAX_MEMBERS:
        raise InvalidQuery(
            f"A collection holds up to {MAX_MEMBERS:,} pictures; "
            f"“{collection.name}” has {collection.size:,} already."
        )


def recount(collection: Collection) -> None:
    """To be called whenever members have come or gone."""
    collection.size = collection.items.count()
    collection.changed_at = timezone.now()
    collection.save(update_fields=["size", "changed_at"])


def snapshots(keys: list[ItemKey]) -> Known:
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
            known[ItemKey(slug, item_id)] = _snapshot(row)
    return known


def _snapshot(row: dict[str, Any]) -> dict[str, Any]:
    # PostgreSQL has no character NUL.
    return {
        name: value.replace("\0", "") if isinstance(value, str) else value
        for name, value in ((name, row[name]) for name in SNAPSHOT)
    } | {"nsfw": row["nsfw"][:40]}


def _there(collection: Collection, keys: list[ItemKey]) -> set[ItemKey]:
    rows = rows_of(collection.items.all(), keys)
    return {ItemKey(*row) for row in rows.values_list("dataset", "item")}


def move(
    collection: Collection,
    keys: list[ItemKey],
    to: str,
    anchor: ItemKey | int | None = None,
) -> dict[int, float]:
    """Moves members of a locked collection, in the order that they have.

    `to` is first or last; before or after the member `anchor`; or place, counted from
    1. Returns the positions that the members had before, by primary key, for
    put_where. Raises InvalidQuery.
    """
    moved = list(rows_of(collection.items.all(), keys).order_by("position", "pk"))
    if not moved:
        raise InvalidQuery("These pictures are not in this collection any more.")
    between = _gap(collection, moved, to, anchor)
    positions = space_evenly(*between, len(moved))
    if positions is None:
        renumber(collection)
        fresh = collection.items.in_bulk([member.pk for member in moved])
        moved = [fresh[member.pk] for member in moved]
        positions = space_evenly(*_gap(collection, moved, to, anchor), len(moved))
        assert positions is not None, "renumbering made room"
    before = {member.pk: member.position for member in moved}
    position_for(collection, dict(zip(before, positions, strict=True)))
    return before


def position_for(collection: Collection, positions: dict[int, float]) -> None:
    """Gives members of a locked collection these positions, by primary key."""
    members = list(collection.items.filter(pk__in=positions).only("position"))
    for member in members:
        member.position = positions[member.pk]
    CollectionItem.objects.bulk_update(members, ["position"], batch_size=TOGETHER)


def space_evenly(
    low: float | None, high: float | None, count: int
) -> list[float] | None:
    """`count` positions between two, None being no end; None when there is no room."""
    if low is None:
        start = (GAP if high is None else high) - GAP * (count + 1)
        return [start + GAP * place for place in range(1, count + 1)]
    if high is None:
        return [low + GAP * place for place in range(1, count + 1)]
    step = (high - low) / (count + 1)
    found = [low + step * place for place in range(1, count + 1)]
    rising = all(first < second for first, second in pairwise([low, *found, high]))
    return found if rising else None


def renumber(collection: Collection) -> None:
    """Gives all members positions with whole gaps; their order stays."""
    table = CollectionItem._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET position = numbered.place * %s FROM ("
            "SELECT id, row_number() OVER (ORDER BY position, id) AS place "
            f"FROM {table} WHERE collection_id = %s) AS numbered "
            f"WHERE {table}.id = numbered.id",
            [GAP, bound(collection)],
        )


def bound(collection: Collection) -> Any:
    """A collection's id as the database's driver takes it."""
    field = CollectionItem._meta.get_field("collection")
    return field.get_db_prep_value(collection.pk, connection)


def _gap(
    collection: Collection, moved: list[CollectionItem], to: str, anchor: object
) -> tuple[float | None, float | None]:
    """The positions between which the moved ones go."""
    others = collection.items.exclude(pk__in=[member.pk for member in moved])
    others = others.order_by("position", "pk")
    if to == "first":
        return None, others.values_list("position", flat=True).first()
    if to == "last":
        last = others.reverse().values_list("position", flat=True).first()
        return last, None
    if to == "place" and isinstance(anchor, int):
        above = max(anchor, 1) - 1
        around = list(
            others.values_list("position", flat=True)[max(above - 1, 0) :][:2]
        )
        if above == 0:
            return None, around[0] if around else None
        if len(around) < 2:
            last = others.reverse().values_list("position", flat=True).first()
            return last, None
        return around[0], around[1]
    if to in ("before", "after") and isinstance(anchor, ItemKey):
        return _beside(others, to, anchor)
    raise InvalidQuery("Move it first, last, before or after another, or to a place.")


def _beside(
    others: QuerySet[CollectionItem], to: str, anchor: ItemKey
) -> tuple[float | None, float | None]:
    found = others.filter(dataset=anchor.dataset, item=anchor.item).first()
    if found is None:
        raise InvalidQuery("The picture beside it is not there any more.")
    here = found.position
    positions = others.values_list("position", flat=True)
    if to == "before":
        return positions.filter(position__lt=here).last(), here
    return here, positions.filter(position__gt=here).first()
