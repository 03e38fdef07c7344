"""Faults, for real: whatever dies in an import, its end is that of an undisturbed one.

The ledger is a PostgreSQL server, the broker Redis, the worker and beat are Celery's.
They poll quickly (tests/support/fast_polling.py), except in the long tests, which are
for make soak.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import started_server
from support import production, python_process
from support.production import Production, wait_until
from support.tiny_shards import (
    by_clusters,
    drop_tables,
    import_all,
    summary,
    tiny_dataset,
    vectors,
    write_shard,
)

pytestmark = [
    pytest.mark.django_db,  # for the undisturbed import
    pytest.mark.timeout(900),  # each step has a limit of its own
]
ROWS, DIMENSION, SHARDS = 2_000, 64, 3
FIELDS = by_clusters(DIMENSION)
SOAK_ROWS = 30_000
KILLS = 20
DATASETS = ["killed", "indexing", "flushed", "broker", "ledger", "stopped", "full"]
SMALL_DISK = 64 * 1024 * 1024
SHARDS_SQL = "SELECT state FROM search_shard"
SERVE_FAST = """
import sys
import support.fast_polling
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])"""
PRINT_SUMMARY = """
import json
from search.models import Dataset
from support.tiny_shards import summary
print(json.dumps(summary(Dataset.objects.get(slug="embedded"))))"""


def write_shards(folder: Path, rows: int) -> Path:
    for number in range(SHARDS):
        facts = {
            "url": [f"http://example.org/{number}/{i}.jpg" for i in range(rows)],
            "caption": [f"picture {i} of {number}" for i in range(rows)],
            "key": list(range(rows)),
        }
        image, text = (vectors(rows, seed + number, DIMENSION) for seed in (10, 20))
        write_shard(folder, number, rows, image=image, text=text, metadata=facts)
    return folder


def summary_without_faults(source: Path) -> dict:
    """Return the result of an import in this process, without faults."""
    dataset = tiny_dataset(source, slug="undisturbed", dimension=DIMENSION, **FIELDS)
    import_all(dataset)
    wanted = summary(dataset)
    assert (wanted["visible"], wanted["parts_without_index"]) == (wanted["ids"], 0)
    drop_tables(dataset)
    dataset.delete()
    return wanted


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"), ROWS)


@pytest.fixture(scope="module")
def wanted(source: Path, django_db_setup, django_db_blocker) -> dict:
    with django_db_blocker.unblock():
        return summary_without_faults(source)


@pytest.fixture(scope="module")
def running(
    source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    folder = tmp_path_factory.mktemp("production")
    with production.started(folder, "support.fast_polling") as site:
        site.make_datasets(DATASETS, source, DIMENSION, **FIELDS)
        site.start_worker()
        site.start_beat()
        yield site


@pytest.fixture
def site(running: Production) -> Production:
    """A site with a worker, whatever became of it in the test before."""
    if running.worker.poll() is not None:
        running.start_worker()
    return running


def start_import(site: Production, slug: str, rows: int) -> None:
    """Queue a dataset and wait until so many of its rows are imported."""
    site.queue(slug)
    wait_until(f"{rows} rows have come in", lambda: site.rows_done(slug) >= rows)
    assert not site.ingested(slug)


def wait_until_resumed(site: Production, slug: str, held: dict) -> None:
    """Wait until the work of dead workers is resumed; print how long it took."""
    returned = time.monotonic()

    def all_taken_up() -> bool:
        now = site.attempts(slug)
        return all(now[what] > attempt for what, attempt in held.items())

    wait_until(f"{held} is taken up again", all_taken_up)
    seconds = time.monotonic() - returned
    print(f"{slug}: {held} was taken up again after {seconds:.1f} s")


def assert_ends_as(site: Production, slug: str, wanted: dict) -> None:
    wait_until("all is ingested", lambda: site.ingested(slug))
    wait_until("nothing is left over", lambda: not site.told(slug)["beside"])
    assert site.told(slug) == wanted


def test_a_worker_killed_in_an_import(site, wanted):
    start_import(site, "killed", 700)
    wait_until("it works", lambda: site.attempts("killed", held=True))
    time.sleep(random.uniform(0, 0.5))
    site.kill_worker()
    held = site.attempts("killed", held=True)
    site.start_worker()
    wait_until_resumed(site, "killed", held)
    assert_ends_as(site, "killed", wanted)


def test_a_worker_killed_while_it_publishes(site, wanted):
    site.queue("indexing")

    def stopped_in_publication() -> bool:
        if ("partition", 0) not in site.attempts("indexing", held=True):
            return False
        site.worker.send_signal(signal.SIGSTOP)
        if ("partition", 0) in site.attempts("indexing", held=True):
            return True
        site.worker.send_signal(signal.SIGCONT)  # it was quicker
        site.queue("indexing")
        return False

    wait_until("it stops while it publishes", stopped_in_publication)
    site.kill_worker()
    held = site.attempts("indexing", held=True)
    site.start_worker()
    wait_until_resumed(site, "indexing", held)
    assert_ends_as(site, "indexing", wanted)


@pytest.mark.soak  # the next test is its sample
def test_a_broker_that_forgets_everything(site, wanted):
    start_import(site, "flushed", 300)
    site.redis.flush()
    assert_ends_as(site, "flushed", wanted)


def test_a_broker_that_dies_and_comes_back_empty(site, wanted):
    start_import(site, "broker", 300)
    site.redis.kill()
    time.sleep(1)
    site.redis.start()
    assert_ends_as(site, "broker", wanted)


def test_a_database_that_is_restarted(site, wanted):
    start_import(site, "ledger", 700)
    site.restart_postgres()
    assert_ends_as(site, "ledger", wanted)


def test_a_worker_stopped_past_its_lease(site, wanted):
    """The next worker has another engine, which is empty."""
    start_import(site, "stopped", 700)
    site.worker.send_signal(signal.SIGSTOP)
    held = site.attempts("stopped", held=True)
    with site.second_worker("publish"):
        wait_until(
            "its shard is queued again", lambda: not site.attempts("stopped", held=True)
        )
    site.worker.send_signal(signal.SIGCONT)
    wait_until_resumed(site, "stopped", held)
    assert_ends_as(site, "stopped", wanted)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("A small disk can be mounted by root alone.")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


# Once in ten runs the engine went on refusing after the disk had room again.
@pytest.mark.soak
def test_a_disk_that_is_full_for_a_while(site, wanted, small_disk):
    site.kill_worker()
    before, site.engine = site.engine, small_disk / "clickhouse"
    site.start_worker()
    try:
        start_import(site, "full", 300)
        ballast = small_disk / "ballast"
        fill(ballast)
        wait_until("it is said", lambda: "disk" in site.errors("full"))
        ballast.unlink()
        assert_ends_as(site, "full", wanted)
    finally:
        site.kill_worker()
        site.engine = before
        site.start_worker()


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(64 * 1024))


def test_the_one_process_killed_in_an_import(
    embedded_environment, source, wanted, tmp_path
):
    """The embedded default: SQLite, no broker, the worker in a thread of the site."""
    path = f"{production.ROOT}:{production.TESTS}"
    environment = embedded_environment(tmp_path / "var", PYTHONPATH=path)
    production.make_datasets(environment, ["embedded"], source, DIMENSION, **FIELDS)
    ledger = sqlite3.connect(tmp_path / "var" / "laionweb.sqlite3", timeout=30)

    def query_ledger(sql: str) -> list:
        return ledger.execute(sql).fetchall()

    def states() -> set[str]:
        return {state for (state,) in query_ledger(SHARDS_SQL)}

    with ledger:
        ledger.execute("UPDATE search_shard SET state = 'queued'")
    kill_when = {
        "rows come in": lambda: query_ledger(
            "SELECT 1 FROM search_shard WHERE rows_done > 500"
        ),
        "it is published": lambda: query_ledger("SELECT 1 FROM search_partition"),
        "": lambda: states() == {"ingested"},
    }
    for number, (reason, come) in enumerate(kill_when.items()):
        log = tmp_path / f"log{number}"
        serving = started_server(
            log, environment, "--no-example", program=("-c", SERVE_FAST)
        )
        with serving as server:
            wait_until(reason or "all is ingested", come)
            if reason:
                assert states() != {"ingested"}
                server.process.kill()
    command = ["manage.py", "shell", "--verbosity", "0", "-c", PRINT_SUMMARY]
    done = python_process.run(command, cwd=production.ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == wanted


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_faults_at_random_moments(tmp_path_factory):
    """With the leases and batches of production."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    source = write_shards(tmp_path_factory.mktemp("soak"), SOAK_ROWS)
    wanted = summary_without_faults(source)
    faults = ["worker"] * KILLS + ["flush", "broker", "ledger"] * 2
    chance.shuffle(faults)
    with production.started(
        tmp_path_factory.mktemp("site"), "support.reporting_app"
    ) as site:
        site.make_datasets(["soak"], source, DIMENSION, **FIELDS)
        site.start_worker()
        site.start_beat()
        for fault in faults:
            # What kills five workers in a row is given up, as it should be.
            if site.failures("soak") >= 4:
                wait_until("it is published", lambda: site.ingested("soak"))
            if {row["state"] for row in site.shards("soak")} <= {"pending", "ingested"}:
                site.queue("soak")
            time.sleep(chance.uniform(0, 15))
            print(fault, end=": ")
            strike(site, fault)
        assert_ends_as(site, "soak", wanted)


def strike(site: Production, fault: str) -> None:
    if fault == "worker":
        site.kill_worker()
        held = site.attempts("soak", held=True)
        site.start_worker()
        wait_until_resumed(site, "soak", held)
        return
    if fault == "flush":
        site.redis.flush()
    elif fault == "broker":
        site.redis.kill()
        site.redis.start()
    else:
        site.restart_postgres()
    print(site.attempts("soak", held=True))
