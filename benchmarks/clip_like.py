"""Vectors with the geometry of CLIP's, drawn by chance: to measure searches with.

Images lie in a narrow cone around a mean of their own and gather in clusters within
clusters, of very unequal size; words lie in another cone, far from it, and share little
with the images that they mean. A search by words therefore asks from outside of what
the index holds, which is the hard case for an index. geometry.py compares the result
with real vectors, to which the constants were fitted.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

DIMENSION = 512
CONE = 2  # dimensions that the two means lie in; the others tell vectors apart
OTHERS = DIMENSION - CONE
CHUNK = 50_000
QUESTIONS = 1_500


@dataclass(frozen=True)
class Geometry:
    """The numbers that decide how hard a search is; fitted to OpenAI's ViT-B/32."""

    image_cone: float = 0.59  # mean cosine between two images
    word_cone: float = 0.715  # between two words
    between: float = 0.189  # between a word and an image
    # Clusters within clusters: how many of each level there are, and its share of what
    # tells images apart. The rest is an image's own.
    levels: tuple[tuple[int, float], ...] = ((2, 0.29), (76, 0.225), (2700, 0.275))
    decay: float = 0.7  # of the spectrum: the k-th direction varies by k^-decay
    own_decay: float = 0.42  # of the spectrum of an image's own
    meaning: float = 0.27  # length of what words share with the images that they mean
    flattened: float = 0.69  # power of the spectrum that the meaning of words lacks
    duplicates: float = 0.2  # share of images that are another one, recompressed
    noise: float = 0.27  # length of what recompression changes


@dataclass(frozen=True)
class ClipLike:
    """Reproducible draws: row numbers and a seed decide every vector."""

    dimension: ClassVar[int] = DIMENSION
    seed: int = 0
    geometry: Geometry = field(default_factory=Geometry)

    @cached_property
    def basis(self) -> np.ndarray:
        """Random orthogonal directions (512, 512)."""
        random = np.random.default_rng(self.seed)
        basis, _ = np.linalg.qr(random.standard_normal((DIMENSION, DIMENSION)))
        return basis.astype(np.float32)

    @cached_property
    def centres(self) -> np.ndarray:
        """The centres of the smallest clusters, within those around them."""
        random = np.random.default_rng((self.seed, 0))
        smallest = self.geometry.levels[-1][0]
        centres = np.zeros((smallest, OTHERS), np.float32)
        for count, share in self.geometry.levels:
            drawn = random.standard_normal((count, OTHERS), np.float32)
            level = _unit(drawn * spectrum(self.geometry.decay)) * np.sqrt(share)
            centres += level[np.arange(smallest) % count]
        return centres - self.popularity @ centres

    @cached_property
    def popularity(self) -> np.ndarray:
        """The share of each of the smallest clusters."""
        popularity = 1 / np.arange(1, self.geometry.levels[-1][0] + 1)
        return popularity / popularity.sum()

    def images(self, count: int, part: int = 0) -> np.ndarray:
        """Return float32 unit image vectors (count, 512), some of them twice."""
        vectors = np.empty((count, DIMENSION), np.float32)
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            random = np.random.default_rng((self.seed, 1, part, start))
            vectors[start : start + size] = self._images(random, size)
        return vectors

    def image_queries(self, count: int) -> np.ndarray:
        """Return vectors of images like those of images(), which are none of them."""
        return self._images(np.random.default_rng((self.seed, 2)), count)

    def texts(self, count: int, part: int = 0) -> np.ndarray:
        """Return text vectors (count, 512) for rows.

        They have nothing to do with the images of the same rows.
        """
        return self._texts(np.random.default_rng((self.seed, 3, part)), count)

    @cached_property
    def captions(self) -> np.ndarray:
        """Text vectors (QUESTIONS, 512) to calibrate with."""
        return self._texts(np.random.default_rng((self.seed, 4)), QUESTIONS)

    @cached_property
    def questions(self) -> np.ndarray:
        """Text vectors (QUESTIONS, 512) to measure with."""
        return self._texts(np.random.default_rng((self.seed, 5)), QUESTIONS)

    def _images(self, random: np.random.Generator, count: int) -> np.ndarray:
        cone = self.geometry.image_cone
        meaning = self._meanings(random, count) * np.sqrt(1 - cone)
        images = self._in_cone(np.sqrt(cone), meaning)
        again = random.random(count) < self.geometry.duplicates
        copies = images[random.integers(count, size=again.sum())]
        noise = _unit(_normal(random, copies.shape)) * self.geometry.noise
        images[again] = _unit(copies + noise)
        return images

    def _texts(self, random: np.random.Generator, count: int) -> np.ndarray:
        geometry = self.geometry
        flat = spectrum(geometry.decay) ** -geometry.flattened
        meaning = geometry.meaning * _unit(self._meanings(random, count) * flat)
        rest = np.sqrt(1 - geometry.word_cone - geometry.meaning**2)
        noise = rest * _unit(_normal(random, meaning.shape))
        along = geometry.between / np.sqrt(geometry.image_cone)
        return self._in_cone(along, meaning + noise, np.sqrt(geometry.word_cone))

    def _in_cone(
        self, along: float, others: np.ndarray, length: float | None = None
    ) -> np.ndarray:
        """Return unit vectors around a mean of that length, `along` that of images."""
        aside = np.sqrt((length or along) ** 2 - along**2)
        mean = np.full((len(others), CONE), (along, aside), np.float32)
        return _unit(np.hstack([mean, others]) @ self.basis)

    def _meanings(self, random: np.random.Generator, count: int) -> np.ndarray:
        cluster = random.choice(len(self.centres), size=count, p=self.popularity)
        own = _unit(
            _normal(random, (count, OTHERS)) * spectrum(self.geometry.own_decay)
        )
        share = 1 - sum(share for _, share in self.geometry.levels)
        return _unit(self.centres[cluster] + np.sqrt(share) * own)


def spectrum(decay: float) -> np.ndarray:
    return np.arange(1, OTHERS + 1, dtype=np.float32) ** -decay


def _normal(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return random.standard_normal(shape, np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
