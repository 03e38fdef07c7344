"""What must not be found: kept out of what comes in, hidden where it is in already."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

import numpy as np
import pyarrow as pa
from django.db.models import Q, QuerySet

from search.clickhouse import writer
from search.clickhouse.schema import ItemTable
from search.errors import InvalidQuery, NotFound
from search.ingestion.sources.protocol import Batch, Rejected
from search.models import Dataset, Removal
from search.query.model import LAST_ITEM

Kind = Removal.Kind
REASON = "It is on a list of what must not be found."
MAX_AT_ONCE = 5_000  # values in one statement
# How the engine finds the rows of a value.
CONDITIONS = {
    Kind.ITEM: "id IN {values:Array(UInt64)}",
    Kind.URL: "url IN {values:Array(String)}",
    Kind.MD5: "lower(metadata['md5']) IN {values:Array(String)}",
}


def digest(kind: str, value: str) -> int:
    """The first 8 bytes of the SHA-256 of kind and value, as a signed integer."""
    told = hashlib.sha256(f"{kind}:{value}".encode("utf-8", "replace")).digest()
    return int.from_bytes(told[:8], "little", signed=True)


@dataclass(frozen=True)
class RemovalList:
    """The digests that hold for one dataset, sorted, by kind."""

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

    def without_removed(self, batch: Batch, shard: int) -> Batch:
        """The batch without the rows that are on the list; they are rejected."""
        hashes = map(str.lower, _texts(batch.table, "md5"))
        removed = self.listed(shard, batch.rows, _texts(batch.table, "url"))
        removed |= self._holds(Kind.MD5, hashes, len(batch.rows))
        if not removed.any():
            return batch
        stay = np.flatnonzero(~removed)
        gone = [Rejected(int(row), "", REASON) for row in batch.rows[removed]]
        return replace(
            batch,
            rows=batch.rows[stay],
            image=batch.image[stay],
            text=batch.text[stay],
            table=batch.table.take(pa.array(stay)),
            rejected=(*batch.rejected, *gone),
        )

    def listed(
        self, shard: int, rows: Sequence[int] | np.ndarray, urls: Iterable[str]
    ) -> np.ndarray:
        """Which rows of a shard are on the list by their ids or addresses."""
        first, _ = writer.bounds(shard)
        ids = (str(first + row) for row in rows)
        return self._holds(Kind.ITEM, ids, len(rows)) | self._holds(
            Kind.URL, urls, len(rows)
        )

    def names(
        self, ids: Sequence[int], urls: Iterable[str], sums: Iterable[str]
    ) -> np.ndarray:
        """Which items are on the list; `sums` are the MD5 sums of their pictures."""
        found = self._holds(Kind.ITEM, map(str, ids), len(ids))
        found |= self._holds(Kind.URL, urls, len(ids))
        return found | self._holds(Kind.MD5, map(str.lower, sums), len(ids))

    def _holds(self, kind: str, values: Iterable[str], count: int) -> np.ndarray:
        held = self.digests[kind]
        if not len(held):
            return np.zeros(count, bool)
        asked = np.fromiter((digest(kind, value) for value in values), np.int64)
        # By the order of what is held, of which there may be millions.
        places = np.minimum(np.searchsorted(held, asked), len(held) - 1)
        return held[places] == asked


def _texts(table: pa.Table, name: str) -> Iterable[str]:
    for theirs in table.column_names:
        if theirs.lower() == name:
            return (str(value or "") for value in table[theirs].to_pylist())
    return ("" for _ in range(len(table)))


def removals_for(dataset: Dataset) -> QuerySet[Removal]:
    return Removal.objects.filter(Q(dataset=dataset) | Q(dataset=None))


def add(
    kind: str, values: Iterable[str], dataset: Dataset | None, reason: str = ""
) -> int:
    """Enters values that are not on the list yet; returns how many.

    They keep out what is to come; `hide` hides what is there.
    """
    values, new, value_of = iter(values), 0, check_value(kind)
    check_scope(kind, dataset)
    while some := list(islice(values, MAX_AT_ONCE)):
        wanted = {digest(kind, value): value for value in map(value_of, some)}
        known = Removal.objects.filter(kind=kind, dataset=dataset, digest__in=wanted)
        for key in known.values_list("digest", flat=True):
            wanted.pop(key, None)
        Removal.objects.bulk_create(
            Removal(kind=kind, value=value, digest=key, dataset=dataset, reason=reason)
            for key, value in wanted.items()
        )
        new += len(wanted)
    return new


def check_scope(kind: str, dataset: Dataset | None) -> None:
    if kind == Kind.ITEM and dataset is None:
        raise InvalidQuery("An item's number belongs to one dataset: choose it.")


def check_value(kind: str) -> Callable[[str], str]:
    """What brings a value of this kind into the form in which it is compared."""

    def value_of(text: str) -> str:
        text = text.strip()
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

    return value_of


def _is_unicode(text: str) -> bool:
    """Whether it is free of the surrogates that stand for undecodable bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def hide(dataset: Dataset, table: ItemTable, since: datetime | None = None) -> None:
    """Hides in a table of a dataset what is on its lists, or was put there since."""
    removals = removals_for(dataset).order_by("pk")
    if since is not None:
        removals = removals.filter(created_at__gte=since)
    for kind, condition in CONDITIONS.items():
        values = removals.filter(kind=kind).values_list("value", flat=True)
        for start in range(0, values.count(), MAX_AT_ONCE):
            some = list(values[start : start + MAX_AT_ONCE])
            given = list(map(int, some)) if kind == Kind.ITEM else some
            _hide(table, condition, given)


def take_down(dataset: Dataset, item_id: int, reason: str) -> None:
    """Hides an item at once, and keeps it out from now on."""
    add(Kind.ITEM, [str(item_id)], dataset, reason)
    _hide(dataset.item_table, CONDITIONS[Kind.ITEM], [item_id])


def _hide(table: ItemTable, condition: str, values: list) -> None:
    try:
        writer.hide(table, condition, {"values": values})
    except NotFound:
        return  # nothing has come in yet
