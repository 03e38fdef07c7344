"""Parquet files of items with their embeddings.

photos.parquet of the documentation has photo_id, url and embedding. Embeddings are
lists, of fixed size or not, of float16, float32 or float64. Without embeddings of
captions, captions cannot be searched.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from search.clickhouse.schema import SHARD_BITS
from search.errors import ShardUnreadable

from .protocol import Batch, check_number, fingerprint
from .read_errors import as_shard_unreadable
from .tables import PARQUET, files_of, numbered, open_parquet, read_rows, roles_of
from .vectors import NO_TEXTS, bad_rows, batch_of, check_bad_rows

BATCH_ROWS = 10_000
WANTED = (
    "url",
    "caption",
    "width",
    "height",
    "nsfw",
    "license",
    "similarity",
    "embedding",
    "text_embedding",
)
MAX_NUMBERS = 64  # of a list in the metadata, on average
UNUSED = "The column {} has vectors that are not used; it is left out."
FLOATS = {pa.float16(): np.float16, pa.float32(): np.float32, pa.float64(): np.float32}


@dataclass
class ParquetVectors:
    """The shards of a file, a folder or a pattern: one per file."""

    source: str
    columns: Mapping[str, str]

    def shards(self) -> list[int]:
        numbers = sorted(self._files)
        check_number(numbers[-1])
        return numbers

    def open(self, number: int, dimension: int) -> "VectorTable":
        """Open a shard. Raises ShardUnreadable, also for over 1 % of bad vectors."""
        if number not in self._files:
            raise ShardUnreadable(f"The source has no shard {number} any more.")
        return VectorTable(self._files[number], self.columns, dimension)

    def discard(self, number: int) -> None:
        """Do nothing: no file was fetched."""

    @cached_property
    def _files(self) -> dict[int, Path]:
        return numbered(files_of(self.source, PARQUET, "Parquet file"))


class VectorTable:
    """One file, read in batches; its vectors are checked first."""

    def __init__(self, path: Path, columns: Mapping[str, str], dimension: int):
        self.path = path
        self.dimension = dimension
        with as_shard_unreadable(path.name):
            self.file = open_parquet(path)
        schema = self.file.schema_arrow
        self.roles = roles_of(columns, schema.names, WANTED)
        self.roles.pop("id", None)  # stays in the metadata, by its own name
        self.fingerprint = fingerprint(path, read_as=str(self.roles))
        self.image = self._vector_column(schema, "embedding")
        self.text = self.image
        if "text_embedding" in self.roles:
            text = self._vector_column(schema, "text_embedding")
            self.text = self.image if self._is_null(text) else text
        self.has_text_vectors = self.text != self.image
        if len(self) > 1 << SHARD_BITS:
            raise ShardUnreadable(f"{path.name} has too many rows for one shard.")
        self.vectors = list(dict.fromkeys([self.image, self.text]))
        self.unused = [
            field.name
            for field in schema
            if field.name not in self.vectors and self._is_of_vectors(field)
        ]
        self.metadata = [
            name
            for name in schema.names
            if name not in self.vectors and name not in self.unused
        ]
        self.roles = {
            role: name for role, name in self.roles.items() if name in self.metadata
        }
        self.bytes = path.stat().st_size
        self.bad_rows = self._bad_rows()
        check_bad_rows(len(self.bad_rows), len(self))

    def __len__(self) -> int:
        return self.file.metadata.num_rows

    def batches(self, start: int) -> Generator[Batch, None, None]:
        """Yield batches of BATCH_ROWS; the bounds depend only on the file."""
        end = 0
        with as_shard_unreadable(self.path.name):
            for rows, vectors in read_rows(
                self.file, BATCH_ROWS, self.roles, self.vectors, self.metadata
            ):
                first, end = end, end + len(vectors)
                if first >= start:
                    image, text = self._vectors(vectors)
                    batch = batch_of(rows, self.bad_rows, first, image, text)
                    notes = dict.fromkeys(self._notes, len(batch.rows))
                    yield replace(batch, notes={**batch.notes, **notes})

    @property
    def _notes(self) -> list[str]:
        """The sentences about all rows."""
        unused = [UNUSED.format(name[:100]) for name in self.unused]
        return unused if self.has_text_vectors else [*unused, NO_TEXTS]

    def _is_of_vectors(self, field: pa.Field) -> bool:
        """Return whether a column has lists of floats that make no readable text."""
        if _numbers(field.type) not in FLOATS:
            return False
        groups = map(self.file.metadata.row_group, range(self.file.num_row_groups))
        chunks = (group.column(i) for group in groups for i in range(group.num_columns))
        own = (c for c in chunks if c.path_in_schema.startswith(f"{field.name}."))
        return sum(chunk.num_values for chunk in own) > MAX_NUMBERS * len(self)

    def _bad_rows(self) -> np.ndarray:
        found = [np.empty(0, np.int64)]
        for first, records in self._read():
            image, text = self._vectors(records)
            bad = bad_rows(image)
            found.append(
                first + (bad if text is image else np.union1d(bad, bad_rows(text)))
            )
        return np.concatenate(found)

    def _read(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        first = 0
        with as_shard_unreadable(self.path.name):
            for records in self.file.iter_batches(BATCH_ROWS, columns=self.vectors):
                yield first, records
                first += records.num_rows

    def _is_null(self, column: str) -> bool:
        """Return whether a column holds nothing, as in some exports."""
        with as_shard_unreadable(self.path.name):
            batches = self.file.iter_batches(BATCH_ROWS, columns=[column])
            return all(batch[column].null_count == len(batch) for batch in batches)

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

    def _vectors(
        self, records: pa.RecordBatch | pa.Table
    ) -> tuple[np.ndarray, np.ndarray]:
        image = _matrix(records, self.image, self.dimension)
        if self.text == self.image:
            return image, image
        return image, _matrix(records, self.text, self.dimension)


def vector_columns(schema: pa.Schema) -> dict[str, str]:
    """Return the columns of lists of floats: by role, or by name if it has none."""
    lists = [field.name for field in schema if _numbers(field.type) in FLOATS]
    roles = roles_of({}, lists, ("embedding", "text_embedding"))
    return roles | {name: name for name in lists if name not in roles.values()}


def _numbers(kind: pa.DataType) -> pa.DataType | None:
    """Return the type of the elements of a list type, else None."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return kind.value_type if any(test(kind) for test in lists) else None


def _matrix(
    records: pa.RecordBatch | pa.Table, name: str, dimension: int
) -> np.ndarray:
    """Return float16 or float32 of shape (rows, dimension), NaN for nulls."""
    column = records[name]
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    valid = column.is_valid().to_numpy(zero_copy_only=False)
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
    with np.errstate(over="ignore"):  # beyond float32 a number becomes infinite
        values = numbers.to_numpy(zero_copy_only=False).reshape(-1, dimension)
        matrix[valid] = values.astype(matrix.dtype)
    return matrix
