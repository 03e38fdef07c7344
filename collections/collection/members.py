"""Add, remove and move the items of a collection."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from search.errors import InvalidQuery, NotFound
from search.retrieval import item_lookup

from ..models import Collection, CollectionItem
from ..models.ownership import AnyUser
from ..positions import GAP, Gap, make_positions
from ..sharing import lock_owned
from .item_keys import ItemKey, by_dataset, rows_of

MAX_MEMBERS = 50_000
SNAPSHOT = ("url", "caption", "width", "height", "nsfw", "license")
BATCH_ROWS = 1_000  # per statement

Snapshots = dict[ItemKey, dict[str, Any]]  # the SNAPSHOT fields of items


@dataclass(frozen=True)
class Added:
    """The result of an addition."""

    batch: UUID
    new: tuple[ItemKey, ...]
    already_present: int  # were in the collection already
    unknown: int  # are not in their dataset


def add(user: AnyUser, collection_id: UUID, keys: list[ItemKey]) -> Added:
    """Add items at the end, each with a copy of its fields.

    Raises NotFound if the user has no such collection, InvalidQuery if it would be too
    large, SearchUnavailable.
    """
    return insert(user, collection_id, keys, snapshots(keys, user))


def insert(
    user: AnyUser, collection_id: UUID, keys: list[ItemKey], known: Snapshots
) -> Added:
    """Add items whose fields are known.

    It makes no ClickHouse lookup inside the transaction. Raises NotFound, InvalidQuery.
    """
    batch = uuid4()
    with transaction.atomic():
        collection = lock_owned(Collection, user, collection_id)
        already_present = _already_present(collection, keys)
        new = [key for key in keys if key in known and key not in already_present]
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
            batch_size=BATCH_ROWS,
            ignore_conflicts=True,
        )
        recount(collection)
    unknown = sum(key not in known and key not in already_present for key in keys)
    return Added(batch, tuple(new), len(already_present), unknown)


def remove(collection: Collection, keys: list[ItemKey]) -> list[dict[str, Any]]:
    """Remove items from a locked collection. Returns their rows, for undo_remove."""
    rows = rows_of(collection.items.all(), keys)
    removed = [dict(row) for row in rows.values()]
    rows.delete()
    recount(collection)
    return removed


def undo_remove(collection: Collection, rows: list[dict[str, Any]]) -> None:
    """Put rows back into a locked collection.

    Items that have been added again meanwhile stay as they are. Raises InvalidQuery.
    """
    check_room(collection, len(rows))
    CollectionItem.objects.bulk_create(
        [CollectionItem(**row) for row in rows],
        batch_size=BATCH_ROWS,
        ignore_conflicts=True,
    )
    recount(collection)


def undo_add(collection: Collection, batch: UUID) -> int:
    """Undo an addition to a locked collection. Returns how many items it removed."""
    removed, _ = collection.items.filter(batch=batch).delete()
    recount(collection)
    return removed


def last_position(collection: Collection) -> float:
    last = collection.items.aggregate(last=Max("position"))["last"]
    return 0.0 if last is None else last


def check_room(collection: Collection, more: int) -> None:
    """Raise InvalidQuery if this many new items exceed the limit."""
    if collection.size + more > MAX_MEMBERS:
        raise InvalidQuery(
            f"A collection holds up to {MAX_MEMBERS:,} images; “{collection.name}” has "
            f"{collection.size:,} already."
        )


def recount(collection: Collection) -> None:
    """Update the size. Call this whenever items were added or removed."""
    collection.size = collection.items.count()
    collection.changed_at = timezone.now()
    collection.save(update_fields=["size", "changed_at"])


def snapshots(keys: list[ItemKey], user: AnyUser) -> Snapshots:
    """Return the fields to store of items; unknown and removed ones are left out.

    Raises SearchUnavailable.
    """
    known = {}
    for slug, ids in by_dataset(keys).items():
        try:
            found = item_lookup.facts(slug, ids, user)
        except NotFound:
            continue  # the dataset was deleted, or this user may not see it
        for item_id, row in found.items():
            known[ItemKey(slug, item_id)] = _snapshot(row)
    return known


def _snapshot(row: dict[str, Any]) -> dict[str, Any]:
    # PostgreSQL has no character NUL.
    return {
        name: value.replace("\0", "") if isinstance(value, str) else value
        for name, value in ((name, row[name]) for name in SNAPSHOT)
    } | {"nsfw": row["nsfw"][:40]}


def _already_present(collection: Collection, keys: list[ItemKey]) -> set[ItemKey]:
    rows = rows_of(collection.items.all(), keys)
    return {ItemKey(*row) for row in rows.values_list("dataset", "item")}


def move(
    collection: Collection,
    keys: list[ItemKey],
    to: str,
    anchor: ItemKey | int | None = None,
) -> dict[int, float]:
    """Move items of a locked collection; they stay in their order.

    `to` is first or last; before or after the item `anchor`; or place, counted from 1.
    Returns the previous positions by primary key, for `set_positions`. Raises
    InvalidQuery.
    """
    rows = rows_of(collection.items.all(), keys).order_by("position", "pk")
    moved = list(rows.values_list("pk", flat=True))
    if not moved:
        raise InvalidQuery("These images are no longer in this collection.")
    positions = make_positions(
        collection.items.order_by("position", "pk"),
        lambda: _gap(collection, moved, to, anchor),
        len(moved),
    )
    before = dict(rows.values_list("pk", "position"))
    set_positions(collection, dict(zip(moved, positions, strict=True)))
    return before


def set_positions(collection: Collection, positions: dict[int, float]) -> None:
    """Set positions of items of a locked collection, by primary key."""
    items = list(collection.items.filter(pk__in=positions).only("position"))
    for item in items:
        item.position = positions[item.pk]
    CollectionItem.objects.bulk_update(items, ["position"], batch_size=BATCH_ROWS)


def collection_sql_id(collection: Collection) -> Any:
    """Return a collection's id as a parameter of raw SQL."""
    field = CollectionItem._meta.get_field("collection")
    return field.get_db_prep_value(collection.pk, connection)


def _gap(collection: Collection, moved: list[int], to: str, anchor: object) -> Gap:
    """Return the positions between which the moved items go."""
    others = collection.items.exclude(pk__in=moved).order_by("position", "pk")
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
        return _gap_beside(others, to, anchor)
    raise InvalidQuery(
        "Move it to first, last, before or after another image, or to a position."
    )


def _gap_beside(others: QuerySet[CollectionItem], to: str, anchor: ItemKey) -> Gap:
    found = others.filter(dataset=anchor.dataset, item=anchor.item).first()
    if found is None:
        raise InvalidQuery("The image next to it is no longer there.")
    here = found.position
    positions = others.values_list("position", flat=True)
    if to == "before":
        return positions.filter(position__lt=here).last(), here
    return here, positions.filter(position__gt=here).first()
