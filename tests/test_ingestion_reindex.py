"""Tables of earlier versions, without words: searched as before, until reindexed."""

from contextlib import suppress
from io import StringIO

import pytest
from django.core.management import call_command
from support.searching import find
from support.tiny_shards import (
    DIMENSION,
    arriving_table,
    drop_tables,
    import_all,
    metadata,
    publish,
    queue,
    rows_of,
    tiny_dataset,
    write_shard,
)

from search.clickhouse import client, queries, schema, words_column, writer
from search.clickhouse.schema import SHARD_BITS
from search.errors import SearchUnavailable
from search.ingestion import control, shard_run, sweeper, tasks
from search.jobs import broker, leases
from search.management import worker
from search.management.console import Error
from search.models import Dataset
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.query.words import indexed_words
from search.removals import takedowns

pytestmark = pytest.mark.django_db
ROWS = 40
CAPTIONS = ["“Zebrafish” in a tank", "a 红色的猫", "a plain zebrafish", "…"]


@pytest.fixture(autouse=True)
def no_messages(monkeypatch):
    monkeypatch.setattr(tasks.ingest_shard, "delay", lambda key: None)
    monkeypatch.setattr(tasks.publish, "delay", lambda dataset, number: None)
    monkeypatch.setattr(broker, "queue_is_empty", lambda task: True)
    monkeypatch.setattr(words_column, "ROWS_AT_ONCE", 16)
    monkeypatch.setattr(words_column, "READ_AT_ONCE", 8)


@pytest.fixture
def old(tmp_path) -> Dataset:
    """A dataset of two partitions and three shards, as an earlier version left it."""
    captions = [CAPTIONS[row % len(CAPTIONS)] for row in range(ROWS)]
    for number in (0, 1, 4):
        known = metadata(ROWS) | {"caption": captions, "NSFW": [None] * ROWS}
        write_shard(tmp_path, number, ROWS, metadata=known)
    dataset = tiny_dataset(tmp_path, index="graph")
    import_all(dataset)
    make_old(dataset, dataset.item_table)
    yield dataset
    drop_tables(dataset)


def make_old(dataset: Dataset, table: schema.ItemTable) -> None:
    for change in (
        "DROP INDEX words_index",
        "DROP COLUMN words",
        "MODIFY COLUMN site String MATERIALIZED domainWithoutWWW(lower(url))",
        "ADD INDEX IF NOT EXISTS caption_words caption "
        "TYPE text(tokenizer = splitByNonAlpha, preprocessor = lowerUTF8(caption))",
        "MATERIALIZE INDEX caption_words",
    ):
        client.command(f"ALTER TABLE {table.name} {change}", mutations_sync=1)
    dataset.words_indexed = False
    dataset.save()


def count(words: str) -> int:
    filters = Filters(caption=words, dedupe=False, nsfw="any")
    term = Term(embedding=(1.0,) * DIMENSION)
    matching = find(SearchQuery("tiny", (term,), filters=filters)).matching
    assert matching is not None and not matching.estimated
    return matching.items


def assert_reindexed(dataset: Dataset, shards: int = 3) -> None:
    dataset.refresh_from_db()
    assert dataset.words_indexed
    rows = rows_of(dataset)
    assert len(rows) == shards * ROWS
    assert all(row["words"] == indexed_words(row["caption"]) for row in rows)
    quarter = shards * ROWS // 4
    assert (count("zebrafish"), count("红色"), count("a")) == (
        2 * quarter,
        quarter,
        3 * quarter,
    )
    assert queries.index_state(dataset.item_table)["parts_without_index"] == 0
    indexes = client.rows(
        "SELECT name, data_uncompressed_bytes > 0 AS filled "
        "FROM system.data_skipping_indices WHERE table = 'item_tiny'"
    )
    assert {row["name"] for row in indexes} == {
        *schema.INDEXES.values(),
        "words_index",
    }
    assert all(row["filled"] for row in indexes)
    sweeper.drop_orphan_tables()
    assert not writer.side_tables(dataset.item_table)


def test_an_old_table_is_searched_as_before_until_all_of_it_is_reindexed(old):
    # As of large parts, the graphs of which are not built again.
    table = old.item_table
    client.command(f"ALTER TABLE {table.name} MODIFY SETTING min_bytes_for_wide_part=0")
    client.command(f"OPTIMIZE TABLE {table.name} FINAL")
    for partition in (0, 1):
        writer.build_indexes(table, partition)
    before = writer.vectors_indexed()
    assert (count("zebrafish"), count("红色的猫")) == (30, 30)
    assert control.reindex(old, keep_graph=True) == 2
    assert publish(old) == [0, 1]
    assert writer.vectors_indexed() == before
    assert_reindexed(old)
    assert control.reindex(old, keep_graph=True) == 0


def test_reindexing_goes_on_where_it_broke_off(old, monkeypatch):
    fill, calls = words_column._fill_next, []

    def fail_at_the_fourth(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise SearchUnavailable("The engine is away.")
        return fill(*arguments)

    monkeypatch.setattr(words_column, "_fill_next", fail_at_the_fourth)
    control.reindex(old, keep_graph=True)
    with pytest.raises(SearchUnavailable):
        publish(old)
    old.refresh_from_db()
    assert (old.words_indexed, count("zebrafish")) == (False, 30)
    assert control.reindex(old, keep_graph=True) == 2
    assert publish(old) == [0, 1]
    assert_reindexed(old)


def test_what_is_published_meanwhile_has_its_words(old):
    """A shard that arrived before the update, into a table of the same age."""
    control.queue(old, old.shards.filter(number=1), "replace")
    shard = old.shards.get(number=1)
    shard_run.ingest(shard.pk)
    make_old(old, arriving_table(shard))
    assert publish(old) == [0]
    words = {row["id"] >> SHARD_BITS: row["words"] for row in rows_of(old)}
    assert words[0] and words[1] and not words[4]
    assert count("zebrafish") == 30  # as before
    control.reindex(old, keep_graph=True)
    publish(old)
    assert_reindexed(old)


def test_items_taken_down_meanwhile_stay_hidden(old, monkeypatch):
    build, item = words_column.build_index, 4 << SHARD_BITS

    def take_down_and_build(*arguments):
        monkeypatch.setattr(words_column, "build_index", build)
        takedowns.take_down(old, item, "asked to")
        build(*arguments)

    monkeypatch.setattr(words_column, "build_index", take_down_and_build)
    control.reindex(old, keep_graph=True)
    publish(old)
    hidden = client.rows("SELECT id FROM item_tiny WHERE deleted = 1")
    assert {row["id"] for row in hidden} == {item}


def test_a_table_without_another_column_is_refused_and_stays(old):
    client.command("ALTER TABLE item_tiny DROP COLUMN image_code")
    with pytest.raises(SearchUnavailable, match="lacks the columns image_code"):
        schema.create(old.item_table)
    assert len(rows_of(old)) == 3 * ROWS


def test_the_command_reindexes_and_shows_how_far_it_is(old, settings, monkeypatch):
    settings.CELERY_BROKER_URL = "redis://nowhere"
    monkeypatch.setattr("search.management.commands.dataset.POLL_S", 0)
    monkeypatch.setattr(worker, "start_worker", lambda: None)
    monkeypatch.setattr(tasks, "enqueue_due_partitions", publish)
    shown = StringIO()
    call_command("dataset", "show", "tiny", stdout=shown)
    assert "`dataset reindex tiny`" in shown.getvalue()
    call_command("dataset", "reindex", "tiny", "--keep-graph", stdout=shown)
    assert shown.getvalue().splitlines()[-1] == "Tiny is indexed."
    assert_reindexed(old)


def test_the_command_ends_where_a_partition_cannot_be_reindexed(
    old, settings, monkeypatch
):
    settings.CELERY_BROKER_URL = "redis://nowhere"
    monkeypatch.setattr(worker, "start_worker", lambda: None)

    def fail(*arguments):
        raise SearchUnavailable("The disk of the search engine is full.")

    def try_often(dataset):
        for _ in range(leases.MAX_FAILURES):
            with suppress(SearchUnavailable):
                publish(dataset)

    monkeypatch.setattr(words_column, "fill", fail)
    monkeypatch.setattr(tasks, "enqueue_due_partitions", try_often)
    with pytest.raises(Error, match="The disk of the search engine is full"):
        call_command("dataset", "reindex", "tiny", "--keep-graph", stdout=StringIO())
    old.refresh_from_db()
    assert not old.words_indexed


def test_an_empty_dataset_needs_no_reindexing(tmp_path):
    dataset = tiny_dataset(tmp_path, words_indexed=False)
    assert control.reindex(dataset) == 0
    dataset.refresh_from_db()
    assert dataset.words_indexed
    drop_tables(dataset)
    assert queue(dataset) == []
