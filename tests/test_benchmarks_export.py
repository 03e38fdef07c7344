"""The benchmark of exports runs through; what it measures is not judged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "export.py"
STEPS = ("Parquet with embeddings", "pandas with embeddings")


@pytest.mark.soak
def test_it_measures_our_way_and_the_one_by_pandas(embedded_environment, tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--rows", "300", "--rounds", "1", "--steps", *STEPS],
        env=embedded_environment(tmp_path) | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split(" | ") for line in done.stdout.splitlines() if "|" in line]
    sizes = {cells[0].strip("| "): float(cells[-1].strip(" |")) for cells in lines[2:]}
    assert set(sizes) == set(STEPS)
    # Two vectors of 512 numbers a row.
    assert all(size > 0.3 for size in sizes.values())
    assert not os.listdir(tmp_path)
