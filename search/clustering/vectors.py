"""Arithmetic on blocks of vectors, shape (count, dimension)."""

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

ROUNDED_ROWS = 512  # at once: the processor's cache holds 1 MB


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # looks through the loaded libraries: 1 ms


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS works in the calling thread alone.

    More threads busy-wait for each other: little faster, for up to twice the CPU time.
    """
    return _libraries().limit(limits=1, user_api="blas")


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return float32 vectors of length 1; those of length 0 stay."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def from_bfloat16(stored: Any, into: np.ndarray | None = None) -> np.ndarray:
    """Return the float32 numbers of a buffer of little-endian bfloat16.

    They are at the start of `into` if it is given, a longer array of float32.
    """
    bits = np.frombuffer(stored, "<u2")
    numbers = np.empty(len(bits), np.float32) if into is None else into[: len(bits)]
    np.left_shift(bits, 16, out=numbers.view(np.uint32), dtype=np.uint32)
    return numbers


def round_to_bfloat16(vectors: np.ndarray, mean: np.ndarray | float = 0) -> np.ndarray:
    """Return the bfloat16 numbers nearest to vectors less a mean.

    They are float32 whose low 16 bits are zero. Halves round to even, as in IEEE 754.
    ClickHouse cuts the low bits instead, which leaves these numbers as they are.

    Vectors of CLIP share a large mean, which takes most of a bfloat16's few bits.
    """
    rounded = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), ROUNDED_ROWS):
        some = rounded[start : start + ROUNDED_ROWS]
        np.subtract(
            vectors[start : start + ROUNDED_ROWS], mean, out=some, dtype=np.float32
        )
        bits = some.view(np.uint32)
        bits += 0x7FFF + (bits >> 16 & 1)
        bits &= np.uint32(0xFFFF0000)
    return rounded
