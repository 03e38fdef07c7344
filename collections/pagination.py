"""Pages of long lists, found by the sort keys of the last row (keyset pagination).

However far a reader gets, an index finds the next page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core import signing
from django.db.models import Q, QuerySet
from django.db.models.functions import Left, Lower

from search.errors import InvalidQuery

from .models.collection import SORTED_BY


@dataclass(frozen=True)
class Order:
    """A sort order by fields or annotations that are unique together."""

    title: str
    keys: tuple[str, ...]
    descending: bool = False

    def sorted(self, rows: QuerySet) -> QuerySet:
        sign = "-" if self.descending else ""
        return rows.order_by(*(sign + key for key in self.keys))

    def after(self, rows: QuerySet, values: Sequence[Any]) -> QuerySet:
        """Return the rows after the one with these values of the keys."""
        compare = "lt" if self.descending else "gt"
        key, value = self.keys[0], values[0]
        if len(self.keys) == 1:
            return rows.filter(**{f"{key}__{compare}": value})
        further = Q(**{f"{key}__{compare}": value}) | Q(
            **{f"{self.keys[1]}__{compare}": values[1]}
        )
        # The bound on the first key by itself is what the index is entered with.
        return rows.filter(further, **{f"{key}__{compare}e": value})


ORDERS = {
    "hand": Order("By hand", ("position", "pk")),
    "newest": Order("Newest first", ("pk",), descending=True),
    "caption": Order("Caption", ("sorted_caption", "pk")),
    "dataset": Order("Dataset", ("dataset", "item")),
}
COLLECTION_ORDERS = {
    "changed": Order("Last changed", ("changed_at", "pk"), descending=True),
    "created": Order("Newest", ("created_at", "pk"), descending=True),
    "name": Order("Name", ("sorted_name", "pk")),
    "size": Order("Size", ("size", "pk"), descending=True),
}


@dataclass(frozen=True)
class Page:
    """The rows of a page, how many came before, and the next page's cursor or ""."""

    rows: list[Any]
    start: int
    next: str


def with_sorted_caption(items: QuerySet) -> QuerySet:
    return items.annotate(sorted_caption=Lower(Left("caption", SORTED_BY)))


def with_sorted_name(collections: QuerySet) -> QuerySet:
    return collections.annotate(sorted_name=Lower("name"))


def paginate(rows: QuerySet, order: Order, cursor: str, count: int) -> Page:
    """Return the page of a cursor, or the first one for "". Raises InvalidQuery."""
    start = 0
    if cursor:
        start, *values = read_cursor(cursor, order.keys)
        rows = order.after(rows, values)
    found = list(order.sorted(rows)[: count + 1])
    shown = found[:count]
    if len(found) <= count:
        return Page(shown, start, "")
    last = [_as_json(getattr(shown[-1], key)) for key in order.keys]
    return Page(shown, start, write_cursor(order.keys, start + count, *last))


def write_cursor(keys: tuple[str, ...], *values: Any) -> str:
    """Return a cursor that holds values and is valid for these keys only."""
    return signing.dumps(values, salt=_salt(keys))


def read_cursor(cursor: str, keys: tuple[str, ...]) -> list[Any]:
    """Return the values of a cursor. Raises InvalidQuery, also for other keys."""
    try:
        return signing.loads(cursor, salt=_salt(keys))
    except signing.BadSignature as error:
        raise InvalidQuery("This link to the next page is not valid.") from error


def _salt(keys: tuple[str, ...]) -> str:
    return f"collecting {' '.join(keys)}"


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, int | float | str) else str(value)
