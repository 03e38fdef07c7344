"""Asking all systems in turn, so that what else the machine does hits them alike."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .data import FILTERS, Questions, Rows
from .system import System

CLIENTS = (1, 4, 8)
WARMING = 3  # questions before the ones that count: graphs and pages get loaded


@dataclass
class Series:
    """One system's results for the queries with one filter; times in ms."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    back: list[int] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    of_pictures: list[float] = field(default_factory=list)  # recall, by pictures
    qps: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def p50(self) -> float:
        return float(np.percentile(self.wall, 50))

    @property
    def p95(self) -> float:
        return float(np.percentile(self.wall, 95))


@dataclass
class Size:
    """The systems that hold the same rows, and what came of asking them."""

    rows: Rows
    words: Questions
    pictures: Questions
    systems: list[System]
    figures: dict[tuple[str, str], Series] = field(
        default_factory=lambda: defaultdict(Series)
    )

    def of(self, system: type[System], where: str = "none") -> Series:
        return self.figures[system.name, where]

    def ask(self, system: System, where: str, number: int) -> None:
        vector = self.words.vectors[number]
        system.prepare(vector, where)
        cpu, started = system.cpu_s(), time.perf_counter()
        ids = system.search(vector, where)
        wall = (time.perf_counter() - started) * 1000
        series = self.figures[system.name, where]
        series.cpu.append((system.cpu_s() - cpu) * 1000)
        series.wall.append(system.wall_ms(wall))
        series.back.append(len(ids))
        series.recall.append(self.words.recall(number, where, ids))

    def ask_pictures(self, system: System) -> None:
        for number, vector in enumerate(self.pictures.vectors):
            system.prepare(vector, "none")
            ids = system.search(vector, "none")
            right = self.pictures.recall(number, "none", ids)
            self.figures[system.name, "none"].of_pictures.append(right)


def rounds(sizes: Sequence[Size], count: int) -> None:
    """Query every system with each question and filter, in changing order."""
    for number in range(-WARMING, count):
        for size in sizes:
            turn = number % len(size.systems)
            for where in FILTERS:
                for system in size.systems[turn:] + size.systems[:turn]:
                    if where in system.filters:
                        size.ask(system, where, number % count)
        if number == -1:
            for size in sizes:
                size.figures.clear()


def picture_rounds(sizes: Sequence[Size]) -> None:
    for size in sizes:
        for system in filter(lambda system: system.answers, size.systems):
            size.ask_pictures(system)


def bursts(sizes: Sequence[Size], seconds: float, repeats: int = 2) -> None:
    for _ in range(repeats):
        for size in sizes:
            for where in FILTERS:
                for clients in CLIENTS:
                    for system in size.systems:
                        if where in system.filters and system.in_bursts:
                            vectors = size.words.vectors
                            qps = system.burst(clients, vectors, where, seconds)
                            size.figures[system.name, where].qps[clients].append(qps)
