"""Relevance feedback: tune the vector of a search by marks on its results.

All vectors are of unit length: `start` and the result are float32 (dimension,), `good`
and `bad` are float32 (count, dimension) with any count. Without marks the result is the
start. The order of marks does not matter, and repeated ones count once.
benchmarks/refine.py compares this method with two others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.errors import InvalidQuery
from search.models import Viewer
from search.query.model import SearchQuery

from . import service

# Minimum and maximum. At 1 the marks and the start are in balance.
STRENGTHS = (0.25, 4.0)
# CLIP's similarities lie close together; scaled so, their differences separate.
SCALE = 10.0
# Of the threshold between good and bad, relative to that of the vector.
REGULARIZATION = 0.1
# To the start, if nothing is marked good: there is no direction to turn to.
MIN_COSINE = 0.5
MAX_STEPS = 60
CONVERGED = 1e-10


def tune(
    start: np.ndarray, good: np.ndarray, bad: np.ndarray, strength: float = 1.0
) -> np.ndarray:
    """Fit the marks by logistic regression, anchored at the start.

    The result is the direction of start + turn, where turn is orthogonal to the start
    and minimizes the logistic loss of the marks, both kinds with equal weight, plus
    |turn|² / strength. So the angle from the start grows with the strength. The best
    turn lies in the span of the marks: the fit finds the coefficient of each mark.
    """
    marks, signs = _marks(start, good, bad)
    if not len(marks):
        return start.astype(np.float32)
    kinds = [signs == sign for sign in (1, -1) if (signs == sign).any()]
    weights = sum(kind / kind.sum() for kind in kinds)
    parallel = marks @ start.astype(np.float64)
    orthogonal = marks - np.outer(parallel, start)
    threshold = np.mean([parallel[kind].mean() for kind in kinds])
    kernel = orthogonal @ orthogonal.T + REGULARIZATION
    coefficients = _fit(kernel, parallel - threshold, signs, weights, strength)
    turn = coefficients @ orthogonal
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
    """Return the coefficients of least loss, by Newton's method; the loss is convex."""

    def loss(coefficients: np.ndarray) -> float:
        margins = SCALE * signs * (offsets + kernel @ coefficients)
        cost = weights @ np.logaddexp(0, -margins)
        return float(cost + coefficients @ kernel @ coefficients / (2 * strength))

    coefficients = np.zeros(len(signs))
    least = loss(coefficients)
    for _ in range(MAX_STEPS):
        fitted = kernel @ coefficients
        residuals = _sigmoid(-SCALE * signs * (offsets + fitted))
        curvature = weights * SCALE**2 * residuals * (1 - residuals)
        step = np.linalg.solve(
            curvature[:, None] * kernel + np.eye(len(signs)) / strength,
            curvature * fitted + SCALE * weights * signs * residuals,
        )
        step -= coefficients
        # Halve a step that overshoots.
        while (new_loss := loss(coefficients + step)) > least and np.abs(
            step
        ).max() > CONVERGED:
            step /= 2
        coefficients, least = coefficients + step, new_loss
        if np.abs(step).max() <= CONVERGED:
            break
    return coefficients


def _marks(
    start: np.ndarray, good: np.ndarray, bad: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return each mark once, sorted, float64; and 1 for good, −1 for bad ones."""
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
    """A tuned unit vector, float32, and the ids of the marked items that exist."""

    vector: np.ndarray
    good: tuple[int, ...]
    bad: tuple[int, ...]


def check_marks(good: Sequence[int], bad: Sequence[int]) -> None:
    """Raise InvalidQuery for no marks, or too many."""
    if not good and not bad:
        raise InvalidQuery("Mark at least one image as good or bad first.")
    if len(good) + len(bad) > MAX_MARKS:
        raise InvalidQuery(f"A round takes up to {MAX_MARKS} marks.")


def tune_by_items(
    query: SearchQuery,
    start: np.ndarray,
    good: Sequence[int],
    bad: Sequence[int],
    strength: float,
    user: Viewer,
) -> TunedQuery:
    """Tune a unit vector by items of the query's dataset, given by their ids.

    Their vectors are those of the field that is searched; unknown items are ignored.
    """
    (good_there, likes), (bad_there, dislikes) = (
        _unit_vectors(query, ids, user) for ids in (good, bad)
    )
    return TunedQuery(tune(start, likes, dislikes, strength), good_there, bad_there)


def _unit_vectors(
    query: SearchQuery, ids: Sequence[int], user: Viewer
) -> tuple[tuple[int, ...], np.ndarray]:
    """Return the ids of the items that exist, and their vectors, (count, dimension)."""
    vectors = service.embeddings(query.dataset, query.field, ids, user)
    known = tuple(item for item in ids if item in vectors)
    rows = np.array([vectors[item] for item in known], np.float32)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return known, rows / np.maximum(lengths, np.float32(1e-12))
