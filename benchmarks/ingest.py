"""Compare ingestion, from files to searchable rows, with that of the documentation.

    .venv/bin/python benchmarks/ingest.py [--rows 50000] [--rounds 3] [--vectors FOLDER]

Both bring in the same generated shard, with both embeddings and LAION's columns. The
documents' way makes a frame of lists from it, from that a CSV file, and loads this with
INSERT … FROM INFILE into their table, which has no indexes. Each run is a process of
its own. Of three runs the one with the least CPU time counts, since other work on the
machine only ever adds to it, and the median of their peaks of memory, without files
that are mapped. A shard of --many times as many rows shows what memory does.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from laion_like import write_shard
from vector_sources import add_option, describe, open_source

PATHS = Path(__file__).with_name("ingest_paths.py")
SET_ELSEWHERE = ("DATABASE_URL", "CLICKHOUSE_URL", "CELERY_BROKER_URL", "CACHE_URL")
MIN_ROWS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures imports.")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=20, help="times the rows")
    add_option(parser)
    options = parser.parse_args()
    rows, source = options.rows, open_source(options.vectors)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_shard(folder / "shard", 0, rows, source)
        write_shard(folder / "shard", 1, max(rows // 5, MIN_ROWS), source)
        write_shard(folder / "many", 0, rows * options.many, source)
        print(f"A shard of {rows:,} rows, {size / 1e6:,.1f} MB.")
        print(f"Vectors: {describe(options.vectors)}.\n")
        measure(folder, options.rounds)


def measure(folder: Path, count: int) -> None:
    """Run all paths and print tables in Markdown."""
    theirs = rounds(count, folder, "documents", "shard")
    few = rounds(count, folder, "arriving", "shard")
    many = rounds(1, folder, "arriving", "many")
    here, there = folder / "arriving shard 0", folder / "arriving many 0"
    clusters, *trained = run("clusters", here, folder / "shard")
    large, *_ = run("clusters", there, folder / "many")
    shutil.rmtree(there)
    (graphs,) = run("graph", folder / "graph", folder / "shard")
    print_steps(
        {
            "the documents' way": theirs,
            "arriving": few,
            "arriving, a larger shard": many,
            clusters["name"]: clusters,
            **{step["name"]: step for step in trained},
            "published, clusters, a larger shard": large,
            graphs["name"]: graphs,
        }
    )
    print("| searches | p50 ms | p95 ms |\n|---|---|---|")
    print_latencies(*run("searches", here, folder / "shard"))
    print("\n| target | measured | met |\n|---|---|---|")
    for target, measured, met in targets(theirs, few, many, clusters, large):
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


def run(path: str, var: Path, source: Path) -> list:
    """Return what a path prints in a process of its own, with VAR_DIR in `var`."""
    environment = {
        name: os.environ[name] for name in os.environ if name not in SET_ELSEWHERE
    }
    done = subprocess.run(
        [sys.executable, PATHS, path, source],
        env=environment | {"VAR_DIR": str(var)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def print_steps(steps: Mapping[str, dict]) -> None:
    print("| step | rows | s | CPU s | rows/s | rows/CPU s | idle MB | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, step in steps.items():
        rows, wall, cpu = step["rows"], step["wall_s"], step["cpu_s"]
        a_second = [f"{rows / each:,.0f}" if each else "–" for each in (wall, cpu)]
        print(
            f"| {name} | {rows:,} | {wall:.1f} | {cpu:.1f} | {' | '.join(a_second)} "
            f"| {step['idle_mb']:.0f} | {step['peak_mb']:.0f} |"
        )
    print()


def print_latencies(alone: dict, meanwhile: dict) -> None:
    for name, found in (("alone", alone), ("while a shard is published", meanwhile)):
        count, p50, p95 = found["searches"], found["p50"], found["p95"]
        print(f"| {count} {name} | {p50:.1f} | {p95:.1f} |")


def targets(
    theirs: dict, few: dict, many: dict, published: dict, large: dict
) -> Iterator[tuple[str, str, bool]]:
    """Yield each target in words, its measurement, and whether that meets it."""
    rate = per_cpu_second(few)
    yield "≥ 25,000 rows/CPU s without an index", f"{rate:,.0f}", rate >= 25_000
    for step in (published, large):
        rate = per_cpu_second(step)
        name = f"≥ 8,000 rows/CPU s published, of {step['rows']:,}"
        yield name, f"{rate:,.0f}", rate >= 8_000
    for unit in ("cpu_s", "wall_s"):
        times = theirs[unit] / few[unit]
        name = {"cpu_s": "CPU", "wall_s": "the clock"}[unit]
        yield f"≥ 20 × the documents' rows/s, by {name}", f"{times:.0f} ×", times >= 20
    for step in (few, many, published, large):
        more, rows = step["peak_mb"] - step["idle_mb"], step["rows"]
        name = f"{step['name']}, {rows:,} rows: peak ≤ 600 MB above idle"
        yield name, f"{more:.0f} MB", more <= 600
    for small, bigger in ((few, many), (published, large)):
        growth = bigger["peak_mb"] / small["peak_mb"] - 1
        times = bigger["rows"] // small["rows"]
        name = f"{small['name']}: peak flat (± 10 %) with {times} × the rows"
        yield name, f"{growth:+.0%}", growth <= 0.1


def per_cpu_second(*steps: dict) -> float:
    """Return the rows per CPU second of all steps together."""
    return steps[0]["rows"] / sum(step["cpu_s"] for step in steps)


if __name__ == "__main__":
    main()
