"""Centroids of clusters: which cluster a row belongs to, and which a query reads.

The score of a cluster for a vector is `vector · centroid + bias`, and the cluster with
the highest score is the nearest. For cosine the vectors and centroids have length 1 and
the bias is 0; for L2 it is -|centroid|² / 2, which orders clusters by distance.

From MIN_TWO_LEVELS clusters on, centroids are grouped around parents, and only those
of the best parents are scored: the cost grows with the root of the number of clusters.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from search.clustering.vectors import one_blas_thread

BLOCK_ROWS = 16_384  # rows that are assigned at once: 32 MB at 512 dimensions
MIN_TWO_LEVELS = 1_024
ASSIGN_PARENTS = 8  # whose clusters a row is compared with
ROUTE_PARENTS = 16  # at least, whose clusters a query is compared with
ROUTE_MARGIN = 4  # times the rows to read, that the compared clusters hold


@dataclass(frozen=True, eq=False)
class Centroids:
    """Clusters 0 to K - 1 of one version, numbered in the order of their parents.

    vectors: float32 (K, dimension); bias: float32 (K,); parents: uint32 (K,),
    ascending, all 0 where there is one level; metric: "cosine" or "L2".
    """

    vectors: np.ndarray
    bias: np.ndarray
    parents: np.ndarray
    metric: str
    version: int = 0

    def __post_init__(self) -> None:
        if np.any(self.parents[1:] < self.parents[:-1]):
            raise ValueError("clusters are not in the order of their parents")

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def _bounds(self) -> np.ndarray:
        """Where the clusters of each parent start, and K."""
        starts = np.flatnonzero(np.diff(self.parents, prepend=-1))
        return np.append(starts, len(self)).astype(np.int64)

    @cached_property
    def _upper(self) -> tuple[np.ndarray, np.ndarray]:
        """Centroids and bias of the parents: the means of their clusters."""
        counts = np.diff(self._bounds)[:, None].astype(np.float32)
        means = np.add.reduceat(self.vectors, self._bounds[:-1]) / counts
        return centroids_and_bias(means, self.metric)

    def assign(self, vectors: np.ndarray) -> np.ndarray:
        """Return the nearest cluster of each vector: uint32 (count,)."""
        found = np.zeros(len(vectors), np.uint32)
        if len(self) == 1:
            return found
        with one_blas_thread():
            for start in range(0, len(vectors), BLOCK_ROWS):
                block = np.asarray(vectors[start : start + BLOCK_ROWS], np.float32)
                found[start : start + BLOCK_ROWS] = self._assigned(block)
        return found

    def _assigned(self, block: np.ndarray) -> np.ndarray:
        upper, upper_bias = self._upper
        if len(upper) <= ASSIGN_PARENTS:
            return np.argmax(block @ self.vectors.T + self.bias, axis=1)
        scores = block @ upper.T + upper_bias
        likely = np.argpartition(scores, -ASSIGN_PARENTS, axis=1)[:, -ASSIGN_PARENTS:]
        # Pairs of a row and a parent, grouped by the parent.
        order = np.argsort(likely, axis=None, kind="stable")
        rows = order // ASSIGN_PARENTS
        groups = np.searchsorted(likely.ravel()[order], np.arange(len(upper) + 1))
        best = np.full(len(block), -np.inf, np.float32)
        found = np.zeros(len(block), np.int64)
        for parent in range(len(upper)):
            those = rows[groups[parent] : groups[parent + 1]]
            first, last = self._bounds[parent : parent + 2]
            scores = block[those] @ self.vectors[first:last].T + self.bias[first:last]
            nearest = np.argmax(scores, axis=1)
            score = scores[np.arange(len(those)), nearest]
            better = score > best[those]
            best[those[better]] = score[better]
            found[those[better]] = first + nearest[better]
        return found

    def route(self, query: np.ndarray, share: float, sizes: np.ndarray) -> np.ndarray:
        """Return the clusters to read for a query, the best first: uint32.

        They hold at least `share` of all rows; `sizes` are the rows of each cluster.
        A share of 1 or more returns all clusters, those without rows too.
        """
        if share >= 1 or len(self) == 1:
            return np.arange(len(self), dtype=np.uint32)
        wanted = share * sizes.sum()
        with one_blas_thread():
            clusters, scores = self._scored(query, wanted, sizes)
        clusters = clusters[np.argsort(-scores, kind="stable")]
        rows = np.cumsum(sizes[clusters])
        return clusters[: np.searchsorted(rows, wanted) + 1].astype(np.uint32)

    def _scored(
        self, query: np.ndarray, wanted: float, sizes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return clusters that hold a multiple of the wanted rows, and their scores."""
        upper, upper_bias = self._upper
        if len(upper) <= ROUTE_PARENTS:
            return np.arange(len(self)), self.vectors @ query + self.bias
        parents = np.argsort(-(upper @ query + upper_bias), kind="stable")
        rows = np.cumsum(np.add.reduceat(sizes, self._bounds[:-1])[parents])
        count = int(np.searchsorted(rows, ROUTE_MARGIN * wanted)) + 1
        ranges = [
            slice(self._bounds[parent], self._bounds[parent + 1])
            for parent in parents[: max(count, ROUTE_PARENTS)]
        ]
        clusters = np.concatenate([np.arange(each.start, each.stop) for each in ranges])
        scores = np.concatenate([self.vectors[each] @ query for each in ranges])
        return clusters, scores + self.bias[clusters]


def centroids_and_bias(means: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the float32 centroids and bias of clusters whose rows have these means."""
    if metric == "L2":
        return means, -np.einsum("ij,ij->i", means, means) / 2
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    unit = means / np.where(lengths > 0, lengths, 1)
    return unit, np.zeros(len(means), np.float32)
