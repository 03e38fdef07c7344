"""A dataset on two engines: each holds some partitions, and a search asks both.

The engines are embedded ones behind tests/support/clickhouse_http.py. What needs a
real cluster (ON CLUSTER, ReplicatedMergeTree, Distributed) is read by the engine's own
parser alone.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from conftest import free_port
from django.test import override_settings
from support import searching
from support.production import started_server
from support.tiny_shards import (
    drop_for_good,
    drop_tables,
    import_all,
    publish,
    tiny_dataset,
    vectors,
    write_shard,
)

from search.clickhouse import centroids, client, cluster, lookup, schema, writer
from search.errors import NotFound, SearchUnavailable
from search.ingestion import clusters, control
from search.models import SYSTEM, Dataset
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.removals import takedowns
from search.retrieval import service
from search.retrieval.service import unlimited

pytestmark = pytest.mark.django_db
ROWS, SHARDS, DIMENSION = 300, 5, 16
CLOSE = 3e-3  # of a similarity, and of a number of a vector: both are bfloat16


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        servers = [
            stack.enter_context(started_server(folder / name, free_port()))
            for name in ("first", "second")
        ]
        yield servers


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for number in range(SHARDS):
        image, text = (vectors(ROWS, seed + number, DIMENSION) for seed in (10, 20))
        facts = {
            "url": [f"http://h{i % 3}.example.org/{number}/{i}" for i in range(ROWS)],
            "caption": [f"picture {i} of {number}" for i in range(ROWS)],
            "width": [float(i) for i in range(ROWS)],
            "height": [1.0] * ROWS,
        }
        write_shard(folder, number, ROWS, image=image, text=text, metadata=facts)
    return folder


@pytest.fixture(autouse=True)
def two(urls, settings) -> list[str]:
    settings.CLICKHOUSE_URL = ",".join(urls)
    return urls


@pytest.fixture(scope="module")
def spread(urls, source, django_db_setup, django_db_blocker) -> Iterator[Dataset]:
    """Five shards, each a partition of its own: three on one engine, two on another.

    It is committed, and all tests share it: leave it as it is.
    """
    with (
        override_settings(CLICKHOUSE_URL=",".join(urls)),
        django_db_blocker.unblock(),
    ):
        dataset = made(source, "spread")
        yield dataset
        drop_tables(dataset)
        dataset.delete()


def made(source: Path, slug: str) -> Dataset:
    fields = {"dimension": DIMENSION, "shards_per_partition": 1}
    dataset = tiny_dataset(source, slug=slug, **fields)
    import_all(dataset)
    return dataset


def rows_at(url: str, name: str = "item_spread") -> dict[int, int]:
    """Return the number of rows on a node by shard."""
    with cluster.on_node(url):
        sql = f"SELECT bitShiftRight(id, 32) AS s, count() AS n FROM {name} GROUP BY s"
        return {row["s"]: row["n"] for row in client.rows(sql)}


def matrix(field: str) -> np.ndarray:
    """Return all unit vectors, of which tables keep the first bits."""
    seed = {"image": 10, "text": 20}[field]
    drawn = [vectors(ROWS, seed + number, DIMENSION) for number in range(SHARDS)]
    rows = np.concatenate(drawn).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def id_of(place: int) -> int:
    return place // ROWS << 32 | place % ROWS


def place_of(item_id: int) -> int:
    return (item_id >> 32) * ROWS + (item_id & 0xFFFF)


def asked(vector: np.ndarray, **options) -> SearchQuery:
    term = Term(embedding=tuple(vector.astype(float).tolist()))
    return SearchQuery("spread", (term,), **{"mode": "exact", "limit": 50} | options)


def test_each_partition_lies_on_one_engine(spread, two):
    assert rows_at(two[0]) == {0: ROWS, 2: ROWS, 4: ROWS}
    assert rows_at(two[1]) == {1: ROWS, 3: ROWS}
    assert writer.side_tables(spread.item_table) == []
    state = service.index_state(spread)
    assert (state["rows"], state["rows_without_index"]) == (SHARDS * ROWS, 0)


@pytest.mark.parametrize("field", ["image", "text"])
def test_a_search_finds_the_nearest_of_both_in_their_order(spread, field):
    rows = matrix(field)
    for place in (3, 400, 1_111):
        similarities = rows @ rows[place]
        page = searching.find(asked(rows[place], field=field))
        found = [hit.similarity for hit in page.hits]
        assert found == sorted(found, reverse=True)
        # Those that differ by less than CLOSE may change places.
        nearest = np.sort(similarities)[::-1][:50]
        assert np.allclose(found, nearest, rtol=0, atol=CLOSE)
        ids = [hit.id for hit in page.hits]
        own = similarities[[place_of(each) for each in ids]]
        assert len(set(ids)) == 50
        assert np.allclose(found, own, rtol=0, atol=CLOSE)
        by_index = searching.find(asked(rows[place], field=field, mode="ann"))
        assert len({hit.id for hit in by_index.hits} & set(ids)) >= 47


def test_filters_and_pages_reach_over_both(spread):
    rows = matrix("image")
    wide = Filters(min_width=ROWS - 20, site="h1.example.org")
    first = searching.find(asked(rows[0], filters=wide, limit=20))
    second = searching.find(asked(rows[0], filters=wide, limit=20, cursor=first.next))
    passing = [
        place
        for place in range(SHARDS * ROWS)
        if place % ROWS >= ROWS - 20 and place % ROWS % 3 == 1
    ]
    hits = first.hits + second.hits
    assert sorted(hit.id for hit in hits) == list(map(id_of, passing))
    similarities = [hit.similarity for hit in hits]
    assert similarities == sorted(similarities, reverse=True)
    assert first.matching.items == len(passing)


def test_items_are_asked_for_where_they_lie(spread):
    ids = [id_of(place) for place in (1, 301, 605, 1_201)]
    table = spread.item_table
    assert [service.item("spread", each, SYSTEM).id for each in ids] == ids
    assert lookup.items(table, ids).keys() == set(ids)
    assert lookup.pixel_counts(table, ids) == {each: each & 0xFFFF for each in ids}
    stored = lookup.embeddings(table, "image", ids)
    for place, each in zip((1, 301, 605, 1_201), ids, strict=True):
        unit = stored[each] / np.linalg.norm(stored[each])
        assert np.allclose(unit, matrix("image")[place], rtol=0, atol=CLOSE)
    with pytest.raises(NotFound):
        service.item("spread", id_of(1) + 2**40, SYSTEM)


def test_a_removal_reaches_both_and_a_shard_dropped_leaves_its_engine(source, two):
    changed = made(source, "changed")
    for place in (2, 302):
        takedowns.take_down(changed, id_of(place), "a test")
        with pytest.raises(NotFound):
            service.item("changed", id_of(place), SYSTEM)
    control.drop(changed, changed.shards.filter(number=3))
    publish(changed)
    assert rows_at(two[0], "item_changed") == {0: ROWS, 2: ROWS, 4: ROWS}
    assert rows_at(two[1], "item_changed") == {1: ROWS}
    drop_for_good(changed)
    for url in two:
        with cluster.on_node(url):
            assert client.rows("SHOW TABLES LIKE 'item_changed%'") == []


def test_clusters_lie_on_the_engine_of_their_partition(source, two, monkeypatch):
    monkeypatch.setattr(clusters, "clusters_for", lambda rows, sample: rows // 100)
    fields = {"dimension": DIMENSION, "shards_per_partition": 1}
    dataset = tiny_dataset(source, slug="parted", index="clusters", **fields)
    import_all(dataset)
    # From one engine, then from both.
    for version in (1, 2):
        dataset.refresh_from_db()
        for table in dataset.item_table.all_clustered:
            assert rows_at(two[0], table.name) == {0: ROWS, 2: ROWS, 4: ROWS}
            assert rows_at(two[1], table.name) == {1: ROWS, 3: ROWS}
        stored = []
        for url in two:
            with cluster.on_node(url):
                stored.append(centroids.load(dataset.item_table, "image"))
        assert [list(each) for each in stored] == [[version]] * 2
        first, second = (each[version].vectors for each in stored)
        assert len(first) == SHARDS * ROWS // 100 and np.array_equal(first, second)
        (live,) = centroids.live_versions(dataset.item_table, "image")
        assert live.sizes.sum() == SHARDS * ROWS
        clusters.schedule(dataset, dataset.training)
        assert publish(dataset) == [0, 1, 2, 3, 4]
    takedowns.take_down(dataset, id_of(302), "a test")
    with cluster.on_node(two[1]):
        hidden = client.rows("SELECT id FROM item_parted_TEXT WHERE deleted")
    assert hidden == [{"id": id_of(302)}]
    drop_for_good(dataset)
    for url in two:
        with cluster.on_node(url):
            assert client.rows("SHOW TABLES LIKE 'item_parted%'") == []


def test_an_engine_that_is_away_is_not_taken_for_an_empty_one(spread, two, settings):
    settings.CLICKHOUSE_URL = f"{two[0]},clickhouse://127.0.0.1:{free_port()}/default"
    with pytest.raises(SearchUnavailable, match="does not respond"):
        searching.find(asked(matrix("image")[0]))


def test_statements_of_a_cluster_are_read_by_the_engine(settings, source):
    settings.CLICKHOUSE_CLUSTER = "pictures"
    table = tiny_dataset(source, slug="clustered", index="clusters").item_table
    creation = schema.create_statement(table)
    assert "ENGINE = ReplicatedMergeTree" in creation
    assert "ON CLUSTER `pictures`" in creation
    beside = schema.create_statement(table.arriving(3, 1))
    assert "ON CLUSTER" not in beside and "ENGINE = MergeTree" in beside
    for statement in (
        creation,
        beside,
        schema.create_statement(table.clustered("image")),
        centroids.create_statement(table),
        schema.distributed_statement(table),
        schema.drop_statement(table),
    ):
        tree = client.rows(
            "SELECT formatQuery({sql:String}) AS read", {"sql": statement}
        )
        assert tree[0]["read"].startswith(("CREATE TABLE", "DROP TABLE"))


def test_an_export_has_the_items_of_all_engines_in_order(spread, tmp_path):
    """Read as Arrow over HTTP, of a scan and of a search that ranks items of both."""
    from support.export_helpers import made, rows

    from usercollections.export.export_request import of_dataset, of_search

    everything = of_dataset(SYSTEM, "spread", Filters(max_width=99), "parquet", True)
    found = rows(made(everything, tmp_path / "all"), tmp_path / "all")
    places = [ROWS * number + row for number in range(SHARDS) for row in range(1, 100)]
    assert [row["id"] for row in found] == [id_of(place) for place in places]
    stored = np.array([row["embedding"] for row in found])
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    assert np.allclose(stored, matrix("image")[places], rtol=0, atol=CLOSE)
    query = asked(matrix("image")[7])
    ranked = made(
        of_search(query, SYSTEM, unlimited, "json", limit=200), tmp_path / "search"
    )
    hits = rows(ranked, tmp_path / "search")
    assert len(hits) == 200 and len({hit["id"] >> 32 for hit in hits}) == SHARDS
    similarities = [hit["similarity"] for hit in hits]
    assert similarities == sorted(similarities, reverse=True)
