"""Positions of rows that a user orders by hand: floats with gaps between them.

A row moves by getting a position between two others. When a gap is too narrow, all
rows are renumbered.
"""

from collections.abc import Callable
from itertools import pairwise

from django.db import connections
from django.db.models import F, QuerySet, Window
from django.db.models.functions import RowNumber

GAP = 1_024.0  # between neighbours after renumbering

Gap = tuple[float | None, float | None]  # None: there is no row on this side


def make_positions(
    rows: QuerySet, find_gap: Callable[[], Gap], count: int
) -> list[float]:
    """Return `count` positions in the gap, in order.

    `rows` are all rows of the order, sorted; they are renumbered if the gap is too
    narrow, and `find_gap` is called again.
    """
    positions = positions_between(*find_gap(), count)
    if positions is None:
        renumber(rows)
        positions = positions_between(*find_gap(), count)
        assert positions is not None, "renumbering made room"
    return positions


def positions_between(
    low: float | None, high: float | None, count: int
) -> list[float] | None:
    """Return `count` evenly spaced positions; None when floats have no room."""
    if low is None:
        start = (GAP if high is None else high) - GAP * (count + 1)
        return [start + GAP * place for place in range(1, count + 1)]
    if high is None:
        return [low + GAP * place for place in range(1, count + 1)]
    step = (high - low) / (count + 1)
    found = [low + step * place for place in range(1, count + 1)]
    rising = all(first < second for first, second in pairwise([low, *found, high]))
    return found if rising else None


def renumber(rows: QuerySet) -> None:
    """Set positions that are GAP apart; the order of the rows stays."""
    order = [str(key) for key in rows.query.order_by]
    numbered = rows.annotate(
        key=F("pk"),
        place=Window(RowNumber(), order_by=order),
    )
    sql, parameters = numbered.order_by().values("key", "place").query.sql_with_params()
    quote = connections[rows.db].ops.quote_name
    table, key = rows.model._meta.db_table, rows.model._meta.pk.column
    with connections[rows.db].cursor() as cursor:
        cursor.execute(
            f"UPDATE {quote(table)} SET position = numbered.place * %s "
            f"FROM ({sql}) AS numbered "
            f"WHERE {quote(table)}.{quote(key)} = numbered.key",
            [GAP, *parameters],
        )
