"""Number of items that pass the filters of a search, counted or estimated."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.clickhouse.filters import REMOVED, condition_of
from search.clickhouse.planner import estimate_selectivity
from search.models import Dataset
from search.query.filters import Filters

from .dataset_index import DatasetIndex
from .ranking import Ranking


@dataclass(frozen=True)
class Matching:
    """The number of items that pass the filters, whether safe or not."""

    items: int
    estimated: bool


@dataclass(frozen=True)
class DatasetMatching:
    """The number of items of one dataset that pass the filters, or of all."""

    dataset: Dataset
    items: int
    estimated: bool


def matching_of(index: DatasetIndex, ranking: Ranking) -> Matching | None:
    """Return what passes the filters of a ranking; None where none applies."""
    condition = condition_of(ranking.filters, index.table)
    if not condition:
        return None
    is_whole = ranking.complete and not ranking.depth.visible_only
    if is_whole and ranking.filters.cutoff is None:
        there = int(np.count_nonzero(ranking.hidden != REMOVED))
        return Matching(there, estimated=False)
    field = next(iter(ranking.vectors))  # that the search has counted
    passing = estimate_selectivity(index.table, condition, field)
    return Matching(passing.rows, estimated=not passing.counted)


def filter_selectivity(dataset: Dataset, filters: Filters) -> float:
    """Estimate the share of a dataset's items that pass the filters, 0 to 1."""
    table = dataset.item_table
    condition = condition_of(filters, table)
    return estimate_selectivity(table, condition).share if condition else 1.0


def total(matching: Sequence[Matching | None]) -> Matching | None:
    """Return the sum over all datasets; None where no filter applies."""
    known = [each for each in matching if each is not None]
    if not known:
        return None
    estimated = any(each.estimated for each in known)
    return Matching(sum(each.items for each in known), estimated)


def in_dataset(index: DatasetIndex, matching: Matching | None) -> DatasetMatching:
    """Return what passes in a dataset, or all of its items where no filter applies."""
    dataset = index.dataset
    if matching is None:
        matching = Matching(dataset.item_count(), estimated=False)
    return DatasetMatching(dataset, matching.items, matching.estimated)
