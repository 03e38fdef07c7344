"""Recall of a search by the share of rows that it reads, measured on exact answers."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from search.clustering.centroids import SAME_ORDER_SHARE, Centroids
from search.clustering.vectors import one_blas_thread

NEIGHBOURS = (10, 100, 1_000)
# Six a factor of ten: 0.0001, 0.00015, … 1.
SHARES = tuple(float(f"{10 ** (step / 6):.2g}") for step in range(-24, 1))

# Of the neighbours that a search may miss, a fifth is left to what curves do not know:
# the rounding of stored vectors, which loses up to 1 % of them (docs/benchmarks.md),
# and queries that are harder than those measured.
MISSED_BY_READING = 0.8

# Vectors (rows, dimension), and the cluster or another number >= 0 of each row.
Blocks = Iterable[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Curve:
    """Recall at each share of the rows read, for several numbers of neighbours.

    recalls[k][i] is the recall of the k nearest at shares[i]; shares ascend.
    """

    shares: tuple[float, ...]
    recalls: Mapping[int, tuple[float, ...]]

    def share_for(self, recall: float, neighbours: float) -> float:
        """Return the share of the rows to read for a recall of the nearest neighbours.

        Reading misses MISSED_BY_READING of what the recall allows.
        Between and beyond the numbers of neighbours measured, the logarithm of the
        share is linear in theirs. Return 1 where the curve does not reach the recall.
        """
        aim = 1 - MISSED_BY_READING * (1 - recall)
        numbers = sorted(self.recalls)
        found = [self._share(aim, self.recalls[number]) for number in numbers]
        shares = np.log(np.maximum.accumulate(found))
        x = np.log(numbers)
        at = np.log(max(neighbours, numbers[0]))
        after = int(np.clip(np.searchsorted(x, at), 1, len(x) - 1))
        slope = (shares[after] - shares[after - 1]) / (x[after] - x[after - 1])
        return float(min(1, np.exp(shares[after] + slope * (at - x[after]))))

    def _share(self, recall: float, recalls: tuple[float, ...]) -> float:
        reached = np.maximum.accumulate(recalls)
        after = int(np.searchsorted(reached, recall))
        if after == len(reached):
            return 1.0
        if after == 0:
            return self.shares[0]
        part = (recall - reached[after - 1]) / (reached[after] - reached[after - 1])
        low, high = self.shares[after - 1], self.shares[after]
        return float(low * (high / low) ** part)

    def of_all(self, drawn: float) -> Self:
        """Return the curve of all rows; this one is of a share of them, by chance.

        The nearest k of the rows drawn lie among the nearest k / drawn of all.
        """
        recalls = {round(n / drawn): each for n, each in self.recalls.items()}
        return type(self)(self.shares, recalls)

    def harder(self, factor: float) -> Self:
        """Return the curve of queries that need `factor` times as many rows."""
        shares = [share * factor for share in self.shares if share * factor < 1]
        recalls = {n: (*each[: len(shares)], 1.0) for n, each in self.recalls.items()}
        return type(self)((*shares, 1.0), recalls)

    def to_json(self) -> dict[str, Any]:
        """Return a value that json writes, with recalls of four decimals."""
        recalls = {
            str(number): [round(recall, 4) for recall in recalls]
            for number, recalls in self.recalls.items()
        }
        return {"shares": list(self.shares), "recalls": recalls}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the curve of a value that to_json() returned."""
        recalls = {
            int(number): tuple(each) for number, each in value["recalls"].items()
        }
        return cls(tuple(value["shares"]), recalls)


@dataclass(frozen=True)
class Queries:
    """Query vectors, float32 (count, dimension), to measure one curve with.

    `inside`: they are rows of the dataset, so the first neighbour of each is itself
    and does not count.
    """

    vectors: np.ndarray
    inside: bool = False


def measure(
    centroids: Centroids, blocks: Blocks, queries: Mapping[str, Queries]
) -> dict[str, Curve]:
    """Return a curve for each kind of queries, from one pass over all rows.

    A block has at most some ten thousand vectors of the kind that centroids.assign()
    takes, and their clusters. The curve says what is lost by reading fewer clusters,
    not by the rounding of stored vectors.
    """
    sizes = np.zeros(len(centroids), np.int64)
    stacked = np.concatenate([each.vectors for each in queries.values()])
    counted = _counted(blocks, sizes)
    nearest = nearest_rows(stacked, counted, max(NEIGHBOURS) + 1, centroids.metric)
    curves, start = {}, 0
    for name, each in queries.items():
        truth = nearest[start : start + len(each.vectors), int(each.inside) :]
        curves[name] = _curve(centroids, sizes, each.vectors, truth)
        start += len(each.vectors)
    return curves


def _counted(
    blocks: Blocks, sizes: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the blocks and add their rows to the sizes of their clusters."""
    for vectors, clusters in blocks:
        sizes += np.bincount(clusters, minlength=len(sizes))
        yield vectors, clusters


def nearest_rows(
    queries: np.ndarray, blocks: Blocks, count: int, metric: str
) -> np.ndarray:
    """Return the numbers of the rows nearest to each query, exactly, the best first.

    int64 (queries, count), -1 where there are fewer rows. Memory: the scores of one
    block and of the rows returned.
    """
    scores = np.full((len(queries), count), -np.inf, np.float32)
    numbers = np.full((len(queries), count), -1, np.int64)
    with one_blas_thread():
        for vectors, numbered in blocks:
            found = _scores(queries, np.asarray(vectors, np.float32), metric)
            # Of most blocks, few rows are among the best so far.
            those, columns = np.nonzero(found > scores.min(axis=1, keepdims=True))
            better = np.bincount(those, minlength=len(queries))
            places = np.arange(len(those)) - np.repeat(
                np.cumsum(better) - better, better
            )
            shape = (len(queries), better.max(initial=0))
            more_scores = np.full(shape, -np.inf, np.float32)
            more_numbers = np.full(shape, -1, np.int64)
            more_scores[those, places] = found[those, columns]
            more_numbers[those, places] = np.asarray(numbered)[columns]
            scores = np.hstack([scores, more_scores])
            numbers = np.hstack([numbers, more_numbers])
            best = np.argpartition(scores, -count, axis=1)[:, -count:]
            scores = np.take_along_axis(scores, best, axis=1)
            numbers = np.take_along_axis(numbers, best, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(numbers, order, axis=1)


def _scores(queries: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """Return the score of each vector for each query: higher is nearer."""
    scores = queries @ vectors.T
    if metric == "L2":
        scores -= np.einsum("ij,ij->i", vectors, vectors) / 2
    return scores


def _curve(
    centroids: Centroids, sizes: np.ndarray, queries: np.ndarray, truth: np.ndarray
) -> Curve:
    """Return the recall of the true neighbours, given by their clusters."""
    shares = np.array(SHARES[:-1])
    few = shares <= SAME_ORDER_SHARE
    found = np.ones((len(SHARES), *truth.shape), bool)
    for row, query in enumerate(queries):
        for largest, those in ((SAME_ORDER_SHARE, few), (shares[-1], ~few)):
            read = centroids.route(query, largest, sizes)
            before = np.full(len(centroids), np.inf)
            before[read] = np.cumsum(sizes[read]) - sizes[read]
            # A cluster is read while those before it have less than the share.
            limits = shares[those, None] * sizes.sum()
            found[:-1][those, row] = before[truth[row]] < limits
    recalls = {}
    for number in NEIGHBOURS:
        true = truth[:, :number] >= 0
        hits = (found[:, :, :number] & true).sum(axis=2)
        means = np.mean(hits / np.maximum(true.sum(axis=1), 1), axis=1)
        recalls[number] = (*means[:-1].tolist(), 1.0)
    return Curve(SHARES, recalls)
