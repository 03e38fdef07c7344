"""Vectors with the geometry of CLIP's, drawn by chance: to measure searches with.

Images lie in a narrow cone around a mean of their own and gather in clusters of very
unequal size; words lie in another cone, far from it. A search by words therefore asks
from outside of what the index holds, which is the hard case for a graph.
"""

from dataclasses import dataclass

import numpy as np

DIMENSION = 512
CLUSTERS = 1_000
IN_CONE = 0.47  # mean cosine between two images of LAION, ViT-B/32
CLUSTER_SHARE = 0.5  # of what tells an image apart, how much its cluster says
WORDS_MEANING = 0.32  # length of what words share with the pictures that they mean
DECAY = 0.45  # of the spectrum: the k-th direction varies by k^-DECAY
DUPLICATES = 0.03
CHUNK = 50_000


@dataclass(frozen=True)
class ClipLike:
    """Reproducible draws: row numbers and a seed decide every vector."""

    seed: int = 0

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        basis, _ = np.linalg.qr(random.standard_normal((DIMENSION, DIMENSION)))
        object.__setattr__(self, "basis", basis.astype(np.float32))
        scale = np.arange(1, DIMENSION - 1, dtype=np.float32) ** -DECAY
        object.__setattr__(self, "scale", scale)
        centres = random.standard_normal((CLUSTERS, DIMENSION - 2)) * scale
        object.__setattr__(self, "centres", _unit(centres).astype(np.float32))
        popularity = 1 / np.arange(1, CLUSTERS + 1)
        object.__setattr__(self, "popularity", popularity / popularity.sum())

    def images(self, count: int, part: int = 0) -> np.ndarray:
        """Return float32 unit image vectors (count, 512), of which 3 % occur twice."""
        vectors = np.empty((count, DIMENSION), np.float32)
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            random = np.random.default_rng((self.seed, 1, part, start))
            vectors[start : start + size] = self._images(random, size)
        return vectors

    def words(self, count: int) -> np.ndarray:
        """Return text vectors (count, 512) for images that are not in the dataset."""
        random = np.random.default_rng((self.seed, 2))
        meaning = self._meanings(random, count) * WORDS_MEANING
        noise = random.standard_normal(meaning.shape).astype(np.float32)
        rest = np.sqrt(0.45 - WORDS_MEANING**2)
        cone = np.full((count, 2), (0.12, np.sqrt(0.55 - 0.12**2)), np.float32)
        return _unit(np.hstack([cone, meaning + rest * _unit(noise)]) @ self.basis)

    def near(self, images: np.ndarray, count: int) -> np.ndarray:
        """Return image queries (count, 512): slightly changed images."""
        random = np.random.default_rng((self.seed, 3))
        chosen = images[random.integers(len(images), size=count)]
        noise = random.standard_normal(chosen.shape).astype(np.float32)
        return _unit(chosen + 0.6 * _unit(noise))

    def _images(self, random: np.random.Generator, count: int) -> np.ndarray:
        meaning = self._meanings(random, count) * np.sqrt(1 - IN_CONE)
        cone = np.zeros((count, 2), np.float32)
        cone[:, 0] = np.sqrt(IN_CONE)
        images = _unit(np.hstack([cone, meaning]) @ self.basis)
        again = random.random(count) < DUPLICATES
        images[again] = images[random.integers(count, size=again.sum())]
        return images

    def _meanings(self, random: np.random.Generator, count: int) -> np.ndarray:
        cluster = random.choice(CLUSTERS, size=count, p=self.popularity)
        own = random.standard_normal((count, DIMENSION - 2)).astype(np.float32)
        own = _unit(own * self.scale)
        share = np.sqrt(CLUSTER_SHARE)
        return _unit(share * self.centres[cluster] + np.sqrt(1 - CLUSTER_SHARE) * own)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
