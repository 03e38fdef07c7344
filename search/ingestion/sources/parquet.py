"""Parquet files whose rows have an embedding beside what it is the embedding of.

The documents' photos.parquet has photo_id, url and embedding. A column is a list, of
fixed size or not, of float16, float32 or float64. Where there are no embeddings of the
captions, those of the pictures stand in for them: a search by captions then finds what
one by pictures does.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from search.clickhouse.schema import SHARD_BITS
from search.errors import ShardUnreadable

from .protocol import Batch, check_number, fingerprint
from .read_errors import as_shard_unreadable
from .tables import PARQUET, files_of, numbered, roles_of, with_names
from .vectors import bad_rows, batch_without, check_bad_rows

BATCH_ROWS = 10_000
WANTED = (
    "url",
    "caption",
    "width",
    "height",
    "similarity",
    "embedding",
    "text_embedding",
)
FLOATS = {pa.float16(): np.float16, pa.float32(): np.float32, pa.float64(): np.float32}


@dataclass
class ParquetVectors:
    """The shards of a file, a folder or a pattern: one per file, by their names."""

    source: str
    columns: Mapping[str, str]

    def shards(self) -> list[int]:
        numbers = sorted(self._files)
        check_number(numbers[-1])
        return numbers

    def open(self, number: int, dimension: int) -> "VectorTable":
        """Raises ShardUnreadable, also when over 1 % of its vectors are of no use."""
        if number not in self._files:
            raise ShardUnreadable(f"The source has no shard {number} any more.")
        return VectorTable(self._files[number], self.columns, dimension)

    def discard(self, number: int) -> None:
        """The files are not ours."""

    @cached_property
    def _files(self) -> dict[int, Path]:
        return numbered(files_of(self.source, PARQUET, "Parquet file"))


class VectorTable:
    """One file, read in batches; its vectors are read once before, to be checked."""

    def __init__(self, path: Path, columns: Mapping[str, str], dimension: int):
        self.path = path
        self.dimension = dimension
        with as_shard_unreadable(path.name):
            self.file = pq.ParquetFile(path)
        schema = self.file.schema_arrow
        self.roles = roles_of(columns, schema.names, WANTED)
        self.roles.pop("id", None)  # stays in the metadata, by its own name
        self.image = self._vector_column(schema, "embedding")
        self.text = (
            self._vector_column(schema, "text_embedding")
            if "text_embedding" in self.roles
            else self.image
        )
        if len(self) > 1 << SHARD_BITS:
            raise ShardUnreadable(f"{path.name} has too many rows for one shard.")
        # Other vectors would only be long texts.
        left_out = {self.image, self.text}
        left_out |= {field.name for field in schema if _numbers(field.type) in FLOATS}
        self.told = [name for name in schema.names if name not in left_out]
        self.fingerprint = fingerprint(path, read_as=str(self.roles))
        self.bytes = path.stat().st_size
        self.bad_rows = self._bad_rows()
        check_bad_rows(len(self.bad_rows), len(self))

    def __len__(self) -> int:
        return self.file.metadata.num_rows

    def batches(self, start: int) -> Generator[Batch, None, None]:
        """Batches of BATCH_ROWS; the same file always has the same bounds."""
        for first, records in self._read([*self.told, self.image, self.text]):
            if first >= start:
                image, text = self._vectors(records)
                told = pa.Table.from_batches([records.select(self.told)])
                roles = {
                    role: name for role, name in self.roles.items() if name in self.told
                }
                table = with_names(told, roles)
                yield batch_without(self.bad_rows, first, image, text, table)

    def _bad_rows(self) -> np.ndarray:
        found = [np.empty(0, np.int64)]
        for first, records in self._read([self.image, self.text]):
            image, text = self._vectors(records)
            bad = bad_rows(image)
            found.append(
                first + (bad if text is image else np.union1d(bad, bad_rows(text)))
            )
        return np.concatenate(found)

    def _read(self, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        first = 0
        names = list(dict.fromkeys(columns))
        with as_shard_unreadable(self.path.name):
            for records in self.file.iter_batches(BATCH_ROWS, columns=names):
                yield first, records
                first += records.num_rows

    def _vector_column(self, schema: pa.Schema, role: str) -> str:
        name = self.roles.pop(role, None)
        if name is None:
            raise ShardUnreadable(
                f"{self.path.name} has no column that is known to hold embeddings; "
                'name it in the dataset\'s columns: {"embedding": "…"}.'
            )
        if _numbers(schema.field(name).type) not in FLOATS:
            raise ShardUnreadable(
                f"The column {name} holds {schema.field(name).type}; lists of float16, "
                "float32 or float64 are needed."
            )
        return name

    def _vectors(self, records: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        image = _matrix(records, self.image, self.dimension)
        if self.text == self.image:
            return image, image
        return image, _matrix(records, self.text, self.dimension)


def _numbers(kind: pa.DataType) -> pa.DataType | None:
    """What the lists of a column hold; None if it has none."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return kind.value_type if any(test(kind) for test in lists) else None


def _matrix(records: pa.RecordBatch, name: str, dimension: int) -> np.ndarray:
    """float16 or float32, (rows, dimension); a row without a vector is NaN."""
    column = records[name]
    there = column.is_valid().to_numpy(zero_copy_only=False)
    lists = column.drop_null()
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    if (lengths != dimension).any():
        wrong = lengths[lengths != dimension][0]
        raise ShardUnreadable(
            f"The column {name} has a vector of {wrong} numbers; the dataset's have "
            f"{dimension}."
        )
    numbers = lists.flatten()
    matrix = np.full((len(column), dimension), np.nan, FLOATS[numbers.type])
    with np.errstate(over="ignore"):  # what is too large for float32 is not finite
        values = numbers.to_numpy(zero_copy_only=False).reshape(-1, dimension)
        matrix[there] = values.astype(matrix.dtype)
    return matrix
