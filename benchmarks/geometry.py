"""Compare the geometry of drawn vectors with that of real ones, and how hard both are.

    .venv/bin/python benchmarks/geometry.py [--vectors FOLDER] [--rows 100000]

Similarities are inner products of unit vectors: of words and the images nearest to
them, of images and their nearest. The hardness is the recall@10 of words by a plain
graph (faiss, M = 32, ef_construction 64, float32). All is measured on as many rows as
the folder has (without one, on 3,557), the graph also on --rows; of real vectors these
are bootstrapped. Needs benchmarks/requirements.txt.
"""

import argparse
import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "2"

import numpy as np
from vector_sources import VectorSource, add_option, describe, open_source

ROWS = 3_557  # of the real vectors that clip_like.py was fitted to
QUESTIONS = 300
RANKS = (1, 10, 100)
WIDTHS = (16, 64, 256)
SAME_IMAGE = 0.94  # similarity, from which on a search folds images
SHOWN = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    add_option(parser)
    options = parser.parse_args()
    if find_spec("faiss") is None:
        print("It needs faiss: pip install -r benchmarks/requirements.txt")
        return
    columns = [None, options.vectors] if options.vectors else [None]
    sources = [open_source(folder) for folder in columns]
    real = getattr(sources[-1], "source", None)
    count = len(real.vectors) if real else ROWS
    found = [
        dict(figures(source, images_of(source, count), options.rows))
        for source in sources
    ]
    print(f"| {count:,} rows | {' | '.join(map(describe, columns))} |")
    print("|---|" + "---|" * len(columns))
    for name in found[0]:
        print(f"| {name} | {' | '.join(each[name] for each in found)} |")


def images_of(source: VectorSource, count: int) -> np.ndarray:
    """Return real images where there are some, rather than bootstrapped ones."""
    real = getattr(source, "source", None)
    return real.vectors if real else source.images(count)


def figures(
    source: VectorSource, images: np.ndarray, rows: int
) -> Iterator[tuple[str, str]]:
    words = source.questions[:QUESTIONS]
    similar = words @ images.T
    yield "word to its 1st, 10th, 100th image", ranks(similar)
    yield "word to any image: mean", f"{similar.mean():.3f}"
    yield "word to any image: deviation", f"{similar.std():.4f}"
    yield "image to any image: mean", f"{(images @ images.mean(axis=0)).mean():.3f}"
    yield "image to its 1st, 10th, 100th image", ranks(own_excluded(images))
    folded = np.mean([duplicates(images, row) for row in similar])
    yield f"near-duplicates folded for a page of {SHOWN}", f"{folded:.1f}"
    yield f"recall by a graph, ef {listed(WIDTHS)}", recalls(images, words)
    many = source.images(rows)
    yield f"the same, {rows:,} rows", recalls(many, words)
    folded = np.mean([duplicates(many, many @ word) for word in words])
    yield f"near-duplicates, {rows:,} rows", f"{folded:.1f}"


def ranks(similar: np.ndarray) -> str:
    """Return the mean similarity of the RANKS-th most similar."""
    best = -np.sort(-similar, axis=1)[:, : max(RANKS)]
    return ", ".join(f"{best[:, rank - 1].mean():.3f}" for rank in RANKS)


def own_excluded(images: np.ndarray) -> np.ndarray:
    """Return the similarities of some images to all others."""
    some = np.arange(0, len(images), max(1, len(images) // QUESTIONS))
    similar = images[some] @ images.T
    similar[np.arange(len(some)), some] = -1
    return similar


def duplicates(images: np.ndarray, similar: np.ndarray) -> int:
    """Count the near-duplicates of better results before a page is full."""
    order = np.argsort(-similar)[: 10 * SHOWN]
    best = images[order]
    is_same = np.tril(best @ best.T >= SAME_IMAGE, -1).any(axis=1)
    page = np.flatnonzero(np.cumsum(~is_same) == SHOWN)
    return int(is_same[: page[0] if len(page) else None].sum())


def recalls(images: np.ndarray, words: np.ndarray) -> str:
    """Return the recall of a graph by the width of the search."""
    import faiss

    graph = faiss.IndexHNSWFlat(images.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 64
    graph.add(images)
    floors = np.partition(words @ images.T, -10, axis=1)[:, [-10]]
    found = []
    for graph.hnsw.efSearch in WIDTHS:
        scores, _ = graph.search(words, 10)
        found.append(float((scores >= floors - 1e-6).mean()))
    return listed(f"{recall:.2f}" for recall in found)


def listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


if __name__ == "__main__":
    main()
