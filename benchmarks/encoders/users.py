"""Users who ask at once, each again as soon as there is an answer."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from .sites import FULL, Place

QUERIES = Path(__file__).resolve().parents[2] / "postcards" / "queries.jsonl"
SLICE_S = 1.0  # of a turn; many users of a slow way take longer over one request


@dataclass
class Series:
    """The responses that users got from one site; times in seconds."""

    took: list[float] = field(default_factory=list)
    wall: float = 0.0
    cpu: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.took) / self.wall

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu / len(self.took)

    def percentile(self, percent: int) -> float:
        return 1000 * float(np.percentile(self.took, percent))


Figures = dict[tuple[str, int], Series]


def measure_in_turn(
    kind: str,
    places: Sequence[Place],
    users: Sequence[int],
    rounds: int,
) -> Figures:
    """Return the series by the name of the place and the number of users."""
    figures: Figures = defaultdict(Series)
    things = Things()
    for _ in range(rounds):
        for many in users:
            for place in places:
                if kind == "pictures" and place.name == FULL:
                    continue
                place.use()
                ask = asker(kind, place, things)
                measure(figures[place.name, many], place, ask, many)
    return figures


class Things:
    """Words and pictures, each of them new."""

    def __init__(self) -> None:
        lines = QUERIES.read_text().splitlines()
        self.words = [json.loads(line)["query"] for line in lines]
        self.image = Image.effect_noise((512, 384), 40).convert("RGB")
        self.numbers = count()

    def text(self) -> str:
        number = next(self.numbers)
        return f"{self.words[number % len(self.words)]} {number}"


def asker(kind: str, place: Place, things: Things) -> Callable[[], object]:
    if kind == "texts":
        return lambda: place.encoder.encode_texts([things.text()])
    return lambda: place.encoder.encode_images([things.image])


def measure(
    series: Series, place: Place, ask: Callable[[], object], users: int
) -> None:
    """Run users in parallel for SLICE_S seconds, then wait for the last requests."""
    begun = time.perf_counter()
    cpu = place.cpu_s()

    def user() -> None:
        while (started := time.perf_counter()) < begun + SLICE_S:
            ask()
            series.took.append(time.perf_counter() - started)

    threads = [threading.Thread(target=user) for _ in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    series.wall += time.perf_counter() - begun
    series.cpu += place.cpu_s() - cpu
