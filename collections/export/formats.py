"""The files of an export: JSON, CSV, Parquet, and Parquet as img2dataset reads it."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from search.csv_output import escape_formula

from .export_request import ExportRequest

MAP = pa.map_(pa.string(), pa.string())
EMBEDDINGS = {"image_embedding": "embedding", "text_embedding": "text_embedding"}


def arrow_schema(
    asked: ExportRequest, dimension: int | None = None, *, with_notes: bool = False
) -> pa.Schema:
    """With embeddings of so many numbers, or without any.

    `similarity` is to the query or the concept, `caption_similarity` the dataset's own;
    what is not known is null.
    """
    is_collection = asked.kind == "collection"
    is_compared = asked.kind in ("search", "concept")
    columns = {
        "id": pa.int64(),
        **({"dataset": pa.string()} if is_collection else {}),
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
    """These columns of a table, which may have embeddings by the engine's names."""
    named = table.rename_columns(
        [EMBEDDINGS.get(name, name) for name in table.column_names]
    )
    return named.select(schema.names).cast(schema)


ADDRESS = r"(?i)^https?://[^/\s?#]"
RENAMED = {"width": "published_width", "height": "published_height"}
LEFT_OUT = ("metadata", "note", "position", "added_at")
FIRST = ("url", "caption", "key")
DIGITS = 9


def columns(schema: pa.Schema) -> pa.Schema:
    """Those of the list, made of those of a source of items."""
    kept = [f for f in schema if f.name not in (*FIRST, *LEFT_OUT)]
    others = [f.with_name(RENAMED.get(f.name, f.name)) for f in kept]
    return pa.schema([(name, pa.string()) for name in FIRST] + others)


def rows(table: pa.Table, before: int) -> pa.Table:
    """The rows that have an address on the web; `before` stand before them."""
    table = table.filter(pc.match_substring_regex(table["url"], ADDRESS))
    numbers = range(before, before + len(table))
    table = table.append_column(
        "key", pa.array([f"{number:0{DIGITS}}" for number in numbers], pa.string())
    )
    named = table.rename_columns([RENAMED.get(n, n) for n in table.column_names])
    return named.select(columns(table.drop_columns("key").schema).names)


def command(schema: pa.Schema) -> str:
    """How the tool is started in the folder of such a list."""
    more = json.dumps([name for name in schema.names if name not in FIRST])
    return (
        "img2dataset --url_list . --input_format parquet --url_col url "
        "--caption_col caption --output_format webdataset --output_folder pictures "
        f"--save_additional_columns '{more}'"
    )


GROUP_ROWS = 5_000  # of a Parquet file, which are in memory until they are written
# What repeats itself, by the names that Parquet gives to columns.
REPEATED = ["dataset", "nsfw", "license", "metadata.key_value.key"]


class File(Protocol):
    rows: int  # that were added

    def add(self, table: pa.Table) -> None: ...

    def close(self) -> None:
        """Writes what is still to be written; a second time it does nothing."""


class JsonFile:
    """An array of objects, one a line; metadata is an object, too."""

    def __init__(self, path: Path, schema: pa.Schema):
        self.rows = 0
        self._file = path.open("w", encoding="utf-8")
        self._file.write("[")

    def add(self, table: pa.Table) -> None:
        for row in _plain_rows(table):
            told = json.dumps(row, ensure_ascii=False, allow_nan=False)
            before = ",\n" if self.rows else "\n"
            self._file.write(f"{before}{told}")
            self.rows += 1

    def close(self) -> None:
        if not self._file.closed:
            self._file.write("\n]\n")
            self._file.close()


class CsvFile:
    """As RFC 4180 has it, in UTF-8; no value begins a formula, metadata is JSON."""

    def __init__(self, path: Path, schema: pa.Schema):
        self.rows = 0
        self._file = path.open("w", encoding="utf-8", newline="")
        self._write = csv.writer(self._file).writerow
        self._write(schema.names)

    def add(self, table: pa.Table) -> None:
        for row in _plain_rows(table):
            self._write([_cell(value) for value in row.values()])
            self.rows += 1

    def close(self) -> None:
        self._file.close()


class ParquetFile:
    """Row groups of GROUP_ROWS or more; vectors lie in a way that is packed well."""

    def __init__(self, path: Path, schema: pa.Schema):
        self.rows = 0
        self._held: list[pa.Table] = []
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
    def held(self) -> int:
        """Rows that are in memory."""
        return sum(map(len, self._held))

    def add(self, table: pa.Table) -> None:
        self._held.append(table)
        self.rows += len(table)
        if self.held >= GROUP_ROWS:
            self._write_group()

    def close(self) -> None:
        self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        if self.held:
            group = pa.concat_tables(self._held)
            self._writer.write_table(group, row_group_size=len(group))
        self._held = []


def _plain_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """With values as JSON has them."""
    columns = {
        field.name: _plain(table[field.name], field.type) for field in table.schema
    }
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _plain(column: pa.ChunkedArray, kind: pa.DataType) -> list[Any]:
    if pa.types.is_float32(kind):
        # 0.3 and not 0.30000001192092896: the shortest that is read as the same.
        column = column.cast(pa.string()).cast(pa.float64())
    values = column.to_pylist()
    if pa.types.is_map(kind):
        return [dict(entries or ()) for entries in values]
    if pa.types.is_timestamp(kind):
        return [value and value.isoformat() for value in values]
    return values


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return escape_formula(value)


def _unchanged(table: pa.Table, before: int) -> pa.Table:
    return table


@dataclass(frozen=True)
class Form:
    """How an export is written.

    `columns` are made of those of the source, and `rows` of its rows and the number of
    rows before them in the export; what it leaves out is counted as `left_out`.
    """

    suffix: str
    file: Callable[[Path, pa.Schema], File]
    columns: Callable[[pa.Schema], pa.Schema] = lambda schema: schema
    rows: Callable[[pa.Table, int], pa.Table] = _unchanged
    left_out: str = ""


FORMS = {
    "json": Form(".json", JsonFile),
    "csv": Form(".csv", CsvFile),
    "parquet": Form(".parquet", ParquetFile),
    "img2dataset": Form(
        ".parquet",
        ParquetFile,
        columns,
        rows,
        left_out="no_address",
    ),
}
