"""Shards as LAION-400M publishes them: two matrices and a table, row by row alike.

img_emb_N.npy and text_emb_N.npy hold float16 of shape (rows, dimension), and
metadata_N.parquet the columns url, caption, NSFW, similarity, LICENSE, width, height
and more. They may lie side by side or in folders named img_emb, text_emb, metadata.
"""

import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from search.errors import ShardUnreadable

from .damage import readable
from .npy import VectorFile, read_vectors
from .source import Batch, check_number, fingerprint
from .vectors import bad_rows, batch_without, check_bad_rows

NEEDED_COLUMNS = ("url", "caption")
BATCH_ROWS = 10_000  # most rows a CPU second, of the sizes measured


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

    image: VectorFile
    text: VectorFile
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
        self.bad_rows = np.union1d(bad_rows(self.image), bad_rows(self.text))
        check_bad_rows(len(self.bad_rows), len(self))

    def __len__(self) -> int:
        return len(self.image)

    @property
    def bytes(self) -> int:
        return self.image.nbytes + self.text.nbytes + self.metadata_bytes

    def batches(self, start: int) -> Generator[Batch, None, None]:
        """Batches of BATCH_ROWS; the same files always have the same bounds."""
        end = 0
        with readable("The metadata"):
            for records in self.metadata.iter_batches(BATCH_ROWS, use_threads=False):
                first, end = end, end + records.num_rows
                if first >= start:
                    table = pa.Table.from_batches([records])
                    image, text = self.image[first:end], self.text[first:end]
                    yield batch_without(self.bad_rows, first, image, text, table)


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


def read_metadata(path: Path) -> pq.ParquetFile:
    with readable(path.name):
        metadata = pq.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False)
    names = {name.lower() for name in metadata.schema_arrow.names}
    for needed in NEEDED_COLUMNS:
        if needed not in names:
            raise ShardUnreadable(f"{path.name} has no column named {needed}.")
    return metadata
