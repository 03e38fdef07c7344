"""Libraries that hold everything in memory: an exact product, and usearch's graph."""

import time
from pathlib import Path

import numpy as np

from .data import COUNT, FILTERS, Rows
from .system import LONG_LADDER, System

CONNECTIONS, CONSTRUCTION = 32, 128
GATHERED = 0.1  # of the rows: below it the matching vectors are copied out


class Exact(System):
    """numpy, one thread: every vector compared, in float32."""

    name = "exact numpy"

    def __init__(self, rows: Rows):
        self.rows = rows
        self.vectors = rows.vectors.astype(np.float32)

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        if not FILTERS[where]:
            return self.rows.shown(best(self.vectors @ vector))
        let_through = self.rows.matching(FILTERS[where])
        if let_through.mean() < GATHERED:
            matching = np.flatnonzero(let_through)
            near = best(self.vectors[matching] @ vector)
            return self.rows.shown(matching[near])
        similar = self.vectors @ vector
        return self.rows.shown(best(np.where(let_through, similar, -2)))


class Usearch(System):
    """The graph that ClickHouse has inside, without ClickHouse around it.

    It takes no conditions: with a filter, all candidates are fetched and filtered.
    """

    name = "usearch"
    efforts = LONG_LADDER

    def __init__(self, rows: Rows, folder: Path):
        from usearch.index import Index

        self.rows = rows
        self.index = Index(
            ndim=rows.vectors.shape[1],
            metric="cos",
            dtype="bf16",
            connectivity=CONNECTIONS,
            expansion_add=CONSTRUCTION,
        )
        file = folder / f"usearch-{rows.count}"
        if file.exists():
            self.index.load(str(file))
        else:
            self.build(file)

    def build(self, file: Path) -> None:
        started = time.perf_counter()
        for part in self.rows.chunks():
            keys = np.arange(part.start, part.stop)
            self.index.add(keys, self.rows.vectors[part].astype(np.float32))
        self.index.save(str(file))
        print(f"usearch: built in {time.perf_counter() - started:,.0f} s")

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        effort = self.effort[where]
        self.index.expansion_search = effort
        count = effort if FILTERS[where] else COUNT
        found = self.index.search(vector, min(count, self.rows.count), threads=1)
        rows = found.keys.astype(np.int64)
        let_through = self.rows.matching(FILTERS[where], rows)
        return self.rows.shown(rows[let_through][:COUNT])


def best(similar: np.ndarray) -> np.ndarray:
    """Return the indices of the highest numbers, highest first."""
    count = min(COUNT, len(similar))
    found = np.argpartition(-similar, count - 1)[:count] if count else []
    return np.asarray(found, int)[np.argsort(-similar[found])]
