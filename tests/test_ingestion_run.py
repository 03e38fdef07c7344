"""Runs of shards: leased once, resumed, and complete when they arrive."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from django.db import InterfaceError, connection
from django.utils import timezone
from kombu.exceptions import OperationalError
from kombu.transport.virtual import Channel
from support.tiny_shards import (
    arriving_table,
    drop_for_good,
    drop_tables,
    ids_of,
    import_all,
    publish,
    queue,
    tiny_dataset,
    write_shard,
)

from search.clickhouse import client, schema, writer
from search.errors import NotFound, SearchUnavailable, ShardUnreadable
from search.ingestion import control, publishing, shard_run, sweeper, tasks
from search.ingestion.sources import laion
from search.ingestion.sources.laion import LaionShard
from search.ingestion.sources.protocol import Rejected
from search.jobs import broker, leases
from search.jobs.leases import Lease
from search.models import Dataset, Removal, Shard
from search.removals import takedowns

pytestmark = pytest.mark.django_db
State = Shard.State
AWAY = SearchUnavailable("The engine is away.")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A dataset with one shard of forty rows, in batches of sixteen."""
    monkeypatch.setattr(laion, "BATCH_ROWS", 16)
    write_shard(tmp_path, 0)
    dataset = tiny_dataset(tmp_path)
    yield dataset
    drop_tables(dataset)


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    """The keys of the shards that messages were sent for."""
    keys: list[int] = []
    monkeypatch.setattr(tasks.ingest_shard, "delay", keys.append)
    monkeypatch.setattr(tasks.publish, "delay", lambda *partition: None)
    monkeypatch.setattr(tasks, "enqueue_due_profile", lambda dataset: 0)
    monkeypatch.setattr(broker, "queue_is_empty", lambda task: True)
    return keys


@pytest.fixture
def at_batch(monkeypatch):
    """Return a function that schedules an action before a batch, by its first row."""

    def before(start: int, act) -> None:
        insert = writer.insert

        def inserting(table, batch, token):
            if token.endswith(f":{start}"):
                monkeypatch.setattr(writer, "insert", insert)
                act()
            insert(table, batch, token)

        monkeypatch.setattr(writer, "insert", inserting)

    return before


def failing(error: Exception):
    def fail(*_, **__):
        raise error

    return fail


def test_bringing_a_shard_in_again_doubles_nothing(tiny):
    import_all(tiny)
    (shard,) = import_all(tiny)
    assert (shard.attempts, shard.failures) == (2, 0)
    assert ids_of(tiny) == list(range(40))


def test_a_changed_shard_replaces_its_rows(tiny, tmp_path):
    import_all(tiny)
    write_shard(tmp_path, 0, rows=24)
    (shard,) = import_all(tiny)
    assert (shard.state, shard.rows, shard.rows_visible) == (State.INGESTED, 24, 24)
    assert ids_of(tiny) == list(range(24))


def test_the_same_batch_sent_twice_arrives_once(tiny, monkeypatch):
    """As when the response to an insert is lost."""
    insert = writer.insert

    def twice(*arguments):
        insert(*arguments)
        insert(*arguments)

    monkeypatch.setattr(writer, "insert", twice)
    (shard,) = import_all(tiny)
    assert shard.state == State.INGESTED
    assert ids_of(tiny) == list(range(40))


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_run_that_broke_off_is_gone_on_with(tiny, monkeypatch, place):
    """Between two batches, or between a batch and its entry in the ledger."""
    insert, tokens = writer.insert, []

    def breaking(table, batch, token):
        if len(tokens) == 1 and place == "before":
            raise AWAY
        insert(table, batch, token)
        tokens.append(token)
        if len(tokens) == 2:
            raise AWAY

    monkeypatch.setattr(writer, "insert", breaking)
    (key,) = queue(tiny)
    with pytest.raises(SearchUnavailable):
        shard_run.ingest(key)
    shard = tiny.shards.get()
    assert (shard.state, shard.error) == (State.QUEUED, "The engine is away.")
    assert shard.rows_done == 16
    again = []
    monkeypatch.setattr(
        writer, "insert", lambda *given: (again.append(given[2]), insert(*given))
    )
    assert shard_run.ingest(key)
    rest = [":16", ":32"] if place == "before" else [":32"]
    assert [token[-3:] for token in again] == rest
    assert ids_of(tiny, arriving_table(shard)) == list(range(40))
    assert (shard.state, shard.rows_kept) == (State.ARRIVED, 40)
    assert (shard.failures, shard.error) == (0, "")


def test_half_a_batch_that_is_there_is_completed(tiny, at_batch):
    """As when the engine splits a batch of long captions and dies in between."""

    def half() -> None:
        name = arriving_table(shard).name
        columns = ", ".join(arriving_table(shard).inserted_columns)
        client.command(
            f"INSERT INTO {name} ({columns}) "
            f"SELECT * REPLACE (id + 16 AS id) FROM (SELECT {columns} FROM {name}) "
            "WHERE id < 24",
            insert_deduplication_token="cut",
        )
        raise AWAY

    (key,) = queue(tiny)
    shard = tiny.shards.get()
    at_batch(16, half)
    for _ in range(3):
        with suppress(SearchUnavailable):
            shard_run.ingest(key)
    assert arriving_table(shard)
    assert shard.state == State.ARRIVED
    assert ids_of(tiny, arriving_table(shard)) == list(range(40))


def test_a_shard_on_its_way_is_not_claimed_twice(tiny):
    (key,) = queue(tiny)
    later = timezone.now() + timedelta(minutes=1)
    tiny.shards.update(state=State.INGESTING, lease_until=later)
    assert control.queue(tiny, tiny.shards.all(), "again") == 0
    assert not shard_run.ingest(key)
    tiny.shards.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert shard_run.ingest(key)
    assert not shard_run.ingest(key)  # by a message that came twice


def test_of_two_that_claim_at_once_one_gets_it(tiny, monkeypatch):
    """Both read the row before one of them writes."""
    queue(tiny)
    due = Shard.objects.filter(dataset=tiny)
    first = type(due).first

    def overtaken(rows):
        found = first(rows)
        monkeypatch.setattr(type(due), "first", first)
        assert Lease.acquire(due, state=State.INGESTING)
        due.update(lease_until=timezone.now() - timedelta(seconds=1))
        return found

    monkeypatch.setattr(type(due), "first", overtaken)
    assert Lease.acquire(due, state=State.INGESTING) is None
    assert tiny.shards.get().attempts == 1


@pytest.mark.parametrize("state", [State.PAUSED, State.PENDING])
def test_a_run_that_lost_its_claim_changes_nothing(tiny, at_batch, state):
    (key,) = queue(tiny)
    at_batch(16, lambda: tiny.shards.update(state=state))
    assert not shard_run.ingest(key)
    shard = tiny.shards.get()
    assert (shard.state, shard.rows_done) == (state, 16)


@pytest.mark.parametrize("start", [0, 16, 32])
def test_a_run_thought_dead_that_comes_back_doubles_nothing(tiny, at_batch, start):
    """It stalls halfway, another run finishes the shard, and it continues."""
    (key,) = queue(tiny)

    def overtaken() -> None:
        tiny.shards.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert shard_run.ingest(key)
        assert publish(tiny) == [0]

    at_batch(start, overtaken)
    with suppress(SearchUnavailable):  # the table that it sends to is gone
        assert not shard_run.ingest(key)
    assert tiny.shards.get().state == State.INGESTED
    assert ids_of(tiny) == list(range(40))


def test_one_thought_dead_cannot_spoil_what_another_has_gathered(
    tiny, monkeypatch, at_batch
):
    """It returns when it is about to drop the rows that have arrived."""
    (key,) = queue(tiny)
    start_over = shard_run.ShardRun._start_over

    def overtaken(self, fingerprint):
        if fingerprint == "":
            tiny.shards.update(lease_until=timezone.now() - timedelta(seconds=1))
            assert shard_run.ingest(key)
        start_over(self, fingerprint)

    monkeypatch.setattr(shard_run.ShardRun, "_start_over", overtaken)
    at_batch(16, failing(ShardUnreadable("Its disk is broken.")))
    assert not shard_run.ingest(key)
    shard = tiny.shards.get()
    assert shard.state == State.ARRIVED
    assert ids_of(tiny, arriving_table(shard)) == list(range(40))


def test_the_lease_is_renewed_while_a_step_goes_on(tiny, monkeypatch):
    renewed = []
    monkeypatch.setattr(leases, "LEASE", timedelta(seconds=0.03))
    monkeypatch.setattr(Lease, "renew", lambda self, **_: renewed.append(self))
    queue(tiny)
    lease = Lease.acquire(tiny.shards.all())

    def wait_for_renewals() -> None:
        while len(renewed) < 3:
            pass

    assert lease.run(wait_for_renewals, "A slow step")
    assert renewed[:3] == [lease] * 3


def test_a_broken_file_after_a_broken_off_run_leaves_no_row(tiny, tmp_path, at_batch):
    (key,) = queue(tiny)
    at_batch(16, failing(AWAY))
    with pytest.raises(SearchUnavailable):
        shard_run.ingest(key)
    assert len(ids_of(tiny, arriving_table(tiny.shards.get()))) == 16
    whole = (tmp_path / "img_emb_0.npy").read_bytes()
    (tmp_path / "img_emb_0.npy").write_bytes(b"broken")
    assert shard_run.ingest(key)
    assert tiny.shards.get().state == State.FAILED
    assert writer.side_tables(tiny.item_table) == []
    (tmp_path / "img_emb_0.npy").write_bytes(whole)
    import_all(tiny)
    assert ids_of(tiny) == list(range(40))


def test_rows_that_got_lost_on_the_way_are_brought_in_again(tiny, monkeypatch):
    count, counted = writer.count, []

    def losing(table) -> tuple[int, int]:
        counted.append(table)
        rows, ids = count(table)
        return (rows, ids - 1) if len(counted) == 1 else (rows, ids)

    monkeypatch.setattr(writer, "count", losing)
    (key,) = queue(tiny)
    with pytest.raises(SearchUnavailable, match="40 rows arrived, of 39 items"):
        shard_run.ingest(key)
    shard = tiny.shards.get()
    assert (shard.rows_done, shard.epoch) == (0, 2)
    assert shard_run.ingest(key)
    assert ids_of(tiny, arriving_table(shard)) == list(range(40))


def test_a_shard_that_always_breaks_off_fails_and_can_be_retried(tiny, monkeypatch):
    insert = writer.insert
    monkeypatch.setattr(writer, "insert", failing(AWAY))
    (key,) = queue(tiny)
    for _ in range(leases.MAX_FAILURES):
        with pytest.raises(SearchUnavailable):
            shard_run.ingest(key)
        assert tiny.shards.get().state == State.QUEUED
    assert shard_run.ingest(key)
    shard = tiny.shards.get()
    assert shard.state == State.FAILED
    assert shard.error.endswith("without getting on. The engine is away.")
    monkeypatch.setattr(writer, "insert", insert)
    assert control.queue(tiny, tiny.shards.all(), "retry") == 1
    assert shard_run.ingest(key)
    assert tiny.shards.get().state == State.ARRIVED


def test_a_shard_that_kills_its_workers_is_not_tried_for_ever(tiny, sent):
    (key,) = queue(tiny)
    for _ in range(leases.MAX_FAILURES):
        assert Lease.acquire(tiny.shards.all(), state=State.INGESTING)
        tiny.shards.update(lease_until=timezone.now() - timedelta(seconds=1))
        sweeper.recover()
    assert shard_run.ingest(key)
    shard = tiny.shards.get()
    assert shard.state == State.FAILED
    assert "as when memory runs out" in shard.error


def test_a_shard_that_gets_on_may_break_off_often(tiny, tmp_path, monkeypatch):
    write_shard(tmp_path, 0, rows=16 * 9)
    insert = writer.insert
    (key,) = queue(tiny)
    for _ in range(8):
        calls = []

        def breaking(*arguments, calls=calls):
            calls.append(arguments)
            if len(calls) > 1:
                raise AWAY
            insert(*arguments)

        monkeypatch.setattr(writer, "insert", breaking)
        with pytest.raises(SearchUnavailable):
            shard_run.ingest(key)
    monkeypatch.setattr(writer, "insert", insert)
    assert shard_run.ingest(key)
    assert tiny.shards.get().state == State.ARRIVED


def test_an_engine_that_is_away_is_no_failure_of_the_shard(tiny, monkeypatch):
    (key,) = queue(tiny)
    monkeypatch.setattr(client, "ping", failing(AWAY))
    for _ in range(2 * leases.MAX_FAILURES):
        with pytest.raises(SearchUnavailable):
            shard_run.ingest(key)
    shard = tiny.shards.get()
    assert (shard.state, shard.attempts) == (State.QUEUED, 0)
    assert shard.error == "The engine is away."


def test_a_database_that_goes_away_is_no_failure_of_the_shard(tiny, at_batch, sent):
    (key,) = queue(tiny)
    at_batch(16, failing(InterfaceError("connection already closed")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "close", lambda: None)  # with all that the test made
        with pytest.raises(SearchUnavailable, match="database"):
            shard_run.ingest(key)
    assert tiny.shards.get().state == State.INGESTING  # until the lease has run out
    tiny.shards.update(lease_until=timezone.now() - timedelta(seconds=1))
    sent.clear()
    sweeper.recover()
    assert sent == [key]
    assert shard_run.ingest(key)
    assert ids_of(tiny, arriving_table(tiny.shards.get())) == list(range(40))


def test_a_failure_of_our_own_is_shown_and_raised(tiny, at_batch):
    (key,) = queue(tiny)
    at_batch(16, failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        shard_run.ingest(key)
    shard = tiny.shards.get()
    assert (shard.state, shard.rows_done) == (State.FAILED, 0)
    assert shard.error == "The import broke off; see the log."


def test_what_is_removed_while_a_shard_rests_is_not_seen(tiny, at_batch):
    """Its rows were published before the list had them."""
    (key,) = queue(tiny)
    at_batch(16, lambda: control.pause(tiny.shards.all()))
    assert not shard_run.ingest(key)
    takedowns.add(Removal.Kind.ITEM, ["3", "35"], tiny)
    assert control.queue(tiny, tiny.shards.all(), "resume") == 1
    assert shard_run.ingest(key)
    publish(tiny)
    assert ids_of(tiny) == [i for i in range(40) if i not in (3, 35)]
    assert tiny.shards.get().rows_kept == 39  # the third came in, and is hidden


@pytest.mark.parametrize("lost", ["row", "batch", "end"])
def test_a_source_that_loses_rows_fails_with_their_number(tiny, monkeypatch, lost):
    whole = LaionShard.batches

    def losing(self, start):
        batches = list(whole(self, start))
        if lost == "row":
            first = batches[0]
            kept = {"rows": first.rows[1:], "table": first.table[1:]}
            batches[0] = replace(first, **kept)
        else:
            del batches[1 if lost == "batch" else -1]
        yield from batches

    monkeypatch.setattr(LaionShard, "batches", losing)
    (shard,) = import_all(tiny)
    assert shard.state == State.FAILED
    assert {
        "row": "Row 0 was to be read, but the rows 0 to 15 were: 15 items, 0 left out.",
        "batch": "Row 16 was to be read, but the rows 32 to 39 were: 8 items",
        "end": "40 rows, of which 32 were read: 32 items, 0 left out.",
    }[lost] in shard.error


def test_rows_that_a_second_attempt_refuses_are_counted_once(tiny, monkeypatch):
    """As with images that a host has, and then has not, while a run breaks off."""
    whole, insert, refused = LaionShard.batches, writer.insert, iter([{1, 2}, {2, 3}])

    def refusing(self, start):
        rows = next(refused)
        for batch in whole(self, start):
            keep = np.array([row not in rows for row in batch.rows])
            lost = tuple(Rejected(int(row), "", "x") for row in batch.rows[~keep])
            yield replace(
                batch,
                rows=batch.rows[keep],
                image=batch.image[keep],
                text=batch.text[keep],
                table=batch.table.filter(pa.array(keep)),
                rejected=lost,
            )

    def breaking(*arguments):
        insert(*arguments)
        raise AWAY

    monkeypatch.setattr(LaionShard, "batches", refusing)
    (key,) = queue(tiny)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "insert", breaking)
        with pytest.raises(SearchUnavailable):
            shard_run.ingest(key)
    assert shard_run.ingest(key)
    shard = tiny.shards.get()
    arrived = ids_of(tiny, arriving_table(shard))
    rejected = list(shard.rejects.values_list("row", flat=True))
    assert sorted([*arrived, *rejected]) == list(range(40))
    assert (shard.rows_kept, shard.rows_rejected) == (len(arrived), len(rejected))


def test_pausing_stops_a_run_and_resuming_goes_on(tiny, at_batch):
    (key,) = queue(tiny)
    at_batch(16, lambda: control.pause(tiny.shards.all()))
    assert not shard_run.ingest(key)
    shard = tiny.shards.get()
    assert (shard.state, shard.rows_done) == (State.PAUSED, 16)
    assert not shard_run.ingest(key)  # by a message that was on its way
    sweeper.recover()
    assert tiny.shards.get().state == State.PAUSED
    control.queue(tiny, tiny.shards.all(), "resume")
    inserted = []
    at_batch(0, lambda: inserted.append(0))
    assert shard_run.ingest(key)
    assert not inserted
    assert ids_of(tiny, arriving_table(shard)) == list(range(40))


@pytest.mark.parametrize("before", [State.PENDING, State.INGESTED])
def test_cancelling_a_run_leaves_what_was_before(tiny, tmp_path, at_batch, before):
    if before == State.INGESTED:
        import_all(tiny)
    there = ids_of(tiny) if before == State.INGESTED else []
    (key,) = queue(tiny)
    at_batch(16, lambda: control.cancel(tiny.shards.all()))
    assert not shard_run.ingest(key)
    shard = tiny.shards.get()
    assert (shard.state, shard.rows_done) == (before, 0)
    sweeper.drop_orphan_tables()
    assert writer.side_tables(tiny.item_table) == []
    assert publishing.due_partitions(tiny) == []
    if there:
        assert ids_of(tiny) == there
    import_all(tiny)
    assert ids_of(tiny) == list(range(40))


def test_a_dataset_dropped_while_it_is_brought_in_is_gone(tiny, at_batch):
    (key,) = queue(tiny)
    table = tiny.item_table
    at_batch(16, lambda: drop_for_good(Dataset.objects.get(slug="tiny")))
    assert not shard_run.ingest(key)
    assert not Dataset.objects.filter(slug="tiny").exists()
    schema.create(table.arriving(0, 1))  # by a run that noticed late
    sweeper.drop_orphan_tables()
    assert writer.side_tables(table) == []
    with pytest.raises(NotFound):
        writer.count(table)
    assert not shard_run.ingest(key)


def test_what_a_dead_worker_left_is_queued_again(tiny, tmp_path, sent):
    for number in (1, 2, 3):
        write_shard(tmp_path, number)
    keys = queue(tiny)
    now = timezone.now()
    leases = [now - timedelta(seconds=1), now + timedelta(minutes=5)]
    for key, lease in zip(keys[:2], leases, strict=True):
        Shard.objects.filter(pk=key).update(state=State.INGESTING, lease_until=lease)
    control.pause(tiny.shards.filter(pk=keys[2]))
    sent.clear()
    assert sweeper.recover() == 2
    assert sent == [keys[0], keys[3]]
    sweeper.recover_alone()  # the one that seems to be at work is dead, too
    assert sent[2:] == [keys[0], keys[1], keys[3]]
    states = list(tiny.shards.values_list("state", flat=True))
    assert states == [State.QUEUED, State.QUEUED, State.PAUSED, State.QUEUED]


def test_messages_that_still_wait_are_not_sent_again(tiny, tmp_path, sent, monkeypatch):
    """Else a long queue would grow with each round of the sweeper."""
    write_shard(tmp_path, 1)
    first, second = queue(tiny)
    past = timezone.now() - timedelta(seconds=1)
    Shard.objects.filter(pk=first).update(state=State.INGESTING, lease_until=past)
    sent.clear()
    monkeypatch.setattr(broker, "queue_is_empty", lambda task: False)
    assert sweeper.recover() == 1
    assert sent == [first]


def test_whether_messages_wait_is_asked_of_the_broker(monkeypatch):
    monkeypatch.undo()
    for queue_of in (tasks.ingest_shard, tasks.publish):
        purge_queue(queue_of)
        assert broker.queue_is_empty(queue_of)
    tasks.enqueue_shards([10**9])
    assert not broker.queue_is_empty(tasks.ingest_shard)
    assert broker.queue_is_empty(
        tasks.publish
    )  # its messages do not wait behind all shards
    purge_queue(tasks.ingest_shard)
    with monkeypatch.context() as patch:
        patch.setattr(
            Channel, "queue_declare", failing(OperationalError("connection refused"))
        )
        assert not broker.queue_is_empty(tasks.ingest_shard)


def purge_queue(task) -> None:
    with task.app.connection_for_write() as broker, broker.channel() as channel:
        task.app.amqp.queues[task.queue].bind(channel).purge()


def test_without_a_broker_shards_stay_queued(tiny, sent, monkeypatch):
    monkeypatch.setattr(
        tasks.ingest_shard, "delay", failing(OperationalError("connection refused"))
    )
    (key,) = queue(tiny)
    assert tiny.shards.get().state == State.QUEUED
    monkeypatch.setattr(tasks.ingest_shard, "delay", sent.append)
    assert sweeper.recover() == 1
    assert sent == [key]


def test_a_task_delivered_twice_at_once_brings_a_shard_in_once(tiny):
    (key,) = queue(tiny)
    tasks.ingest_shard(key)
    tasks.ingest_shard(key)
    shard = tiny.shards.get()
    assert (shard.state, shard.attempts) == (State.ARRIVED, 1)
    for _ in range(2):
        tasks.publish(tiny.pk, 0)
    assert tiny.partitions.get().attempts == 1
    assert ids_of(tiny) == list(range(40))


def test_tasks_of_what_is_gone_do_nothing():
    tasks.ingest_shard(10**9)
    tasks.publish(10**9, 0)
