"""Tables of the measurements in Markdown, compared with the goals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from .data import COUNT, FILTERS
from .measure import CLIENTS, Series, Size
from .ours import BareClusters, Find, FindExact, NextPage
from .system import System
from .web import Get, NextOfPage, PageAsks, Post

SMALL, LARGE = 100_000, 1_000_000
SHARES = {"none": "unfiltered", "broad": "40 % match", "narrow": "0.3 % match"}
FILTERED = [where for where in FILTERS if where != "none"]


def latencies(size: Size) -> str:
    bare = mean(size.of(BareClusters).cpu)
    lines = table(
        f"{size.rows.count:,} rows",
        "reads",
        "CPU ms",
        "× bare",
        "p50 / p95 ms",
        "recall words / images",
        *[f"{SHARES[where]}: reads, CPU ms, back, recall" for where in FILTERED],
    )
    for system in size.systems:
        series = size.figures[system.name, "none"]
        cells = [
            effort(system, "none"),
            f"{mean(series.cpu):.1f}",
            f"{mean(series.cpu) / bare:.2f}",
            f"{series.p50:.1f} / {series.p95:.1f}",
            recalls(series) if system.answers else "–",
        ]
        for where in FILTERED:
            there = size.figures.get((system.name, where))
            cells.append(filtered(system, where, there) if there else "–")
        lines.append(row(system.name, *cells))
    return "\n".join(lines)


def effort(system: System, where: str) -> str:
    """Return what a system was tuned to, such as "ef 256"."""
    if not system.efforts:
        return "–"
    most = "" if system.effort[where] < system.efforts[-1] else " (most)"
    return f"{system.effort_name} {system.effort[where]:,}{most}"


def recalls(series: Series) -> str:
    return f"{mean(series.recall):.3f} / {mean(series.of_pictures):.3f}"


def filtered(system: System, where: str, series: Series) -> str:
    figures = mean(series.cpu), mean(series.back), mean(series.recall)
    return "{}, {:.1f}, {:.1f}, {:.3f}".format(effort(system, where), *figures)


def throughputs(size: Size) -> str:
    shown = ", ".join(map(str, CLIENTS))
    lines = table(f"QPS of {shown} clients, {size.rows.count:,} rows", *SHARES.values())
    for system in size.systems:
        if system.in_bursts:
            cells = []
            for where in SHARES:
                qps = size.figures[system.name, where].qps
                best = [f"{max(qps[count]):,.0f}" for count in CLIENTS if qps[count]]
                cells.append(", ".join(best) or "–")
            lines.append(row(system.name, *cells))
    return "\n".join(lines)


@dataclass(frozen=True)
class Target:
    what: str
    limit: float
    measured: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        if self.at_least:
            return self.measured >= self.limit
        return self.measured <= self.limit

    def shown(self) -> str:
        sign = "≥" if self.at_least else "≤"
        missed = f"no, by {abs(self.measured / self.limit - 1):.0%}"
        limit, measured = f"{sign} {self.limit:g}", f"{self.measured:.3g}"
        return row(self.what, limit, measured, "yes" if self.met else missed)


def targets(sizes: Sequence[Size]) -> str:
    lines = table("target, by CPU", "asked", "measured", "met")
    for size in sizes:
        lines += [target.shown() for target in of_size(size)]
    by_count = {size.rows.count: size for size in sizes}
    if {SMALL, LARGE} <= set(by_count):
        small, large = (by_count[count].of(Find) for count in (SMALL, LARGE))
        what = f"find at {LARGE:,} rows / at {SMALL:,}"
        lines.append(Target(what, 2, ratio(large, small)).shown())
    return "\n".join(lines)


def of_size(size: Size) -> Iterator[Target]:
    rows = f"{size.rows.count:,} rows"
    bare, find = size.of(BareClusters), size.of(Find)
    for system, least in ((Find, 0.95), (FindExact, 0.99)):
        recall = mean(size.of(system).recall)
        what = f"{rows}: recall@{COUNT} of words, {system.name}"
        yield Target(what, least, recall, at_least=True)
    for system, most in ((Find, 1.5), (Post, 2.2), (Get, 2.2)):
        what = f"{rows}: {system.name} / bare statement"
        yield Target(what, most, ratio(size.of(system), bare))
    if pgvector := size.figures.get(("pgvector", "none")):
        most = 1 if size.rows.count >= LARGE else 1.5
        yield Target(f"{rows}: find / pgvector", most, ratio(find, pgvector))
    for where, most in (("broad", 1.3), ("narrow", 5)):
        share, there = f"{rows}, {SHARES[where]}", size.of(Find, where)
        yield Target(f"{share}: find / unfiltered", most, ratio(there, find))
        recall = mean(there.recall)
        yield Target(f"{share}: recall@{COUNT}", 0.95, recall, at_least=True)
        passing = min(COUNT, int(size.rows.matches[where].sum()))
        back = min(there.back)
        yield Target(f"{share}: fewest back", passing, back, at_least=True)
    for first, later in ((Find, NextPage), (PageAsks, NextOfPage)):
        what = f"{rows}: {later.name} / first"
        yield Target(what, 1, ratio(size.of(later), size.of(first)))


def ratio(one: Series, other: Series) -> float:
    """Return the ratio of the mean CPU times."""
    return mean(one.cpu) / mean(other.cpu)


def table(*heads: str) -> list[str]:
    return [row(*heads), "|" + "---|" * len(heads)]


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
