"""Decide how much of an index a search reads, by the filters' selectivity.

Clusters are read as far as the dataset's calibration says. With a filter that a share s
of the rows pass, the nearest k are as hard to find as the nearest k / s without it.

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

from search.query.model import MAX_RESULTS

from . import client, cluster
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
    found = search(**_plan(table, wanted, share_for, condition))
    # The rows near this query may pass much less often than the samples, and some nodes
    # of a graph cannot be reached.
    if len(found) < wanted.least and not found.exact:
        found = search(exact=True)
    return FilteredCandidates(found, found.exact and len(found) < wanted.depth)


def _plan(
    table: ItemTable,
    wanted: Wanted,
    share_for: ShareFor,
    condition: Condition,
) -> dict[str, Any]:
    """Return how much to read, as options of `nearest`."""
    by_clusters = table.index == CLUSTERS
    if wanted.exact or not (condition or by_clusters):
        return {"exact": wanted.exact}
    passing = Selectivity(1.0, 0)
    if condition:
        passing = estimate_selectivity(table, condition)
        if passing.rows <= MAX_EXACT_ROWS:
            return {"exact": True}
    if by_clusters:
        return {"exact": False, "share": share_for(wanted.rank / passing.share)}
    if MAX_RESULTS * passing.share < MARGIN * wanted.least:
        return {"exact": True}
    # Fetch enough candidates for the filter to leave as many as are wanted.
    fetched = max(wanted.least * MARGIN / passing.share, wanted.depth)
    return {"exact": False, "multiplier": min(fetched, MAX_RESULTS) / wanted.depth}


@dataclass(frozen=True)
class Selectivity:
    """An estimate of how many rows of a table pass a condition.

    `counted` if the sample was the whole table.
    """

    share: float
    rows: int
    counted: bool = False


def estimate_selectivity(table: ItemTable, condition: Condition) -> Selectivity:
    """Estimate a selectivity from samples of each part; cached for ESTIMATE_CACHE_S."""
    parameters = tuple(condition.parameters.items())
    largest, total = _sizes(table, _time_slot(SIZES_CACHE_S))
    if not total:
        return Selectivity(0.0, 0)
    share = _estimate_share(
        table, condition.sql, parameters, largest, _time_slot(ESTIMATE_CACHE_S)
    )
    return Selectivity(share, round(share * total), largest <= WHOLE_ROWS)


def _time_slot(seconds: int) -> int:
    """Return a number that changes after some seconds, to expire an lru_cache."""
    return int(time.monotonic() / seconds)


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
