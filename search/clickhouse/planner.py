"""How a search is answered: by the index, or exactly, by what its condition lets pass.

A vector index does not know conditions; it proposes candidates, of which those that
pass are left. That is quick while many rows pass. When few do, nearly all candidates
would be thrown away, and comparing the few exactly is both quicker and complete.
"""

import time
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from search.query.model import MAX_RESULTS

from . import client, cluster
from .filters import NOT_REMOVED, Condition
from .queries import Candidates, nearest
from .schema import ItemTable

# Of how many rows that pass may be compared exactly at once without a second thought.
FEW = 2_000
# A margin, because the rows near a query pass more or less often than others.
MARGIN = 1.5
STRETCHES = 4  # of each part, looked at to estimate how many rows pass
STRETCH_ROWS = 8_192
ESTIMATE_KEPT_S = 300
SIZES_KEPT_S = 10


@dataclass(frozen=True)
class FilteredCandidates:
    """`complete` says that no other item passes the condition."""

    candidates: Candidates
    exact: bool
    complete: bool


def search_filtered(
    table: ItemTable,
    field: str,
    vector: np.ndarray,
    *,
    condition: Condition,
    nsfw: str,
    depth: int,
    wanted: int,
    exact: bool,
) -> FilteredCandidates:
    """The nearest items that pass: `depth` of them, or at least `wanted`.

    Fewer than `wanted` come back only when no more pass.
    """

    def found(exactly: bool, multiplier: float = 1.0) -> FilteredCandidates:
        candidates = nearest(
            table,
            field,
            vector,
            depth,
            condition=condition,
            nsfw=nsfw,
            exact=exactly,
            multiplier=multiplier,
        )
        return FilteredCandidates(
            candidates, exactly, exactly and len(candidates) < depth
        )

    multiplier = 1.0
    if condition and not exact:
        passing = estimate_selectivity(table, condition)
        exact = passing.rows <= FEW or MAX_RESULTS * passing.share < MARGIN * wanted
        # As many candidates as without a condition, if enough of them are to pass.
        fetched = max(wanted * MARGIN / (passing.share or 1), depth)
        multiplier = min(fetched, MAX_RESULTS) / depth
    if exact:
        return found(exactly=True)
    by_index = found(exactly=False, multiplier=multiplier)
    # The rows near this query may pass much less often than those looked at, and a
    # graph has places that no path leads to.
    return by_index if len(by_index.candidates) >= wanted else found(exactly=True)


@dataclass(frozen=True)
class Selectivity:
    """An estimate of how many rows of a table pass a condition."""

    share: float
    rows: int


def estimate_selectivity(table: ItemTable, condition: Condition) -> Selectivity:
    """Estimated from some stretches of each part, and kept for minutes."""
    parameters = tuple(condition.parameters.items())
    largest, total = _sizes(table, _period(SIZES_KEPT_S))
    if not total:
        return Selectivity(0.0, 0)
    share = _share_passing(
        table, condition.sql, parameters, largest, _period(ESTIMATE_KEPT_S)
    )
    return Selectivity(share, round(share * total))


def _period(seconds: int) -> int:
    """Another number after some seconds: what was kept for the last is forgotten."""
    return int(time.monotonic() / seconds)


@lru_cache(maxsize=100)
def _sizes(table: ItemTable, period: int) -> tuple[int, int]:
    """The rows of the largest part, and of all parts."""
    sql = (
        "SELECT max(rows) AS largest, sum(rows) AS total FROM system.parts "
        "WHERE active AND database = currentDatabase() AND table = {table:String}"
    )
    found = cluster.on_all_nodes(lambda: client.rows(sql, {"table": table.name})[0])
    return max(row["largest"] for row in found), sum(row["total"] for row in found)


@lru_cache(maxsize=1_000)
def _share_passing(
    table: ItemTable,
    sql: str,
    parameters: tuple[tuple[str, object], ...],
    largest: int,
    period: int,
) -> float:
    stretches = _stretches(largest)
    looked_at = _count(table, stretches, {})
    # In WHERE alone the index on captions takes part, and with it its small letters.
    passed = _count(
        table, f"({stretches}) AND {NOT_REMOVED} AND {sql}", dict(parameters)
    )
    return passed / max(looked_at, 1)


def _count(table: ItemTable, where: str, parameters: dict[str, object]) -> int:
    sql = f"SELECT count() AS n FROM {table.name} WHERE {where}"
    counted = cluster.on_all_nodes(lambda: client.rows(sql, parameters))
    return sum(rows[0]["n"] for rows in counted)


def _stretches(rows: int) -> str:
    """A condition for some rows of each part, by their place in it."""
    if rows <= STRETCHES * STRETCH_ROWS:
        return "1"
    starts = range(0, rows - STRETCH_ROWS + 1, (rows - STRETCH_ROWS) // (STRETCHES - 1))
    return " OR ".join(
        f"_part_offset BETWEEN {start} AND {start + STRETCH_ROWS - 1}"
        for start in starts
    )
