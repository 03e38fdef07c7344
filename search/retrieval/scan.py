"""Scan a dataset in batches, in the order of ids.

The shards are fixed at the start. An interrupted scan resumes with the id after its
last batch, and yields the batches that it would have yielded otherwise: their bounds
are on a fixed grid of ids. Items imported meanwhile are included if the scan has not
passed their ids, so that no id comes twice.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from django.db.models import Count, Max, Sum

from search.clickhouse import scan
from search.clickhouse.filters import NSFW, REMOVED, VISIBLE, condition_of
from search.clickhouse.scan import DistanceLimit, ScannedRows
from search.clickhouse.schema import VECTOR_COLUMNS
from search.clickhouse.writer import shard_bounds
from search.models import Dataset
from search.query.filters import Filters
from search.removals.takedowns import RemovalList, removals_for

from .dataset_index import DatasetIndex
from .query_encoder import VECTOR_FIELDS, searched_fields

MAX_AT_ONCE = 5_000  # items of a batch, whose contents are in memory
WINDOW = 10 * MAX_AT_ONCE  # ids that one statement looks through
# Above the rounding error of distances; the similarity itself decides.
ROUNDED = 1e-5

# (number, visible rows) of the shards to scan, by number.
Shards = Sequence[tuple[int, int]]


def shards_of(dataset: Dataset) -> list[tuple[int, int]]:
    """Return the shards that have items, by the ledger."""
    there = dataset.shards.filter(rows_visible__gt=0).order_by("number")
    return list(there.values_list("number", "rows_visible"))


@dataclass(frozen=True)
class Batch:
    """Items found, and counts of the hidden ones between them.

    `table` has the columns of `contents`, and `similarity` (float32) if items were
    compared; the next batch begins at the id `next`.
    """

    table: pa.Table
    next: int
    removed: int = 0
    nsfw: int = 0


@dataclass(frozen=True)
class Scan:
    """Items that pass the filters, in the order of their ids.

    With a `vector` (float32, of unit length) only those whose `field` is at least
    `at_least` similar to it, of "both" the nearer one; every item is compared. Ignores
    the filters `dedupe` and `cutoff`.
    """

    dataset: Dataset
    shards: Shards
    filters: Filters = Filters()
    vector: np.ndarray | None = None
    field: str = "image"
    at_least: float = -math.inf
    with_embeddings: bool = False

    @property
    def to_look_at(self) -> int:
        return sum(rows for _, rows in self.shards)

    def looked_at(self, item_id: int) -> int:
        """Return how many items there are before an id, by the ledger."""
        firsts, before = self._shard_starts
        place = int(np.searchsorted(firsts, item_id, "right")) - 1
        if place < 0:
            return 0
        rows = self.shards[place][1]
        return int(before[place]) + min(rows, item_id - int(firsts[place]))

    @cached_property
    def _shard_starts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the first id of each shard, and the number of items before it."""
        numbers = (number for number, _ in self.shards)
        firsts = np.array([shard_bounds(number)[0] for number in numbers], np.int64)
        rows = np.array([rows for _, rows in self.shards], np.int64)
        return firsts, np.cumsum(rows) - rows

    def batches(self, start: int = 0, size: int = MAX_AT_ONCE) -> Iterator[Batch]:
        """Yield batches from an id on, of up to `size` items, at most MAX_AT_ONCE.

        A batch may be empty. Raises SearchUnavailable, NotFound.
        """
        for number, _ in self.shards:
            first, last = shard_bounds(number)
            if last < start:
                continue
            end = scan.end_of_shard(self.dataset.item_table, number)
            at = max(first, start)
            while at < end:
                stop = min(at - (at - first) % WINDOW + WINDOW, end)
                yield from self._of_window(at, stop, size)
                at = stop

    def _of_window(self, start: int, stop: int, size: int) -> Iterator[Batch]:
        found = self._passing(start, stop)
        shown = np.flatnonzero(found.hidden == VISIBLE)
        begin = start
        for at in range(0, max(len(shown), 1), size):
            rows = shown[at : at + size]
            is_last = at + size >= len(shown)
            end = stop if is_last else int(found.ids[rows[-1]]) + 1
            between = (found.ids >= begin) & (found.ids < end)
            hidden = found.hidden[between]
            yield Batch(
                self._table(found, rows),
                end,
                removed=int(np.count_nonzero(hidden == REMOVED)),
                nsfw=int(np.count_nonzero(hidden == NSFW)),
            )
            begin = end

    def _passing(self, start: int, stop: int) -> ScannedRows:
        """Return the items that match, visible or hidden."""
        found = scan.scan_rows(
            self.dataset.item_table,
            start,
            stop - 1,
            condition=condition_of(self.filters, self.dataset.item_table),
            nsfw=self.dataset.hiding(self.filters.nsfw),
            limit=self._near(),
        )
        wanted = ~np.isin(found.ids, np.array(self.filters.exclude, np.uint64))
        distances = found.distances
        if distances is not None:
            similarities = DatasetIndex(self.dataset).similarities(distances)
            wanted &= similarities >= self.at_least
            distances = distances[wanted]
        return ScannedRows(found.ids[wanted], found.hidden[wanted], distances)

    def _near(self) -> DistanceLimit | None:
        if self.vector is None:
            return None
        farthest = math.inf
        if self.dataset.metric == Dataset.Metric.COSINE:
            farthest = 1 - self.at_least + ROUNDED
        elif self.at_least > 0:
            farthest = (1 / self.at_least - 1) * (1 + ROUNDED) + ROUNDED
        vectors = dict.fromkeys(searched_fields(self.field), self.vector)
        return DistanceLimit(vectors, farthest)

    def _table(self, found: ScannedRows, rows: np.ndarray) -> pa.Table:
        ids = found.ids[rows]
        table = contents(self.dataset, ids, with_embeddings=self.with_embeddings)
        if found.distances is None:
            return table
        similarities = DatasetIndex(self.dataset).similarities(found.distances[rows])
        places = np.searchsorted(ids, table["id"].to_numpy())
        column = pa.array(similarities[places].astype(np.float32))
        return table.append_column("similarity", column)


def contents(
    dataset: Dataset, ids: Sequence[int], *, with_embeddings: bool = False
) -> pa.Table:
    """Return all columns of up to MAX_AT_ONCE items, in the order of `ids`.

    `caption_similarity` is null where it is unknown. `image_embedding` and
    `text_embedding` are lists of float32, all of the dataset's dimension; the latter
    is null if captions have no embeddings. Items that are unknown or removed are left
    out.
    """
    fields = VECTOR_FIELDS if with_embeddings else ()
    table = scan.item_contents(dataset.item_table, ids, fields)
    similarities = table["caption_similarity"].to_numpy()
    known = pa.array(similarities, mask=~np.isfinite(similarities))
    place = table.column_names.index("caption_similarity")
    table = table.set_column(place, "caption_similarity", known)
    if dataset.safety != Dataset.Safety.LABELLED:
        place = table.column_names.index("nsfw")
        rating = pa.repeat(dataset.rating_of(""), len(table))
        table = table.set_column(place, "nsfw", rating)
    text = VECTOR_COLUMNS["text"]
    if text in table.column_names and not dataset.has_text_vectors:
        place = table.column_names.index(text)  # it has copies of the image embeddings
        table = table.set_column(place, text, pa.nulls(len(table), table[text].type))
    return table


def without_listed(table: pa.Table, removals: RemovalList) -> pa.Table:
    """Drop the rows on removal lists, which may not be hidden in the engine yet."""
    if not any(map(len, removals.digests.values())):
        return table
    named = removals.contains(
        table["id"].to_pylist(),
        table["url"].to_pylist(),
        url_digests(table["metadata"]),
    )
    return table.filter(pa.array(~named)) if named.any() else table


def url_digests(metadata: pa.ChunkedArray) -> Iterator[str]:
    """Yield the MD5 digest of each item's image, or ""."""
    for entries in metadata.to_pylist():
        yield dict(entries or ()).get("md5", "")


VERSIONED_COLUMNS = ("number", "state", "rows_visible", "epoch", "fingerprint")


def dataset_version(dataset: Dataset) -> dict[str, Any]:
    """Return a version that changes whenever shards are imported or removed.

    `digest` hashes the ledger; `items` and `shards` count what is visible; `latest` is
    when the last shard was published (ISO 8601, or None).
    """
    shards = dataset.shards.filter(rows_visible__gt=0).order_by("number")
    digest = hashlib.sha256(f"{dataset.slug}:{dataset.pk}".encode())
    for row in shards.values_list(*VERSIONED_COLUMNS).iterator(chunk_size=2_000):
        digest.update(json.dumps(row).encode())
    counted = shards.aggregate(
        items=Sum("rows_visible"), shards=Count("pk"), latest=Max("published_at")
    )
    latest = counted["latest"]
    return {
        "digest": digest.hexdigest(),
        "items": counted["items"] or 0,
        "shards": counted["shards"],
        "latest": latest.isoformat() if latest else None,
    }


def removals_version(dataset: Dataset) -> dict[str, Any]:
    """Return a version that changes with the removal lists that apply to a dataset.

    `count` counts their entries; `latest` is when the last one was made.
    """
    found = removals_for(dataset).aggregate(
        count=Count("pk"), keys=Sum("pk"), last=Max("pk"), latest=Max("created_at")
    )
    latest = found["latest"].isoformat() if found["latest"] else None
    seen = f"{found['count']}:{found['keys']}:{found['last']}:{latest}"
    return {
        "digest": hashlib.sha256(seen.encode()).hexdigest(),
        "count": found["count"],
        "latest": latest,
    }
