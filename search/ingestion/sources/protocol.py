"""The protocol of sources of shards, and ranges of shard numbers."""

import hashlib
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from search.clickhouse.schema import SHARD_BITS
from search.errors import ShardUnreadable

LAST_SHARD = 2 ** (53 - SHARD_BITS) - 1  # so that ids stay below 2**53
# The ledger gets a row for each: a typing error such as 0-999999 must not fill it.
# LAION-400M has 410.
MAX_SHARDS = 100_000
SPAN = re.compile(r"(\d{1,18})(?:\s*-\s*(\d{1,18}))?", re.ASCII)


class NoSuchShard(ShardUnreadable):
    """A shard that the source turns out not to have."""


@dataclass(frozen=True)
class Rejected:
    """A row that is not imported, its URL and file, and the reason in a few words."""

    row: int
    url: str
    reason: str
    file: str = ""


@dataclass(frozen=True)
class Batch:
    """The rows of a shard from `start` to before `end`, each accepted or rejected.

    `rows` has the numbers within the shard of the accepted rows: those of `image` and
    `text` (float16 or float32, shape (rows, dimension)) and of `table`, whose columns
    have LAION's names. `notes` counts rows by a sentence for the user: how they were
    read, or what was changed in them.
    """

    start: int
    end: int
    rows: np.ndarray
    image: np.ndarray
    text: np.ndarray
    table: pa.Table
    rejected: tuple[Rejected, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)


def check_rows(batch: Batch, start: int) -> None:
    """Raise ShardUnreadable unless a batch starts there and accounts for each row."""
    rejected = np.array([row.row for row in batch.rejected], np.int64)
    numbers = np.sort(np.concatenate([batch.rows, rejected]))
    complete = np.array_equal(numbers, np.arange(batch.start, batch.end))
    if batch.start != start or not complete or len(batch.table) != len(batch.rows):
        raise ShardUnreadable(
            f"Row {start:,} was to be read, but the rows {batch.start:,} to "
            f"{batch.end - 1:,} were: {len(batch.rows):,} items, {len(rejected):,} "
            "left out."
        )


class OpenShard(Protocol):
    """A shard whose files are valid; read in batches, never all at once."""

    @property
    def fingerprint(self) -> str:
        """An identifier, of at most 64 characters, that changes with the rows."""

    @property
    def bytes(self) -> int: ...

    @property
    def has_text_vectors(self) -> bool:
        """Return whether `text` of its batches has the embeddings of captions."""

    def __len__(self) -> int: ...

    def batches(self, start: int) -> Generator[Batch, None, None]:
        """Yield the batches from a row that starts one; the bounds never change."""


class Source(Protocol):
    """The origin of a dataset's shards."""

    def shards(self) -> list[int]:
        """Return their numbers, ascending; raises ShardUnreadable."""

    def open(self, number: int, dimension: int) -> OpenShard:
        """Open a shard, after fetching it if need be.

        Raises ShardUnreadable where no other attempt would succeed, SearchUnavailable
        where a later one may, NoSuchShard for one of `shards` that is not there.
        """

    def discard(self, number: int) -> None:
        """Delete the files that `open` has fetched for a shard, and no others."""


def parse_range(text: str) -> list[int]:
    """Return the numbers, ascending and unique, of a text such as "0-9,12,20-22".

    Raises ShardUnreadable.
    """
    spans = [_span(part.strip()) for part in text.split(",") if part.strip()]
    if not spans:
        raise ShardUnreadable("No shards are named; write them as 0-9,12,20-22.")
    numbers: list[int] = []
    for first, last in sorted(spans):
        first_new = max(first, numbers[-1] + 1) if numbers else first
        numbers.extend(range(first_new, last + 1))
    if len(numbers) > MAX_SHARDS:
        raise ShardUnreadable(
            f"{len(numbers):,} shards are too many; at most {MAX_SHARDS:,} can be "
            "named."
        )
    return numbers


def check_number(number: int) -> None:
    """Raise ShardUnreadable for a number whose ids would be too large."""
    if number > LAST_SHARD:
        raise ShardUnreadable(
            f"The shard number {number} is too high: the last is {LAST_SHARD}."
        )


def fingerprint(*files: Path, read_as: str = "") -> str:
    """Return a digest of the size and mtime of files, and of how they are read."""
    stats = [file.stat() for file in files]
    versions = [f"{stat.st_size}:{stat.st_mtime_ns}" for stat in stats]
    return hashlib.sha256(":".join([*versions, read_as]).encode()).hexdigest()


def _span(part: str) -> tuple[int, int]:
    match = SPAN.fullmatch(part)
    if not match:
        raise ShardUnreadable(
            f"“{part[:40]}” is neither a shard's number nor a range such as 20-22."
        )
    first, last = int(match[1]), int(match[2] or match[1])
    check_number(max(first, last))
    if first > last:
        raise ShardUnreadable(f"The range {first}-{last} ends before it begins.")
    return first, last
