"""Decide how much of an index a search reads, by the filters' selectivity.

Clusters are read as far as the dataset's calibration says. With a filter that a share s
of the rows pass, the nearest k are as hard to find as the nearest k / s without it.
The rows that pass may lie far from the query, so they are counted by cluster.

A graph does not know filters: they apply to the candidates it returns. That is fast
while many rows pass. When few pass, nearly all candidates would be discarded; comparing
the passing rows exactly is then both faster and complete.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from search.errors import NotFound
from search.query.model import MAX_RESULTS

from . import centroids, client, cluster
from .filters import NOT_REMOVED, Condition
from .queries import Candidates, nearest
from .schema import CLUSTERS, ItemTable

# Up to this number of passing rows, an exact search is fast enough.
MAX_EXACT_ROWS = 2_000
# Rows near a query pass more or less often than others.
MARGIN = 1.5
SAMPLES = 4  # ranges of rows per part, to estimate the selectivity
SAMPLE_ROWS = 8_192
WHOLE_ROWS = SAMPLES * SAMPLE_ROWS  # of a part that is its own sample
ESTIMATE_CACHE_S = 300
SIZES_CACHE_S = 10
# Returns the share of the rows to read of clusters for the nearest k; None if it is not
# known.
ShareFor = Callable[[float], float | None]


@dataclass(frozen=True)
class Wanted:
    """The aim of a search: up to `depth` items, and at least `least` of them.

    `rank` is how many of the nearest matter for recall. `wide` searches a graph as for
    all pages, though fewer candidates are wanted. `exact` compares every item.
    `whole` asks for the items' columns, and `vectors` for those of their images.
    """

    depth: int
    least: int
    rank: int
    wide: bool = True
    exact: bool = False
    whole: bool = False
    vectors: bool = False


@dataclass(frozen=True)
class FilteredCandidates:
    """The candidates of a search; `complete` if no other item passes the condition."""

    candidates: Candidates
    complete: bool


def search_filtered(
    table: ItemTable,
    field: str,
    vector: np.ndarray,
    wanted: Wanted,
    share_for: ShareFor,
    *,
    condition: Condition,
    nsfw: str,
) -> FilteredCandidates:
    """Return the nearest items that pass a condition.

    Returns fewer than are wanted at least only if no more pass.
    """
    search = partial(
        nearest,
        table,
        field,
        vector,
        wanted.depth,
        condition=condition,
        nsfw=nsfw,
        whole=wanted.whole,
        wide=wanted.wide,
        vectors=wanted.vectors,
    )
    found = search(**_plan(table, field, wanted, share_for, condition))
    # The rows near this query may pass much less often than the samples, and some nodes
    # of a graph cannot be reached.
    if len(found) < wanted.least and not found.exact:
        found = search(exact=True)
    return FilteredCandidates(found, found.exact and len(found) < wanted.depth)


def _plan(
    table: ItemTable,
    field: str,
    wanted: Wanted,
    share_for: ShareFor,
    condition: Condition,
) -> dict[str, Any]:
    """Return how much to read, as options of `nearest`."""
    by_clusters = table.index == CLUSTERS
    if wanted.exact or not (condition or by_clusters):
        return {"exact": wanted.exact}
    if not condition:
        return {"exact": False, "share": share_for(wanted.rank)}
    passing = estimate_selectivity(table, condition, field)
    if passing.rows <= MAX_EXACT_ROWS:
        return {"exact": True}
    if by_clusters:
        share = share_for(wanted.rank / passing.share)
        return {"exact": False, "share": share, "passing": passing.by_cluster}
    if MAX_RESULTS * passing.share < MARGIN * wanted.least:
        return {"exact": True}
    # Fetch enough candidates for the filter to leave as many as are wanted.
    fetched = max(wanted.least * MARGIN / passing.share, wanted.depth)
    return {"exact": False, "multiplier": min(fetched, MAX_RESULTS) / wanted.depth}


@dataclass(frozen=True)
class Selectivity:
    """The rows of a table that pass a condition and are not removed.

    `counted` if this is no estimate. Those of a field's clusters are also `by_cluster`.
    """

    share: float
    rows: int
    counted: bool
    by_cluster: centroids.Passing | None = None


EMPTY = Selectivity(0.0, 0, counted=True)


def estimate_selectivity(
    table: ItemTable, condition: Condition, field: str = "image"
) -> Selectivity:
    """Count the rows of a field's clusters, or sample each part of a graph's table.

    Cached for ESTIMATE_CACHE_S, and counts until rows are published.
    """
    parameters = tuple(condition.parameters.items())
    slot = _time_slot(ESTIMATE_CACHE_S)
    if table.index == CLUSTERS:
        return _count_passing(table, field, condition.sql, parameters, slot)
    largest, total = _sizes(table, _time_slot(SIZES_CACHE_S))
    if not total:
        return EMPTY
    share = _estimate_share(table, condition.sql, parameters, largest, slot)
    return Selectivity(share, round(share * total), largest <= WHOLE_ROWS)


def _time_slot(seconds: int) -> int:
    """Return a number that changes after some seconds, to expire an lru_cache."""
    return int(time.monotonic() / seconds)


@lru_cache(maxsize=100)  # of up to 16 bytes a cluster
def _count_passing(
    table: ItemTable,
    field: str,
    sql: str,
    parameters: tuple[tuple[str, object], ...],
    _slot: int,
) -> Selectivity:
    try:
        live = centroids.live_versions(table, field)
    except NotFound:  # there are no rows yet
        return EMPTY
    total = centroids.row_count(live)
    passing = centroids.count_passing(
        table.clustered(field), Condition(sql, dict(parameters)), total
    )
    share = passing.visible / max(total, passing.visible, 1)
    return Selectivity(share, passing.visible, passing.step == 1, passing)


@lru_cache(maxsize=100)
def _sizes(table: ItemTable, _slot: int) -> tuple[int, int]:
    """Return the rows of the largest part, and of all parts."""
    sql = (
        "SELECT max(rows) AS largest, sum(rows) AS total FROM system.parts "
        "WHERE active AND database = currentDatabase() AND table = {table:String}"
    )
    nodes = cluster.on_all_nodes(lambda: client.rows(sql, {"table": table.name})[0])
    return max(row["largest"] for row in nodes), sum(row["total"] for row in nodes)


@lru_cache(maxsize=1_000)
def _estimate_share(
    table: ItemTable,
    sql: str,
    parameters: tuple[tuple[str, object], ...],
    largest: int,
    _slot: int,
) -> float:
    sample = _sample_condition(largest)
    sampled = _count(table, sample, {})
    # In WHERE, because only there the index on captions applies, and lower-cases them.
    passed = _count(table, f"({sample}) AND {NOT_REMOVED} AND {sql}", dict(parameters))
    return passed / max(sampled, 1)


def _count(table: ItemTable, where: str, parameters: dict[str, object]) -> int:
    sql = f"SELECT count() AS n FROM {table.name} WHERE {where}"
    counted = cluster.on_all_nodes(lambda: client.rows(sql, parameters))
    return sum(rows[0]["n"] for rows in counted)


def _sample_condition(rows: int) -> str:
    """Return a condition for SAMPLES ranges of each part's rows."""
    if rows <= WHOLE_ROWS:
        return "1"
    starts = range(0, rows - SAMPLE_ROWS + 1, (rows - SAMPLE_ROWS) // (SAMPLES - 1))
    return " OR ".join(
        f"_part_offset BETWEEN {start} AND {start + SAMPLE_ROWS - 1}"
        for start in starts
    )
