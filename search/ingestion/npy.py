"""Matrices of vectors in .npy files, read piece by piece."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from search.errors import ShardUnreadable

from .damage import readable

MAGIC = b"\x93NUMPY"
DTYPES = ("<f2", "<f4")


@dataclass(frozen=True)
class VectorFile:
    """A matrix (rows, dimension) of float16 or float32; a slice of it is read anew.

    Mapped into memory, it would count as the process's own as far as it was read, and
    a file that is cut short meanwhile would kill the process.
    """

    file: BinaryIO  # held open: one that is replaced meanwhile goes on as it was
    dtype: np.dtype
    shape: tuple[int, int]
    offset: int

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * self.shape[0] * self.shape[1]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Raises ShardUnreadable if they are no longer there."""
        first, last, _ = rows.indices(len(self))
        width = self.shape[1]
        with readable(Path(self.file.name).name):
            self.file.seek(self.offset + first * width * self.dtype.itemsize)
            numbers = np.fromfile(self.file, self.dtype, (last - first) * width)
            return numbers.reshape(last - first, width)


def read_vectors(path: Path, dimension: int) -> VectorFile:
    """The matrix in a .npy file; raises ShardUnreadable for whatever else it may be."""
    with readable(path.name):
        file = path.open("rb")
        if file.read(len(MAGIC)) != MAGIC:
            raise ShardUnreadable(f"{path.name} is not a .npy file.")
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    if found.dtype.str not in DTYPES:
        raise ShardUnreadable(
            f"{path.name} holds {found.dtype}; float16 or float32 is needed."
        )
    if found.ndim != 2 or found.shape[1] != dimension:
        raise ShardUnreadable(
            f"{path.name} has the shape {found.shape}; the dataset's vectors have "
            f"{dimension} numbers."
        )
    if not found.flags.c_contiguous:
        raise ShardUnreadable(f"{path.name} is stored column by column.")
    if os.fstat(file.fileno()).st_size != found.offset + found.nbytes:
        raise ShardUnreadable(f"{path.name} is longer than its header says.")
    return VectorFile(file, found.dtype, found.shape, found.offset)
