"""The benchmark of imports runs through, and brings in all rows either way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "ingest.py"


@pytest.mark.soak
def test_it_measures_all_paths_of_a_small_shard(embedded_environment, tmp_path):
    environment = embedded_environment(tmp_path)
    done = subprocess.run(
        [sys.executable, SCRIPT, "--rows=1000", "--rounds=1", "--many=2"],
        env=environment | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    cells = [line.split(" | ") for line in done.stdout.splitlines()]
    rows = {row[0]: row[1] for row in cells if len(row) == 8}
    assert rows == {
        "| step": "rows",
        "| the documents' way": "1,000",
        "| arriving": "1,000",
        "| arriving, a larger shard": "2,000",
        "| published, clusters": "1,000",
        "| of which training": "1,000",
        "| published, clusters, a larger shard": "2,000",
        "| published, graphs": "1,000",
    }
    met = [row[-1] for row in cells if len(row) == 3 and row[-1] in ("yes |", "no |")]
    assert len(met) == 11
    assert not os.listdir(tmp_path)
