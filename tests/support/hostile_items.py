"""A small dataset whose captions and addresses are as bad as they come."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from search.clickhouse.schema import SHARD_BITS
from support.crowd import Crowd, bfloat16, stored, unit
from support.tiny_shards import drop_tables

ROWS, DIMENSION = 120, 16
CAPTIONS = [
    '=HYPERLINK("http://evil.example")',
    "+1",
    "-2 degrees",
    "@SUM(A1)",
    "\ttab",
    "\rreturn",
    'a "quoted", comma',
    "two\nlines\r\nor three",
    "a \0 within",
    "日本語 🏠 e\u0301 \u202eleft",
    "",
    "<script>alert(1)</script>",
    "a" * 5_000,
    "'; DROP TABLE item_hostile --",
    "NaN",
]
ADDRESSES = [
    "https://example.org/{}.jpg",
    "http://example.org/{}.jpg",
    "HTTPS://EXAMPLE.ORG/{}.jpg",
    "ftp://example.org/{}.jpg",
    "javascript:alert({})",
    "",
]
ON_THE_WEB = 3  # of these


def drawn() -> Crowd:
    """Two shards in two partitions; every seventh row is removed, every fifth NSFW."""
    random = np.random.default_rng(7)
    numbers = np.arange(ROWS)
    shards = np.where(numbers < ROWS // 2, 0, 4 << SHARD_BITS)
    image = unit(random.standard_normal((ROWS, DIMENSION)))
    return Crowd(
        ids=(shards + numbers % (ROWS // 2)).astype(np.uint64),
        image=bfloat16(image),
        text=bfloat16(unit(image + 0.3 * random.standard_normal(image.shape))),
        facts=pa.table(
            {
                "url": [ADDRESSES[n % len(ADDRESSES)].format(n) for n in numbers],
                "caption": _cycled(CAPTIONS),
                "nsfw": np.where(numbers % 5, "UNLIKELY", "NSFW"),
                "license": _cycled(["", "CC-BY", "=1+1"]),
                "similarity": np.where(numbers % 11, numbers / ROWS, np.nan),
                "width": (numbers * 10).astype(np.uint32),
                "height": np.full(ROWS, 480, np.uint32),
                "md5": [f"{n:032x}" for n in numbers],
                "exif": _cycled(['{"a": "=1"}', None, "\0 🏠"]),
                "deleted": (numbers % 7 == 0).astype(np.uint8),
            }
        ),
    )


def _cycled(values: list) -> list:
    return [values[n % len(values)] for n in range(ROWS)]


@contextmanager
def dataset(django_db_blocker) -> Iterator[Crowd]:
    """The dataset “hostile”, for as long as a module needs it."""
    crowd = drawn()
    with django_db_blocker.unblock():
        made = stored(crowd, "hostile", build=False)
    yield crowd
    with django_db_blocker.unblock():
        drop_tables(made)
        made.delete()


def metadata(crowd: Crowd, row: int) -> dict[str, str]:
    told = {name: crowd.facts[name][row].as_py() for name in ("md5", "exif")}
    return {name: value for name, value in told.items() if value is not None}
