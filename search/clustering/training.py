"""Training of centroids on a sample of rows: spherical k-means, or k-means for L2.

Many clusters are trained in two steps: k-means on a part of the sample divides it
into about √K parts, and k-means in each part finds its share of the clusters. Then all
clusters move to the means of the rows that are nearest to them.
"""

from collections.abc import Iterator

import numpy as np

from search.clustering.centroids import BLOCK_ROWS, Centroids, centroids_and_bias
from search.clustering.vectors import one_blas_thread, unit

MIN_CLUSTERED_ROWS = 20_000  # fewer rows are compared exactly, which is quicker
# Up to MANY_ROWS; then they grow with the fourth root of all rows, and with the square
# root from VERY_MANY_ROWS on, where a search spends most on comparing centroids.
ROWS_PER_CLUSTER = 100
MANY_ROWS = 1_000_000
VERY_MANY_ROWS = 100_000_000
# Processes hold all centroids, 2.8 GB of so many at 512 dimensions, and each query is
# compared with all of them.
MAX_CLUSTERS = 2**20
SAMPLE_PER_CLUSTER = 32  # rows to train with; 64 let queries read a tenth less
MIN_SAMPLE_PER_CLUSTER = 16
MAX_ROWS_PER_MEAN = 128  # in one k-means, whose rows are all in memory
MAX_ITERATIONS = 6
SETTLED = 0.05  # share of the rows, of which fewer move in the last iteration
MIN_PARTS = 256  # clusters, from which on they are trained in parts


def clusters_for(rows: int, sample: int) -> int:
    """Return the number of clusters for so many rows, trained on such a sample."""
    if rows < MIN_CLUSTERED_ROWS:
        return 1
    # 178 for ten million rows, 632 for 400 million, 5,600 for 5.85 billion.
    size = ROWS_PER_CLUSTER * max(1, rows / MANY_ROWS) ** 0.25
    size *= max(1, rows / VERY_MANY_ROWS) ** 0.25
    wanted = min(int(rows / size), MAX_CLUSTERS, sample // MIN_SAMPLE_PER_CLUSTER)
    return max(1, wanted)


def train(
    sample: np.ndarray, clusters: int, metric: str, seed: int = 0, version: int = 0
) -> Centroids:
    """Return about `clusters` clusters of a sample, shape (rows, dimension).

    The sample has any type of float; a memmap is read in parts. With few different
    rows there are fewer clusters. The result depends on nothing but the arguments.
    """
    random = np.random.default_rng(seed)
    with one_blas_thread():
        if clusters < MIN_PARTS:
            means = _kmeans(sample, np.arange(len(sample)), clusters, metric, random)
        else:
            means = _kmeans_of_parts(sample, clusters, metric, random)
        means = _moved(sample, _grouped(means, metric, random, version))
        return _grouped(means, metric, random, version)


def _kmeans_of_parts(
    sample: np.ndarray, clusters: int, metric: str, random: np.random.Generator
) -> np.ndarray:
    """Return the means of clusters, each found in one part of the sample."""
    everything = np.arange(len(sample))
    parts = _kmeans(sample, everything, round(clusters**0.5), metric, random)
    divided = _one_level(parts, metric)
    labels = np.concatenate(
        [divided.assign(block) for block in _blocks(sample, metric)]
    )
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=len(parts))
    ends = np.cumsum(counts)
    # Rounded sums, so that the parts' shares add up to the clusters wanted.
    shares = np.diff(np.round(ends * (clusters / len(sample))).astype(int), prepend=0)
    return np.concatenate(
        [
            _kmeans(
                sample, np.sort(order[end - count : end]), max(1, share), metric, random
            )
            for count, end, share in zip(counts, ends, shares, strict=True)
            if count
        ]
    )


def _kmeans(
    sample: np.ndarray,
    rows: np.ndarray,
    clusters: int,
    metric: str,
    random: np.random.Generator,
) -> np.ndarray:
    """Return the means of at most `clusters` clusters of some rows: float32."""
    clusters = min(clusters, len(rows))
    if len(rows) > clusters * MAX_ROWS_PER_MEAN:
        rows = np.sort(random.choice(rows, clusters * MAX_ROWS_PER_MEAN, replace=False))
    vectors = _read(sample, rows, metric)
    means = vectors[random.choice(len(vectors), clusters, replace=False)]
    labels = np.full(len(vectors), -1)
    for _ in range(MAX_ITERATIONS):
        before, labels = labels, _one_level(means, metric).assign(vectors)
        sums, counts = _sums(vectors, labels, clusters)
        # A cluster that lost all its rows starts again from a row drawn by chance.
        empty = counts == 0
        means = sums / np.maximum(counts, 1)[:, None].astype(np.float32)
        means[empty] = vectors[random.integers(len(vectors), size=empty.sum())]
        if np.count_nonzero(labels != before) < SETTLED * len(vectors):
            break
    return means[~empty]


def _moved(sample: np.ndarray, centroids: Centroids) -> np.ndarray:
    """Return the means of the rows nearest to each centroid that has any."""
    sums, counts = np.zeros_like(centroids.vectors), np.zeros(len(centroids), int)
    for block in _blocks(sample, centroids.metric):
        added, more = _sums(block, centroids.assign(block), len(centroids))
        sums += added
        counts += more
    return sums[counts > 0] / counts[counts > 0, None].astype(np.float32)


def _sums(
    vectors: np.ndarray, labels: np.ndarray, clusters: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of each cluster's vectors, and their number."""
    counts = np.bincount(labels, minlength=clusters)
    sums = np.zeros((clusters, vectors.shape[1]), np.float32)
    order, end = np.argsort(labels, kind="stable"), 0
    for cluster, count in enumerate(counts.tolist()):  # reduceat takes longer
        start, end = end, end + count
        np.add.reduce(vectors[order[start:end]], axis=0, out=sums[cluster])
    return sums, counts


def _grouped(
    means: np.ndarray, metric: str, random: np.random.Generator, version: int
) -> Centroids:
    """Return clusters with these means, the like ones next to each other.

    A query reads like clusters, and so fewer and longer ranges of the table.
    """
    flat = _one_level(means, metric)
    groups = 1 if len(means) < MIN_PARTS else round(len(means) ** 0.5)
    everything = np.arange(len(means))
    parents = _one_level(
        _kmeans(flat.vectors, everything, groups, metric, random), metric
    )
    labels = parents.assign(flat.vectors)
    members = [np.flatnonzero(labels == parent) for parent in _chain(parents)]
    ordered = [
        some[_chain(_one_level(means[some], metric))] for some in members if len(some)
    ]
    order = np.concatenate(ordered)
    numbers = np.repeat(np.arange(len(ordered), dtype=np.uint32), [*map(len, ordered)])
    return Centroids(flat.vectors[order], flat.bias[order], numbers, metric, version)


def _chain(centroids: Centroids) -> list[int]:
    """Return an order in which each cluster is followed by the nearest of the rest."""
    left = centroids.bias.copy()
    order = [0]
    while len(order) < len(centroids):
        left[order[-1]] = -np.inf
        nearest = np.argmax(centroids.vectors @ centroids.vectors[order[-1]] + left)
        order.append(int(nearest))
    return order


def _one_level(means: np.ndarray, metric: str) -> Centroids:
    vectors, bias = centroids_and_bias(means, metric)
    return Centroids(vectors, bias, np.zeros(len(means), np.uint32), metric)


def _blocks(sample: np.ndarray, metric: str) -> Iterator[np.ndarray]:
    for start in range(0, len(sample), BLOCK_ROWS):
        yield _read(sample, np.s_[start : start + BLOCK_ROWS], metric)


def _read(sample: np.ndarray, rows: np.ndarray | slice, metric: str) -> np.ndarray:
    vectors = np.asarray(sample[rows], np.float32)
    return unit(vectors) if metric == "cosine" else vectors
