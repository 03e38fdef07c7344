"""Takedowns: items that are rejected at import, and hidden where they are imported."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import numpy as np
from django.db.models import Q, QuerySet

from search.clickhouse import writer
from search.clickhouse.schema import ItemTable
from search.errors import InvalidQuery, NotFound
from search.links import trim
from search.models import Dataset, Removal
from search.query.filters import LAST_ITEM

Kind = Removal.Kind
REJECT_REASON = "It is on a list of what must not be found."
MAX_AT_ONCE = 5_000  # values in one statement
# The engine's conditions for the rows of values.
CONDITIONS = {
    Kind.ITEM: "id IN {values:Array(UInt64)}",
    Kind.URL: r"trimBoth(url, ' \t\r\n') IN {values:Array(String)}",
    Kind.MD5: "lower(metadata['md5']) IN {values:Array(String)}",
}


def digest(kind: str, value: str) -> int:
    """Return the first 8 bytes of the SHA-256 of kind and value, as signed integer."""
    sha256 = hashlib.sha256(f"{kind}:{value}".encode("utf-8", "replace")).digest()
    return int.from_bytes(sha256[:8], "little", signed=True)


@dataclass(frozen=True)
class RemovalList:
    """The digests that apply to one dataset: int64, sorted, by kind."""

    digests: dict[str, np.ndarray]

    @classmethod
    def of(cls, dataset: Dataset) -> "RemovalList":
        removals = removals_for(dataset)
        return cls(
            {
                kind: np.sort(
                    np.fromiter(
                        removals.filter(kind=kind)
                        .values_list("digest", flat=True)
                        .iterator(chunk_size=100_000),
                        np.int64,
                    )
                )
                for kind in Kind.values
            }
        )

    def contains(
        self,
        ids: Sequence[int] | np.ndarray,
        urls: Iterable[str],
        md5s: Iterable[str] | None = None,
    ) -> np.ndarray:
        """Return which items are on the list: bool, shape (len(ids),).

        The other arguments are as long as `ids`; `md5s` are hexadecimal, and left out
        where the files are not known.
        """
        listed = self._contains(Kind.ITEM, map(str, ids), len(ids))
        listed |= self._contains(Kind.URL, map(trim, urls), len(ids))
        if md5s is not None:
            listed |= self._contains(Kind.MD5, map(str.lower, md5s), len(ids))
        return listed

    def _contains(self, kind: str, values: Iterable[str], count: int) -> np.ndarray:
        listed = self.digests[kind]
        if not len(listed):
            return np.zeros(count, bool)
        digests = np.fromiter((digest(kind, value) for value in values), np.int64)
        # The list is the sorted side: it may have millions.
        places = np.minimum(np.searchsorted(listed, digests), len(listed) - 1)
        return listed[places] == digests


def removals_for(dataset: Dataset) -> QuerySet[Removal]:
    """Return the removals that apply to a dataset, its own and those of all."""
    # By key, since the dataset may not be stored yet.
    return Removal.objects.filter(Q(dataset=dataset.pk) | Q(dataset=None))


def needs_removal_list(dataset: Dataset) -> bool:
    """Return whether nothing may be imported or fetched before a list is loaded.

    LAION was found to link to illegal images; an admin may exempt a dataset.
    """
    is_affected = dataset.kind == Dataset.Kind.LAION
    if not is_affected or dataset.without_removal_list:
        return False
    return not removals_for(dataset).exists()


def add(
    kind: str, values: Iterable[str], dataset: Dataset | None, reason: str = ""
) -> int:
    """Enter values that are not on the list yet; return how many.

    They apply to imports from now on; `hide` applies them to imported items.
    """
    values, new, normalize = iter(values), 0, normalizer(kind)
    check_scope(kind, dataset)
    while some := list(islice(values, MAX_AT_ONCE)):
        unknown = {digest(kind, value): value for value in map(normalize, some)}
        known = Removal.objects.filter(kind=kind, dataset=dataset, digest__in=unknown)
        for key in known.values_list("digest", flat=True):
            unknown.pop(key, None)
        Removal.objects.bulk_create(
            Removal(kind=kind, value=value, digest=key, dataset=dataset, reason=reason)
            for key, value in unknown.items()
        )
        new += len(unknown)
    return new


def check_scope(kind: str, dataset: Dataset | None) -> None:
    """Raise InvalidQuery for ids without a dataset."""
    if kind == Kind.ITEM and dataset is None:
        raise InvalidQuery("An item's number belongs to one dataset: choose it.")


def normalizer(kind: str) -> Callable[[str], str]:
    """Return the function that normalizes values of a kind; it raises InvalidQuery."""

    def normalize(text: str) -> str:
        text = trim(text)
        if "\0" in text or not _is_unicode(text):
            raise InvalidQuery("It is not text in UTF-8.")
        if kind == Kind.ITEM:
            number = text.isascii() and text.isdigit() and len(text) < 20
            if not (number and int(text) <= LAST_ITEM):
                raise InvalidQuery(f"“{text[:60]}” is not the number of an item.")
            return str(int(text))
        if kind == Kind.MD5:
            text = text.lower()
            if len(text) != 32 or set(text) - set("0123456789abcdef"):
                raise InvalidQuery(f"“{text[:60]}” is not an MD5 sum.")
        if not text:
            raise InvalidQuery("An address to be removed is empty.")
        return text

    return normalize


def _is_unicode(text: str) -> bool:
    """Return whether a text is free of surrogates, which stand for invalid bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def hide(dataset: Dataset, table: ItemTable, since: datetime | None = None) -> None:
    """Hide the items of a dataset's lists in one of its tables.

    `since` limits them to entries made since then.
    """
    removals = removals_for(dataset).order_by("pk")
    if since is not None:
        removals = removals.filter(created_at__gte=since)
    for kind, condition in CONDITIONS.items():
        values = removals.filter(kind=kind).values_list("value", flat=True)
        for start in range(0, values.count(), MAX_AT_ONCE):
            some = list(values[start : start + MAX_AT_ONCE])
            typed = list(map(int, some)) if kind == Kind.ITEM else some
            _hide(table, condition, typed)


def take_down(dataset: Dataset, item_id: int, reason: str) -> None:
    """Hide an item at once, and reject it from now on."""
    add(Kind.ITEM, [str(item_id)], dataset, reason)
    _hide(dataset.item_table, CONDITIONS[Kind.ITEM], [item_id])


def _hide(table: ItemTable, condition: str, values: list) -> None:
    try:
        writer.hide(table, condition, {"values": values})
    except NotFound:
        return  # nothing has been imported yet
