"""The rows and the questions that every system gets, and how right an answer is."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from vector_sources import VectorSource

COUNT = 10  # results requested
CHUNK = 50_000
SAME = 1e-6  # duplicates differ only by rounding, and either is right
COLUMNS = {
    "min_width": "width",
    "min_height": "height",
    "min_similarity": "caption_similarity",
}
# Each lets values through from the given one on. Sizes are uniform from 100 to 2,100,
# the captions' scores from 0.28 to 0.42, and neither has to do with the vectors.
FILTERS = {
    "none": {},
    "broad": {"min_width": 836, "min_height": 836},  # 40 %
    "narrow": {"min_width": 1800, "min_height": 1700, "min_similarity": 0.406},  # 0.3 %
}
NSFW = {"UNLIKELY": 0.94, "UNSURE": 0.04, "NSFW": 0.02}
THINGS = ("house", "boat", "dress", "lamp", "dog", "garden", "car", "poster")


@dataclass(frozen=True)
class Rows:
    """The first `count` rows: those of a larger set begin with those of a smaller."""

    count: int
    file: Path

    @cached_property
    def vectors(self) -> np.ndarray:
        """The image vectors (count, 512), float16 as LAION's, mapped from the disk."""
        return np.load(self.file, mmap_mode="r")[: self.count]

    @cached_property
    def facts(self) -> pa.Table:
        """The columns of the API's results, except the similarity to the query."""
        random = [np.random.default_rng(seed).random(self.count) for seed in range(4)]
        kinds = np.searchsorted(np.cumsum(list(NSFW.values())), random[0])
        ids = range(self.count)
        return pa.table(
            {
                "id": pa.array(np.arange(self.count, dtype=np.uint64)),
                "url": [f"https://host{i % 5000}.example/{i}.jpg" for i in ids],
                "caption": [f"A {THINGS[i % 8]} seen by chance, no. {i}" for i in ids],
                "nsfw": pa.array(np.array(list(NSFW))[kinds]),
                "license": pa.repeat("?", self.count),
                "caption_similarity": (0.28 + 0.14 * random[1]).astype(np.float32),
                "width": (100 + 2000 * random[2]).astype(np.uint32),
                "height": (100 + 2000 * random[3]).astype(np.uint32),
            }
        )

    @cached_property
    def matches(self) -> dict[str, np.ndarray]:
        """The mask of the rows that pass a filter, by the filter's name."""
        return {name: self.matching(filters) for name, filters in FILTERS.items()}

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        return {name: self.facts[name].to_numpy() for name in COLUMNS.values()}

    def matching(
        self, filters: dict[str, float], among: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        """Return the mask of the rows that pass the filters, of all or of some rows."""
        passing = np.ones(len(self.columns["width"][among]), bool)
        for key, least in filters.items():
            passing &= self.columns[COLUMNS[key]][among] >= least
        return passing

    def shown(self, rows: np.ndarray) -> list[int]:
        """Fetch all that the API shows of some rows; return their ids."""
        return [fact["id"] for fact in self.facts.take(rows).to_pylist()]

    def chunks(self, size: int = CHUNK) -> list[slice]:
        return [
            slice(start, min(start + size, self.count))
            for start in range(0, self.count, size)
        ]


def draw(folder: Path, count: int, source: VectorSource) -> Path:
    """Return the file of at least `count` float16 image vectors, made if missing."""
    file, unfinished = folder / "images.npy", folder / "unfinished.npy"
    if not file.exists() or len(np.load(file, mmap_mode="r")) < count:
        parts = -(-count // CHUNK)
        shape = parts * CHUNK, source.dimension
        vectors = np.lib.format.open_memmap(unfinished, "w+", np.float16, shape)
        for part in range(parts):
            start = part * CHUNK
            vectors[start : start + CHUNK] = source.images(CHUNK, part)
        vectors.flush()
        unfinished.rename(file)
    return file


def condition(where: str) -> str:
    """Return a filter in SQL that fits our columns and those of the other databases."""
    return " AND ".join(
        f"{COLUMNS[key]} >= {value}" for key, value in FILTERS[where].items()
    )


@dataclass(frozen=True)
class Questions:
    """Query vectors, and how similar the tenth of the exact answers is to each."""

    rows: Rows
    vectors: np.ndarray  # (questions, 512), float32

    @cached_property
    def floors(self) -> dict[str, np.ndarray]:
        """The least similarity of a right answer to each question, by filter."""
        best = {where: np.full((len(self.vectors), COUNT), -2.0) for where in FILTERS}
        for part in self.rows.chunks():
            similar = self.vectors @ self.rows.vectors[part].astype(np.float32).T
            for where, passing in self.rows.matches.items():
                found = np.hstack([best[where], similar[:, passing[part]]])
                best[where] = np.partition(found, -COUNT, axis=1)[:, -COUNT:]
        return {where: found.min(axis=1) for where, found in best.items()}

    def recall(self, question: int, where: str, ids: Sequence[int]) -> float:
        """Return the share of the exact answers that was found; ties count as found."""
        there = np.flatnonzero(self.rows.matches[where])[:COUNT].size
        given = np.array(sorted(set(ids)), int)
        given = given[self.rows.matches[where][given]]
        vectors = self.rows.vectors[given].astype(np.float32)
        right = vectors @ self.vectors[question] >= self.floors[where][question] - SAME
        return min(int(right.sum()), there) / max(there, 1)
