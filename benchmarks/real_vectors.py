"""Vectors bootstrapped from a folder of real ones: to measure searches with.

A new row is the unit vector of x + s (a - b) + s/2 (c - x), where x is a real row drawn
by chance, a, b and c are three of its 16 nearest, and s = 0.5. Searches of such rows
are as hard as of the real ones, at any number of rows. It is a model of a large
dataset, not one: all rows lie around the few real ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

NEAREST = 16
STEP = 0.5
BLOCK_ROWS = 20_000
CHUNK = 1_000  # rows that the processor's cache holds: five times as fast
SAME_WORD = 0.999  # cosine, from which on two words are one


@dataclass(frozen=True)
class Source:
    """Real unit vectors (count, dimension), float32, and the nearest of each."""

    vectors: np.ndarray

    @property
    def dimension(self) -> int:
        return self.vectors.shape[1]

    @cached_property
    def nearest(self) -> np.ndarray:
        """The numbers (count, NEAREST) of the vectors nearest to each."""
        similar = self.vectors @ self.vectors.T
        np.fill_diagonal(similar, -1)
        return np.argpartition(-similar, NEAREST, axis=1)[:, :NEAREST]

    def blocks(self, count: int, seed: tuple[int, ...]) -> Iterator[np.ndarray]:
        """Yield new vectors, float32, in blocks; a smaller count draws the first."""
        for start in range(0, count, BLOCK_ROWS):
            random = np.random.default_rng((*seed, start))
            rows = random.integers(len(self.vectors), size=BLOCK_ROWS)
            keys = random.random((BLOCK_ROWS, NEAREST), np.float32)
            places = np.argpartition(keys, 3, axis=1)[:, :3]
            block = np.empty((min(BLOCK_ROWS, count - start), self.dimension), "f4")
            for first in range(0, len(block), CHUNK):
                chunk = slice(first, min(first + CHUNK, len(block)))
                block[chunk] = self._drawn(rows[chunk], places[chunk])
            yield block

    def _drawn(self, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        near = np.take_along_axis(self.nearest[rows], places, axis=1)
        a, b, c = (self.vectors[column] for column in near.T)
        a -= b
        a *= STEP
        c *= STEP / 2
        a += c
        a += (1 - STEP / 2) * self.vectors[rows]
        return unit(a)


@dataclass(frozen=True)
class RealVectors:
    """Reproducible draws from a folder: a seed and row numbers decide every vector.

    The folder has img_emb_*.npy and words.npy, the vectors of images and of words of
    one model, in one space.
    """

    folder: Path
    seed: int = 0

    @cached_property
    def source(self) -> Source:
        """The real images."""
        files = sorted(self.folder.glob("img_emb_*.npy"))
        return Source(unit(np.concatenate([np.load(file) for file in files])))

    @property
    def dimension(self) -> int:
        return self.source.dimension

    def rows(self, count: int, part: int = 0) -> Iterator[np.ndarray]:
        """Yield image vectors in blocks (rows, dimension); parts do not overlap."""
        yield from self.source.blocks(count, (self.seed, 1, part))

    def images(self, count: int, part: int = 0) -> np.ndarray:
        """Return image vectors (count, dimension), float32."""
        return np.concatenate(list(self.rows(count, part)))

    def image_queries(self, count: int) -> np.ndarray:
        """Return vectors of images like those of rows(), which are none of them."""
        return np.concatenate(list(self.source.blocks(count, (self.seed, 2))))

    def texts(self, count: int, part: int = 0) -> np.ndarray:
        """Return text vectors (count, dimension) for rows, drawn from the captions.

        They have nothing to do with the images of the same rows.
        """
        drawn = Source(self.captions).blocks(count, (self.seed, 3, part))
        return np.concatenate(list(drawn))

    @property
    def captions(self) -> np.ndarray:
        """One half of the real words, to calibrate and train with."""
        return self._words[::2]

    @property
    def questions(self) -> np.ndarray:
        """The other half of the real words, to measure with."""
        return self._words[1::2]

    @cached_property
    def _words(self) -> np.ndarray:
        """The different words in an order by chance, (count, dimension)."""
        words = unit(np.load(self.folder / "words.npy"))
        again = np.tril(words @ words.T, -1).max(axis=1, initial=-1) > SAME_WORD
        return np.random.default_rng((self.seed, 4)).permutation(words[~again])


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return float32 vectors of length 1."""
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
