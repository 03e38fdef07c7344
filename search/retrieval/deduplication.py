"""Detect near-duplicates among the results of a search.

Two items are near-duplicates when the inner product of their image embeddings is at
least SAME_IMAGE_SIMILARITY (the threshold of clip-retrieval), or their URLs are equal.

Each item has a code: on which side of each of 512 random hyperplanes its embedding
lies. The codes of two vectors at the angle a differ in a share of a/π of their bits
(Goemans and Williamson 1995; Charikar 2002), within the deviation of 512 draws. That
decides nearly all pairs; for the others, the embeddings themselves are compared.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from search.clickhouse.schema import CODE_BYTES
from search.clustering.vectors import one_blas_thread, unit

SAME_IMAGE_SIMILARITY = 0.94
BITS = 8 * CODE_BYTES
BATCH_ROWS = 1_000  # vectors whose codes are computed at once, in 5 MB
DEVIATIONS = 4  # standard deviations: a pair beyond is misjudged once in 30,000 times


def lsh_codes(vectors: np.ndarray) -> np.ndarray:
    """Return the codes of vectors (count, dimension): uint8 (count, CODE_BYTES)."""
    found = np.empty((len(vectors), CODE_BYTES), np.uint8)
    with one_blas_thread():
        for start in range(0, len(vectors), BATCH_ROWS):
            part = np.asarray(vectors[start : start + BATCH_ROWS], np.float32)
            sides = part @ hyperplanes(vectors.shape[1])
            found[start : start + BATCH_ROWS] = np.packbits(sides > 0, axis=1)
    return found


@lru_cache(maxsize=8)
def hyperplanes(dimension: int) -> np.ndarray:
    """Return the normals of the hyperplanes, shape (dimension, BITS).

    They come from a hash, because codes are stored in tables and must never change,
    as the output of a random generator may between versions. Each number is the sum of
    four bytes, nearly normally distributed: with ±1 only, images that share one large
    coordinate would all have the same code.
    """
    digest = hashlib.shake_256(f"laionweb {dimension}".encode())
    drawn = np.frombuffer(digest.digest(4 * dimension * BITS), np.uint8)
    summed = drawn.reshape(4, dimension, BITS).sum(axis=0, dtype=np.float32)
    return summed - 4 * 255 / 2


def _expected_bits(cosine: float, deviations: float) -> float:
    share = math.acos(cosine) / math.pi
    return BITS * share + deviations * math.sqrt(BITS * share * (1 - share))


CERTAIN_BITS = _expected_bits(SAME_IMAGE_SIMILARITY, -DEVIATIONS)
POSSIBLE_BITS = _expected_bits(SAME_IMAGE_SIMILARITY, DEVIATIONS)


@dataclass(frozen=True)
class Comparison:
    """New items compared with all items before them, by URLs and codes.

    `same` are booleans (items, new items); `unsure` are the pairs of an item and a new
    item, as indices into `same`, that codes do not decide.
    """

    ids: np.ndarray
    same: np.ndarray
    unsure: tuple[np.ndarray, np.ndarray]

    @property
    def known(self) -> int:
        """The number of items before the new ones."""
        return self.same.shape[0] - self.same.shape[1]

    @property
    def needed(self) -> list[int]:
        """The ids whose embeddings decide the unsure pairs."""
        return self.ids[self._unsure_rows()].tolist()

    def _unsure_rows(self) -> np.ndarray:
        firsts, seconds = self.unsure
        return np.union1d(firsts, seconds + self.known).astype(int)

    def duplicates(self, vectors: Mapping[int, np.ndarray]) -> np.ndarray:
        """Return which items are near-duplicates of the new ones, shaped as `same`.

        `vectors` are the embeddings of the needed ids; an item without one is a
        near-duplicate of none.
        """
        same, (firsts, seconds) = self.same.copy(), self.unsure
        if len(firsts):
            rows = self._unsure_rows()
            directions = _unit_vectors(self.ids[rows], vectors)
            new = np.unique(seconds)
            places_of_new = np.searchsorted(rows, new + self.known)
            cosines = directions @ directions[places_of_new].T
            places = np.searchsorted(rows, firsts), np.searchsorted(new, seconds)
            same[firsts, seconds] = cosines[places] >= SAME_IMAGE_SIMILARITY
        return same


def compare(
    ids: np.ndarray, url_hashes: np.ndarray, codes: np.ndarray, known: int
) -> Comparison:
    """Compare each item after the first `known` with all items before it."""
    before = np.arange(len(ids))[:, None] < np.arange(known, len(ids))
    differing = _differing_bits(codes, known)
    same = (url_hashes[:, None] == url_hashes[known:]) | (differing < CERTAIN_BITS)
    unsure = before & ~same & (differing <= POSSIBLE_BITS)
    firsts, seconds = np.nonzero(unsure)
    return Comparison(ids, same & before, (firsts, seconds))


def certainly_same(code: np.ndarray, codes: np.ndarray) -> bool:
    """Return whether the codes alone tell that an item is the same as one of others."""
    others = np.ascontiguousarray(codes).view(np.uint64)
    differing = np.bitwise_count(others ^ np.ascontiguousarray(code).view(np.uint64))
    return bool((differing.sum(axis=1) < CERTAIN_BITS).any())


def _differing_bits(codes: np.ndarray, known: int) -> np.ndarray:
    """Count the bits in which each code differs from each new one: (items, new items).

    One word at a time: all eight at once would take eight times the memory.
    """
    differing = np.zeros((len(codes), len(codes) - known), np.uint16)
    for word in np.ascontiguousarray(codes).view(np.uint64).T:
        differing += np.bitwise_count(word[:, None] ^ word[known:])
    return differing


def _unit_vectors(ids: np.ndarray, vectors: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return one row for each id; zeros for ids without a vector."""
    nothing = np.zeros_like(next(iter(vectors.values()), np.zeros(1, np.float32)))
    found = np.array([vectors.get(item_id, nothing) for item_id in ids.tolist()])
    return unit(found)
