"""Vectors that come with a shard: reading and checking them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy

from search.errors import ShardUnreadable

from .cells import PlainTable
from .places import open_file
from .protocol import Batch, Rejected
from .read_errors import as_shard_unreadable

MAGIC = b"\x93NUMPY"
DTYPES = ("<f2", "<f4")
BAD_ROWS_ALLOWED = 0.01
NO_TEXTS = "Captions have no embeddings: searches in captions are disabled."
BAD_VECTOR = "Its vector is zero or not finite."
CHECKED_ROWS = 1_000  # at a time; more exceeds the CPU caches and is half as fast


@dataclass(frozen=True)
class VectorFile:
    """A matrix (rows, dimension) of float16 or float32; slices are read from the file.

    A memory map would count towards the process's memory once read, and truncating the
    file would kill the process.
    """

    file: BinaryIO  # stays open: replacing the file does not affect it
    dtype: np.dtype
    shape: tuple[int, int]
    offset: int

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * self.shape[0] * self.shape[1]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Read rows. Raises ShardUnreadable if the file was truncated."""
        first, last, _ = rows.indices(len(self))
        width = self.shape[1]
        with as_shard_unreadable(Path(self.file.name).name):
            self.file.seek(self.offset + first * width * self.dtype.itemsize)
            numbers = np.fromfile(self.file, self.dtype, (last - first) * width)
            return numbers.reshape(last - first, width)


def read_vectors(path: Path, dimension: int) -> VectorFile:
    """Open the matrix in a .npy file. Raises ShardUnreadable for anything else."""
    with as_shard_unreadable(path.name):
        file = open_file(path)
        if file.read(len(MAGIC)) != MAGIC:
            raise ShardUnreadable(f"{path.name} is not a .npy file.")
        opened = f"/dev/fd/{file.fileno()}"
        matrix = np.load(opened, mmap_mode="r", allow_pickle=False)
    if matrix.dtype.str not in DTYPES:
        raise ShardUnreadable(
            f"{path.name} holds {matrix.dtype}; float16 or float32 is needed."
        )
    if matrix.ndim != 2 or matrix.shape[1] != dimension:
        raise ShardUnreadable(
            f"{path.name} has the shape {matrix.shape}; the dataset's vectors have "
            f"{dimension} numbers."
        )
    if not matrix.flags.c_contiguous:
        raise ShardUnreadable(f"{path.name} is stored column by column.")
    if os.fstat(file.fileno()).st_size != matrix.offset + matrix.nbytes:
        raise ShardUnreadable(f"{path.name} is longer than its header says.")
    return VectorFile(file, matrix.dtype, matrix.shape, matrix.offset)


def array_shape(path: Path) -> tuple[int, int]:
    """Return rows and dimension of a .npy file. Raises ShardUnreadable."""
    with as_shard_unreadable(path.name), open_file(path) as file:
        return header_shape(file, path.name)


def header_shape(file: BinaryIO, name: str) -> tuple[int, int]:
    """Return the shape of the matrix of which a .npy file begins to tell.

    Raises ShardUnreadable for another array, or an exception of READ_ERRORS.
    """
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    shape, _, dtype = read[npy.read_magic(file)](file)
    if len(shape) != 2 or dtype.str not in DTYPES:
        raise ShardUnreadable(
            f"{name} has the shape {shape} of {dtype}; rows of float16 or float32 are "
            "needed."
        )
    return shape


def bad_rows(vectors: np.ndarray | VectorFile) -> np.ndarray:
    """Return the numbers of rows that are zero or not finite."""
    found = []
    for start in range(0, len(vectors), CHECKED_ROWS):
        # The sum of squares overflows float16.
        part = vectors[start : start + CHECKED_ROWS].astype(np.float32)
        length = np.sqrt(np.einsum("ij,ij->i", part, part))
        found.append(start + np.flatnonzero(~(np.isfinite(length) & (length > 1e-6))))
    return np.concatenate(found) if found else np.empty(0, np.int64)


def check_bad_rows(bad: int, rows: int) -> None:
    """Raise ShardUnreadable for so many bad rows that the file itself must be bad."""
    if bad > BAD_ROWS_ALLOWED * rows:
        raise ShardUnreadable(
            f"{bad:,} of {rows:,} rows have a vector that is zero or not finite; more "
            "than 1 % is not taken in."
        )


def batch_of(
    rows: PlainTable, bad: np.ndarray, first: int, image: np.ndarray, text: np.ndarray
) -> Batch:
    """Return the rows of a shard from `first` on, some of which are rejected.

    `bad` has the numbers within the shard of rows with bad vectors; `image` and `text`
    have the vectors of all rows of the batch.
    """
    end = first + len(rows.table)
    reasons = {first + place: reason for place, reason in rows.rejected.items()}
    reasons |= {int(row): BAD_VECTOR for row in bad[(first <= bad) & (bad < end)]}
    table, numbers = rows.table, np.arange(first, end)
    if reasons:
        numbers = np.setdiff1d(numbers, list(reasons))
        kept = numbers - first
        image, text, table = image[kept], text[kept], table.take(pa.array(kept))
    rejected = tuple(
        _rejected(rows.table, first, row, reasons[row]) for row in sorted(reasons)
    )
    return Batch(first, end, numbers, image, text, table, rejected, rows.notes)


def _rejected(table: pa.Table, first: int, row: int, reason: str) -> Rejected:
    """Return a row of a table from `first` on as rejected, with its URL and file."""
    url, file = (
        str(table[name][row - first].as_py() or "").replace("\0", "")
        if name in table.column_names
        else ""
        for name in ("url", "file")
    )
    return Rejected(row, url, reason, file)
