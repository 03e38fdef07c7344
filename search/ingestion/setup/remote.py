"""The first shard at an address: a look at its files, of which little is fetched."""

from dataclasses import dataclass
from io import BytesIO
from urllib.parse import urlsplit

import pyarrow.parquet as pq
from django.conf import settings

from search.errors import CannotFetch, ShardUnreadable
from search.fetch import FetchedFile, Limits, fetch
from search.ingestion.sources.laion import check_base, check_pattern
from search.ingestion.sources.protocol import parse_range
from search.ingestion.sources.read_errors import as_shard_unreadable
from search.ingestion.sources.vectors import header_shape
from search.models import Dataset

HEAD_BYTES = 2**10  # of a .npy file
TAIL_BYTES = 2**20  # of a Parquet file
LIMITS = Limits(bytes=2 * TAIL_BYTES, seconds=15.0)
NO_RANGE = "Say which shards the address has, such as 0-409."
# The end of a Parquet file: its metadata, their length in four bytes, and the magic.
MAGIC = b"PAR1"


@dataclass(frozen=True)
class RemoteShard:
    """The size of one shard, and the names of its columns."""

    host: str
    shards: int
    rows: int
    bytes: int
    dimension: int
    columns: list[str]


def look_at(dataset: Dataset) -> RemoteShard:
    """Look at the first shard of a dataset. Raises ShardUnreadable or CannotFetch."""
    check_base(dataset.source)
    if not dataset.shard_range:
        raise ShardUnreadable(NO_RANGE)
    numbers = parse_range(dataset.shard_range)
    patterns = [dataset.image_pattern, dataset.metadata_pattern]
    if dataset.text_pattern:
        patterns.append(dataset.text_pattern)
    for pattern in patterns:
        check_pattern(pattern)
    base, first = dataset.source.rstrip("/"), numbers[0]
    image, metadata, *_ = (f"{base}/{each.format(n=first)}" for each in patterns)
    head = _part(image, f"bytes=0-{HEAD_BYTES - 1}")
    with as_shard_unreadable(_name(image)):
        rows, dimension = header_shape(BytesIO(head.content), _name(image))
    tail = _part(metadata, f"bytes=-{TAIL_BYTES}")
    footer = _footer(tail.content, _name(metadata))
    if footer.num_rows != rows:
        raise ShardUnreadable(
            f"The files differ in their rows: {rows:,} of {_name(image)}, "
            f"{footer.num_rows:,} of {_name(metadata)}."
        )
    return RemoteShard(
        host=urlsplit(base).hostname or "",
        shards=len(numbers),
        rows=rows,
        bytes=_total(head) * (len(patterns) - 1) + _total(tail),
        dimension=dimension,
        columns=footer.schema.to_arrow_schema().names,
    )


def _part(url: str, byte_range: str) -> FetchedFile:
    try:
        return fetch(url, LIMITS, {"Range": byte_range}, settings.SOURCE_ALLOWED_HOSTS)
    except CannotFetch as error:
        raise CannotFetch(f"{url}: {error.message}", error.passing) from error


def _total(part: FetchedFile) -> int:
    """Return the bytes of the whole file: "bytes 0-1023/4096"."""
    total = part.headers.get("content-range", "").rpartition("/")[2]
    return int(total) if total.isascii() and total.isdigit() else len(part.content)


def _footer(tail: bytes, name: str) -> pq.FileMetaData:
    with as_shard_unreadable(name):
        if tail[-4:] != MAGIC:
            raise ValueError
        size = int.from_bytes(tail[-8:-4], "little") + 8
        return pq.read_metadata(BytesIO(MAGIC + tail[-size:]))


def _name(url: str) -> str:
    return url.rpartition("/")[2]
