"""Machines for more rows than were measured: the table of deploy/README.md.

The cost of a search is taken as

    CPU = fixed + parts · per_part + rows read · per_row

fitted to what was measured at several sizes and recalls, and a share for each cluster,
whose centroid is compared with the query. For a recall, a search reads clusters whose
number grows with a power of the clusters that there are, measured at the last two
numbers, and never shrinks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

import numpy as np

from search.clustering.centroids import PRINCIPAL_SHARE
from search.clustering.training import clusters_for

PARTS = 16  # of a server: its partitions
SERVER_GB, CACHE_GB = 384, 300  # memory of a server, and what of it caches files
MEASURED_DIMENSION = 512
BYTES_PER_NUMBER = 2  # bfloat16
# CPU time that comparing a query with a centroid of 512 numbers takes, at 8,192 to
# 131,072 clusters: 127 to 155 ns.
ROUTING_S = 130e-9


@dataclass(frozen=True)
class Search:
    """The mean of one search: at some recall, by words, of ten results."""

    parts: int
    rows_read: float
    cpu_ms: float


@dataclass(frozen=True)
class Stage:
    """The figures of a dataset at one size."""

    rows: int
    clusters: int
    rows_read: float  # by a search by default
    bytes: int  # of all tables
    vectors: int  # that they store of a row
    build_cpu_s: float  # of all rows: insertion, training, publishing
    searches: tuple[Search, ...]  # at several recalls


@dataclass(frozen=True)
class Cost:
    """The CPU milliseconds of a search by what it does."""

    fixed: float
    per_part: float
    per_row: float

    @classmethod
    def fitted(cls, stages: Sequence[Stage]) -> "Cost":
        """Return the costs by least squares of relative errors; none is negative."""
        searches = [search for stage in stages for search in stage.searches]
        factors = np.array([[1, each.parts, each.rows_read] for each in searches])
        factors = factors / np.array([[each.cpu_ms] for each in searches])
        used = [0, 1, 2]
        while True:
            found, *_ = np.linalg.lstsq(factors[:, used], np.ones(len(searches)))
            if found.min() >= 0:
                break
            used.pop(int(found.argmin()))
        costs = dict(zip(used, found.tolist(), strict=True))
        return cls(*(costs.get(place, 0.0) for place in range(3)))

    def of(self, parts: float, rows_read: float) -> float:
        return self.fixed + parts * self.per_part + rows_read * self.per_row


@dataclass(frozen=True)
class Corpus:
    name: str
    rows: float
    dimension: int


CORPORA = (
    Corpus("LAION-400M, 512 dimensions", 400e6, 512),
    Corpus("LAION-5B's 5.85 billion rows, 768 dimensions", 5.85e9, 768),
)


def table(stages: Sequence[Stage], corpora: Sequence[Corpus] = CORPORA) -> str:
    """Return the sizing table in Markdown."""
    columns = [dict(figures(stages, corpus)) for corpus in corpora]
    lines = [
        f"| | {' | '.join(corpus.name for corpus in corpora)} |",
        "|---|" + "---|" * len(corpora),
    ]
    lines += [
        f"| {name} | {' | '.join(column[name] for column in columns)} |"
        for name in columns[0]
    ]
    return "\n".join(lines)


def figures(stages: Sequence[Stage], corpus: Corpus) -> list[tuple[str, str]]:
    last, cost = stages[-1], Cost.fitted(stages)
    wider = corpus.dimension / MEASURED_DIMENSION
    vector = corpus.dimension * BYTES_PER_NUMBER
    stored = last.vectors * MEASURED_DIMENSION * BYTES_PER_NUMBER
    disk = corpus.rows * (last.bytes / last.rows - stored + last.vectors * vector)
    searched = corpus.rows * vector
    clusters = clusters_at(corpus.rows)
    centroids = clusters * corpus.dimension * 4 * (1 + PRINCIPAL_SHARE)
    servers = ceil(searched / (CACHE_GB * 1e9))
    read = rows_read(stages, corpus.rows)
    routing = clusters * ROUTING_S * wider
    alone = cost.of(PARTS, read * wider) / 1000
    each = cost.of(PARTS, read * wider / servers) / 1000
    build = last.build_cpu_s / last.rows * corpus.rows * wider
    return [
        ("disk", size(disk)),
        ("vectors that searches read: best in the page cache", size(searched)),
        ("clusters", f"{clusters:,} of {corpus.rows / clusters:,.0f} rows"),
        ("centroids, in each process that searches", size(centroids)),
        ("rows that a search reads", f"{read:,.0f} ({read / corpus.rows:.2%})"),
        ("bytes that a search reads", size(read * vector)),
        ("CPU that a process takes to choose clusters", f"{routing:.2f} s"),
        ("CPU of a search on one server", f"{alone:.2f} s"),
        (f"servers of {SERVER_GB} GB with the vectors in cache", f"{servers}"),
        ("CPU of a search on each of them", f"{each:.2f} s"),
        ("CPU of a search on all of them", f"{each * servers:.2f} s"),
        ("building", f"{build / 3600:,.0f} core-hours"),
    ]


def clusters_at(rows: float) -> int:
    """Return how many clusters a dataset of so many rows gets."""
    return clusters_for(int(rows), int(rows))


def rows_read(stages: Sequence[Stage], rows: float) -> float:
    """Return how many rows a search reads of so many, for the same recall."""
    last = stages[-1]
    if len(stages) < 2:
        return last.rows_read / last.rows * rows
    read = [each.rows_read / each.rows * each.clusters for each in stages]
    power = 0.0
    for stage, clusters in zip(stages, read, strict=True):
        if stage.clusters < last.clusters:  # the last such one counts
            power = log(read[-1] / clusters) / log(last.clusters / stage.clusters)
    power = min(1.0, max(0.0, power))
    grown = max(read) * (clusters_at(rows) / last.clusters) ** power
    return min(rows, grown * rows / clusters_at(rows))


def size(count: float) -> str:
    """Return bytes in the largest unit below them."""
    units = {"TB": 1e12, "GB": 1e9, "MB": 1e6}
    name = next((name for name, unit in units.items() if count >= unit), "MB")
    value = count / units[name]
    return f"{value:.0f} {name}" if value >= 10 else f"{value:.1f} {name}"
