"""Publishing shards that have arrived: one partition at a time, completely."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from django.utils import timezone
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

from search.clickhouse import client, clustered, queries, schema, writer
from search.clickhouse.schema import SHARD_BITS
from search.errors import NotFound, SearchUnavailable
from search.ingestion import control, publishing, shard_run, sweeper, tasks
from search.ingestion.sources import laion
from search.jobs import broker, leases
from search.jobs.leases import Lease
from search.models import SYSTEM, Partition, Removal, Shard
from search.removals import takedowns
from search.retrieval import service

pytestmark = pytest.mark.django_db
State = Shard.State
CLUSTERED_STEPS = ["start", "fill", "merge"]
STEPS = ["assemble", "count_by_shard", "build_indexes", *CLUSTERED_STEPS, "publish"]


def sample_of_steps(*quick: str) -> list:
    """Return all STEPS, those that are not quick for make soak."""
    soak = pytest.mark.soak
    return [s if s in quick else pytest.param(s, marks=soak) for s in STEPS]


AWAY = SearchUnavailable("The engine is away.")


@pytest.fixture(params=["clusters", pytest.param("graph", marks=pytest.mark.soak)])
def tiny(request, tmp_path):
    """A dataset of two partitions: the shards 0 and 1 of forty rows, and shard 4."""
    for number in (0, 1, 4):
        write_shard(tmp_path, number)
    dataset = tiny_dataset(tmp_path, index=request.param)
    yield dataset
    table = dataset.item_table
    with suppress(NotFound):
        for clustered_table in writer.existing_clustered(table):
            assert ids_of(dataset, clustered_table) == ids_of(dataset)
    drop_tables(dataset)


@pytest.fixture
def by_graph(tmp_path):
    """The same dataset, searched by graphs."""
    for number in (0, 1, 4):
        write_shard(tmp_path, number)
    dataset = tiny_dataset(tmp_path, index="graph")
    yield dataset
    drop_tables(dataset)


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    """The partitions that messages were sent for."""
    numbers: list[int] = []
    monkeypatch.setattr(tasks.ingest_shard, "delay", lambda key: None)
    monkeypatch.setattr(
        tasks.publish, "delay", lambda _, number: numbers.append(number)
    )
    monkeypatch.setattr(tasks, "enqueue_due_profile", lambda dataset: 0)
    monkeypatch.setattr(broker, "queue_is_empty", lambda task: True)
    return numbers


@pytest.fixture
def at_step(monkeypatch):
    """Return a function that schedules an action before one of the STEPS."""

    def before(step: str, act) -> None:
        module = clustered if step in CLUSTERED_STEPS else writer
        original = getattr(module, step)

        def doing(*arguments):
            monkeypatch.setattr(module, step, original)
            act()
            return original(*arguments)

        monkeypatch.setattr(module, step, doing)

    return before


def raising(error: Exception):
    def act() -> None:
        raise error

    return act


def shard(dataset, number: int) -> Shard:
    return dataset.shards.get(number=number)


def shards(dataset, *numbers: int):
    return dataset.shards.filter(number__in=numbers)


def states(dataset) -> list[str]:
    return list(dataset.shards.values_list("state", flat=True))


def ids(*numbers: int, rows: int = 40) -> list[int]:
    return [(number << SHARD_BITS) + row for number in numbers for row in range(rows)]


def visible_ids(dataset) -> list[int]:
    """Return the ids that searches find; none before there is a table."""
    try:
        return ids_of(dataset)
    except NotFound:
        return []


def abandon(dataset) -> None:
    """Let leases expire, as of workers that died."""
    dataset.partitions.update(lease_until=timezone.now() - timedelta(seconds=1))


def arrive(dataset, *numbers: int, action: str = "again") -> None:
    control.queue(dataset, shards(dataset, *numbers), action)
    for number in numbers:
        assert shard_run.ingest(shard(dataset, number).pk)


def test_a_shard_is_seen_once_its_partition_is_whole(tiny):
    first, second, other = queue(tiny)
    assert shard_run.ingest(first)
    assert states(tiny) == [State.ARRIVED, State.QUEUED, State.QUEUED]
    assert publishing.due_partitions(tiny) == []
    assert not publishing.publish(tiny, 0)
    assert visible_ids(tiny) == []
    assert shard_run.ingest(other)
    assert publish(tiny) == [1]  # shard 4 lies in the next partition
    assert visible_ids(tiny) == ids(4)
    assert shard_run.ingest(second)
    assert publish(tiny) == [0]
    assert visible_ids(tiny) == ids(0, 1, 4)
    assert states(tiny) == [State.INGESTED] * 3
    assert tiny.item_count() == 120
    assert writer.side_tables(tiny.item_table) == []


def test_each_partition_is_one_part_with_its_graphs(by_graph):
    import_all(by_graph)
    state = queries.index_state(by_graph.item_table)
    assert (state["parts"], state["parts_without_index"]) == (2, 0)
    # A merge later on must carry the graphs along, or they would be silently lost.
    made = client.rows(
        "SELECT create_table_query AS made FROM system.tables WHERE name = 'item_tiny'"
    )
    assert "exclude_materialize_skip_indexes_on_merge" not in made[0]["made"]


def test_no_graph_is_built_before_a_partition_is_put_together(
    by_graph, tmp_path, monkeypatch
):
    """Background merges would build many indexes in vain."""
    monkeypatch.setattr(laion, "BATCH_ROWS", 16)
    write_shard(tmp_path, 0, rows=400)
    first, *_ = queue(by_graph)
    before = writer.vectors_indexed()
    shard_run.ingest(first)
    name = arriving_table(shard(by_graph, 0)).name
    client.command(f"OPTIMIZE TABLE {name} FINAL")
    assert len(client.rows(f"SELECT DISTINCT _part FROM {name}")) == 1
    assert writer.vectors_indexed() == before


SOAK = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("numbers", "parts"),
    [((0, 31, 32, 63, 64, 409), 4), pytest.param(range(410), 13, marks=SOAK)],
)
def test_each_32_shards_make_a_part(tmp_path, numbers, parts):
    """LAION-400M has 410 shards; without --soak only those at the edges of parts."""
    for number in numbers:
        write_shard(tmp_path, number, rows=4)
    dataset = tiny_dataset(
        tmp_path, slug="many", shards_per_partition=32, index="graph"
    )
    try:
        import_all(dataset)
        state = queries.index_state(dataset.item_table)
        assert (state["parts"], state["parts_without_index"]) == (parts, 0)
        assert ids_of(dataset) == ids(*numbers, rows=4)
        control.drop(dataset, shards(dataset, 63))
        assert publish(dataset) == [1]
        rest = [number for number in numbers if number != 63]
        assert ids_of(dataset) == ids(*rest, rows=4)
    finally:
        drop_tables(dataset)


def test_old_rows_are_seen_until_the_new_ones_are(tiny, tmp_path, at_step):
    import_all(tiny)
    write_shard(tmp_path, 1, rows=24)
    during = []
    control.queue(tiny, shards(tiny, 1), "replace")
    assert ids_of(tiny) == ids(0, 1, 4)
    assert shard_run.ingest(shard(tiny, 1).pk)
    assert ids_of(tiny) == ids(0, 1, 4)
    at_step("publish", lambda: during.extend(ids_of(tiny)))
    assert publish(tiny) == [0]
    assert during == ids(0, 1, 4)
    assert ids_of(tiny) == ids(0) + ids(1, rows=24) + ids(4)
    assert tiny.item_count() == 104


def test_a_replacement_that_is_broken_leaves_the_old_rows(tiny, tmp_path):
    import_all(tiny)
    (tmp_path / "img_emb_1.npy").write_bytes(b"broken")
    arrive(tiny, 1, action="replace")
    assert states(tiny) == [State.INGESTED, State.FAILED, State.INGESTED]
    assert publish(tiny) == []
    assert ids_of(tiny) == ids(0, 1, 4)
    assert tiny.item_count() == 120


def test_a_dropped_shard_is_hidden_at_once_and_then_gone(tiny, sent):
    import_all(tiny)
    assert control.drop(tiny, shards(tiny, 1)) == 1
    assert sent == [0]
    assert ids_of(tiny) == ids(0, 4)
    assert shard(tiny, 1).state == State.REMOVING
    assert publish(tiny) == [0]
    assert writer.count(tiny.item_table) == (80, 80)
    dropped_shard = shard(tiny, 1)
    assert (dropped_shard.state, dropped_shard.rows, dropped_shard.rows_visible) == (
        State.PENDING,
        None,
        0,
    )
    assert control.drop(tiny, shards(tiny, 1)) == 0
    arrive(tiny, 1)
    publish(tiny)
    assert ids_of(tiny) == ids(0, 1, 4)


def test_the_last_shard_of_a_partition_can_be_dropped(tiny):
    import_all(tiny)
    control.drop(tiny, shards(tiny, 4))
    assert publish(tiny) == [1]
    assert writer.count_by_shard(tiny.item_table) == {0: (40, 40), 1: (40, 40)}
    assert queries.index_state(tiny.item_table)["parts"] == 1


def test_a_shard_of_which_nothing_is_let_in_is_published_empty(tiny):
    removed = map(str, ids(4))
    takedowns.add(Removal.Kind.ITEM, removed, tiny)
    import_all(tiny)
    assert ids_of(tiny) == ids(0, 1)
    assert shard(tiny, 4).state == State.INGESTED
    assert shard(tiny, 4).rejects.count() == 40


@pytest.mark.parametrize(
    "step", sample_of_steps("count_by_shard", "start", "merge", "publish")
)
def test_a_publication_that_broke_off_begins_anew(tiny, at_step, step):
    if tiny.index == "graph" and step in CLUSTERED_STEPS:
        pytest.skip("A graph has no such step.")
    for key in queue(tiny):
        shard_run.ingest(key)
    publish_first = [
        number for number in publishing.due_partitions(tiny) if number == 1
    ]
    assert publishing.publish(tiny, *publish_first)
    at_step(step, raising(AWAY))
    with pytest.raises(SearchUnavailable):
        publishing.publish(tiny, 0)
    assert ids_of(tiny) == ids(4)
    assert tiny.partitions.get(number=0).error == "The engine is away."
    assert publish(tiny) == [0]
    assert ids_of(tiny) == ids(0, 1, 4)
    partition = tiny.partitions.get(number=0)
    assert (partition.error, partition.failures) == ("", 0)
    assert writer.side_tables(tiny.item_table) == []


@pytest.mark.parametrize("place", ["before the ledger", "after the ledger"])
def test_a_worker_that_dies_once_all_is_seen_does_no_harm(tiny, monkeypatch, place):
    """The partition is replaced already, and the ledger may not know it."""
    for key in queue(tiny):
        shard_run.ingest(key)
    owner, name = (
        (publishing.Publication, "_mark_published")
        if place == "before the ledger"
        else (schema, "drop")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, lambda *_: raising(KeyboardInterrupt())())
        with pytest.raises(KeyboardInterrupt):
            publishing.publish(tiny, 0)
    assert ids_of(tiny) == ids(0, 1)
    abandon(tiny)
    assert publish(tiny) == ([0, 1] if place == "before the ledger" else [1])
    assert ids_of(tiny) == ids(0, 1, 4)
    assert tiny.item_count() == 120
    sweeper.drop_orphan_tables()
    assert writer.side_tables(tiny.item_table) == []


@pytest.mark.parametrize(
    "step", sample_of_steps("assemble", "build_indexes", "fill", "publish")
)
def test_one_thought_dead_that_comes_back_publishes_nothing_old(tiny, at_step, step):
    """It stalls; meanwhile another one publishes, and then later imports."""
    if tiny.index == "graph" and step in CLUSTERED_STEPS:
        pytest.skip("A graph has no such step.")
    for key in queue(tiny)[:1]:
        shard_run.ingest(key)
    control.pause(shards(tiny, 1, 4))

    def overtaken() -> None:
        abandon(tiny)
        assert publishing.publish(tiny, 0)
        arrive(tiny, 1, action="resume")
        assert publishing.publish(tiny, 0)

    at_step(step, overtaken)
    with suppress(SearchUnavailable):  # its table is gone
        assert not publishing.publish(tiny, 0)
    assert ids_of(tiny) == ids(0, 1)
    assert states(tiny) == [State.INGESTED, State.INGESTED, State.PAUSED]
    sweeper.drop_orphan_tables()
    assert writer.side_tables(tiny.item_table) == []


def test_one_thought_dead_cannot_publish_what_another_is_making(tiny, at_step):
    """Its last statement comes late, when the other has no index yet."""
    for key in queue(tiny):
        shard_run.ingest(key)
    statement, during = [], []

    def dying(*arguments) -> None:
        statement.extend(arguments)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "publish", dying)
        with pytest.raises(KeyboardInterrupt):
            publishing.publish(tiny, 0)
    abandon(tiny)

    def late() -> None:
        with suppress(NotFound):
            writer.publish(*statement)
        during.append(ids_of(tiny))

    at_step("build_indexes", late)
    assert publishing.publish(tiny, 0)
    assert during == [[]]
    assert ids_of(tiny) == ids(0, 1)


def test_a_partition_is_published_by_one_at_a_time(tiny, at_step):
    for key in queue(tiny):
        shard_run.ingest(key)
    tried = []
    at_step("build_indexes", lambda: tried.append(publishing.publish(tiny, 0)))
    assert publishing.publish(tiny, 0)
    assert tried == [False]
    assert not publishing.publish(tiny, 0)


@pytest.mark.parametrize("step", ["assemble", "build_indexes"])
@pytest.mark.parametrize("before", ["nothing", "old rows"])
def test_what_is_cancelled_during_publication_is_not_seen(
    tiny, tmp_path, at_step, step, before
):
    there = []
    if before == "old rows":
        import_all(tiny)
        there = ids_of(tiny)
        write_shard(tmp_path, 1, rows=24)
    arrive(tiny, 1) if there else shard_run.ingest(queue(tiny)[1])
    if not there:
        control.pause(shards(tiny, 0, 4))
    at_step(step, lambda: control.cancel(shards(tiny, 1)))
    with suppress(SearchUnavailable):
        assert not publishing.publish(tiny, 0)
    assert visible_ids(tiny) == there
    assert shard(tiny, 1).state == (State.INGESTED if there else State.PENDING)
    assert publishing.due_partitions(tiny) == []
    sweeper.drop_orphan_tables()
    assert writer.side_tables(tiny.item_table) == []


def test_what_is_dropped_during_publication_does_not_come_back(tiny, at_step):
    import_all(tiny)
    arrive(tiny, 1, action="replace")
    at_step("build_indexes", lambda: control.drop(tiny, shards(tiny, 0)))
    assert not publishing.publish(tiny, 0)
    assert ids_of(tiny) == ids(1, 4)
    assert publish(tiny) == [0]
    assert ids_of(tiny) == ids(1, 4)
    assert states(tiny) == [State.PENDING, State.INGESTED, State.INGESTED]


def test_what_is_taken_down_during_publication_does_not_come_back(tiny, at_step):
    import_all(tiny)
    arrive(tiny, 1, action="replace")
    at_step("build_indexes", lambda: takedowns.take_down(tiny, 7, "asked for"))
    assert publish(tiny) == [0]
    assert ids_of(tiny) == [i for i in ids(0, 1, 4) if i != 7]


def test_what_is_hidden_while_its_partition_is_replaced_is_hidden(tiny):
    """Replacing a partition aborts the mutation, whose changes the new rows lack."""
    import_all(tiny)
    table = tiny.item_table
    rebuilt = table.rebuilt(0, "next")
    writer.assemble(table, 0, rebuilt, [], [])
    slowly = "sleepEachRow(0.005) = 0 AND id = 1"
    with ThreadPoolExecutor(1) as pool:
        hiding = pool.submit(writer.hide, table, slowly, {})
        while not mutations_running(table.name):
            time.sleep(0.01)
        client.command(
            f"ALTER TABLE {table.name} REPLACE PARTITION 0 FROM {rebuilt.name}"
        )
        hiding.result()
    assert ids_of(tiny) == [each for each in ids(0, 1, 4) if each != 1]


def mutations_running(name: str) -> bool:
    sql = "SELECT 1 FROM system.merges WHERE table = {name:String} AND is_mutation"
    return bool(client.rows(sql, {"name": name}))


def test_a_dataset_dropped_during_publication_is_gone(tiny, at_step):
    for key in queue(tiny):
        shard_run.ingest(key)
    table = tiny.item_table
    at_step("build_indexes", lambda: drop_for_good(tiny))
    doomed = type(tiny).objects.get(pk=tiny.pk)
    with suppress(SearchUnavailable):
        assert not publishing.publish(doomed, 0)
    sweeper.drop_orphan_tables()
    assert writer.side_tables(table) == []
    with pytest.raises(NotFound):
        writer.count(table)
    assert not Partition.objects.filter(dataset_id=doomed.pk).exists()


def test_rows_that_got_lost_before_publication_are_brought_in_again(tiny, sent):
    for key in queue(tiny):
        shard_run.ingest(key)
    schema.drop(arriving_table(shard(tiny, 0)))
    client.command(f"DELETE FROM {arriving_table(shard(tiny, 1)).name} WHERE id % 2")
    with pytest.raises(SearchUnavailable, match="shards 0, 1 are not as"):
        publishing.publish(tiny, 0)
    assert visible_ids(tiny) == []
    assert states(tiny) == [State.QUEUED, State.QUEUED, State.ARRIVED]
    for number in (0, 1):
        assert shard_run.ingest(shard(tiny, number).pk)
    assert publish(tiny) == [0, 1]
    assert ids_of(tiny) == ids(0, 1, 4)


def test_rows_that_got_lost_after_publication_are_brought_in_again(tiny):
    import_all(tiny)
    client.command(f"DELETE FROM item_tiny WHERE id = {1 << SHARD_BITS}")
    arrive(tiny, 0, action="replace")
    with pytest.raises(SearchUnavailable, match="shards 1 are not as"):
        publishing.publish(tiny, 0)
    assert shard(tiny, 1).rows_visible == tiny.item_count() - 80 == 39
    assert shard_run.ingest(shard(tiny, 1).pk)
    assert publish(tiny) == [0]
    assert ids_of(tiny) == ids(0, 1, 4)


def test_a_partition_that_always_breaks_off_fails_and_can_be_retried(tiny, at_step):
    for key in queue(tiny):
        shard_run.ingest(key)
    for _ in range(leases.MAX_FAILURES):
        at_step("build_indexes", raising(AWAY))
        with pytest.raises(SearchUnavailable):
            publishing.publish(tiny, 0)
    assert publishing.publish(tiny, 0)
    assert states(tiny) == [State.FAILED, State.FAILED, State.ARRIVED]
    assert shard(tiny, 0).error.endswith("5 attempts. The engine is away.")
    assert publishing.due_partitions(tiny) == [1]
    sweeper.drop_orphan_tables()
    arrive(tiny, 0, 1, action="retry")
    assert shard(tiny, 0).attempts == 2
    assert publish(tiny) == [0, 1]
    assert ids_of(tiny) == ids(0, 1, 4)
    assert shard(tiny, 0).error == ""


def test_a_partition_that_kills_its_workers_is_not_tried_for_ever(tiny):
    shard_run.ingest(queue(tiny)[2])
    Partition.objects.create(dataset=tiny, number=1)
    for _ in range(leases.MAX_FAILURES):
        assert Lease.acquire(tiny.partitions.all())
        abandon(tiny)
    assert publishing.publish(tiny, 1)
    assert shard(tiny, 4).state == State.FAILED
    assert "as when memory runs out" in shard(tiny, 4).error


def test_what_runs_and_publications_left_is_tidied_up(tiny, sent):
    keys = queue(tiny)
    table = tiny.item_table
    shard_run.ingest(keys[0])
    orphans = [
        table.arriving(0, 7),  # of an epoch that is over
        table.arriving(1, 0),
        table.rebuilt(0, 1),  # of a publication that is dead
        schema.ItemTable("dropped_long_ago", 8).arriving(0, 1),
    ]
    working = [table.rebuilt(1, 3)]
    for orphan in [*orphans, *working]:
        schema.create(orphan)
    later = timezone.now() + timedelta(minutes=1)
    Partition.objects.create(dataset=tiny, number=0, attempts=1)
    Partition.objects.create(dataset=tiny, number=1, attempts=3, lease_until=later)
    schema.drop(orphans[1])
    control.pause(shards(tiny, 1))
    sweeper.recover()
    left = {arriving_table(shard(tiny, 0)).name, working[0].name}
    assert set(writer.side_tables()) == left


def test_the_sweeper_has_published_what_nobody_did(tiny, sent):
    keys = queue(tiny)
    shard_run.ingest(keys[0])
    shard_run.ingest(keys[2])
    assert sweeper.recover() == 2  # the shard 1, and the partition 1
    assert sent == [1]
    control.pause(shards(tiny, 1))
    sent.clear()
    sweeper.recover()
    assert sent == [0, 1]


def test_a_search_during_publication_finds_the_old_rows(tiny, tmp_path, at_step):
    import_all(tiny)
    found = []
    arrive(tiny, 0, action="replace")
    at_step("publish", lambda: found.append(service.item("tiny", 5, SYSTEM).caption))
    publish(tiny)
    assert found == [service.item("tiny", 5, SYSTEM).caption]
