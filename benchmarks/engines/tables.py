"""Tables of the measurements in Markdown, compared with the goals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from .data import COUNT, FILTERS
from .measure import CLIENTS, Series, Size
from .ours import BareQuery, Find, NextPage
from .web import Get, NextOfPage, PageAsks, Post

SMALL, LARGE = 100_000, 1_000_000
SHARES = {"none": "unfiltered", "broad": "40 % match", "narrow": "0.3 % match"}
FILTERED = [where for where in FILTERS if where != "none"]


def latencies(size: Size) -> str:
    bare = size.of(BareQuery).p50
    lines = table(
        f"{size.rows.count:,} rows",
        "p50 / p95 ms",
        "× bare",
        "CPU ms",
        "recall words / pictures",
        *[f"{SHARES[where]}: p50 ms, back, recall" for where in FILTERED],
    )
    for system in size.systems:
        series = size.figures[system.name, "none"]
        cells = [
            f"{series.p50:.1f} / {series.p95:.1f}",
            f"{series.p50 / bare:.2f}",
            f"{mean(series.cpu):.1f}",
            recalls(series) if system.answers else "–",
        ]
        for where in FILTERED:
            there = size.figures.get((system.name, where))
            cells.append(filtered(there) if there else "–")
        lines.append(row(system.name, *cells))
    return "\n".join(lines)


def recalls(series: Series) -> str:
    return f"{mean(series.recall):.3f} / {mean(series.of_pictures):.3f}"


def filtered(series: Series) -> str:
    return f"{series.p50:.1f}, {mean(series.back):.1f}, {mean(series.recall):.3f}"


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
    by_cpu: float | None = None  # the same ratio, where others disturb it less
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
        by_cpu = "–" if self.by_cpu is None else f"{self.by_cpu:.2f}"
        return row(self.what, limit, measured, by_cpu, "yes" if self.met else missed)


def targets(sizes: Sequence[Size]) -> str:
    lines = table("target", "asked", "measured", "by CPU", "met")
    for size in sizes:
        lines += [target.shown() for target in of_size(size)]
    by_count = {size.rows.count: size.of(BareQuery) for size in sizes}
    if {SMALL, LARGE} <= set(by_count):
        growth = mean(by_count[LARGE].cpu) / mean(by_count[SMALL].cpu)
        what = f"bare query, CPU at {LARGE:,} rows / at {SMALL:,}"
        lines.append(Target(what, 1.5, growth).shown())
    return "\n".join(lines)


def of_size(size: Size) -> Iterator[Target]:
    rows = f"{size.rows.count:,} rows"
    bare, find = size.of(BareQuery), size.of(Find)
    recall = mean(find.recall)
    yield Target(f"{rows}: recall@{COUNT}, words, find", 0.97, recall, at_least=True)
    if size.rows.count == SMALL:
        yield Target(f"{rows}: bare query, CPU ms", 9, mean(bare.cpu))
    for http in (Post, Get):
        what = f"{rows}: {http.name}, p50 / bare query's"
        yield Target(what, 1.6, *ratios(size.of(http), bare))
    for where, most in (("broad", 1.5), ("narrow", 5)):
        share = f"{rows}, {SHARES[where]}"
        for system in (Find, Post):
            there = size.of(system, where)
            what = f"{share}: {system.name}, p50 / unfiltered"
            yield Target(what, most, *ratios(there, size.of(system)))
        back, right = min(there.back), mean(there.recall)  # of the whole request
        yield Target(f"{share}: fewest back", COUNT, back, at_least=True)
        yield Target(f"{share}: recall@{COUNT}", 0.98, right, at_least=True)
    for first, later in ((Find, NextPage), (PageAsks, NextOfPage)):
        what = f"{rows}: {later.name}, p50 / first's"
        yield Target(what, 1, *ratios(size.of(later), size.of(first)))


def ratios(one: Series, other: Series) -> tuple[float, float]:
    """Return the ratios of the p50 wall times and of the mean CPU times."""
    return one.p50 / other.p50, mean(one.cpu) / mean(other.cpu)


def table(*heads: str) -> list[str]:
    return [row(*heads), "|" + "---|" * len(heads)]


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
