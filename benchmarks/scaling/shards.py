"""Shards in LAION's layout, written when they are imported and removed after it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from laion_like import write_shard
from vector_sources import VectorSource

SHARD_BITS = 32  # of an id, the row in its shard


@dataclass(frozen=True)
class Shards:
    """The shards of a dataset: `rows` rows each, in a folder."""

    source: VectorSource
    folder: Path
    rows: int
    captions: bool = False  # with vectors of their own

    def write(self, number: int) -> np.ndarray:
        """Write the files of a shard; return its image vectors, float16, mapped."""
        write_shard(self.folder, number, self.rows, self.source, self.captions)
        return np.load(self.folder / f"img_emb_{number}.npy", mmap_mode="r")

    def remove(self, number: int) -> None:
        for file in self.folder.glob(f"*_{number}.*"):
            file.unlink()

    def ids(self, number: int) -> np.ndarray:
        return (np.uint64(number) << SHARD_BITS) + np.arange(self.rows, dtype=np.uint64)
