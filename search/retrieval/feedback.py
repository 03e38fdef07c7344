"""Marks on pictures into a tuned vector, to search with instead of the first one.

All vectors are of unit length: `start` is float32 (dimension,), `good` and `bad` are
float32 (count, dimension) with any count, and so is what comes back (dimension,). No
marks leave the start as it is; their order does not matter, and one given twice counts
once. benchmarks/refine.py compares it with two other ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.errors import InvalidQuery
from search.query.model import SearchQuery

from . import service

# Least and greatest. At 1 the pull of the marks and that of the start are in balance.
STRENGTHS = (0.25, 4.0)
# CLIP's similarities lie close together: what is to count as a clear difference.
SCALE = 10.0
# How easily the threshold between good and bad gives way, beside the vector's 1.
REGULARIZATION = 0.1
# Where nothing is marked good there is no direction to go to, but only away.
MIN_COSINE = 0.5
MAX_STEPS = 60
CONVERGED = 1e-10


def tune(
    start: np.ndarray, good: np.ndarray, bad: np.ndarray, strength: float = 1.0
) -> np.ndarray:
    """A logistic fit of the marks, anchored at the start; more strength turns it more.

    The vector sought is start + turn, where turn is orthogonal to the start, and the
    loss is that of the marks, either kind weighing the same, and |turn|² / strength.
    So the angle from the start grows with strength. The best turn lies in the span of
    the marks, and is found as the share that each mark has in it.
    """
    marks, signs = _marks(start, good, bad)
    if not len(marks):
        return start.astype(np.float32)
    kinds = [signs == sign for sign in (1, -1) if (signs == sign).any()]
    weights = sum(kind / kind.sum() for kind in kinds)
    along = marks @ start.astype(np.float64)
    across = marks - np.outer(along, start)
    threshold = np.mean([along[kind].mean() for kind in kinds])
    kernel = across @ across.T + REGULARIZATION
    shares = _fit(kernel, along - threshold, signs, weights, strength)
    turn = shares @ across
    if not len(good):
        furthest = np.sqrt(1 / MIN_COSINE**2 - 1)
        turn *= min(1.0, furthest / max(np.linalg.norm(turn), 1e-12))
    return _unit(start + turn)


def _fit(
    kernel: np.ndarray,
    offsets: np.ndarray,
    signs: np.ndarray,
    weights: np.ndarray,
    strength: float,
) -> np.ndarray:
    """The shares that make the loss least, by Newton's method; the loss is convex."""

    def loss(shares: np.ndarray) -> float:
        margins = SCALE * signs * (offsets + kernel @ shares)
        cost = weights @ np.logaddexp(0, -margins)
        return float(cost + shares @ kernel @ shares / (2 * strength))

    shares = np.zeros(len(signs))
    least = loss(shares)
    for _ in range(MAX_STEPS):
        reached = kernel @ shares
        missing = _sigmoid(-SCALE * signs * (offsets + reached))
        curving = weights * SCALE**2 * missing * (1 - missing)
        step = np.linalg.solve(
            curving[:, None] * kernel + np.eye(len(signs)) / strength,
            curving * reached + SCALE * weights * signs * missing,
        )
        step -= shares
        while (tried := loss(shares + step)) > least and np.abs(step).max() > CONVERGED:
            step /= 2
        shares, least = shares + step, tried
        if np.abs(step).max() <= CONVERGED:
            break
    return shares


def _marks(
    start: np.ndarray, good: np.ndarray, bad: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each mark once, in an order of its own, float64; 1 for good, −1 for bad."""
    kinds = [
        np.unique(np.reshape(marks, (-1, len(start))).astype(np.float64), axis=0)
        for marks in (good, bad)
    ]
    signs = np.repeat([1.0, -1.0], [len(kind) for kind in kinds])
    return np.concatenate(kinds), signs


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -values))


def _unit(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


MAX_MARKS = 500


@dataclass(frozen=True)
class TunedQuery:
    """The unit vector, float32, and the ids whose marks counted: those still there."""

    vector: np.ndarray
    good: tuple[int, ...]
    bad: tuple[int, ...]


def check_marks(good: Sequence[int], bad: Sequence[int]) -> None:
    """Raises InvalidQuery when there are none, or too many."""
    if not good and not bad:
        raise InvalidQuery("Mark at least one picture as good or as bad first.")
    if len(good) + len(bad) > MAX_MARKS:
        raise InvalidQuery(f"A round takes up to {MAX_MARKS} marks.")


def tune_by_items(
    query: SearchQuery,
    start: np.ndarray,
    good: Sequence[int],
    bad: Sequence[int],
    strength: float,
) -> TunedQuery:
    """The start, a unit vector, tuned by items of the query's dataset, by their ids.

    Their vectors are those of the field that is searched; what has gone does not count.
    """
    (good_there, likes), (bad_there, dislikes) = (
        _unit_vectors(query, ids) for ids in (good, bad)
    )
    return TunedQuery(tune(start, likes, dislikes, strength), good_there, bad_there)


def _unit_vectors(
    query: SearchQuery, ids: Sequence[int]
) -> tuple[tuple[int, ...], np.ndarray]:
    """The ids of items that are there, and their vectors, (count, dimension)."""
    found = service.embeddings(query.dataset, query.field, ids)
    there = tuple(item for item in ids if item in found)
    rows = np.array([found[item] for item in there], np.float32)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return there, rows / np.maximum(lengths, np.float32(1e-12))
