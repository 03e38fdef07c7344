"""Parquet files that hold images, as Hugging Face's and webdataset's do.

Images are in a column of structs with `bytes` and perhaps `path`, or in one of binary
values, such as jpg. Their item gets the place of the row as `file`.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from search.clickhouse.schema import SHARD_BITS
from search.errors import ImageTooLarge, InvalidQuery, NotAnImage, ShardUnreadable
from search.images.formats import MAX_BYTES, sniff
from search.links import linkable

from .cells import TEXTS, fold, is_bytes, plain_table
from .image_fetch import SourceImage, read_image
from .image_files import caption_from_name
from .image_lists import COMPUTED
from .image_set import Rows
from .protocol import fingerprint
from .read_errors import as_shard_unreadable
from .tables import (
    NAMES,
    PARQUET,
    column_named,
    find_tables,
    open_parquet,
    roles_of,
    with_names,
)

READ_ROWS = 8  # few, since a cell may have as many as MAX_BYTES
READ_BYTES = 2**20  # of a column; by default all of a row group is read
TEXT_ROLES = ("url", "caption", "width", "height")
IMAGE_NAMES = NAMES["image"]


def find_image_tables(source: str, columns: Mapping[str, str]) -> list[Path]:
    """Return the Parquet files of a source; none if the first holds no images."""
    files = find_tables(source, PARQUET)
    for path in files[:1]:
        with as_shard_unreadable(path.name):
            return files if image_columns(open_table(path), columns) else []
    return []


class ImageTable:
    """The images in one Parquet file, as an ImageSet."""

    def __init__(self, path: Path, columns: Mapping[str, str]):
        self.path = path
        self.file = open_table(path)
        with as_shard_unreadable(path.name):
            images = image_columns(self.file, columns)
        if not images:
            raise ShardUnreadable(f"{path.name} has no column of images.")
        self.image = images[0]
        names = self.file.schema_arrow.names
        self.others = [name for name in names if name != self.image]
        configured = {role: name for role, name in columns.items() if role != "image"}
        self.roles = roles_of(configured, self.others, TEXT_ROLES)
        if len(self) > 1 << SHARD_BITS:
            raise ShardUnreadable(f"{path.name} has too many rows for one shard.")
        self.fingerprint = fingerprint(path, read_as=f"{self.image} {self.roles}")
        self.bytes = path.stat().st_size

    def __len__(self) -> int:
        return self.file.metadata.num_rows

    def read(self, start: int, size: int) -> Iterator[Rows]:
        """Yield the rows from `start` on, READ_ROWS at most."""
        with as_shard_unreadable(self.path.name):
            for first, records in _read(self.file, [*self.others, self.image], start):
                while len(records):
                    some = records[: size - first % size]
                    yield self._rows(first, some)
                    first, records = first + len(some), records[len(some) :]

    def _rows(self, first: int, records: pa.RecordBatch) -> Rows:
        contents, paths = _images(records[self.image])
        others = pa.Table.from_batches([records.select(self.others)])
        named = with_names(others, self.roles, COMPUTED)
        columns = {name: named[name].combine_chunks() for name in named.column_names}
        if paths is not None:
            columns.setdefault(f"{self.image}_path", paths)
        plain = plain_table(pa.table(columns), (*TEXTS, f"{self.image}_path"))
        columns = {name: plain.table[name] for name in plain.table.column_names}
        captions = _texts(columns.get("caption"), len(records))
        names = _texts(columns.get(f"{self.image}_path"), len(records))
        columns["caption"] = [
            caption or caption_from_name(name)
            for caption, name in zip(captions, names, strict=True)
        ]
        urls = _texts(columns.get("url"), len(records))
        columns["url"] = [linkable(url) for url in urls]
        columns["file"] = [
            f"{self.path.name}/{row}" for row in range(first, first + len(records))
        ]
        load = partial(_load, contents, plain.rejected)
        return Rows(pa.table(columns), load, contents.nbytes, plain.notes)


def read_cell(path: Path, columns: Mapping[str, str], row: int) -> bytes:
    """Return the image in a row. Raises ShardUnreadable, NotAnImage, ImageTooLarge."""
    with as_shard_unreadable(path.name):
        file = open_table(path)
        for image in image_columns(file, columns)[:1]:
            for _, records in _read(file, [image], row):
                return _content(_images(records[image])[0], 0)
    raise NotAnImage("There is no such row in the file.")


def open_table(path: Path) -> pq.ParquetFile:
    with as_shard_unreadable(path.name):
        return open_parquet(path, buffer_size=READ_BYTES, pre_buffer=False)


def image_columns(file: pq.ParquetFile, columns: Mapping[str, str]) -> list[str]:
    """Return the columns of images: the configured one first, else the likeliest.

    Raises ShardUnreadable for a configured column that holds other values.
    """
    with as_shard_unreadable("The table"):
        found = [field.name for field in file.schema_arrow if _is_image(file, field)]
    ranks = {name: rank for rank, name in enumerate(IMAGE_NAMES)}
    found.sort(key=lambda name: ranks.get(fold(name), len(ranks)))
    if not (wanted := columns.get("image")):
        return found
    if (column := column_named(wanted, found)) is None:
        raise ShardUnreadable(f"The column {wanted} does not hold images.")
    return sorted(found, key=lambda name: name != column)


def _is_image(file: pq.ParquetFile, field: pa.Field) -> bool:
    """Return whether a column has bytes that are images, by its name or its values."""
    if pa.types.is_struct(field.type):
        at = field.type.get_field_index("bytes")
        return at >= 0 and is_bytes(field.type.field(at).type)
    if not is_bytes(field.type):
        return False
    if fold(field.name) in IMAGE_NAMES:
        return True
    for _, records in _read(file, [field.name], 0):
        values = records.column(0).drop_null()
        return len(values) > 0 and sniff(values[0].as_py()) is not None
    return False


def _read(
    file: pq.ParquetFile, names: list[str], start: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield columns of the rows from `start` on, with the number of the first row."""
    counts = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    ends = list(accumulate(counts))
    groups = [group for group, end in enumerate(ends) if end > start]
    first = ends[groups[0]] - counts[groups[0]] if groups else start
    for records in file.iter_batches(READ_ROWS, row_groups=groups, columns=names):
        skipped = max(0, start - first)
        if skipped < len(records):
            yield first + skipped, records[skipped:]
        first += len(records)


def _images(column: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """Return the bytes of the images of a column, and their paths, if it has any."""
    if not pa.types.is_struct(column.type):
        return column, None
    children = dict(zip((f.name for f in column.type), column.flatten(), strict=True))
    return children["bytes"], children.get("path")


def _load(
    contents: pa.Array, rejected: Mapping[int, str], place: int, url: str
) -> SourceImage:
    """Decode an image.

    Raises NotAnImage or ImageTooLarge, InvalidQuery for `rejected`.
    """
    if place in rejected:
        raise InvalidQuery(rejected[place])
    return read_image(_content(contents, place))


def _content(contents: pa.Array, place: int) -> bytes:
    value = contents[place]
    if not value.is_valid:
        raise NotAnImage("The row holds no image.")
    content = value.as_buffer()
    if content.size > MAX_BYTES:
        raise ImageTooLarge(f"{content.size:,} bytes are too many.")
    return content.to_pybytes()


def _texts(column: pa.ChunkedArray | None, count: int) -> list[str]:
    """Return the texts of a column, "" for nulls."""
    texts = [""] * count if column is None else column.to_pylist()
    return [text or "" for text in texts]
