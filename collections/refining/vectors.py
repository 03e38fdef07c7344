"""Vectors from outside, as concepts keep them."""

import math
from collections.abc import Sequence

import numpy as np

from search.errors import InvalidQuery


def unit(
    numbers: np.ndarray | Sequence[float], dimension: int, those: str
) -> np.ndarray:
    """The direction of these numbers: float32, of unit length.

    `those` are the vectors that have this dimension. Raises InvalidQuery for another
    shape, and where there is no direction.
    """
    vector = np.asarray(numbers, np.float64)
    if vector.shape != (dimension,):
        raise InvalidQuery(
            f"The vector holds {vector.size:,} numbers; {those} have {dimension}."
        )
    with np.errstate(over="ignore"):  # then the length is endless
        length = float(np.linalg.norm(vector))
    if not 1e-6 < length < math.inf:
        raise InvalidQuery(
            "The vector has no direction: its length is zero or endless."
        )
    return (vector / length).astype(np.float32)
