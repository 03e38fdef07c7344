"""Where benchmarks get their vectors from: drawn ones, or a folder of real ones."""

import argparse
from pathlib import Path
from typing import Protocol

import numpy as np
from clip_like import ClipLike


class VectorSource(Protocol):
    """CLIP vectors of any number, float32 of unit length; the same in each run."""

    @property
    def dimension(self) -> int: ...

    @property
    def captions(self) -> np.ndarray:
        """Texts (count, dimension) to calibrate with."""

    @property
    def questions(self) -> np.ndarray:
        """Texts (count, dimension) to measure with: none of the captions."""

    def images(self, count: int, part: int = 0) -> np.ndarray:
        """Return the images of a part; parts have none in common."""

    def texts(self, count: int, part: int = 0) -> np.ndarray:
        """Return text vectors for the images of a part."""

    def image_queries(self, count: int) -> np.ndarray:
        """Return vectors of images, none of which belongs to a part."""


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vectors",
        type=Path,
        metavar="FOLDER",
        help="real vectors to bootstrap from: img_emb_*.npy and words.npy",
    )


def open_source(folder: Path | None) -> VectorSource:
    """Return the vectors of a folder, or drawn ones without a folder."""
    if folder is None:
        return ClipLike()
    from real_vectors import RealVectors

    return RealVectors(folder)


def describe(folder: Path | None) -> str:
    return f"bootstrapped from {folder}" if folder else "drawn by clip_like.py"
