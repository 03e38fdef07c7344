"""Centroids of clusters: which cluster a row belongs to, and which a query reads.

The score of a cluster for a vector is `vector · centroid + bias`, and the cluster with
the highest score is the nearest. For cosine the vectors and centroids have length 1 and
the bias is 0; for L2 it is -|centroid|² / 2, which orders clusters by distance.

Centroids are grouped around parents. If there are enough of these, a row is compared
with the clusters of the best of them. Queries by words lie far from all images, and
parents say little about where their neighbours are. Instead, all centroids are compared
with a query in their principal directions, and the best of them in full.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from search.clustering.vectors import one_blas_thread

# Rows that are assigned at once. Few stay in the processor's cache, where they are read
# for each of their best parents; few rows a parent waste arithmetic.
BLOCK_ROWS = 8_192  # at most: 16 MB at 512 dimensions
MIN_BLOCK_ROWS = 1_024
ROWS_PER_PARENT = 256
ASSIGN_PARENTS = 6  # whose clusters a row is compared with
MIN_PARENTS = 3 * ASSIGN_PARENTS  # with fewer, a row is compared with all clusters
MIN_PROJECTED = 1_024  # clusters; a query is compared with fewer in full
# Comparing by these directions first costs 0.4 of comparing all in full; with fewer,
# 4 / 16, it lost 0.001 to 0.007 of the recall at a million rows.
PRINCIPAL_SHARE = 5 / 16
MIN_PRINCIPAL = 64
COMPARED_SHARE = 1 / 16  # of the clusters, at least, that are compared in full
COMPARED_MARGIN = 2  # times the share of the rows to read
# Up to this share of the rows, a query is compared with the same clusters.
SAME_ORDER_SHARE = COMPARED_SHARE / COMPARED_MARGIN
MAX_SAMPLE = 16_384  # of centroids that the principal directions are taken from


@dataclass(frozen=True, eq=False)
class Centroids:
    """Clusters 0 to K - 1 of one version, numbered in the order of their parents.

    vectors: float32 (K, dimension); bias: float32 (K,); parents: uint32 (K,),
    ascending, all 0 for few clusters; metric: "cosine" or "L2".
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
        rows = len(self._bounds) * ROWS_PER_PARENT // ASSIGN_PARENTS
        rows = min(max(rows, MIN_BLOCK_ROWS), BLOCK_ROWS)
        with one_blas_thread():
            for start in range(0, len(vectors), rows):
                block = np.asarray(vectors[start : start + rows], np.float32)
                found[start : start + rows] = self._assigned(block)
        return found

    def _assigned(self, block: np.ndarray) -> np.ndarray:
        if len(self._bounds) < MIN_PARENTS:
            return np.argmax(block @ self.vectors.T + self.bias, axis=1)
        upper, upper_bias = self._upper
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

    def route(
        self,
        query: np.ndarray,
        share: float,
        sizes: np.ndarray,
        passing: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the clusters to read for a query, the best first: uint32.

        They hold at least `share` of all rows; `sizes` are the rows of each cluster.
        `passing` are those of them that pass the conditions of a search, or an estimate
        in proportion: then also `share` of these is read, and clusters without any are
        left out in favour of further ones. Without it, conditions that most of the
        nearest rows fail cost up to half of the recall. A share of 1 or more returns
        all clusters, those without rows too.
        """
        if share >= 1 or len(self) == 1:
            return np.arange(len(self), dtype=np.uint32)
        aims = [(sizes, share * sizes.sum())]
        if passing is not None:
            aims = [(sizes * (passing > 0), aims[0][1])]
            aims.append((passing, share * passing.sum()))
        with one_blas_thread():
            clusters = self._likely(query, share)
            if clusters is None or any(
                counts[clusters].sum() < aim for counts, aim in aims
            ):
                clusters = np.arange(len(self))
                scores = self.vectors @ query + self.bias
            else:
                scores = self.vectors[clusters] @ query + self.bias[clusters]
        clusters = clusters[np.argsort(-scores, kind="stable")]
        if passing is not None:
            clusters = clusters[passing[clusters] > 0]
        last = max(
            np.searchsorted(np.cumsum(counts[clusters]), aim) for counts, aim in aims
        )
        return clusters[: last + 1].astype(np.uint32)

    def _likely(self, query: np.ndarray, share: float) -> np.ndarray | None:
        """Return the clusters to compare in full, in no order; None for all."""
        count = int(len(self) * max(COMPARED_SHARE, COMPARED_MARGIN * share))
        if len(self) < MIN_PROJECTED or 2 * count >= len(self):
            return None
        directions, projected = self._principal
        scores = projected @ (query @ directions) + self.bias
        return np.argpartition(scores, -count)[-count:]

    @cached_property
    def _principal(self) -> tuple[np.ndarray, np.ndarray]:
        """The directions of the centroids' largest parts, and these parts.

        Shapes (dimension, directions) and (K, directions).
        """
        step = -(-len(self) // MAX_SAMPLE)
        some = self.vectors[::step]
        _, directions = np.linalg.eigh(some.T @ some)  # ascending
        count = max(MIN_PRINCIPAL, int(PRINCIPAL_SHARE * some.shape[1]))
        directions = np.ascontiguousarray(directions[:, -count:])
        return directions, self.vectors @ directions


def centroids_and_bias(means: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the float32 centroids and bias of clusters whose rows have these means."""
    if metric == "L2":
        return means, -np.einsum("ij,ij->i", means, means) / 2
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    unit = means / np.where(lengths > 0, lengths, 1)
    return unit, np.zeros(len(means), np.float32)
