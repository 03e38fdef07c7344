"""Datasets that are searched by clusters: their tables, centroids, and moving."""

from collections import Counter
from io import StringIO

import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from support.tiny_shards import (
    DIMENSION,
    drop_tables,
    import_all,
    publish,
    queue,
    tiny_dataset,
    vectors,
    write_shard,
)

from search.clickhouse import centroids, client, clustered, schema, writer
from search.clickhouse.centroids import CLUSTER_BITS
from search.clickhouse.schema import (
    COMPUTED_COLUMNS,
    PAYLOAD_COLUMNS,
    SHARD_BITS,
    VECTOR_COLUMNS,
)
from search.errors import SearchUnavailable
from search.ingestion import clusters, control, publishing, shard_run, tasks
from search.ingestion.progress import index_work
from search.jobs import broker
from search.management import worker
from search.models import Dataset, Shard
from search.removals import takedowns

pytestmark = pytest.mark.django_db
State = Shard.State
AWAY = SearchUnavailable("The engine is away.")


@pytest.fixture(autouse=True)
def no_messages(monkeypatch):
    monkeypatch.setattr(tasks.ingest_shard, "delay", lambda key: None)
    monkeypatch.setattr(tasks.publish, "delay", lambda dataset, number: None)
    monkeypatch.setattr(broker, "queue_is_empty", lambda task: True)


@pytest.fixture
def small_clusters(monkeypatch):
    """Clusters of about ten rows, from forty rows on; outgrown at more than thirty."""
    monkeypatch.setattr(
        clusters, "clusters_for", lambda rows, sample: rows // 10 if rows >= 40 else 1
    )
    monkeypatch.setattr(clusters, "MIN_CLUSTERED_ROWS", 40)
    monkeypatch.setattr(clusters, "MAX_ROWS_PER_CLUSTER", 30)


@pytest.fixture
def tiny(tmp_path):
    """A dataset of two partitions: the shards 0 and 1 of forty rows, and shard 4."""
    for number in (0, 1, 4):
        write_shard(tmp_path, number, image=vectors(40, number), text=unlike(number))
    dataset = tiny_dataset(tmp_path, index="clusters")
    yield dataset
    drop_tables(Dataset(slug="tiny", dimension=DIMENSION))


def unlike(number: int, rows: int = 40) -> np.ndarray:
    """Vectors with a large mean, as of CLIP."""
    drawn = vectors(rows, number + 100).astype(np.float32) + 3
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def rows_of(table: schema.ItemTable, columns: str = "*") -> list[dict]:
    return client.rows(f"SELECT {columns} FROM {table.name} ORDER BY id")


def matrix(rows: list) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, DIMENSION)


def assert_clustered(dataset: Dataset, *fields: str) -> None:
    """Each clustered table has the rows of the main one, each in its nearest cluster.

    `fields` are those with a table.
    """
    dataset.refresh_from_db()
    table, version = dataset.item_table, dataset.training.version
    names = (*PAYLOAD_COLUMNS, *COMPUTED_COLUMNS)
    payload = ", ".join(names)
    computed = ", ".join(VECTOR_COLUMNS.values())
    whole = rows_of(table, f"{payload}, {computed}")
    assert [each.field for each in writer.existing_clustered(table)] == list(fields)
    for field in fields:
        (live,) = centroids.live_versions(table, field)
        rows = rows_of(table.clustered(field), f"{payload}, cluster, vector")
        true = matrix([row[VECTOR_COLUMNS[field]] for row in whole])
        kept = matrix([row.pop("vector") for row in rows])
        found = np.array([row.pop("cluster") for row in rows], int)
        assert repr(rows) == repr(
            [{name: row[name] for name in names} for row in whole]
        )
        if dataset.metric == "cosineDistance":
            true /= np.linalg.norm(true, axis=1, keepdims=True)
        assert np.allclose(kept + table.mean(field), true, atol=2e-3)
        assert set(found >> CLUSTER_BITS) <= {version}
        numbers = found - live.first_cluster
        assert numbers.tolist() == live.centroids.assign(true).tolist()
        counted = Counter(numbers.tolist())
        assert live.sizes.tolist() == [counted[n] for n in range(len(live.sizes))]
    assert writer.side_tables(table) == []


@pytest.mark.usefixtures("small_clusters")
def test_rows_lie_in_the_order_of_their_clusters(tiny):
    import_all(tiny)
    assert_clustered(tiny, "image", "text")
    assert len(centroids.load(tiny.item_table, "image")[1]) == 12
    parts = client.rows(
        "SELECT table, count() AS n FROM system.parts "
        "WHERE active AND table LIKE 'item_tiny%' GROUP BY table"
    )
    assert {row["table"]: row["n"] for row in parts} == {
        "item_tiny": 2,
        "item_tiny_IMAGE": 2,
        "item_tiny_TEXT": 2,
        "item_tiny_CENTROIDS": 2,
    }
    # Merging builds it, of each field's table.
    indexes = client.rows(
        "SELECT name, data_uncompressed_bytes > 0 AS filled "
        "FROM system.data_skipping_indices WHERE table LIKE 'item_tiny%'"
    )
    assert indexes == [{"name": "words_index", "filled": 1}] * 3


def test_vectors_are_relative_to_the_mean_of_the_first_rows(tiny):
    import_all(tiny)
    tiny.refresh_from_db()
    table = tiny.item_table
    for field, first in (("image", vectors(40, 0)), ("text", unlike(0))):
        unit = first.astype(np.float32)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        assert np.allclose(table.mean(field), unit.mean(axis=0), atol=1e-6)
    columns = f"text_embedding, {table.vector_columns['text']} AS stored"
    rows = rows_of(table, f"id, {columns}")
    true = np.concatenate([unlike(number) for number in (0, 1, 4)]).astype(np.float32)
    error = np.abs([row["text_embedding"] for row in rows] - true)
    # Half a unit in the last of the eight bits of what is left without the mean.
    stored = np.abs(true - table.mean("text"))
    assert np.all(error <= stored * 2**-8 + 1e-6)


def test_the_cosine_compares_vectors_of_any_length(tmp_path, tiny):
    for number in (0, 1, 4):
        lengths = np.random.default_rng(number).uniform(0.1, 9, (40, 1))
        long = (vectors(40, number) * lengths).astype(np.float32)
        write_shard(tmp_path, number, image=long, text=unlike(number))
    import_all(tiny)
    assert_clustered(tiny, "image", "text")
    rows = rows_of(tiny.item_table, "id, image_embedding")
    kept = np.linalg.norm([row["image_embedding"] for row in rows], axis=1)
    assert kept.min() < 0.5 and kept.max() > 7


@pytest.mark.usefixtures("small_clusters")
def test_distances_keep_the_lengths_of_vectors(tmp_path):
    write_shard(tmp_path, 0, image=vectors(40, 1) * 5, text=unlike(0) * 3)
    dataset = tiny_dataset(tmp_path, index="clusters", metric="L2Distance")
    try:
        import_all(dataset)
        assert_clustered(dataset, "image", "text")
    finally:
        drop_tables(dataset)


def test_captions_without_vectors_have_no_table(tmp_path, tiny):
    for number in (0, 1, 4):
        (tmp_path / f"text_emb_{number}.npy").unlink()
    import_all(tiny)
    assert_clustered(tiny, "image")
    # Captions of one shard, then of all of them.
    np.save(tmp_path / "text_emb_4.npy", unlike(4))
    replace(tiny, 4)
    tiny.refresh_from_db()
    assert tiny.search_fields == ("image",)
    assert len(rows_of(tiny.item_table.clustered("text"))) == 40
    for number in (0, 1):
        np.save(tmp_path / f"text_emb_{number}.npy", unlike(number))
    replace(tiny, 0, 1)
    publish(tiny)
    assert_clustered(tiny, "image", "text")


def replace(dataset: Dataset, *numbers: int) -> None:
    control.queue(dataset, dataset.shards.filter(number__in=numbers), "again")
    for number in numbers:
        assert shard_run.ingest(dataset.shards.get(number=number).pk)
    publish(dataset)


def test_only_new_rows_are_assigned(tmp_path, tiny, monkeypatch):
    insert, filled = clustered._insert, []

    def spy(rebuilt, fields, rows):
        shards = {each >> SHARD_BITS for each in rows["id"].to_pylist()}
        filled.append((list(fields), shards))
        insert(rebuilt, fields, rows)

    monkeypatch.setattr(clustered, "_insert", spy)
    keys = queue(tiny)
    control.pause(tiny.shards.filter(number=1))
    for key in (keys[0], keys[2]):
        shard_run.ingest(key)
    publish(tiny)
    filled.clear()
    control.queue(tiny, tiny.shards.filter(number=1), "resume")
    shard_run.ingest(keys[1])
    publish(tiny)
    assert filled == [(["image", "text"], {1})]
    assert_clustered(tiny, "image", "text")
    filled.clear()
    write_shard(tmp_path, 0, rows=24, image=vectors(24, 7), text=unlike(7, 24))
    replace(tiny, 0)
    assert filled == [(["image", "text"], {0})]
    assert_clustered(tiny, "image", "text")


def test_a_dropped_shard_leaves_all_tables(tiny):
    import_all(tiny)
    for numbers, due in (((1,), [0]), ((0, 4), [0, 1])):
        control.drop(tiny, tiny.shards.filter(number__in=numbers))
        for table in (tiny.item_table, *tiny.item_table.all_clustered):
            shown = client.rows(
                f"SELECT DISTINCT bitShiftRight(id, 32) AS shard FROM {table.name} "
                "WHERE NOT deleted"
            )
            assert not {row["shard"] for row in shown} & set(numbers)
        assert publish(tiny) == due
        assert_clustered(tiny, "image", "text")
    assert rows_of(tiny.item_table) == []


def test_what_is_taken_down_is_hidden_in_all_tables(tiny):
    import_all(tiny)
    takedowns.take_down(tiny, 7, "asked for")
    for table in (tiny.item_table, *tiny.item_table.all_clustered):
        hidden = client.rows(f"SELECT id FROM {table.name} WHERE deleted")
        assert [row["id"] for row in hidden] == [7]


def test_a_lost_table_is_filled_again(tiny):
    """The clustered tables can be made from the main one."""
    import_all(tiny)
    client.command("DROP TABLE item_tiny_IMAGE SYNC")
    client.command("DELETE FROM item_tiny_TEXT WHERE id = 3")
    replace(tiny, 1)
    replace(tiny, 4)
    assert_clustered(tiny, "image", "text")


STEPS = ["publish", "existing_clustered"]


@pytest.mark.parametrize("field", ["image", "text"])
def test_a_publication_that_broke_off_between_two_tables_is_completed(
    tiny, tmp_path, monkeypatch, field
):
    import_all(tiny)
    write_shard(tmp_path, 1, rows=24, image=vectors(24, 7), text=unlike(7, 24))
    command = client.command

    def fail(sql, *arguments, **settings):
        if f"item_tiny_{field.upper()} REPLACE" in sql:
            raise AWAY
        command(sql, *arguments, **settings)

    with monkeypatch.context() as patch, pytest.raises(SearchUnavailable):
        patch.setattr(client, "command", fail)
        replace(tiny, 1)
    assert len(rows_of(tiny.item_table)) == 104
    assert len(rows_of(tiny.item_table.clustered(field))) == 120
    assert publish(tiny) == [0]
    assert_clustered(tiny, "image", "text")


# --- Growth


def all_found(dataset: Dataset) -> list[int]:
    """The ids in the clusters of the versions that searches read."""
    dataset.refresh_from_db()
    table, ids = dataset.item_table, []
    for live in centroids.live_versions(table, "image"):
        first = live.first_cluster
        ids += client.rows(
            f"SELECT id FROM {table.clustered('image').name} "
            f"WHERE cluster BETWEEN {first} AND {first + len(live.sizes) - 1}"
        )
    return sorted(row["id"] for row in ids)


@pytest.mark.usefixtures("small_clusters")
def test_a_dataset_that_grows_gets_more_clusters_beside_searches(tiny, tmp_path):
    """The first partition is compared exactly, and stays searchable throughout."""
    write_shard(tmp_path, 0, rows=20, image=vectors(20, 0), text=unlike(0, 20))
    keys = queue(tiny)
    control.cancel(tiny.shards.exclude(number=0))
    shard_run.ingest(keys[0])
    publish(tiny)
    assert_clustered(tiny, "image", "text")
    assert len(centroids.load(tiny.item_table, "image")[1]) == 1
    control.queue(tiny, tiny.shards.exclude(number=0), "start")
    for key in keys[1:]:
        shard_run.ingest(key)
    tiny.refresh_from_db()
    assert publishing.publish(tiny, 1)
    assert clusters.is_outgrown(tiny)
    assert publishing.due_partitions(tiny) == [0, 1]
    expected = [number << SHARD_BITS | row for number in (0, 4) for row in range(40)]
    expected = [each for each in expected if each not in range(20, 40)]
    assert all_found(tiny) == expected
    # The other partition has new rows, too: they are assigned to the next version.
    assert publishing.publish(tiny, 0)
    tiny.refresh_from_db()
    versions = centroids.live_versions(tiny.item_table, "image")
    assert [len(live.centroids) for live in versions] == [1, 10]
    expected += [1 << SHARD_BITS | row for row in range(40)]
    assert all_found(tiny) == sorted(expected)
    assert publish(tiny) == [1]
    assert len(all_found(tiny)) == 100
    assert_clustered(tiny, "image", "text")
    assert list(centroids.load(tiny.item_table, "text")) == [2]
    assert not clusters.is_outgrown(tiny)
    assert publish(tiny) == []


@pytest.mark.usefixtures("small_clusters")
def test_one_of_two_workers_trains_the_first_centroids(tiny, monkeypatch):
    for key in queue(tiny):
        shard_run.ingest(key)
    train, trained = clusters.train, []

    def slowly(*arguments, **options):
        if not trained:  # another worker finds the lease taken
            monkeypatch.setattr(clusters, "WAIT_S", 0)
            monkeypatch.setattr(
                clusters.time, "sleep", lambda _: (_ for _ in ()).throw(AWAY)
            )
            with pytest.raises(SearchUnavailable):
                publishing.publish(tiny, 1)
        trained.append(options["version"])
        return train(*arguments, **options)

    monkeypatch.setattr(clusters, "train", slowly)
    assert publishing.publish(tiny, 0)
    assert trained == [1, 1]  # images and captions
    assert publish(tiny) == [1]
    assert_clustered(tiny, "image", "text")


def test_training_that_broke_off_begins_anew(tiny, monkeypatch):
    for key in queue(tiny):
        shard_run.ingest(key)
    with monkeypatch.context() as patch, pytest.raises(SearchUnavailable):
        store = centroids.store
        patch.setattr(
            centroids,
            "store",
            lambda table, field, trained: (
                (_ for _ in ()).throw(AWAY)
                if field == "text"
                else store(table, field, trained)
            ),
        )
        publishing.publish(tiny, 0)
    assert publish(tiny) == [0, 1]
    assert_clustered(tiny, "image", "text")


# --- Moving from graphs


@pytest.fixture
def by_graph(tiny) -> Dataset:
    tiny.index = "graph"
    tiny.save()
    import_all(tiny)
    return tiny


@pytest.mark.usefixtures("small_clusters")
def test_a_dataset_moves_from_graphs_to_clusters_beside_searches(by_graph, monkeypatch):
    before = rows_of(by_graph.item_table)
    monkeypatch.setattr(shard_run, "source_of", None)  # nothing is fetched again
    assert control.reindex(by_graph) == 2
    assert publishing.publish(by_graph, 0)
    by_graph.refresh_from_db()
    assert by_graph.index == "graph"
    assert rows_of(by_graph.item_table) == before
    assert publish(by_graph) == [1]
    by_graph.refresh_from_db()
    assert (by_graph.index, by_graph.image_mean) == ("clusters", "")
    assert rows_of(by_graph.item_table) == before
    assert_clustered(by_graph, "image", "text")
    indexes = client.rows(
        "SELECT name FROM system.data_skipping_indices WHERE table = 'item_tiny'"
    )
    assert [row["name"] for row in indexes] == ["words_index"]
    assert control.reindex(by_graph) == 0


def test_shards_come_in_before_during_and_after_a_move(by_graph, tmp_path):
    """A shard that arrived as for a graph is published to clusters."""
    control.queue(by_graph, by_graph.shards.filter(number=1), "again")
    shard_run.ingest(by_graph.shards.get(number=1).pk)
    control.reindex(by_graph)
    assert publish(by_graph) == [0, 1]
    assert_clustered(by_graph, "image", "text")
    replace(by_graph, 4)
    assert_clustered(by_graph, "image", "text")


def test_a_partition_published_meanwhile_is_moved_too(by_graph, monkeypatch):
    """Its publication began before the move was asked for."""
    control.queue(by_graph, by_graph.shards.filter(number=4), "again")
    shard_run.ingest(by_graph.shards.get(number=4).pk)
    build = writer.build_indexes

    def ask_and_build(*arguments):
        monkeypatch.setattr(writer, "build_indexes", build)
        control.reindex(by_graph)
        monkeypatch.setattr(clusters, "are_kept", lambda dataset: False)
        build(*arguments)

    with monkeypatch.context():
        monkeypatch.setattr(writer, "build_indexes", ask_and_build)
        publishing.publish(by_graph, 1)
    monkeypatch.undo()
    assert publish(by_graph) == [0, 1]
    assert_clustered(by_graph, "image", "text")


def test_staff_move_a_dataset_on_its_page(by_graph, admin_client):
    page, button = reverse("dataset", args=["tiny"]), "Move to clusters"
    assert button in admin_client.get(page).text
    assert button not in Client().get(page).text
    assert admin_client.post(reverse("ingestion-reindex", args=["tiny"])).url == page
    shown = admin_client.get(page).text
    assert "0 of 2 partitions are done" in shown and button not in shown
    publish(by_graph)
    shown = admin_client.get(page).text
    assert "HNSW" not in shown and button not in shown


def test_the_command_moves_a_dataset(by_graph, settings, monkeypatch):
    settings.CELERY_BROKER_URL = "redis://nowhere"
    monkeypatch.setattr(worker, "start_worker", lambda: None)
    monkeypatch.setattr(tasks, "enqueue_due_partitions", publish)
    shown = StringIO()
    call_command("dataset", "reindex", "tiny", "--keep-graph", stdout=shown)
    call_command("dataset", "reindex", "tiny", stdout=shown)
    assert shown.getvalue().split("\n") == [
        "Tiny is indexed already.",
        "Tiny is indexed.",
        "",
    ]
    assert_clustered(by_graph, "image", "text")


@pytest.mark.usefixtures("small_clusters")
def test_clusters_that_are_outgrown_are_spoken_of(tiny, monkeypatch):
    import_all(tiny)
    assert index_work(tiny) == ""
    monkeypatch.setattr(clusters, "MAX_ROWS_PER_CLUSTER", 5)
    monkeypatch.setattr(clusters, "clusters_for", lambda rows, sample: 30)
    assert index_work(tiny).startswith("The dataset has outgrown its clusters")
    assert control.reindex(tiny) == 2
    assert index_work(tiny).endswith("0 of 2 partitions are done.")
    publish(tiny)
    assert index_work(tiny) == ""
    assert_clustered(tiny, "image", "text")
