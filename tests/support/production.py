"""A production set-up to be thrown away: PostgreSQL, Redis, a Celery worker and beat.

The engine is the embedded one. As only one process may open its folder, the worker has
a single one (the pool solo), and tells through tasks what it holds.
"""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import redis
from conftest import ROOT, free_port, run_postgres, started_postgres

from laionweb.celery import app
from support import python_process

TESTS = Path(__file__).resolve().parent.parent
WAIT_LIMIT_S = 240  # on a machine that does a lot besides; usually it is seconds
MADE = """
from django.core.management import call_command
from search.ingestion import control
from search.models import Dataset
call_command("migrate", verbosity=0)
for slug in {slugs}:
    control.discover_shards(Dataset.objects.create(
        slug=slug, title=slug, dimension={dimension}, source={source!r},
        without_removal_list=True, **{fields!r}))
"""


def wait_until(what: str, true: Callable[[], Any]) -> Any:
    """Waits for something that has to happen; returns what `true` returned."""
    deadline = time.monotonic() + WAIT_LIMIT_S
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"in {WAIT_LIMIT_S} s it did not come to this: {what}")


@contextmanager
def started_server(folder: Path, port: int) -> Iterator[str]:
    """An engine behind HTTP, thrown away on leaving; yields its CLICKHOUSE_URL."""
    folder.mkdir(parents=True, exist_ok=True)
    process = server_process(folder, port)
    try:
        yield f"clickhouse://127.0.0.1:{port}/default"
    finally:
        process.kill()
        process.wait()


def server_process(folder: Path, port: int) -> subprocess.Popen:
    with (folder / "server.log").open("a") as log:
        process = python_process.Popen(
            [TESTS / "support" / "clickhouse_http.py", folder / "clickhouse", port],
            stdout=log,
            stderr=log,
        )
    wait_until("the engine answers", lambda: answers(f"http://127.0.0.1:{port}/ping"))
    return process


def answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status == 200
    return False


def make_datasets(
    environment: dict[str, str],
    slugs: list[str],
    source: Path,
    dimension: int,
    **fields: str,
) -> None:
    """Datasets and their shards in a ledger that is made if need be."""
    made = MADE.format(
        slugs=slugs, source=str(source), dimension=dimension, fields=fields
    )
    command = ["manage.py", "shell", "--verbosity", "0", "--command", made]
    done = python_process.run(command, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr


class Redis:
    """A Redis that keeps nothing on disk."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "save": "",
            "dir": self.folder,
        }
        given = [text for name in options for text in (f"--{name}", str(options[name]))]
        with (self.folder / "redis.log").open("a") as log:
            self.process = subprocess.Popen(["redis-server", *given], stdout=log)
        wait_until("Redis answers", self._answers)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def flush(self) -> None:
        with redis.Redis(port=self.port) as client:
            client.flushall()

    def _answers(self) -> bool:
        with suppress(redis.ConnectionError), redis.Redis(port=self.port) as client:
            return client.ping()
        return False


class Production:
    """All of its processes, and what its ledger and its engine say."""

    def __init__(self, folder: Path, celery: str, postgres: Path, port: int):
        self.folder, self.celery, self.postgres = folder, celery, postgres
        self.database = f"postgres://postgres@127.0.0.1:{port}/postgres"
        self.redis = Redis(folder)
        self.engine = folder / "clickhouse"
        self.worker: subprocess.Popen | None = None
        self.beat: subprocess.Popen | None = None
        self.web: subprocess.Popen | None = None
        self.server: subprocess.Popen | None = None
        self.server_port = free_port()
        self.web_url = f"http://127.0.0.1:{free_port()}"

    def environment(self, engine: str = "") -> dict[str, str]:
        if not engine and self.server:
            engine = f"clickhouse://127.0.0.1:{self.server_port}/default"
        return os.environ | {
            "VAR_DIR": str(self.folder / "var"),
            "DATABASE_URL": self.database,
            "CLICKHOUSE_URL": engine or f"chdb://{self.engine}",
            "CELERY_BROKER_URL": self.redis.url,
            "CACHE_URL": self.redis.url.replace("redis://", "rediscache://"),
            "PYTHONPATH": f"{ROOT}:{TESTS}",
        }

    def start_server(self) -> None:
        """The engine behind HTTP; all that is started afterwards asks there."""
        self.server = server_process(self.folder, self.server_port)

    def stop_server(self) -> None:
        self.server.kill()
        self.server.wait()

    def start_web(self, workers: int) -> None:
        with (self.folder / "web.log").open("a") as log:
            self.web = python_process.Popen(
                ["-m", "gunicorn", "laionweb.wsgi"]
                + ["--workers", str(workers), "--threads", "4"]
                + ["--bind", self.web_url.removeprefix("http://")],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=self.environment(),
            )
        wait_until("the pages answer", lambda: answers(f"{self.web_url}/"))

    def make_datasets(
        self, slugs: list[str], source: Path, dimension: int, **fields: str
    ) -> None:
        # It needs no engine, and the worker's can be opened once.
        environment = self.environment(f"chdb://{self.folder / 'unused'}")
        make_datasets(environment, slugs, source, dimension, **fields)

    def start_worker(self, *options: str) -> None:
        options = options or ("--pool", "solo", "--concurrency", "1")
        self.worker = self._celery("worker", *options)

    @contextmanager
    def second_worker(self, queues: str) -> Iterator[None]:
        """One of some queues alone, with an engine of its own, that is empty."""
        engine = f"chdb://{self.folder / 'second'}"
        options = ["--pool", "solo", "--hostname", "second@%h", "--queues", queues]
        process = self._celery("worker", *options, engine=engine)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def start_beat(self) -> None:
        self.beat = self._celery("beat")

    def kill_worker(self) -> None:
        self.worker.kill()
        self.worker.wait()

    def stop(self) -> None:
        for process in (self.web, self.beat, self.worker, self.server):
            if process is not None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()

    def restart_postgres(self) -> None:
        run_postgres(
            "pg_ctl",
            "-D",
            self.postgres,
            "-w",
            "-m",
            "immediate",
            "-l",
            self.postgres.parent / "log",
            "restart",
        )

    def shards(self, slug: str) -> list[dict[str, Any]]:
        """The rows of the ledger, by number."""
        return self._sql(
            "SELECT number, state, rows_done, attempts, failures, error "
            "FROM search_shard s JOIN search_dataset d ON d.id = dataset_id "
            "WHERE slug = %s ORDER BY number",
            slug,
        )

    def partitions(self, slug: str) -> list[dict[str, Any]]:
        return self._sql(
            "SELECT number, attempts, failures, lease_until, error "
            "FROM search_partition p JOIN search_dataset d ON d.id = dataset_id "
            "WHERE slug = %s",
            slug,
        )

    def queue(self, slug: str) -> None:
        """As the page does, but that no message is sent: that is the sweeper's."""
        self._sql(
            "UPDATE search_shard SET state = 'queued', fingerprint = '' "
            "WHERE dataset_id = (SELECT id FROM search_dataset WHERE slug = %s) "
            "RETURNING number",
            slug,
        )

    def attempts(self, slug: str, *, held: bool = False) -> dict[tuple[str, int], int]:
        """At each shard and partition; or at those that are held, if by the dead."""
        shards, partitions = self.shards(slug), self.partitions(slug)
        if held:
            shards = [row for row in shards if row["state"] == "ingesting"]
            partitions = [row for row in partitions if row["lease_until"]]
        return {("shard", row["number"]): row["attempts"] for row in shards} | {
            ("partition", row["number"]): row["attempts"] for row in partitions
        }

    def rows_done(self, slug: str) -> int:
        return sum(shard["rows_done"] for shard in self.shards(slug))

    def failures(self, slug: str) -> int:
        """The most of a shard or partition: five in a row, and it is given up."""
        rows = [*self.shards(slug), *self.partitions(slug)]
        return max((row["failures"] for row in rows), default=0)

    def errors(self, slug: str) -> str:
        rows = [*self.shards(slug), *self.partitions(slug)]
        return " ".join(row["error"] for row in rows)

    def ingested(self, slug: str) -> bool:
        states = {shard["state"] for shard in self.shards(slug)}
        assert "failed" not in states, self.shards(slug)
        return states == {"ingested"}

    def told(self, slug: str) -> dict[str, Any]:
        """Return what the worker's engine holds of a dataset."""
        answer = self.folder / f"{time.monotonic_ns()}.json"
        with app.connection_for_write(self.redis.url) as broker:
            given = {"args": [slug, str(answer)], "queue": "publish"}
            app.send_task("support.reporting_app.tell", **given, connection=broker)
        wait_until("the worker tells what it holds", answer.exists)
        return json.loads(answer.read_text())

    def log(self) -> str:
        return "\n".join(path.read_text() for path in self.folder.glob("*.log"))

    def _celery(self, *command: str, engine: str = "") -> subprocess.Popen:
        with (self.folder / f"{command[0]}.log").open("a") as log:
            return python_process.Popen(
                ["-m", "celery", "-A", self.celery, *command] + ["--loglevel", "INFO"],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment(engine),
            )

    def _sql(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        with psycopg.connect(
            self.database, autocommit=True, row_factory=psycopg.rows.dict_row
        ) as connection:
            return connection.execute(statement, parameters).fetchall()


@contextmanager
def started(folder: Path, celery: str) -> Iterator[Production]:
    """PostgreSQL and Redis run; the worker and beat are for the test to start."""
    assert shutil.which("redis-server"), (
        "Redis is not installed (Debian: apt-get install redis-server)"
    )
    port = free_port()
    with ExitStack() as stack:
        data = stack.enter_context(started_postgres(port))
        production = Production(folder, celery, data, port)
        production.redis.start()
        stack.callback(production.redis.kill)
        stack.callback(production.stop)
        yield production
