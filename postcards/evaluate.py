"""Evaluate the small CLIP on scenes that are not in its training data.

    python -m postcards.evaluate

Prints the numbers of postcards/README.md. The search is exact, in numpy, so that they
depend on the model only.
"""

import json
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .captions import caption
from .scene import Description, scene_of
from .shards import chunks, embed_postcards, encoder

QUERIES = Path(__file__).parent / "queries.jsonl"
WEIGHTS = Path(__file__).parent / "model" / "open_clip_model.safetensors"
POSTCARDS = range(10_000)  # the example dataset
UNSEEN = range(20_000, 22_000)
MAX_CAPTIONS = 1_000


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "laionweb.settings")
    print(report_queries(image_embeddings(POSTCARDS, "drawing postcards"), POSTCARDS))
    unseen = image_embeddings(UNSEEN, "drawing unseen scenes")
    print(report_captions(unseen, UNSEEN))
    print(report_redrawn(unseen))


def image_embeddings(ids: range, name: str = "", redraw: int = 0) -> np.ndarray:
    """Return the embeddings of scenes, float32 (count, 512)."""
    parts = tqdm(list(chunks(ids)), name, disable=None)
    return np.concatenate([embed_postcards(part, redraw) for part in parts])


def report_queries(images: np.ndarray, ids: range, top: int = 10) -> str:
    """Report how many of the first hits satisfy each hand-written query."""
    scenes = [scene_of(i) for i in ids]
    queries = [json.loads(line) for line in QUERIES.read_text().splitlines()]
    words = encoder().encode_texts([entry["query"] for entry in queries])
    right, lines = 0, []
    for entry, vector in zip(queries, words, strict=True):
        wanted = Description.from_dict(entry["wants"])
        nearest = np.argsort(-(images @ vector))[:top]
        fitting = sum(wanted.fits(scenes[i]) for i in nearest)
        right += fitting
        if fitting < top:
            there = sum(map(wanted.fits, scenes))
            lines.append(f"  {fitting} of {top} ({there} exist): {entry['query']}")
    share = right / (top * len(queries))
    heading = f"{len(queries)} hand-written queries, precision at {top}: {share:.3f}"
    return "\n".join([heading, *lines])


def report_captions(images: np.ndarray, ids: range) -> str:
    """Report how often the first hit for a caption satisfies it."""
    said = [caption(scene_of(i), i) for i in ids[:MAX_CAPTIONS]]
    words = encoder().encode_texts([text for text, _ in said])
    first = np.argmax(words @ images.T, axis=1)
    right = [
        description.fits(scene_of(ids[i]))
        for i, (_, description) in zip(first, said, strict=True)
    ]
    share = np.mean(right)
    return f"{len(said):,} captions, first hit satisfies the caption: {share:.3f}"


def report_redrawn(images: np.ndarray) -> str:
    """Report how often a scene is among the five nearest to a redrawn image of it."""
    redrawn = image_embeddings(UNSEEN, "drawing them anew", redraw=1_000_000_000)
    closeness = redrawn @ images.T
    own = np.diag(closeness)[:, None]
    recall = ((closeness > own).sum(axis=1) < 5).mean()
    return f"{len(UNSEEN):,} scenes redrawn, recall at 5: {recall:.3f}"


if __name__ == "__main__":
    main()
