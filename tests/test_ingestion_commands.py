"""Imports by command, on a laptop and with a broker."""

import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import termios
import time
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from conftest import ROOT
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.utils import timezone
from support import python_process
from support.tiny_shards import (
    drop_tables,
    ids_of,
    import_all,
    publish,
    tiny_dataset,
    write_shard,
)

from search.clickhouse import client
from search.ingestion import control, shard_run, tasks
from search.ingestion.progress import ImportProgress
from search.management import console
from search.management.console import Progress, show_progress
from search.models import Dataset, Shard

State = Shard.State


# --- In processes of their own, on the embedded default

SHARDS = 24
TIMEOUT_S = 120


class Laptop:
    """manage.py with a VAR_DIR of its own."""

    def __init__(self, environment: dict[str, str]):
        self.environment = environment
        self.ledger = Path(environment["VAR_DIR"]) / "laionweb.sqlite3"

    def start(self, *arguments: str, **more) -> subprocess.Popen:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return python_process.Popen(
            ["manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            **(pipes | more),
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, output

    def states(self) -> list[str]:
        with sqlite3.connect(self.ledger) as ledger:
            rows = ledger.execute("SELECT state FROM search_shard ORDER BY number")
            return [state for (state,) in rows]


@pytest.fixture(scope="module")
def laptop(embedded_environment, tmp_path_factory) -> Laptop:
    """With a dataset of many small shards to import, one of them broken."""
    folder = tmp_path_factory.mktemp("laptop")
    (folder / "source").mkdir()
    for number in range(SHARDS):
        write_shard(folder / "source", number)
    (folder / "source" / "metadata_5.parquet").write_bytes(b"no table")
    laptop = Laptop(embedded_environment(folder / "var", CLICKHOUSE_URL=""))
    del laptop.environment["CLICKHOUSE_URL"]
    source = ("--source", str(folder / "source"), "--dimension", "8")
    code, output = laptop.run("dataset", "create", "tiny", *source)
    assert (code, output) == (
        1,
        "Error: The database cannot be used: no such table: search_dataset. If it is "
        "new, run manage.py migrate first.\n",
    )
    assert laptop.run("migrate", "--verbosity=0") == (0, "")
    code, output = laptop.run(
        "dataset", "create", "tiny", *source, "--without-removal-list"
    )
    assert code == 0, output
    return laptop


def test_ctrl_c_pauses_and_the_same_command_goes_on(laptop):
    process = laptop.start("ingest", "tiny")
    wait_for(lambda: "arrived" in laptop.states(), process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    assert "Paused. The same command, without --replace, goes on.\n" in output
    states = laptop.states()
    assert "paused" in states and not {"queued", "ingesting"} & set(states)

    code, output = in_terminal(laptop, "ingest", "tiny")
    assert code == 1
    assert "Error: Shard 5: metadata_5.parquet is damaged: it cannot be read." in output
    assert f"{SHARDS - 1} of {SHARDS} shards in, 1 failed" in output
    assert re.search(r"\r *\d+%\|", output), "there is no bar"
    assert laptop.states().count("ingested") == SHARDS - 1


def wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def in_terminal(laptop: Laptop, *arguments: str) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    process = laptop.start(*arguments, stdout=theirs, stderr=theirs, text=False)
    os.close(theirs)
    output = b""
    while True:
        try:
            output += (some := os.read(ours, 65_536))
        except OSError:  # so Linux says that the other end is closed
            break
        if not some:
            break
    os.close(ours)
    return process.wait(TIMEOUT_S), output.decode()


def test_shards_are_dropped_and_brought_in_again(laptop):
    if "ingested" not in laptop.states():
        laptop.run("ingest", "tiny")
    code, output = laptop.run("dataset", "drop", "tiny", "--shards", "0-2")
    assert (code, output) == (
        1,
        "Error: tiny, shards 0-2, 120 items: add --yes to drop it.\n",
    )
    code, output = laptop.run("dataset", "drop", "tiny", "--shards", "0-2", "--yes")
    # Before it there is a line of progress every few seconds.
    assert (code, output.splitlines()[-1]) == (0, "Dropped: tiny, shards 0-2.")
    assert laptop.states()[:4] == ["pending"] * 3 + ["ingested"]
    code, output = laptop.run("ingest", "tiny", "--shards", "0-3", "--replace")
    # A line every few seconds may precede it.
    assert (code, output.splitlines()[-1]) == (
        0,
        "160 of 160 rows, 4 of 4 shards in; 160 items can be found, 0 rows were left "
        "out.",
    )


def test_an_engine_that_is_open_elsewhere_is_named(laptop):
    """The tests' own process has the engine open."""
    if not laptop.states():
        laptop.run("ingest", "tiny", "--shards", "0")
    client.ping()
    url = os.environ["CLICKHOUSE_URL"]
    elsewhere = Laptop(laptop.environment | {"CLICKHOUSE_URL": url})
    before = laptop.states()
    for command in (
        ["ingest", "tiny", "--replace"],
        ["dataset", "drop", "tiny", "--shards", "0", "--yes"],
        ["dataset", "delete", "tiny", "--for-good", "--yes"],
        ["dataset", "cancel", "tiny"],
        ["load_removals", "README.md", "--kind", "url"],
    ):
        code, output = elsewhere.run(*command)
        assert code == 1
        *_, last = output.splitlines()  # before it, the engine says it on its own
        assert last.startswith("Error: Another process has the ClickHouse folder")
    assert laptop.states() == before


# --- In this process, with a broker that does at once what it is sent

db = pytest.mark.django_db


@pytest.fixture
def tiny(db, tmp_path: Path):
    for number in range(3):
        write_shard(tmp_path, number)
    dataset = tiny_dataset(tmp_path)
    yield dataset
    drop_tables(dataset)


@pytest.fixture
def broker(settings, monkeypatch) -> list[int]:
    settings.CELERY_BROKER_URL = "redis://nowhere"
    monkeypatch.setattr("search.management.worker.POLL_S", 0)
    keys: list[int] = []
    monkeypatch.setattr(tasks, "enqueue_shards", keys.extend)
    monkeypatch.setattr(tasks, "enqueue_due_partitions", lambda dataset: 0)
    return keys


@pytest.fixture
def workers(broker, monkeypatch) -> None:
    """Workers that complete a shard each time the command polls."""
    look = ImportProgress.of

    def work_and_look(dataset, shards=None):
        if broker:
            shard_run.ingest(broker.pop(0))
        else:
            publish(dataset)
        return look(dataset, shards)

    monkeypatch.setattr(ImportProgress, "of", work_and_look)


def manage(*arguments: object, **options: object) -> str:
    """Return the output of a command; raises CommandError."""
    printed = StringIO()
    call_command(*arguments, stdout=printed, **options)
    return printed.getvalue()


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def refused(*arguments: object, **options: object) -> str:
    with pytest.raises(CommandError) as error:
        manage(*arguments, **options)
    assert error.value.returncode == 1
    return str(error.value)


def test_with_a_broker_it_waits_for_the_workers(tiny, workers):
    said = manage("ingest", "tiny")
    assert said.endswith(
        "120 of 120 rows, 3 of 3 shards in; 120 items can be found, 0 rows were left "
        "out.\n"
    )
    assert len(ids_of(tiny)) == 120
    assert "3 of 3 shards in" in manage("ingest", "tiny")  # there is nothing to do


def test_failures_are_told_with_their_reasons(tiny, workers, tmp_path):
    for number in (0, 2):
        (tmp_path / f"text_emb_{number}.npy").unlink()
    said = refused("ingest", "tiny")
    assert said.splitlines() == [
        f"Shard {number}: The file text_emb_{number}.npy is missing in {tmp_path}."
        for number in (0, 2)
    ]


def test_it_need_not_wait_where_others_work(tiny, broker):
    assert (
        manage("ingest", "tiny", wait=False, shards="1-2") == "2 shards are queued.\n"
    )
    assert list(tiny.shards.values_list("state", flat=True)) == [
        "pending",
        "queued",
        "queued",
    ]
    assert len(broker) == 2


def test_ctrl_c_pauses_what_the_workers_do(tiny, broker, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "show", interrupt)
    assert "Paused." in manage("ingest", "tiny")
    assert {shard.state for shard in tiny.shards.all()} == {"paused"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"wait": False}, "Without a broker nobody else does the work: leave out"),
        ({"shards": "9"}, "Tiny has no shard 9."),
        ({"shards": "1-"}, "“1-” is neither a shard's number nor a range"),
        ({"slug": "nowhere"}, "There is no dataset named “nowhere”."),
    ],
)
def test_what_cannot_be_brought_in_is_told(tiny, options, sentence):
    slug = options.pop("slug", "tiny")
    assert refused("ingest", slug, **options).startswith(sentence)


def test_a_source_without_shards_is_told(tiny, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    Dataset.objects.update(source=str(empty))
    assert refused("ingest", "tiny") == f"There are no shards in {empty}."


def test_laion_shards_want_a_removal_list_first(tiny):
    Dataset.objects.update(without_removal_list=False)
    assert refused("ingest", "tiny").startswith("Import a removal list first")
    assert not tiny.shards.exists()


def test_lines_are_written_every_few_seconds(tiny, capsys, monkeypatch):
    control.discover_shards(tiny)
    clock = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: clock)
    progress = Progress(OutputWrapper(sys.stdout))
    for rows, seconds in ((0, 0), (10, 3), (25, 3), (40, 10)):
        clock += seconds
        tiny.shards.filter(number=0).update(rows=40, rows_done=rows, state="ingesting")
        progress.show(ImportProgress.of(tiny))
    progress.close()
    assert capsys.readouterr().out.splitlines() == [
        "25 of about 120 rows, 0 of 3 shards in, 4 rows/s",
        "40 of about 120 rows, 0 of 3 shards in, 2 rows/s",
    ]


def test_a_line_tells_of_the_index_and_why_there_is_none(tiny):
    control.discover_shards(tiny)
    partition = tiny.partitions.create(
        number=0, vectors=80, vectors_done=20, error="", lease_until=None
    )
    line = show_progress(ImportProgress.of(tiny))
    assert line == "0 rows, 0 of 3 shards in"
    partition.lease_until = timezone.now() + timedelta(minutes=1)
    partition.save()
    assert show_progress(ImportProgress.of(tiny)).endswith(
        "shards in, search index 25%"
    )
    partition.error = "The disk is full."
    partition.save()
    assert show_progress(ImportProgress.of(tiny)).endswith(
        "shards in, The disk is full."
    )


# --- Datasets


@db
def test_a_dataset_is_entered_with_all_that_decides_it(tmp_path):
    (tmp_path / "photos.tsv000").write_text("photo_image_url\twords\nhttp://x/y\ta")
    said = manage(
        *("dataset", "create", "photos", "--title", "Photos"),
        *("--source", f"{tmp_path}/photos.tsv*", "--shards-per-partition", "8"),
        *("--model", "local-dir:postcards/model", "--weights", ""),
        *("--column", "url=photo_image_url", "--column", "caption=words"),
    )
    assert said == "Dataset photos is entered; `ingest photos` brings it in.\n"
    dataset = Dataset.objects.get(slug="photos")
    assert (dataset.title, dataset.kind, dataset.dimension) == ("Photos", "images", 512)
    assert (dataset.model, dataset.weights) == ("local-dir:postcards/model", "")
    assert dataset.columns == {"url": "photo_image_url", "caption": "words"}
    assert (dataset.shards_per_partition, dataset.without_removal_list) == (8, False)


@db
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["Photos"], "slug: A slug has small letters"),
        (["photos", "--dimension", "0"], "dimension: Ensure this value"),
        (["photos", "--source", "https://a/b"], "shard_range: Say which shards"),
        (["photos", "--column", "url"], "“url” is not of the form"),
        (["photos", "--column", "x=y"], "columns: “x” is none of url,"),
        (["photos", "--source", "/gone"], "source: There is no file or folder “/gone”"),
        (
            ["photos", "--source", "{}", "--kind", "laion"],
            "kind: A list of image addresses",
        ),
        (
            ["photos", "--source", "{}", "--model", "local-dir:m", "--weights", ""],
            "model: The model local-dir:m has no weights here.",
        ),
        (
            [
                *("photos", "--source", "{}", "--weights", "", "--dimension", "64"),
                *("--model", "local-dir:postcards/model"),
            ],
            "dimension: The vectors have 512 numbers.",
        ),
    ],
)
def test_a_dataset_that_cannot_be_is_refused(arguments, sentence, tmp_path):
    (tmp_path / "list.csv").write_text("url,caption\nhttp://x/y,a")
    arguments = [each.format(tmp_path) for each in arguments]
    assert refused("dataset", "create", *arguments).startswith(sentence)
    assert not Dataset.objects.exclude(slug="postcards").exists()


@db
def test_a_name_is_taken_once():
    manage("dataset", "create", "photos")
    assert refused("dataset", "create", "photos").startswith("slug: Dataset with this")


def test_datasets_are_listed_and_shown(tiny, tmp_path):
    import_all(tiny)
    tiny.shards.filter(number=2).update(state="failed", error="It is broken.")
    listed = manage("dataset", "list").splitlines()
    assert [" ".join(line.split()) for line in listed if "tiny" in line] == [
        "tiny laion 120 items Tiny"
    ]
    shown = manage("dataset", "show", "tiny").splitlines()
    assert shown[0] == "Tiny (tiny), LAION shards: embeddings and metadata"
    assert shown[1] == f"Source: {tmp_path}"
    assert shown[3] == "Shards: 2 ingested, 1 failed"
    assert shown[5].startswith("Index: parts 1, rows 120, ")
    assert shown[6] == f"Table: {tiny.item_table.name}"
    assert shown[7] == "Shard 2: It is broken."
    assert refused("dataset", "show", "nowhere").startswith("There is no dataset")


def test_shards_are_steered(tiny, broker):
    control.discover_shards(tiny)
    tiny.shards.update(state="queued")
    assert manage("dataset", "pause", "tiny", "--shards", "0,2") == "pause: 2 shards.\n"
    assert manage("dataset", "resume", "tiny", "--shards", "2") == "resume: 1 shards.\n"
    assert manage("dataset", "cancel", "tiny", "--shards", "0") == "cancel: 1 shards.\n"
    tiny.shards.filter(number=1).update(state="failed")
    assert manage("dataset", "retry", "tiny") == "retry: 1 shards.\n"
    assert [shard.state for shard in tiny.shards.all()] == ["pending", *["queued"] * 2]
    assert refused("dataset", "retry", "tiny") == "There is nothing to retry."


def test_a_dataset_is_dropped_with_its_table(tiny, monkeypatch):
    import_all(tiny)
    assert refused("dataset", "drop", "tiny") == (
        "The dataset Tiny with 120 images: add --yes to delete it."
    )
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert refused("dataset", "drop", "tiny") == "Nothing was deleted."
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert manage("dataset", "delete", "tiny") == (
        "Deleted: Tiny. For 24 hours, `manage.py dataset restore tiny` undoes that.\n"
    )
    assert "tiny  120 items" in manage("dataset", "deleted")
    assert manage("dataset", "restore", "tiny") == "Restored: Tiny (tiny).\n"
    table = tiny.item_table.name
    assert client.rows(f"SELECT count() AS n FROM {table}") == [{"n": 120}]
    assert manage("dataset", "delete", "tiny", "--for-good") == (
        "Deleted for good: Tiny.\n"
    )
    assert not client.rows(f"SHOW TABLES LIKE '{table}%'")
    assert not Dataset.everything.exclude(slug="postcards").exists()
