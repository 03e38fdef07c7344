"""Recall: the share of the nearest items that a search by the index finds.

Recall@k compares the k nearest with the first k found. It goes by distances: an item as
near as the k-th nearest counts as found, since copies of one picture are all as near.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .clickhouse import by_id, queries
from .clickhouse.filters import Condition
from .clickhouse.schema import ItemTable

RANKS = (1, 10, 100)

Done = Callable[[], object]  # called after each search


@dataclass(frozen=True)
class Question:
    """A query's unit vector, and the item and the field that it is of, if any."""

    vector: np.ndarray
    item: int | None = None
    field: str = ""


@dataclass(frozen=True)
class Answers:
    """Ids and distances of the first items, a pair of arrays for each question."""

    ids: list[np.ndarray]
    distances: list[np.ndarray]
    milliseconds: list[float]

    def took(self, percent: int) -> float:
        return round(float(np.percentile(self.milliseconds, percent)), 2)


def stored(table: ItemTable, field: str, ids: list[int]) -> list[Question]:
    """The vectors of those items that are there, in the order of `ids`."""
    found = by_id.embeddings(table, field, ids)
    return [
        Question(found[item] / np.linalg.norm(found[item]), item, field)
        for item in ids
        if item in found
    ]


def answers(
    table: ItemTable,
    field: str,
    questions: Sequence[Question],
    count: int,
    exact: bool,
    done: Done,
) -> Answers:
    """Searches one after the other; the item that a question is of is left out."""
    found = Answers([], [], [])
    # The first one loads what the others find in memory.
    _nearest(table, field, questions[0].vector, count, exact)
    for question in questions:
        started = time.perf_counter()
        nearest = _nearest(table, field, question.vector, count, exact)
        found.milliseconds.append((time.perf_counter() - started) * 1000)
        own = question.item if question.field == field else None
        others = np.flatnonzero(~np.isin(nearest.ids, [] if own is None else [own]))
        found.ids.append(nearest.ids[others[: max(RANKS)]])
        found.distances.append(nearest.distances[others[: max(RANKS)]])
        done()
    return found


def _nearest(
    table: ItemTable,
    field: str,
    vector: np.ndarray,
    count: int,
    exact: bool,
    condition: Condition | None = None,
) -> queries.Candidates:
    return queries.nearest(
        table,
        field,
        vector,
        count,
        condition=condition or Condition(),
        nsfw="safe",
        exact=exact,
    )


def true_distances(
    table: ItemTable, field: str, question: Question, ids: np.ndarray
) -> np.ndarray:
    """Of these items: those that come with a search by the index are rounded."""
    if not len(ids):
        return np.empty(0, np.float32)
    these = Condition("id IN {these:Array(UInt64)}", {"these": ids.tolist()})
    found = _nearest(table, field, question.vector, len(ids), True, these)
    known = dict(zip(found.ids.tolist(), found.distances.tolist(), strict=True))
    return np.array([known.get(item, np.inf) for item in ids.tolist()], np.float32)


def recall(
    found: Sequence[np.ndarray], truth: Sequence[np.ndarray], rank: int
) -> float:
    """Recall@rank over all questions, by the true distances of what was found."""
    shares = [
        np.count_nonzero(near[:rank] <= best[:rank].max()) / len(best[:rank])
        for near, best in zip(found, truth, strict=True)
        if len(best)
    ]
    return round(float(np.mean(shares)), 4) if shares else 1.0
