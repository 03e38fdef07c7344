"""Faults of the engine and of sources are shown, and repaired where possible."""

import io
import os
import tarfile
import threading
from datetime import timedelta

import pytest
from django.utils import timezone
from support.tiny_shards import (
    DIMENSION,
    drop_tables,
    ids_of,
    import_all,
    publish,
    queue,
    tiny_dataset,
    write_shard,
)

from search.clickhouse import client as engine
from search.errors import NotFound, SearchError, SearchUnavailable, ShardUnreadable
from search.ingestion import integrity, shard_run, sweeper, tasks
from search.ingestion.sources import archives, laion
from search.jobs import broker
from search.models import Dataset, Partition, Shard
from search.removals import files, takedowns
from usercollections.export import storage
from usercollections.export.writer import describe_datasets
from usercollections.models import Export

pytestmark = pytest.mark.django_db
State = Shard.State


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    keys: list[int] = []
    monkeypatch.setattr(tasks.ingest_shard, "delay", keys.append)
    monkeypatch.setattr(tasks.publish, "delay", lambda *partition: None)
    monkeypatch.setattr(broker, "queue_is_empty", lambda task: True)
    return keys


@pytest.fixture
def tiny(tmp_path):
    for number in range(3):
        write_shard(tmp_path, number)
    dataset = tiny_dataset(tmp_path, shards_per_partition=1, index="clusters")
    import_all(dataset)
    yield dataset
    drop_tables(dataset)


@pytest.mark.parametrize("suffix", ["", "_IMAGE"])
def test_lost_rows_are_told_and_brought_back(tiny, suffix, admin_client, client):
    integrity.check()
    tiny.refresh_from_db()
    assert tiny.missing == {}
    engine.command(f"ALTER TABLE item_tiny{suffix} DROP PARTITION 1")
    sweeper.recover()
    tiny.refresh_from_db()
    assert tiny.missing == {"rows": 40, "partitions": [1]}

    said = "40 of 120 images are missing"
    page = client.get("/d/tiny/").content.decode()
    assert said in page and "Import them again" not in page
    assert "Import them again" in admin_client.get("/d/tiny/").content.decode()
    found = client.get("/?dataset=tiny&item=1").content.decode()
    assert "40 images of" in found and "are missing at the moment" in found
    search = {"dataset": "tiny", "terms": [{"embedding": [1.0] * DIMENSION}]}
    answer = client.post("/api/search/", search, content_type="application/json")
    assert answer.json()["missing"] == 40

    admin_client.post("/d/tiny/bring-back")
    states = tiny.shards.values_list("state", flat=True)
    assert list(states) == [State.INGESTED, State.QUEUED, State.INGESTED]
    shard_run.ingest(tiny.shards.get(number=1).pk)
    publish(tiny)
    sweeper.recover()
    tiny.refresh_from_db()
    assert tiny.missing == {} and len(ids_of(tiny)) == 120
    answer = client.post("/api/search/", search, content_type="application/json")
    assert "missing" not in answer.json()


def test_rows_that_are_being_published_are_not_missed(tiny):
    engine.command("ALTER TABLE item_tiny DROP PARTITION 2")
    soon = timezone.now() + timedelta(minutes=1)
    Partition.objects.filter(dataset=tiny, number=2).update(lease_until=soon)
    integrity.check()
    tiny.refresh_from_db()
    assert tiny.missing == {}


def test_a_shard_that_a_full_disk_failed_resumes_when_there_is_room(
    tiny, sent, monkeypatch
):
    (key,) = tiny.shards.filter(number=1).values_list("pk", flat=True)
    full = f"It broke off 5 times in a row without getting on. {engine.DISK_FULL}"
    Shard.objects.filter(pk=key).update(state=State.FAILED, error=full, failures=6)
    other = tiny.shards.filter(number=2)
    other.update(state=State.FAILED, error="metadata_2.parquet is damaged.")
    with monkeypatch.context() as patched:
        patched.setattr(engine, "has_room", lambda size: False)
        sweeper.recover()
    assert Shard.objects.get(pk=key).state == State.FAILED
    sent.clear()
    sweeper.recover()
    assert key in sent and Shard.objects.get(pk=key).state == State.QUEUED
    assert other.get().state == State.FAILED
    assert shard_run.ingest(key)


# --- Sources that change, and hostile ones


def test_a_source_that_changes_between_two_attempts_starts_over(
    tiny, tmp_path, monkeypatch
):
    """Rows of both versions must not mix in a shard."""
    monkeypatch.setattr(laion, "BATCH_ROWS", 16)
    key = queue(tiny)[0]
    insert = shard_run.writer.insert

    def away_after_one(*arguments):
        insert(*arguments)
        raise SearchUnavailable("The engine is away.")

    with monkeypatch.context() as patched:
        patched.setattr(shard_run.writer, "insert", away_after_one)
        with pytest.raises(SearchUnavailable):
            shard_run.ingest(key)
    write_shard(tmp_path, 0, rows=24)
    assert shard_run.ingest(key)
    for other in tiny.shards.filter(state=State.QUEUED):
        shard_run.ingest(other.pk)
    publish(tiny)
    shard = tiny.shards.get(number=0)
    assert (shard.rows, shard.rows_visible, shard.rows_unaccounted) == (24, 24, 0)
    assert [each for each in ids_of(tiny) if each < 2**32] == list(range(24))


def tar_bomb(path, kind: str) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        if kind == "many":
            for number in range(20_000):
                tar.addfile(tarfile.TarInfo(f"{number}.jpg"))
            return
        member = tarfile.TarInfo("a.jpg")
        if kind == "sparse":
            member.pax_headers = {"GNU.sparse.size": str(2**60)}
        if kind == "path":
            member.name = "../../../etc/a.jpg"
        if kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        if kind == "huge":
            member.size = 2**40
            tar.fileobj.write(member.tobuf())
            tar.fileobj.write(bytes(1024))
            tar.offset += 1536
            return
        tar.addfile(member, io.BytesIO(b""))


@pytest.mark.parametrize("kind", ["many", "sparse", "path", "link", "huge"])
def test_tar_bombs_cost_their_own_size(tmp_path, kind):
    path = tmp_path / "bomb.tar"
    tar_bomb(path, kind)
    before = set(os.listdir(tmp_path))
    try:
        images = archives.open_archive(path, {})
    except ShardUnreadable:
        assert kind == "huge"
        return
    count = 0
    for rows in images.read(0, 128):
        count += len(rows.table)
        if count <= 128:
            with pytest.raises(SearchError):
                rows.load(0, "")
    assert count == (20_000 if kind == "many" else 1)
    assert set(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("kind", ["item", "url", "md5"])
def test_hostile_removal_lists_take_nothing_with_them(tiny, kind):
    """Values are data: none of them hides more than what it names."""
    hostile = ["' OR 1=1 --", "%", "*", "{values:Array(String)}", "\\", "0 OR 1"]
    lines = [*hostile, "9" * 19, "", "\u202e", "x" * 9_000]
    try:
        values, _ = files.read(io.BytesIO("\n".join(lines).encode()), "list.txt", kind)
    except files.InvalidQuery:
        assert kind != "url"
        return
    takedowns.add(kind, values, tiny)
    takedowns.hide(tiny, tiny.item_table)
    assert len(ids_of(tiny)) == 120


def test_a_takedown_during_an_export_is_not_handed_on(tiny, admin_user):
    """The file may have the item; it is not served."""
    before = describe_datasets(["tiny"])
    takedowns.take_down(tiny, 3, "")
    export = Export.objects.create(
        owner=admin_user,
        name="tiny",
        asked={},
        state=Export.State.DONE,
        manifest={"datasets": before, "files": [{"name": "a.json", "rows": 1}]},
    )
    assert storage.is_outdated(export)
    with pytest.raises(NotFound, match="removed since"):
        storage.serve(export, "a.json")


def test_a_clock_that_jumps_ends_no_lease_of_others(tiny, monkeypatch):
    """Ahead by a day and back: a run in progress is refused or continues, once."""
    key = queue(tiny)[0]
    done = threading.Event()
    insert, real = shard_run.writer.insert, timezone.now

    def jumping(*arguments):
        if not done.is_set():
            done.set()
            monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(days=1))
            sweeper.recover()  # takes the shard for that of a dead worker
            monkeypatch.setattr(timezone, "now", real)
        insert(*arguments)

    monkeypatch.setattr(shard_run.writer, "insert", jumping)
    shard_run.ingest(key)
    for shard in tiny.shards.filter(state=State.QUEUED):
        shard_run.ingest(shard.pk)
    publish(tiny)
    assert len(ids_of(tiny)) == 120
    assert set(tiny.shards.values_list("state", flat=True)) == {State.INGESTED}
    assert Dataset.objects.get(pk=tiny.pk).missing == {}
