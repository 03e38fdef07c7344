"""The benchmark of large datasets: what it computes, and small runs of all of it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def unit_vectors(random: np.random.Generator, count: int) -> np.ndarray:
    vectors = random.standard_normal((count, 16), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_exact_answers_are_kept_up_while_rows_come_in():
    from scaling.truth import COUNT, Truth

    random = np.random.default_rng(0)
    questions, rows = unit_vectors(random, 3), unit_vectors(random, 500)
    rows[400] = rows[(questions[1] @ rows.T).argmax()]  # either is right
    ids = np.arange(500, dtype=np.uint64) * 7
    truth = Truth.without_rows(questions)
    assert truth.similarities.max() == -2
    for part in (slice(0, 5), slice(5, 420), slice(420, 500)):
        truth.add(rows[part], ids[part])
    best = np.argsort(-(questions @ rows.T), axis=1, kind="stable")
    for number, ranked in enumerate(best):
        nearest = ids[ranked].tolist()
        assert truth.recall(number, nearest[:COUNT]) == 1
        assert truth.recall(number, nearest[3:COUNT]) == 0.7
        assert truth.recall(number, nearest[100:110]) == 0
    twin = ids[best[1]].tolist()
    assert truth.recall(1, twin[1 : COUNT + 1]) == 0.9


def test_recall_counts_the_rows_that_there_are():
    from scaling.truth import Truth

    random = np.random.default_rng(1)
    truth = Truth.without_rows(unit_vectors(random, 1))
    truth.add(unit_vectors(random, 4), np.arange(4, dtype=np.uint64))
    assert truth.recall(0, [3, 2]) == 0.5


def stage(rows: int, parts: int, share: float):
    """A stage whose searches cost 4 ms, 0.5 ms a part and 0.2 ms a thousand rows."""
    from scaling.sizing import Search, Stage

    def search(part: float) -> Search:
        read = part * share * rows
        return Search(parts, read, 4 + 0.5 * parts + read / 5_000)

    searches = tuple(map(search, (1, 0.3, 4)))
    read, size = share * rows, rows * 3_700
    return Stage(rows, rows // 200, read, size, 3, rows / 5_000, searches)


STAGES = ((100_000, 1, 0.05), (1_000_000, 2, 0.02), (10_000_000, 13, 0.008))


def test_costs_are_recovered_from_measurements():
    from scaling.sizing import Cost

    cost = Cost.fitted([stage(*each) for each in STAGES])
    found = [cost.fixed, cost.per_part, 1000 * cost.per_row]
    assert found == pytest.approx([4, 0.5, 0.2])
    # One size cannot tell parts from the rest; the sum is right all the same.
    alone = Cost.fitted([stage(*STAGES[1])])
    assert alone.of(2, 10_000) == pytest.approx(7)


def test_clusters_read_grow_with_the_power_that_was_measured():
    from scaling.sizing import clusters_at, rows_read

    stages = [stage(*each) for each in STAGES]  # 25, 100 and 400 clusters are read
    clusters = clusters_at(100_000_000)
    read = 400 * 4 ** np.log10(clusters / 50_000)
    assert rows_read(stages, 1e8) == pytest.approx(read * 1e8 / clusters)
    assert rows_read(stages[:1], 1_000_000) == pytest.approx(50_000)
    # 25 clusters, of 100 rows each where there are a million.
    fewer = [stages[0], stage(200_000, 1, 0.001)]
    assert rows_read(fewer, 1_000_000) == pytest.approx(2_500)


def test_the_sizing_table_is_of_the_measurements():
    from scaling.sizing import Corpus, table

    corpus = Corpus("billion", 1e9, 512)
    lines = table([stage(*each) for each in STAGES], [corpus]).splitlines()
    figures = dict(line.strip("| ").split(" | ") for line in lines[2:])
    assert figures["disk"] == "3.7 TB"
    assert figures["clusters"] == "999,999 of 1,000 rows"
    assert figures["centroids, in each process that searches"] == "2.7 GB"
    assert figures["CPU that a process takes to choose clusters"] == "0.13 s"
    assert figures["servers of 384 GB with the vectors in cache"] == "4"
    read = 400 * 4 ** np.log10(999_999 / 50_000) * 1e9 / 999_999
    assert figures["rows that a search reads"] == f"{read:,.0f} ({read / 1e9:.2%})"
    alone, each = 4 + 16 * 0.5 + read / 5_000, 4 + 16 * 0.5 + read / 20_000
    assert figures["CPU of a search on one server"] == f"{alone / 1000:.2f} s"
    assert figures["CPU of a search on all of them"] == f"{4 * each / 1000:.2f} s"
    assert figures["building"] == "56 core-hours"


def test_the_least_effort_that_is_enough_is_found():
    from engines.tuning import least

    efforts = (1, 2, 4, 8, 16)
    for enough in (*efforts, 17):
        found = least(efforts, lambda effort, enough=enough: effort >= enough)
        assert found == min(enough, 16)


def run(tmp_path: Path, *options: str) -> str:
    command = [sys.executable, "benchmarks/scale.py", "--folder", tmp_path, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def column(output: str, name: str) -> list[str]:
    """The cells of the last table's line of that name."""
    lines = [line for line in output.splitlines() if line.startswith(f"| {name} |")]
    return lines[-1].strip("| ").split(" | ")[1:]


@pytest.mark.usefixtures("processes")
def test_a_tiny_dataset_is_built_and_searched(tmp_path):
    options = ("--rows=400", "--sizes=1", "--questions=3")
    output = run(tmp_path, *options)
    # So few rows are compared exactly.
    assert column(output, "recall@10 by default") == ["1.000"]
    assert column(output, "parts, clusters") == ["1, 1"]
    assert not list((tmp_path / "shards").iterdir())
    # Another run has nothing left to do.
    kept = (tmp_path / "costs.jsonl").read_text()
    assert run(tmp_path, *options).endswith(output[output.rindex("\n\n") :])
    assert (tmp_path / "costs.jsonl").read_text() == kept


@pytest.mark.soak
def test_a_small_dataset_is_found_by_clusters(tmp_path):
    output = run(tmp_path, "--rows=300000", "--captions", "--questions=50")
    recalls = column(output, "recall@10 by default")
    assert len(recalls) == 3 and min(map(float, recalls)) >= 0.9
    clusters = column(output, "parts, clusters")[-1].split(", ")[1]
    assert int(clusters.replace(",", "")) > 100
    memory = column(output, "peak of the import's own memory")
    assert float(memory[-1].split()[0].replace(",", "")) < 2_000
