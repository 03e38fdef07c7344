"""Shards as LAION-400M publishes them: two matrices and a table, row by row alike.

img_emb_N.npy and text_emb_N.npy hold float16 of shape (rows, dimension), and
metadata_N.parquet the columns url, caption, NSFW, similarity, LICENSE, width, height
and more. They may lie side by side or in folders named img_emb, text_emb, metadata.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from search.errors import ShardUnreadable

from .source import Batch, Rejected, check_number

NPY_MAGIC = b"\x93NUMPY"
VECTOR_DTYPES = ("<f2", "<f4")
NEEDED_COLUMNS = ("url", "caption")
# A broken file ends in any of these, by format and by place.
DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    OverflowError,
    MemoryError,
    SyntaxError,
    KeyError,
    TypeError,
    TokenError,
    BadZipFile,
    pa.ArrowException,
)
BATCH_ROWS = 10_000  # most rows a CPU second, of the sizes measured
BAD_ROWS_ALLOWED = 0.01
BAD_VECTOR = "Its vector is zero or not finite."
CHECKED_ROWS = 100_000  # rows looked at together while the vectors are checked


class LaionFolder:
    """The shards of a folder on the server's disk."""

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def shards(self) -> list[int]:
        """The numbers of the shards, by their image embeddings."""
        if not self.folder.is_dir():
            raise ShardUnreadable(f"There is no folder {self.folder} on this server.")
        numbers = sorted(self._files("img_emb", "npy"))
        if numbers:
            check_number(numbers[-1])
        return numbers

    def open(self, number: int, dimension: int) -> "LaionShard":
        """Raises ShardUnreadable unless the three files are whole and fit together."""
        image, text, metadata = (
            self._file(kind, number, ending)
            for kind, ending in (
                ("img_emb", "npy"),
                ("text_emb", "npy"),
                ("metadata", "parquet"),
            )
        )
        changed = fingerprint(image, text, metadata)
        return open_files(image, text, metadata, dimension, changed)

    def discard(self, number: int) -> None:
        """The folder is not ours: nothing was fetched for it, nothing is deleted."""

    def _file(self, kind: str, number: int, ending: str) -> Path:
        try:
            return self._files(kind, ending)[number]
        except KeyError:
            raise ShardUnreadable(
                f"The file {kind}_{number}.{ending} is missing in {self.folder}."
            ) from None

    def _files(self, kind: str, ending: str) -> dict[int, Path]:
        """By number; some tools write it with leading zeros."""
        name = re.compile(rf"{kind}_(\d+)\.{ending}", re.ASCII)
        folders = (self.folder, self.folder / kind)
        paths = (
            path for folder in folders for path in folder.glob(f"{kind}_*.{ending}")
        )
        found = ((name.fullmatch(path.name), path) for path in paths)
        return {int(match[1]): path for match, path in found if match}


@dataclass
class LaionShard:
    """Three files that fit together; read in batches, never as a whole."""

    image: np.ndarray
    text: np.ndarray
    metadata: pq.ParquetFile
    fingerprint: str
    metadata_bytes: int

    def __post_init__(self) -> None:
        lengths = {
            "image embeddings": len(self.image),
            "text embeddings": len(self.text),
            "metadata": self.metadata.metadata.num_rows,
        }
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{rows:,} of {name}" for name, rows in lengths.items())
            raise ShardUnreadable(f"The files differ in their rows: {listed}.")
        self.bad_rows = np.union1d(_bad_rows(self.image), _bad_rows(self.text))
        if len(self.bad_rows) > BAD_ROWS_ALLOWED * len(self):
            raise ShardUnreadable(
                f"{len(self.bad_rows):,} of {len(self):,} rows have a vector that is "
                "zero or not finite; more than 1 % is not taken in."
            )

    def __len__(self) -> int:
        return len(self.image)

    @property
    def bytes(self) -> int:
        return self.image.nbytes + self.text.nbytes + self.metadata_bytes

    def batches(self, start: int) -> Iterator[Batch]:
        """Batches of BATCH_ROWS; the same files always have the same bounds."""
        end = 0
        with _readable("The metadata"):
            for records in self.metadata.iter_batches(BATCH_ROWS):
                first, end = end, end + records.num_rows
                if first >= start:
                    yield self._batch(first, end, pa.Table.from_batches([records]))

    def _batch(self, first: int, end: int, table: pa.Table) -> Batch:
        bad = self.bad_rows[(first <= self.bad_rows) & (self.bad_rows < end)]
        rows = np.setdiff1d(np.arange(first, end), bad)
        if len(bad):
            table = table.take(pa.array(rows - first))
        return Batch(
            start=first,
            end=end,
            rows=rows,
            image=self.image[first:end] if not len(bad) else self.image[rows],
            text=self.text[first:end] if not len(bad) else self.text[rows],
            table=table,
            rejected=tuple(Rejected(int(row), "", BAD_VECTOR) for row in bad),
        )


def open_files(
    image: Path, text: Path, metadata: Path, dimension: int, fingerprint: str
) -> LaionShard:
    """Raises ShardUnreadable unless the three files are whole and fit together."""
    return LaionShard(
        image=read_vectors(image, dimension),
        text=read_vectors(text, dimension),
        metadata=read_metadata(metadata),
        fingerprint=fingerprint,
        metadata_bytes=metadata.stat().st_size,
    )


def fingerprint(*files: Path) -> str:
    """Changes when one of the files does, by size and time of change."""
    stats = [file.stat() for file in files]
    seen = ":".join(f"{stat.st_size}:{stat.st_mtime_ns}" for stat in stats)
    return hashlib.sha256(seen.encode()).hexdigest()


def read_vectors(path: Path, dimension: int) -> np.ndarray:
    """The matrix in a .npy file, mapped into memory: (rows, dimension), float16 or 32.

    Raises ShardUnreadable for whatever else the file may be.
    """
    with _readable(path.name):
        with path.open("rb") as file:
            if file.read(len(NPY_MAGIC)) != NPY_MAGIC:
                raise ShardUnreadable(f"{path.name} is not a .npy file.")
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    if vectors.dtype.str not in VECTOR_DTYPES:
        raise ShardUnreadable(
            f"{path.name} holds {vectors.dtype}; float16 or float32 is needed."
        )
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise ShardUnreadable(
            f"{path.name} has the shape {vectors.shape}; the dataset's vectors have "
            f"{dimension} numbers."
        )
    if not vectors.flags.c_contiguous:
        raise ShardUnreadable(f"{path.name} is stored column by column.")
    if path.stat().st_size != vectors.offset + vectors.nbytes:
        raise ShardUnreadable(f"{path.name} is longer than its header says.")
    return vectors


def read_metadata(path: Path) -> pq.ParquetFile:
    with _readable(path.name):
        metadata = pq.ParquetFile(path)
    names = {name.lower() for name in metadata.schema_arrow.names}
    for needed in NEEDED_COLUMNS:
        if needed not in names:
            raise ShardUnreadable(f"{path.name} has no column named {needed}.")
    return metadata


def _bad_rows(vectors: np.ndarray) -> np.ndarray:
    found = []
    for start in range(0, len(vectors), CHECKED_ROWS):
        # float16 would overflow where the squares are summed up.
        part = vectors[start : start + CHECKED_ROWS].astype(np.float32)
        length = np.sqrt(np.einsum("ij,ij->i", part, part))
        found.append(start + np.flatnonzero(~(np.isfinite(length) & (length > 1e-6))))
    return np.concatenate(found) if found else np.empty(0, np.int64)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise ShardUnreadable(f"{name} is damaged: it cannot be read.") from error
