"""Measure the small CLIP on scenes that it was never trained on.

    python -m postcards.evaluate

Prints the figures that postcards/README.md reports. Vectors are compared exactly, in
numpy, so that they speak of the model alone.
"""

import json
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .captions import caption
from .scene import Description, scene_of
from .shards import chunks, encoder, picture_vectors

QUERIES = Path(__file__).parent / "queries.jsonl"
WEIGHTS = Path(__file__).parent / "model" / "open_clip_model.safetensors"
POSTCARDS = range(10_000)  # those of the example dataset
UNSEEN = range(20_000, 22_000)
MAX_CAPTIONS = 1_000


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "laionweb.settings")
    print(query_figures(pictures_of(POSTCARDS, "drawing postcards"), POSTCARDS))
    unseen = pictures_of(UNSEEN, "drawing unseen scenes")
    print(caption_figures(unseen, UNSEEN))
    print(redrawn_figures(unseen))


def pictures_of(ids: range, name: str = "", redraw: int = 0) -> np.ndarray:
    """Embeddings of the scenes' pictures, float32 (count, 512)."""
    parts = tqdm(list(chunks(ids)), name, disable=None)
    return np.concatenate([picture_vectors(part, redraw) for part in parts])


def query_figures(pictures: np.ndarray, ids: range, top: int = 10) -> str:
    """Of each hand-written query's first hits, how many satisfy it."""
    scenes = [scene_of(i) for i in ids]
    queries = [json.loads(line) for line in QUERIES.read_text().splitlines()]
    words = encoder().encode_texts([entry["query"] for entry in queries])
    right, lines = 0, []
    for entry, vector in zip(queries, words, strict=True):
        wanted = Description.from_dict(entry["wants"])
        nearest = np.argsort(-(pictures @ vector))[:top]
        fitting = sum(wanted.fits(scenes[i]) for i in nearest)
        right += fitting
        if fitting < top:
            there = sum(map(wanted.fits, scenes))
            lines.append(f"  {fitting} of {top} ({there} exist): {entry['query']}")
    share = right / (top * len(queries))
    heading = f"{len(queries)} hand-written queries, precision at {top}: {share:.3f}"
    return "\n".join([heading, *lines])


def caption_figures(pictures: np.ndarray, ids: range) -> str:
    """How often the first hit for a scene's own caption satisfies the caption."""
    said = [caption(scene_of(i), i) for i in ids[:MAX_CAPTIONS]]
    words = encoder().encode_texts([text for text, _ in said])
    first = np.argmax(words @ pictures.T, axis=1)
    right = [
        description.fits(scene_of(ids[i]))
        for i, (_, description) in zip(first, said, strict=True)
    ]
    share = np.mean(right)
    return f"{len(said):,} captions, first hit satisfies the caption: {share:.3f}"


def redrawn_figures(pictures: np.ndarray) -> str:
    """How often a scene is among the five nearest to itself drawn anew."""
    redrawn = pictures_of(UNSEEN, "drawing them anew", redraw=1_000_000_000)
    closeness = redrawn @ pictures.T
    own = np.diag(closeness)[:, None]
    found = ((closeness > own).sum(axis=1) < 5).mean()
    return f"{len(UNSEEN):,} scenes redrawn, recall at 5: {found:.3f}"


if __name__ == "__main__":
    main()
