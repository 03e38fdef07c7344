"""What a source of shards can do, and how the numbers of shards are written."""

import hashlib
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from search.clickhouse.schema import SHARD_BITS
from search.errors import ShardUnreadable

LAST_SHARD = 2 ** (53 - SHARD_BITS) - 1  # so that ids stay below 2**53
# The ledger gets a row for each: a slip such as 0-999999 must not fill it. LAION-400M
# has 410.
MAX_SHARDS = 100_000
SPAN = re.compile(r"(\d{1,18})(?:\s*-\s*(\d{1,18}))?", re.ASCII)


@dataclass(frozen=True)
class Rejected:
    """A row that does not come in, what it pointed at, and why in a few words."""

    row: int
    url: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """The rows of a shard from `start` to before `end`: those that come in, and others.

    `rows` has the numbers within the shard of the rows of `image`, `text` (float16 or
    float32, (rows, dimension)) and `table`, whose columns are named as LAION's.
    """

    start: int
    end: int
    rows: np.ndarray
    image: np.ndarray
    text: np.ndarray
    table: pa.Table
    rejected: tuple[Rejected, ...] = ()


class OpenShard(Protocol):
    """A shard that was found whole; read in batches, never all at once."""

    @property
    def fingerprint(self) -> str:
        """Another one means other rows; at most 64 characters."""

    @property
    def bytes(self) -> int: ...

    def __len__(self) -> int: ...

    def batches(self, start: int) -> Generator[Batch, None, None]:
        """From a row on that began a batch before; the bounds are always the same."""


class Source(Protocol):
    """Where the shards of a dataset come from."""

    def shards(self) -> list[int]:
        """Their numbers, rising; raises ShardUnreadable when it cannot tell them."""

    def open(self, number: int, dimension: int) -> OpenShard:
        """Raises ShardUnreadable for a shard that no further try would mend.

        SearchUnavailable is raised where a later one may.
        """

    def discard(self, number: int) -> None:
        """Deletes what `open` has fetched for a shard; what lies there stays."""


def parse_range(text: str) -> list[int]:
    """The numbers, rising and each once, of a text such as "0-9,12,20-22"."""
    spans = [_span(part.strip()) for part in text.split(",") if part.strip()]
    if not spans:
        raise ShardUnreadable("No shards are named; write them as 0-9,12,20-22.")
    numbers: list[int] = []
    for first, last in sorted(spans):
        unseen = max(first, numbers[-1] + 1) if numbers else first
        numbers.extend(range(unseen, last + 1))
    if len(numbers) > MAX_SHARDS:
        raise ShardUnreadable(
            f"{len(numbers):,} shards are too many; at most {MAX_SHARDS:,} can be "
            "named."
        )
    return numbers


def check_number(number: int) -> None:
    if number > LAST_SHARD:
        raise ShardUnreadable(
            f"The shard number {number} is too high: the last is {LAST_SHARD}."
        )


def fingerprint(*files: Path, read_as: str = "") -> str:
    """Changes when a file does, by size and time of change, or how it is read."""
    stats = [file.stat() for file in files]
    seen = [f"{stat.st_size}:{stat.st_mtime_ns}" for stat in stats]
    return hashlib.sha256(":".join([*seen, read_as]).encode()).hexdigest()


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
