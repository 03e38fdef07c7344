"""Tables on the server's disk, as TSV, CSV or Parquet: files, columns and rows."""

import csv
import os
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from glob import escape, glob
from itertools import accumulate, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from search.errors import ShardUnreadable

from .read_errors import as_shard_unreadable

PARQUET = re.compile(r".+\.parquet", re.IGNORECASE)
# Unsplash numbers its files at their end: photos.tsv000.
TABLE = re.compile(r".+\.(?:tsv|csv)\d*|.+\.parquet", re.ASCII | re.IGNORECASE)
TABS = re.compile(r".+\.tsv\d*", re.ASCII | re.IGNORECASE)
LAST_NUMBER = re.compile(r"(\d+)\D*", re.ASCII)

# By which names a column is known, the likeliest first.
NAMES = {
    "url": ("url", "image_url", "photo_image_url", "img_url"),
    "caption": (
        "caption",
        "text",
        "photo_description",
        "description",
        "alt_text",
        "title",
    ),
    # Of the picture as it was published, where there are two.
    "width": ("original_width", "width", "photo_width"),
    "height": ("original_height", "height", "photo_height"),
    "nsfw": ("nsfw",),
    "license": ("license",),
    # Of picture and caption; an export of a search has that to the query, too.
    "similarity": ("caption_similarity", "similarity"),
    "embedding": (
        "embedding",
        "image_embedding",
        "vector",
        "image_vector",
        "embeddings",
    ),
    "text_embedding": ("text_embedding", "caption_embedding", "text_vector"),
    "id": ("photo_id", "id", "key", "image_id"),
    "keyword": ("keyword",),
}


def find_tables(source: str, ending: re.Pattern) -> list[Path]:
    """A file; or those of a folder, or of a pattern such as /data/photos.tsv*, by name.

    None when nothing there has such an ending.
    """
    within = os.path.isdir(source)
    pattern = f"{escape(source)}/*" if within else source
    files = [source] if os.path.isfile(source) else glob(pattern)
    return sorted(
        file
        for file in map(Path, files)
        if ending.fullmatch(file.name) and file.is_file()
    )


def files_of(source: str, ending: re.Pattern, kinds: str) -> list[Path]:
    """The same; raises ShardUnreadable when there is none."""
    files = find_tables(source, ending)
    if not files:
        raise ShardUnreadable(f"There is no {kinds} at “{source}” on this server.")
    return files


def numbered(files: list[Path]) -> dict[int, Path]:
    """Files by the last number in their names, if each has one of its own.

    Else by their order, so that a new name belongs at its end.
    """
    numbers = [LAST_NUMBER.findall(file.stem)[-1:] for file in files]
    by_name = {
        int(number[0]): file
        for number, file in zip(numbers, files, strict=True)
        if number
    }
    return by_name if len(by_name) == len(files) else dict(enumerate(files))


def roles_of(
    given: Mapping[str, str], names: list[str], wanted: tuple[str, ...]
) -> dict[str, str]:
    """Which of the columns `names` is what: {"url": "photo_image_url", …}.

    `given` says so for some, by names of ours or any that a column is to have; for the
    `wanted`, which may be missing, NAMES does else. Case does not matter. Raises
    ShardUnreadable for a given column that is not there.
    """
    if not isinstance(given, Mapping):
        raise ShardUnreadable('The columns are not written as {"url": "link", …}.')
    there = {name.lower(): name for name in names}
    if len(there) < len(names):
        raise ShardUnreadable("The table has two columns of the same name.")
    for name in map(str, given.values()):
        if name.lower() not in there:
            raise ShardUnreadable(
                f"There is no column named “{name[:60]}”; there are "
                f"{', '.join(names)[:300]}."
            )
    roles = {role: there[name.lower()] for role, name in given.items()}
    for role in wanted:
        known = [there[name] for name in NAMES[role] if name in there]
        if known:
            roles.setdefault(role, known[0])
    return roles


def with_names(
    table: pa.Table, roles: Mapping[str, str], computed: Collection[str] = ()
) -> pa.Table:
    """The columns named by their roles, and the others by their own names.

    A column whose name is taken, or is one of those `computed` later, is kept as
    original_…; so img2dataset calls them. It is left out if there is one already.
    """
    columns = {_original(role, computed): table[roles[role]] for role in roles}
    taken = {*map(str.lower, columns), *computed}
    for name in table.column_names:
        kept = _original(name, taken)
        if name not in roles.values() and kept.lower() not in taken:
            columns[kept] = table[name]
            taken.add(kept.lower())
    return pa.table(columns)


def _original(name: str, taken: Collection[str]) -> str:
    return f"original_{name}" if name.lower() in taken else name


class TableFile:
    """The rows of one file, read in order and by stretches.

    The cells of TSV and CSV, with a first line of names, are texts; a line that has
    more or fewer of them is a row of nulls. Raises ShardUnreadable for a broken file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.is_parquet = bool(PARQUET.fullmatch(path.name))
        with as_shard_unreadable(path.name):
            self.names = (
                pq.read_schema(path).names
                if self.is_parquet
                else next(_lines(path), [])
            )
        if not self.names:
            raise ShardUnreadable(f"{path.name} is empty.")

    def __len__(self) -> int:
        with as_shard_unreadable(self.path.name):
            if self.is_parquet:
                return pq.read_metadata(self.path).num_rows
            stat = self.path.stat()
            return _line_count(self.path, stat.st_size, stat.st_mtime_ns)

    def read(self, first: int, last: int, size: int) -> Iterator[pa.Table]:
        """The rows from `first` to before `last`, `size` together."""
        with as_shard_unreadable(self.path.name):
            rows = self._parquet_rows if self.is_parquet else self._text_rows
            yield from rows(first, last, size)

    def _text_rows(self, first: int, last: int, size: int) -> Iterator[pa.Table]:
        lines = islice(_lines(self.path), 1 + first, 1 + last)
        nothing = [None] * len(self.names)
        while some := list(islice(lines, size)):
            whole = [line if len(line) == len(nothing) else nothing for line in some]
            cells = [
                pa.array(column, pa.string()) for column in zip(*whole, strict=True)
            ]
            yield pa.table(cells, self.names)

    def _parquet_rows(self, first: int, last: int, size: int) -> Iterator[pa.Table]:
        file = pq.ParquetFile(self.path)
        counts = [
            file.metadata.row_group(group).num_rows
            for group in range(file.num_row_groups)
        ]
        ends = list(accumulate(counts))
        groups = [
            group
            for group, end in enumerate(ends)
            if first < end and end - counts[group] < last
        ]
        at = ends[groups[0]] - counts[groups[0]] if groups else 0
        held = file.schema_arrow.empty_table()
        for records in file.iter_batches(size, row_groups=groups):
            start, end = max(first - at, 0), max(last - at, 0)
            at += len(records)
            some = pa.Table.from_batches([records[start:end]])
            held = pa.concat_tables([held, some])
            while len(held) >= size:
                yield held[:size]
                held = held[size:]
        if len(held):
            yield held


def _lines(path: Path) -> Iterator[list[str]]:
    """Quoted as RFC 4180 has it, with tabs, too: so Unsplash does."""
    between = "\t" if TABS.fullmatch(path.name) else ","
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            yield from filter(None, csv.reader(file, delimiter=between))
        except csv.Error as error:
            raise ShardUnreadable(f"{path.name} cannot be read: {error}.") from error


@lru_cache(maxsize=10_000)
def _line_count(path: Path, size: int, changed: int) -> int:
    """Kept, since each shard of the file asks for it; the first line is not counted."""
    return sum(1 for _ in _lines(path)) - 1
