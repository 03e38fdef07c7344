"""Near-duplicates among the results of a search: told apart, and folded into one.

Two items are near-duplicates when the inner product of their image embeddings reaches
SAME_PICTURE (the threshold of clip-retrieval), or when their URLs are the same.

Each item has a code: the side of each of 512 random hyperplanes that its embedding
lies on. Two vectors at the angle a differ in the share a/π of their bits (Goemans and
Williamson 1995; Charikar 2002), give or take what chance does to 512 draws. That
settles nearly all pairs; for the rest, the embeddings themselves are compared.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from threadpoolctl import threadpool_limits

from search.clickhouse.schema import CODE_BYTES

SAME_IMAGE_SIMILARITY = 0.94
BITS = 8 * CODE_BYTES
ROWS_AT_ONCE = 1_000  # vectors whose code is made at a time, in 5 MB
DEVIATIONS = 4  # of chance: a pair further off is misjudged once in 30,000 times

Vectors = Callable[[list[int]], Mapping[int, np.ndarray]]


def lsh_codes(vectors: np.ndarray) -> np.ndarray:
    """The codes of vectors (count, dimension): uint8 of shape (count, CODE_BYTES)."""
    found = np.empty((len(vectors), CODE_BYTES), np.uint8)
    # More threads wait for each other in busy loops: as fast, for 1.7 × the CPU time.
    with threadpool_limits(1, "blas"):
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            part = np.asarray(vectors[start : start + ROWS_AT_ONCE], np.float32)
            sides = part @ hyperplanes(vectors.shape[1])
            found[start : start + ROWS_AT_ONCE] = np.packbits(sides > 0, axis=1)
    return found


@lru_cache(maxsize=8)
def hyperplanes(dimension: int) -> np.ndarray:
    """Their normals, shape (dimension, BITS).

    From a hash, since codes are kept in tables and must never come out differently,
    as those of a random generator may with its next version. A number is the sum of
    four bytes, nearly normally distributed: with ±1 alone, pictures that share one
    great coordinate would all look the same.
    """
    digest = hashlib.shake_256(f"laionweb {dimension}".encode())
    drawn = np.frombuffer(digest.digest(4 * dimension * BITS), np.uint8)
    summed = drawn.reshape(4, dimension, BITS).sum(axis=0, dtype=np.float32)
    return summed - 4 * 255 / 2


def _differing_bits(cosine: float, deviations: float) -> float:
    share = math.acos(cosine) / math.pi
    return BITS * share + deviations * math.sqrt(BITS * share * (1 - share))


CERTAIN_BITS = _differing_bits(SAME_IMAGE_SIMILARITY, -DEVIATIONS)
POSSIBLE_BITS = _differing_bits(SAME_IMAGE_SIMILARITY, DEVIATIONS)


def duplicates_of_earlier(
    ids: np.ndarray, hashes: np.ndarray, code: np.ndarray, known: int, vectors: Vectors
) -> np.ndarray:
    """Which items are near-duplicates of the new ones: booleans, (items, new ones).

    The items after the first `known` are new; each is compared with all before it.
    `vectors` gives embeddings by id; it is asked only for those that are needed. An
    item that it does not know is a duplicate of none.
    """
    new = slice(known, None)
    before = np.arange(len(ids))[:, None] < np.arange(known, len(ids))
    differing = _differing(code, known)
    same = (hashes[:, None] == hashes[new]) | (differing < CERTAIN_BITS)
    unsure = before & ~same & (differing <= POSSIBLE_BITS)
    firsts, seconds = np.nonzero(unsure)
    if len(firsts):
        asked = np.union1d(firsts, seconds + known)
        unit = _unit_vectors(ids[asked], vectors)
        cosines = unit @ unit[np.isin(asked, seconds + known)].T
        rows = np.searchsorted(asked, firsts)
        columns = np.searchsorted(np.union1d(seconds, []), seconds)
        same[firsts, seconds] = cosines[rows, columns] >= SAME_IMAGE_SIMILARITY
    return same & before


def _differing(code: np.ndarray, known: int) -> np.ndarray:
    """In how many bits each code differs from each new one: (items, new ones).

    A word at a time: all eight at once would be eight times as much to hold.
    """
    differing = np.zeros((len(code), len(code) - known), np.uint16)
    for word in np.ascontiguousarray(code).view(np.uint64).T:
        differing += np.bitwise_count(word[:, None] ^ word[known:])
    return differing


def _unit_vectors(ids: np.ndarray, vectors: Vectors) -> np.ndarray:
    """A row for each id; zeros for those that are not known."""
    found = vectors(ids.tolist())
    nothing = np.zeros(1, np.float32)
    size = len(next(iter(found.values()), nothing))
    unit = np.zeros((len(ids), size), np.float32)
    for row, item_id in enumerate(ids.tolist()):
        if (vector := found.get(item_id)) is not None:
            unit[row] = vector / np.linalg.norm(vector)
    return unit
