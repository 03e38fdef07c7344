"""Items marked as good or bad, into the vector with which a search goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import service
from .errors import InvalidQuery
from .query.model import SearchQuery
from .refine import tuned

MOST_MARKS = 500


@dataclass(frozen=True)
class Tuned:
    """The unit vector, float32, and the ids whose marks counted: those still there."""

    vector: np.ndarray
    good: tuple[int, ...]
    bad: tuple[int, ...]


def check_marks(good: Sequence[int], bad: Sequence[int]) -> None:
    """Raises InvalidQuery when there are none, or too many."""
    if not good and not bad:
        raise InvalidQuery("Mark at least one picture as good or as bad first.")
    if len(good) + len(bad) > MOST_MARKS:
        raise InvalidQuery(f"A round takes up to {MOST_MARKS} marks.")


def tuned_by_items(
    query: SearchQuery,
    start: np.ndarray,
    good: Sequence[int],
    bad: Sequence[int],
    strength: float,
) -> Tuned:
    """The start, a unit vector, tuned by items of the query's dataset, by their ids.

    Their vectors are those of the field that is searched; what has gone does not count.
    """
    (good_there, likes), (bad_there, dislikes) = (
        _unit_vectors(query, ids) for ids in (good, bad)
    )
    return Tuned(tuned(start, likes, dislikes, strength), good_there, bad_there)


def _unit_vectors(
    query: SearchQuery, ids: Sequence[int]
) -> tuple[tuple[int, ...], np.ndarray]:
    """The ids of items that are there, and their vectors, (count, dimension)."""
    found = service.embeddings(query.dataset, query.field, ids)
    there = tuple(item for item in ids if item in found)
    rows = np.array([found[item] for item in there], np.float32)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return there, rows / np.maximum(lengths, np.float32(1e-12))
