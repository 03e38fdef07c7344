"""The order made by hand: members are moved into the gaps between others."""

from itertools import pairwise
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from search.errors import InvalidQuery

from ..models import Collection, CollectionItem
from .asked_items import Key, rows_of
from .members import GAP, TOGETHER


def move(
    collection: Collection, keys: list[Key], to: str, anchor: Key | int | None = None
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
    positions = spread(*between, len(moved))
    if positions is None:
        renumber(collection)
        fresh = collection.items.in_bulk([member.pk for member in moved])
        moved = [fresh[member.pk] for member in moved]
        positions = spread(*_gap(collection, moved, to, anchor), len(moved))
        assert positions is not None, "renumbering made room"
    before = {member.pk: member.position for member in moved}
    put_where(collection, dict(zip(before, positions, strict=True)))
    return before


def put_where(collection: Collection, positions: dict[int, float]) -> None:
    """Gives members of a locked collection these positions, by primary key."""
    members = list(collection.items.filter(pk__in=positions).only("position"))
    for member in members:
        member.position = positions[member.pk]
    CollectionItem.objects.bulk_update(members, ["position"], batch_size=TOGETHER)


def spread(low: float | None, high: float | None, count: int) -> list[float] | None:
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
    if to in ("before", "after") and isinstance(anchor, Key):
        return _beside(others, to, anchor)
    raise InvalidQuery("Move it first, last, before or after another, or to a place.")


def _beside(
    others: QuerySet[CollectionItem], to: str, anchor: Key
) -> tuple[float | None, float | None]:
    found = others.filter(dataset=anchor.dataset, item=anchor.item).first()
    if found is None:
        raise InvalidQuery("The picture beside it is not there any more.")
    here = found.position
    positions = others.values_list("position", flat=True)
    if to == "before":
        return positions.filter(position__lt=here).last(), here
    return here, positions.filter(position__gt=here).first()
