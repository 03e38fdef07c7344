"""The contents of a source, with a sample of its rows."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from search.ingestion.sources.image_fetch import SourceImage, fetch_image
from search.ingestion.sources.image_set import LeftOut, Rows
from search.ingestion.sources.read_errors import as_shard_unreadable
from search.ingestion.sources.tables import open_parquet

SAMPLE_ROWS = 50
MAX_PREVIEWS = 12
OPENED_FILES = 200  # whose rows are counted; those of more are estimated

T = TypeVar("T")
Load = Callable[[], SourceImage]


@dataclass(frozen=True)
class Candidate:
    """An image of the sample: its name, its caption, and how to load it."""

    name: str
    caption: str
    load: Load
    is_fetched: bool = False  # from another host


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The contents of a source.

    `columns` may be assigned to `assignable` roles; `roles` are the columns that the
    import takes. The sample has the first rows, by our names. `question` is what a
    person has to decide before the import can work.
    """

    kind: str
    kinds: Sequence[str] = ()  # as which it can be read, if there are several
    what: str
    files: int
    rows: int
    rows_estimated: bool = False
    bytes: int = 0
    columns: Sequence[str] = ()
    assignable: Sequence[str] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    question: str = ""
    sample: pa.Table = field(default_factory=lambda: pa.table({}))
    candidates: Sequence[Candidate] = ()
    left_out: Sequence[LeftOut] = ()
    dimension: int | None = None  # of the embeddings that come with it
    has_text_vectors: bool = True
    files_are_here: bool = True

    def reasons(self) -> list[tuple[str, int, str]]:
        """Return why files are left out: reason, number, and the name of one."""
        counts = Counter(each.reason for each in self.left_out)
        names = {each.reason: each.name for each in reversed(self.left_out)}
        return [(why, count, names[why]) for why, count in counts.most_common()]


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return up to `count` items, evenly spaced from the first to the last."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def sampled_images(read: Iterable[Rows]) -> Iterator[Candidate]:
    """Yield images of rows, evenly spaced."""
    places = [(rows, place) for rows in read for place in range(len(rows.table))]
    for rows, place in spread(places, MAX_PREVIEWS):
        cell = partial(_cell, rows.table, place)
        load = partial(rows.load, place, cell("url"))
        yield Candidate(cell("file"), cell("caption"), load)


def by_address(sample: pa.Table) -> Iterator[Candidate]:
    places = [row for row in range(len(sample)) if _cell(sample, row, "url")]
    for row in spread(places, MAX_PREVIEWS):
        url = _cell(sample, row, "url")
        caption = _cell(sample, row, "caption")
        yield Candidate(url, caption, partial(fetch_image, url), is_fetched=True)


def _cell(table: pa.Table, row: int, name: str) -> str:
    if name not in table.column_names:
        return ""
    return str(table[name][row].as_py() or "").strip()


def joined(read: Sequence[Rows]) -> pa.Table:
    return pa.concat_tables([rows.table for rows in read], promote_options="default")


def until(read: Iterator[Rows], count: int) -> Iterator[Rows]:
    """Yield rows until there are so many."""
    for rows in read:
        yield rows
        count -= len(rows.table)
        if count <= 0:
            return


def first_rows(file: pq.ParquetFile) -> pa.Table:
    with as_shard_unreadable("The file"):
        batches = file.iter_batches(SAMPLE_ROWS, use_threads=False)
        first = next(chain(batches, [None]))
        empty = file.schema_arrow.empty_table()
        return empty if first is None else pa.Table.from_batches([first])


def count_rows(files: Sequence[Path]) -> tuple[int, bool]:
    """Return the rows of Parquet files, and whether they are estimated."""
    some = spread(files, OPENED_FILES)
    rows = 0
    for path in some:
        with as_shard_unreadable(path.name):
            rows += open_parquet(path).metadata.num_rows
    return round(rows * len(files) / len(some)), len(some) < len(files)


def size_of(path: Path) -> int:
    with as_shard_unreadable(path.name):
        return path.stat().st_size
