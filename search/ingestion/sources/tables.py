"""Tables on the server's disk: files, columns and rows of TSV, CSV and Parquet."""

import io
import os
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from glob import escape, glob
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from search.errors import ShardUnreadable

from .cells import TEXTS, PlainTable, codec_of, fold, has_bytes, joined, plain_table
from .delimited import Dialect, Reader, Record
from .dialects import opened, survey
from .places import leads_out, open_file, opened_path
from .read_errors import as_shard_unreadable

PARQUET = re.compile(r".+\.parquet", re.IGNORECASE)
# Unsplash numbers its files at their end: photos.tsv000.
TABLE = re.compile(r".+\.(?:tsv|csv)\d*|.+\.parquet", re.ASCII | re.IGNORECASE)
WILDCARD = re.compile(r"[*?\[]")
BLOCK_BYTES = 2**20  # of which the dialect looks at the first, too
STEP_ROWS = 250  # read at a time where values may be images
LAST_NUMBER = re.compile(r"(\d+)\D*", re.ASCII)
ARROW_SCHEMA = b"ARROW:schema"  # a key in the footer of Parquet files
NO_ROLES: Mapping[str, str] = {}

# The names by which columns are recognized, the likeliest first.
NAMES = {
    "url": ("url", "image_url", "photo_image_url", "img_url"),
    "caption": (
        "caption",
        "text",
        "txt",
        "captions",
        "photo_description",
        "description",
        "alt_text",
        "title",
    ),
    # The size of the published image, where there are two.
    "width": ("original_width", "width", "photo_width"),
    "height": ("original_height", "height", "photo_height"),
    "nsfw": ("nsfw", "punsafe"),  # the latter of LAION-5B: a probability
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
    # Of bytes; a column of other names is one if it has bytes of images.
    "image": ("image", "jpg", "jpeg", "png", "webp", "img", "image_bytes", "bytes"),
}

KNOWN_NAMES = frozenset(name for names in NAMES.values() for name in names)


def find_tables(source: str, ending: re.Pattern) -> list[Path]:
    """Return the files with an ending: a file, or those of a folder or a pattern.

    A pattern is such as /data/photos.tsv*. They are sorted by name. Links that lead out
    of what is open are left out.
    """
    source = os.fspath(source)
    pattern = f"{escape(source)}/*" if os.path.isdir(source) else source
    files = [source] if os.path.isfile(source) else glob(pattern)
    fixed = os.path.dirname(WILDCARD.split(source)[0])
    folder = source if os.path.isdir(source) else fixed
    return sorted(
        file
        for file in map(Path, files)
        if ending.fullmatch(file.name)
        and file.is_file()
        and (str(file) == source or not leads_out(file, folder))
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


def open_parquet(path: Path, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file. Raises an exception of READ_ERRORS.

    For one text that is not UTF-8, Arrow refuses all rows of a file that was written
    from dictionaries. Its values can be read as others are, without what the file says
    about types of Arrow; so can list views.
    """
    with opened_path(path) as opened:
        file = pq.ParquetFile(opened, **options)
        if any(_has_views(field.type) for field in file.schema_arrow):
            metadata = _without_arrow_schema(opened)
            file = pq.ParquetFile(opened, metadata=metadata, **options)
    return file


def _has_views(kind: pa.DataType) -> bool:
    """Return whether values of a type are, or contain, dictionaries or list views."""
    children = (kind.field(i).type for i in range(kind.num_fields))
    tests = (pa.types.is_dictionary, pa.types.is_list_view, pa.types.is_large_list_view)
    return any(test(kind) for test in tests) or any(map(_has_views, children))


def _without_arrow_schema(path: str) -> pq.FileMetaData:
    with open(path, "rb") as file:
        file.seek(-8, os.SEEK_END)
        (length,) = struct.unpack("<I", file.read(4))
        file.seek(-8 - length, os.SEEK_END)
        footer, end = file.read(length), file.read()
    footer = footer.replace(ARROW_SCHEMA, ARROW_SCHEMA.lower())
    return pq.read_metadata(io.BytesIO(end[4:] + footer + end))


def column_named(name: str, names: Collection[str]) -> str | None:
    """Return the column of this name: exactly, or else in any case.

    Raises ShardUnreadable if several names differ in case alone.
    """
    if name in names:
        return name
    alike = [each for each in names if fold(each) == fold(name)]
    if len(alike) > 1:
        raise ShardUnreadable(
            f"The columns {' and '.join(alike)} differ in case alone: name one of them "
            f'in the dataset\'s columns, as {{"…": "{alike[0]}"}}.'
        )
    return alike[0] if alike else None


def roles_of(
    configured: Mapping[str, str],
    names: list[str],
    wanted: tuple[str, ...],
    known: Mapping[str, tuple[str, ...]] = NAMES,
) -> dict[str, str]:
    """Return the columns by role, among `names`: {"url": "photo_image_url", …}.

    `configured` has the columns of some roles, or of other names that columns are to
    get; other `wanted` roles, which may be missing, are recognized by `known`. Raises
    ShardUnreadable for a configured column that is missing.
    """
    if not isinstance(configured, Mapping):
        raise ShardUnreadable('The columns are not written as {"url": "link", …}.')
    if len(set(names)) < len(names):
        raise ShardUnreadable("The table has two columns of the same name.")
    roles = {}
    for role, name in configured.items():
        column = column_named(str(name), names)
        if column is None:
            raise ShardUnreadable(
                f"There is no column named “{str(name)[:60]}”; there are "
                f"{', '.join(names)[:300]}."
            )
        roles[role] = column
    for role in wanted:
        found = (column_named(name, names) for name in known[role])
        if role not in roles and (column := next(filter(None, found), None)):
            roles[role] = column
    return roles


def with_names(
    table: pa.Table, roles: Mapping[str, str], computed: Collection[str] = ()
) -> pa.Table:
    """Return a table with columns named by their roles, and all other columns.

    A column whose name is that of a role, or is `computed` later, becomes original_…,
    as img2dataset names them.
    """
    columns = {_free_name(role, computed, ()): table[roles[role]] for role in roles}
    taken = {fold(name) for name in (*columns, *computed)}
    for name in table.column_names:
        if name not in roles.values():
            columns[_free_name(name, taken, columns)] = table[name]
    return pa.table(columns)


def _free_name(name: str, taken: Collection[str], present: Collection[str]) -> str:
    while fold(name) in taken or name in present:
        name = f"original_{name}"
    return name


def read_rows(
    file: pq.ParquetFile,
    size: int,
    roles: Mapping[str, str],
    vectors: Collection[str] = (),
    names: Collection[str] = (),
) -> Iterator[tuple[PlainTable, pa.Table]]:
    """Yield the rows of a file, `size` at a time: plain cells, and vectors.

    The first table has columns named by `roles`, of `names` or of all but `vectors`,
    which are the columns of the second, as they are.
    """
    schema = file.schema_arrow
    others = [name for name in names or schema.names if name not in vectors]
    has_images = any(has_bytes(schema.field(name).type) for name in others)
    step = min(size, STEP_ROWS) if has_images else size
    parts: list[tuple[PlainTable, pa.Table]] = []
    count = 0

    def add(records: pa.RecordBatch) -> None:
        table = pa.Table.from_batches([records])
        plain = plain_table(with_names(table.select(others), roles))
        parts.append((plain, table.select(list(vectors))))

    columns = [*others, *vectors]
    for records in file.iter_batches(step, columns=columns, use_threads=False):
        while count + len(records) >= size:
            add(records[: size - count])
            yield _joined(parts)
            records = records[size - count :]
            parts, count = [], 0
        if len(records):
            add(records)
            count += len(records)
    if parts:
        yield _joined(parts)


def _joined(parts: list[tuple[PlainTable, pa.Table]]) -> tuple[PlainTable, pa.Table]:
    tables = [vectors for _, vectors in parts]
    return joined([rows for rows, _ in parts]), pa.concat_tables(tables)


def max_rows(path: Path) -> int:
    """Return a number that the rows of a file do not exceed, without parsing it."""
    with as_shard_unreadable(path.name):
        if PARQUET.fullmatch(path.name):
            return count_parquet(path)
        stat = path.stat()
        return _count_lines(path, stat.st_size, stat.st_mtime_ns)


def count_parquet(path: Path) -> int:
    """Return the rows of a Parquet file. Raises an exception of READ_ERRORS."""
    with opened_path(path) as opened:
        return pq.read_metadata(opened).num_rows


@lru_cache(maxsize=10_000)
def _count_lines(path: Path, _size: int, _changed: int) -> int:
    ends = [b"\n", b"\r"]
    with open_file(path) as file:
        start = file.read(BLOCK_BYTES)
        if b"\n" in start and codec_of(start).startswith("utf-8"):
            ends = [b"\n"]
        blocks = chain([start], iter(lambda: file.read(BLOCK_BYTES), b""))
        return 1 + sum(block.count(end) for block in blocks for end in ends)


class TableFile:
    """The rows of one file, read in order.

    The cells of delimited text, whose first row has the names, are texts; a row with
    more or fewer is one of nulls, and rejected. Raises ShardUnreadable for a broken
    file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.is_parquet = bool(PARQUET.fullmatch(path.name))
        with as_shard_unreadable(path.name):
            if self.is_parquet:
                self.names = open_parquet(path).schema_arrow.names
            else:
                self._survey = survey(path, KNOWN_NAMES)
                self.names = list(self._survey.dialect.names)
        if not self.names:
            raise ShardUnreadable(f"{path.name} is empty.")

    def __len__(self) -> int:
        if not self.is_parquet:
            return self._survey.rows
        with as_shard_unreadable(self.path.name):
            return count_parquet(self.path)

    @property
    def dialect(self) -> str:
        """A description of how the file is read."""
        return "Parquet" if self.is_parquet else str(self._survey.dialect)

    def read(
        self,
        first: int,
        last: int,
        size: int,
        roles: Mapping[str, str] = NO_ROLES,
        computed: Collection[str] = (),
        texts: Collection[str] = TEXTS,
    ) -> Iterator[PlainTable]:
        """Yield the rows from `first` to before `last`, `size` at a time.

        They are named as by `with_names`. The columns `texts` are texts even in
        Parquet.
        """
        with as_shard_unreadable(self.path.name):
            if self.is_parquet:
                for rows in self._parquet_rows(first, last, size):
                    yield plain_table(with_names(rows, roles, computed), texts)
            else:
                for plain in self._text_rows(first, last, size):
                    named = with_names(plain.table, roles, computed)
                    yield replace(plain, table=named)

    def _text_rows(self, first: int, last: int, size: int) -> Iterator[PlainTable]:
        dialect = self._survey.dialect
        with opened(self.path) as (file, _):
            reader = Reader(file, dialect)
            skipped = self._survey.seek(reader, first)
            records = islice(reader.records(), skipped, skipped + last - first)
            while some := list(islice(records, size)):
                yield _plain_rows(some, dialect)

    def _parquet_rows(self, first: int, last: int, size: int) -> Iterator[pa.Table]:
        file = open_parquet(self.path)
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


def _plain_rows(records: list[Record], dialect: Dialect) -> PlainTable:
    """Return records as rows; those without cells are nulls, and rejected."""
    nulls = [None] * len(dialect.names)
    rows = [record.cells or nulls for record in records]
    columns = [pa.array(column, pa.binary()) for column in zip(*rows, strict=True)]
    named = pa.table(columns, names=list(dialect.names))
    errors = {at: each.error for at, each in enumerate(records) if each.error}
    lines = [record.line for record in records]
    return replace(plain_table(named, dialect.names), rejected=errors, lines=lines)
