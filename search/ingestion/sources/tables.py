"""Tables on the server's disk: files, columns and rows of TSV, CSV and Parquet."""

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

# The names by which columns are recognized, the likeliest first.
NAMES = {
    # Of bytes; a column of other names is one if it has bytes of images.
    "image": ("image", "jpg", "jpeg", "png", "webp", "img", "image_bytes", "bytes"),
    "url": ("url", "image_url", "photo_image_url", "img_url"),
    "caption": (
        "caption",
        "text",
        "txt",
        "photo_description",
        "description",
        "alt_text",
        "title",
    ),
    # The size of the published image, where there are two.
    "width": ("original_width", "width", "photo_width"),
    "height": ("original_height", "height", "photo_height"),
    "nsfw": ("nsfw",),
    "license": ("license",),
    # Of image and caption; exports of searches have that to the query as well.
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
    """Return the files with an ending: a file, or those of a folder or a pattern.

    A pattern is such as /data/photos.tsv*. They are sorted by name.
    """
    pattern = f"{escape(source)}/*" if os.path.isdir(source) else source
    files = [source] if os.path.isfile(source) else glob(pattern)
    return sorted(
        file
        for file in map(Path, files)
        if ending.fullmatch(file.name) and file.is_file()
    )


def files_of(source: str, ending: re.Pattern, kinds: str) -> list[Path]:
    """Return the files with an ending; raises ShardUnreadable without any."""
    files = find_tables(source, ending)
    if not files:
        raise ShardUnreadable(f"There is no {kinds} at “{source}” on this server.")
    return files


def numbered(files: list[Path]) -> dict[int, Path]:
    """Return files by the last number in their names, if these are unique.

    Else they are numbered in their order: new files have to sort last.
    """
    numbers = [LAST_NUMBER.findall(file.stem)[-1:] for file in files]
    by_name = {
        int(number[0]): file
        for number, file in zip(numbers, files, strict=True)
        if number
    }
    return by_name if len(by_name) == len(files) else dict(enumerate(files))


def roles_of(
    configured: Mapping[str, str], names: list[str], wanted: tuple[str, ...]
) -> dict[str, str]:
    """Return the columns by role, among `names`: {"url": "photo_image_url", …}.

    `configured` has the columns of some roles, or of other names that columns are to
    get; other `wanted` roles, which may be missing, are recognized by NAMES. Case does
    not matter. Raises ShardUnreadable for a configured column that is missing.
    """
    if not isinstance(configured, Mapping):
        raise ShardUnreadable('The columns are not written as {"url": "link", …}.')
    by_name = {name.lower(): name for name in names}
    if len(by_name) < len(names):
        raise ShardUnreadable("The table has two columns of the same name.")
    for name in map(str, configured.values()):
        if name.lower() not in by_name:
            raise ShardUnreadable(
                f"There is no column named “{name[:60]}”; there are "
                f"{', '.join(names)[:300]}."
            )
    roles = {role: by_name[name.lower()] for role, name in configured.items()}
    for role in wanted:
        known = [by_name[name] for name in NAMES[role] if name in by_name]
        if known:
            roles.setdefault(role, known[0])
    return roles


def with_names(
    table: pa.Table, roles: Mapping[str, str], computed: Collection[str] = ()
) -> pa.Table:
    """Return a table with columns named by their roles, and other columns.

    A column whose name is taken, or `computed` later, becomes original_…, as
    img2dataset names them, or is left out if that name is taken as well.
    """
    columns = {_original(role, computed): table[roles[role]] for role in roles}
    taken = {*map(str.lower, columns), *computed}
    for name in table.column_names:
        renamed = _original(name, taken)
        if name not in roles.values() and renamed.lower() not in taken:
            columns[renamed] = table[name]
            taken.add(renamed.lower())
    return pa.table(columns)


def _original(name: str, taken: Collection[str]) -> str:
    return f"original_{name}" if name.lower() in taken else name


class TableFile:
    """The rows of one file, read in order.

    The cells of TSV and CSV, whose first line has the names, are texts; a line with
    more or fewer cells is a row of nulls. Raises ShardUnreadable for a broken file.
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
        """Yield the rows from `first` to before `last`, `size` at a time."""
        with as_shard_unreadable(self.path.name):
            rows = self._parquet_rows if self.is_parquet else self._text_rows
            yield from rows(first, last, size)

    def _text_rows(self, first: int, last: int, size: int) -> Iterator[pa.Table]:
        lines = islice(_lines(self.path), 1 + first, 1 + last)
        nulls = [None] * len(self.names)
        while some := list(islice(lines, size)):
            rows = [line if len(line) == len(nulls) else nulls for line in some]
            cells = [
                pa.array(column, pa.string()) for column in zip(*rows, strict=True)
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
        buffered = file.schema_arrow.empty_table()
        for records in file.iter_batches(size, row_groups=groups):
            start, end = max(first - at, 0), max(last - at, 0)
            at += len(records)
            some = pa.Table.from_batches([records[start:end]])
            buffered = pa.concat_tables([buffered, some])
            while len(buffered) >= size:
                yield buffered[:size]
                buffered = buffered[size:]
        if len(buffered):
            yield buffered


def _lines(path: Path) -> Iterator[list[str]]:
    """Yield the cells of lines, quoted as in RFC 4180; Unsplash quotes in TSV, too."""
    delimiter = "\t" if TABS.fullmatch(path.name) else ","
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            yield from filter(None, csv.reader(file, delimiter=delimiter))
        except csv.Error as error:
            raise ShardUnreadable(f"{path.name} cannot be read: {error}.") from error


@lru_cache(maxsize=10_000)
def _line_count(path: Path, size: int, changed: int) -> int:
    """Count the lines but the first; cached, since each shard of a file needs it."""
    return sum(1 for _ in _lines(path)) - 1
