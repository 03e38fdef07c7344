"""Measure relevance feedback: precision at 20 by round, 50 concepts on Postcards.

    .venv/bin/python benchmarks/refine.py [--postcards 10000]

concepts.jsonl holds words, and what somebody means by them: sometimes just what they
say, often more, and now and then words that the model has never seen. The attributes of
the postcards tell which of them fit. An oracle marks the 20 nearest of those not shown
yet, one mark in 20 by mistake, and each round searches with what came of all marks so
far. "unseen" is the precision of what is shown next, "whole" that of the 20 nearest of
all. Vectors are compared exactly; no engine takes part.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "laionweb.settings")

import django  # noqa: E402

django.setup()

import numpy as np  # noqa: E402
from django.conf import settings  # noqa: E402

from postcards.evaluate import image_embeddings  # noqa: E402
from postcards.scene import Description, scene_of  # noqa: E402
from postcards.shards import encoder  # noqa: E402
from search.retrieval.feedback import tune  # noqa: E402

CONCEPTS = Path(__file__).with_name("concepts.jsonl")
SHOWN = 20
ROUNDS = 3
MISTAKES = 0.05
SEEDS = 3
LOW = 0.5

Method = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def rocchio(
    start: np.ndarray,
    good: np.ndarray,
    bad: np.ndarray,
    towards: float = 1.0,
    away: float = 1.0,
) -> np.ndarray:
    """Add the mean of the good to the start, and take that of the bad away."""
    moved = start.astype(np.float64)
    for marks, weight in ((good, towards), (bad, -away)):
        if len(marks):
            moved = moved + weight * np.unique(marks, axis=0).mean(axis=0)
    return unit(moved)


def few_steps(
    start: np.ndarray,
    good: np.ndarray,
    bad: np.ndarray,
    rate: float = 0.1,
    steps: int = 5,
) -> np.ndarray:
    """Train a linear classifier without bias from the start on, as MyScale tunes it.

    Binary cross-entropy with logits, plain gradient descent, the weights brought to
    unit length before each step.
    """
    kinds = [np.unique(marks, axis=0).astype(np.float64) for marks in (good, bad)]
    marks = np.concatenate(kinds)
    is_good = np.repeat([1.0, 0.0], [len(kind) for kind in kinds])
    weights = start.astype(np.float64)
    for _ in range(steps if len(marks) else 0):
        weights = unit(weights)
        wrong = np.exp(-np.logaddexp(0, -marks @ weights)) - is_good
        weights = weights - rate * wrong @ marks / len(marks)
    return unit(weights)


def unit(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


METHODS: dict[str, Method] = {
    "documents' recipe: rate 0.1 × 5": few_steps,
    "documents' recipe: rate 0.1 × 50": partial(few_steps, steps=50),
    "documents' recipe: rate 1 × 50": partial(few_steps, rate=1.0, steps=50),
    "Rocchio 0.75, 0.25": partial(rocchio, towards=0.75, away=0.25),
    "Rocchio 1, 1": rocchio,
    "Rocchio 2, 2": partial(rocchio, towards=2.0, away=2.0),
    "Rocchio 4, 4": partial(rocchio, towards=4.0, away=4.0),
    "anchored fit, strength 0.25": partial(tune, strength=0.25),
    "anchored fit, strength 0.5": partial(tune, strength=0.5),
    "anchored fit, strength 1": tune,
    "anchored fit, strength 2": partial(tune, strength=2.0),
    "anchored fit, strength 4": partial(tune, strength=4.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--postcards", type=int, default=10_000)
    pictures = drawn(parser.parse_args().postcards)
    starts, fits = concepts(len(pictures))
    first = [fits[c][nearest(pictures @ u)].mean() for c, u in enumerate(starts)]
    low = np.array(first) < LOW
    for marked in (SHOWN, 6):
        print(f"\n{marked} of {SHOWN} marked; precision at {SHOWN} first and after")
        print(f"rounds 1 to {ROUNDS}, of {low.sum()} that start below {LOW:g},")
        print(f"and of all {len(low)} concepts; ms a round with its search\n")
        print("| | below: unseen | below: whole | all: unseen | all: whole | ms |")
        print("|---|---|---|---|---|---|")
        for name, method in METHODS.items():
            started = time.perf_counter()
            unseen, whole = simulate(method, pictures, starts, fits, marked)
            spent = (time.perf_counter() - started) * 1000
            cells = [unseen[low], whole[low], unseen, whole]
            columns = (figures(cell.mean(axis=0)) for cell in cells)
            runs = SEEDS * len(starts) * ROUNDS
            print(
                f"| {name} | {' | '.join(columns)} | {spent / runs:.1f} |", flush=True
            )


def figures(values: np.ndarray) -> str:
    return " ".join(f"{value:.2f}" for value in values)


def drawn(count: int) -> np.ndarray:
    """Return unit vectors of the postcards, made once and cached under VAR_DIR."""
    cached = settings.VAR_DIR / "benchmarks" / f"postcards-{count}.npy"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        np.save(cached, image_embeddings(range(count), "drawing postcards"))
    pictures = np.load(cached)
    return pictures / np.linalg.norm(pictures, axis=1, keepdims=True)


def concepts(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the texts' vectors (concepts, dimension), and which postcards fit each."""
    entries = [json.loads(line) for line in CONCEPTS.read_text().splitlines()]
    meant = [Description.from_dict(entry["means"]) for entry in entries]
    scenes = [scene_of(number) for number in range(count)]
    fits = np.array([[each.fits(scene) for scene in scenes] for each in meant])
    return encoder().encode_texts([entry["words"] for entry in entries]), fits


def simulate(
    method: Method,
    pictures: np.ndarray,
    starts: np.ndarray,
    fits: np.ndarray,
    marked: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the precision among unseen and all images, (concepts, 1 + ROUNDS)."""
    games = [
        [
            simulate_one(method, pictures, start, truth, marked, seed)
            for seed in range(SEEDS)
        ]
        for start, truth in zip(starts, fits, strict=True)
    ]
    unseen, whole = np.array(games).mean(axis=1).transpose(1, 0, 2)
    return unseen, whole


def simulate_one(
    method: Method,
    pictures: np.ndarray,
    start: np.ndarray,
    fits: np.ndarray,
    marked: int,
    seed: int,
) -> tuple[list[float], list[float]]:
    """Simulate a user who marks the first `marked` hits; return both precisions."""
    chance = np.random.default_rng(seed)
    is_seen = np.zeros(len(pictures), bool)
    marks = np.zeros(len(pictures))
    unseen, whole, vector = [], [], start
    for _ in range(1 + ROUNDS):
        similarities = pictures @ vector
        shown = nearest(np.where(is_seen, -np.inf, similarities))
        unseen.append(fits[shown].mean())
        whole.append(fits[nearest(similarities)].mean())
        is_seen[shown] = True
        looked_at = shown[:marked]
        is_right = chance.random(len(looked_at)) >= MISTAKES
        marks[looked_at] = np.where(fits[looked_at] == is_right, 1, -1)
        vector = method(start, pictures[marks > 0], pictures[marks < 0])
    return unseen, whole


def nearest(similarities: np.ndarray) -> np.ndarray:
    return np.argsort(-similarities, kind="stable")[:SHOWN]


if __name__ == "__main__":
    main()
