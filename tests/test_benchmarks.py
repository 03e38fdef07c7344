"""The benchmark of searches runs from end to end; what it measures is not judged."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("--rows=2000", "--queries=2", "--peers=none", "--seconds=0", "--postcards=0")


@pytest.mark.soak
def test_the_benchmark_of_searches_measures_every_system():
    done = subprocess.run(
        [sys.executable, "benchmarks/search.py", *SMALL],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if "|" in line]
    figures = {row[0].strip(): row[1:] for row in rows if len(row) == 8}
    measured = {
        "bare statement, clusters",
        "bare statement, graph",
        "service.search",
        "service.search, exact",
        "service.search, next page",
        "HTTP request, POST",
        "HTTP request, GET",
        "HTTP request as the page asks",
        "HTTP request as the page asks, next page",
    }
    assert measured <= set(figures)
    # Of the narrow filter's few rows all are found: "reads, CPU ms, back, recall".
    *_, back, recall = figures["service.search"][-1].split(",")
    assert float(back) > 0 and float(recall) == 1
    assert "2,000 rows: recall@10 of words, service.search" in done.stdout
