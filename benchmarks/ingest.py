"""Compare ingestion, from files to searchable rows, with that of the documentation.

    .venv/bin/python benchmarks/ingest.py [--rows 50000] [--rounds 3]

Both bring in the same generated shard, with both embeddings and LAION's columns. The
documents' way makes a frame of lists from it, from that a CSV file, and loads this with
INSERT … FROM INFILE into their table, which has no indexes. Each run is a process of
its own. Of three runs the one with the least CPU time counts, since other work on the
machine only ever adds to it, and the median of their peaks of memory.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from laion_like import write_shard

PATHS = Path(__file__).with_name("ingest_paths.py")
SET_ELSEWHERE = ("DATABASE_URL", "CLICKHOUSE_URL", "CELERY_BROKER_URL", "CACHE_URL")
MANY = 8  # times as many rows, where memory is to stay flat
MIN_ROWS = 500
# Shards that come in while searches go on, and by how many threads they are indexed.
BUILDERS = {1: max(1, (os.cpu_count() or 1) // 2), 2: os.cpu_count() or 1}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures imports.")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows = arguments.rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_shard(folder / "shard", 0, rows)
        for number in BUILDERS:
            write_shard(folder / "shard", number, max(rows // 5, MIN_ROWS))
        write_shard(folder / "many", 0, rows * MANY)
        print(f"A shard of {rows:,} rows, {size / 1e6:,.1f} MB.\n")
        measure(folder, arguments.rounds)


def measure(folder: Path, count: int) -> None:
    """Run all paths and print tables in Markdown."""
    theirs = rounds(count, folder, "documents", "shard")
    few, many = (
        rounds(count, folder, "arriving", shard) for shard in ("shard", "many")
    )
    here = (folder / "arriving shard 0", folder / "shard")
    *parts, whole = *run("graphs", *here), *run("published", *here)
    names = ["the documents' way", "arriving", "arriving, a larger shard"]
    print_steps(zip(names, (theirs, few, many), strict=True))
    print_steps((step["name"], step) for step in [*parts, whole])
    print("| searches | p50 ms | p95 ms |\n|---|---|---|")
    for number, threads in BUILDERS.items():
        print_latencies(threads, *run("searches", *here, number, threads))
    print("\n| target | measured | met |\n|---|---|---|")
    for target, measured, met in targets(theirs, few, many, parts, whole):
        print(f"| {target} | {measured} | {'yes' if met else 'no'} |")


def rounds(count: int, folder: Path, path: str, shard: str) -> dict:
    """Return the best of `count` runs and the median peak; keep the first's tables."""
    steps = []
    for number in range(count):
        var = folder / f"{path} {shard} {number}"
        steps += run(path, var, folder / shard)
        if number:
            shutil.rmtree(var)
    best = min(steps, key=lambda step: step["cpu_s"])
    return best | {"peak_mb": statistics.median(step["peak_mb"] for step in steps)}


def run(path: str, var: Path, source: Path, number: int = 0, *more: object) -> list:
    """Return what a path prints in a process of its own, with VAR_DIR in `var`."""
    environment = {
        name: os.environ[name] for name in os.environ if name not in SET_ELSEWHERE
    }
    done = subprocess.run(
        [sys.executable, PATHS, path, source, str(number), *map(str, more)],
        env=environment | {"VAR_DIR": str(var)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def print_steps(steps: Iterable[tuple[str, dict]]) -> None:
    print("| step | rows | s | CPU s | rows/s | rows/CPU s | idle MB | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, step in steps:
        rows, wall, cpu = step["rows"], step["wall_s"], step["cpu_s"]
        print(
            f"| {name} | {rows:,} | {wall:.1f} | {cpu:.1f} | {rows / wall:,.0f} "
            f"| {rows / cpu:,.0f} | {step['idle_mb']:.0f} | {step['peak_mb']:.0f} |"
        )
    print()


def print_latencies(threads: int, alone: dict, meanwhile: dict) -> None:
    building = f"while an index is built, threads: {threads}"
    for name, found in (("alone", alone), (building, meanwhile)):
        count, p50, p95 = found["searches"], found["p50"], found["p95"]
        print(f"| {count} {name} | {p50:.1f} | {p95:.1f} |")


def targets(
    theirs: dict, few: dict, many: dict, parts: Sequence[dict], whole: dict
) -> Iterable[tuple[str, str, bool]]:
    """Yield each target in words, its measurement, and whether that meets it."""
    rate = per_cpu_second(few)
    yield "≥ 25,000 rows/CPU s without the index", f"{rate:,.0f}", rate >= 25_000
    merge, image, text = parts
    for name, steps in (
        ("one graph, of images", (few, merge, image)),
        ("one graph, of texts", (few, merge, text)),
        ("both graphs, as published", (few, whole)),
    ):
        rate = per_cpu_second(*steps)
        yield f"≥ 1,500 with it: {name}", f"{rate:,.0f}", rate >= 1_500
    for unit in ("cpu_s", "wall_s"):
        times = theirs[unit] / few[unit]
        name = {"cpu_s": "CPU", "wall_s": "the clock"}[unit]
        yield f"≥ 20 × the documents' rows/s, by {name}", f"{times:.0f} ×", times >= 20
    for step in (few, many, whole):
        more, rows = step["peak_mb"] - step["idle_mb"], step["rows"]
        name = f"{step['name']}, {rows:,} rows: peak ≤ 600 MB above idle"
        yield name, f"{more:.0f} MB", more <= 600
    growth = many["peak_mb"] / few["peak_mb"] - 1
    yield f"peak flat (± 10 %) with {MANY} × the rows", f"{growth:+.0%}", growth <= 0.1


def per_cpu_second(*steps: dict) -> float:
    """Return the rows per CPU second of all steps together."""
    return steps[0]["rows"] / sum(step["cpu_s"] for step in steps)


if __name__ == "__main__":
    main()
