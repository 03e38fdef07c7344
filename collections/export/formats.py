"""The file formats of exports: JSON, CSV, Parquet, and Parquet for img2dataset."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from search.csv_output import csv_heading, csv_lines
from search.links import web_link_of

MAP = pa.map_(pa.string(), pa.string())
EMBEDDINGS = {"image_embedding": "embedding", "text_embedding": "text_embedding"}
# For img2dataset.
RENAMED = {"width": "published_width", "height": "published_height"}
OMITTED = ("metadata", "note", "position", "added_at")
FIRST = ("url", "caption", "key")
KEY_DIGITS = 9
GROUP_ROWS = 5_000  # of Parquet files, which are in memory until they are written
# Columns of repeated values, by their Parquet paths.
REPEATED = ["dataset", "nsfw", "license", "metadata.key_value.key"]


def arrow_schema(
    kind: str,
    dimension: int | None = None,
    *,
    with_notes: bool = False,
    with_dataset: bool = False,
) -> pa.Schema:
    """Return the columns of a kind of export, with embeddings if given a dimension.

    `similarity` is that to the query or the concept, `caption_similarity` the
    dataset's own; unknown values are null.
    """
    is_collection = kind == "collection"
    is_compared = kind in ("search", "concept")
    columns = {
        "id": pa.int64(),
        **({"dataset": pa.string()} if is_collection or with_dataset else {}),
        "url": pa.string(),
        "caption": pa.string(),
        **({"similarity": pa.float32()} if is_compared else {}),
        "caption_similarity": pa.float32(),
        "width": pa.int64(),
        "height": pa.int64(),
        "nsfw": pa.string(),
        "license": pa.string(),
        "metadata": MAP,
    }
    if is_collection:
        columns |= {
            **({"note": pa.string()} if with_notes else {}),
            "position": pa.float64(),
            "added_at": pa.timestamp("us", "UTC"),
        }
    if dimension is not None:
        columns |= dict.fromkeys(EMBEDDINGS.values(), pa.list_(pa.float32(), dimension))
    return pa.schema(columns)


def to_arrow(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Select columns of a table; its embeddings may have the engine's names."""
    named = table.rename_columns(
        [EMBEDDINGS.get(name, name) for name in table.column_names]
    )
    return named.select(schema.names).cast(schema)


def list_columns(schema: pa.Schema) -> pa.Schema:
    """Return the columns of a list for img2dataset, from those of a source."""
    fields = [f for f in schema if f.name not in (*FIRST, *OMITTED)]
    others = [f.with_name(RENAMED.get(f.name, f.name)) for f in fields]
    return pa.schema([(name, pa.string()) for name in FIRST] + others)


def list_rows(table: pa.Table, before: int) -> pa.Table:
    """Return the rows that have a web URL, as a link, with keys.

    `before` rows precede them.
    """
    links = pa.array(map(web_link_of, table["url"].to_pylist()), pa.string())
    table = table.set_column(table.column_names.index("url"), "url", links)
    table = table.filter(pc.not_equal(table["url"], ""))
    numbers = range(before, before + len(table))
    table = table.append_column(
        "key", pa.array([f"{number:0{KEY_DIGITS}}" for number in numbers], pa.string())
    )
    named = table.rename_columns([RENAMED.get(n, n) for n in table.column_names])
    return named.select(list_columns(table.drop_columns("key").schema).names)


def command(schema: pa.Schema) -> str:
    """Return the command that runs img2dataset in the folder of such a list."""
    others = json.dumps([name for name in schema.names if name not in FIRST])
    return (
        "img2dataset --url_list . --input_format parquet --url_col url "
        "--caption_col caption --output_format webdataset --output_folder pictures "
        f"--save_additional_columns '{others}'"
    )


class File(Protocol):
    rows: int  # added so far

    def add(self, table: pa.Table) -> None: ...

    def close(self) -> None:
        """Write the rest; a second call does nothing."""


class JsonFile:
    """An array of objects, one a line; metadata is a nested object."""

    def __init__(self, path: Path, schema: pa.Schema):
        self.rows = 0
        self._file = path.open("w", encoding="utf-8")
        self._file.write("[")

    def add(self, table: pa.Table) -> None:
        for row in _json_rows(table):
            text = json.dumps(row, ensure_ascii=False, allow_nan=False)
            separator = ",\n" if self.rows else "\n"
            self._file.write(f"{separator}{text}")
            self.rows += 1

    def close(self) -> None:
        if not self._file.closed:
            self._file.write("\n]\n")
            self._file.close()


class CsvFile:
    """CSV as spreadsheets take it; metadata is JSON."""

    def __init__(self, path: Path, schema: pa.Schema):
        self.rows = 0
        self._file = path.open("w", encoding="utf-8", newline="")
        self._file.write(csv_heading(schema.names))

    def add(self, table: pa.Table) -> None:
        rows = (row.values() for row in _json_rows(table))
        self._file.writelines(csv_lines(rows))
        self.rows += len(table)

    def close(self) -> None:
        self._file.close()


class ParquetFile:
    """Parquet with row groups of GROUP_ROWS or more; vectors are byte stream split."""

    def __init__(self, path: Path, schema: pa.Schema):
        self.rows = 0
        self._buffer: list[pa.Table] = []
        vectors = [f.name for f in schema if pa.types.is_fixed_size_list(f.type)]
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            use_dictionary=REPEATED,
            column_encoding={
                f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in vectors
            }
            or None,
        )

    @property
    def buffered(self) -> int:
        """The number of rows in memory."""
        return sum(map(len, self._buffer))

    def add(self, table: pa.Table) -> None:
        self._buffer.append(table)
        self.rows += len(table)
        if self.buffered >= GROUP_ROWS:
            self._write_group()

    def close(self) -> None:
        self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        if self.buffered:
            group = pa.concat_tables(self._buffer)
            self._writer.write_table(group, row_group_size=len(group))
        self._buffer = []


def _json_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield rows with values of JSON's types."""
    columns = {
        field.name: _json_values(table[field.name], field.type)
        for field in table.schema
    }
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _json_values(column: pa.ChunkedArray, kind: pa.DataType) -> list[Any]:
    if pa.types.is_float32(kind):
        # 0.3 and not 0.30000001192092896: the shortest text of the same float32.
        column = column.cast(pa.string()).cast(pa.float64())
    values = column.to_pylist()
    if pa.types.is_map(kind):
        return [dict(entries or ()) for entries in values]
    if pa.types.is_timestamp(kind):
        return [value and value.isoformat() for value in values]
    return values


def _unchanged(table: pa.Table, before: int) -> pa.Table:
    return table


@dataclass(frozen=True)
class Format:
    """A file format of exports.

    `columns` and `rows` convert those of the source; `rows` gets the number of rows
    that precede them in the export, and may leave some out for the reason `left_out`.
    """

    suffix: str
    file: Callable[[Path, pa.Schema], File]
    columns: Callable[[pa.Schema], pa.Schema] = lambda schema: schema
    rows: Callable[[pa.Table, int], pa.Table] = _unchanged
    left_out: str = ""


FORMATS = {
    "json": Format(".json", JsonFile),
    "csv": Format(".csv", CsvFile),
    "parquet": Format(".parquet", ParquetFile),
    "img2dataset": Format(
        ".parquet",
        ParquetFile,
        list_columns,
        list_rows,
        left_out="no_address",
    ),
}
