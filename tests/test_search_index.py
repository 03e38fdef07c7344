"""The vector index: at work in each kind of query, and no search depends on it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from django.db import connection
from support import searching
from support.crowd import Crowd, bfloat16, drawn, stored, unit
from support.truth import answer, check_exact

from search.clickhouse import client, queries, schema, writer
from search.clickhouse.filters import condition_of
from search.ingestion.publishing import partition_of
from search.models import SYSTEM, Dataset
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.retrieval import service

pytestmark = pytest.mark.django_db
EVERY_FILTER = {
    "min_width": 100,
    "max_width": 9_000,
    "min_height": 100,
    "max_height": 9_000,
    "min_similarity": 0.2,
    "license": "CC-BY",
    "caption": "half",
    "site": "host0.example",
}
EACH_FILTER = [Filters(**{name: value}) for name, value in EVERY_FILTER.items()]
SHAPES = [Filters(), Filters(nsfw="any"), *EACH_FILTER, Filters(**EVERY_FILTER)]


def find(slug: str, vector: np.ndarray, **options) -> service.Page:
    term = Term(embedding=tuple(vector.tolist()))
    return searching.find(SearchQuery(slug, (term,), **options))


@pytest.fixture(scope="module")
def graph(django_db_setup, django_db_blocker) -> Iterator[Crowd]:
    """The dataset "graph" of 12,000 rows."""
    crowd = drawn(12_000, seed=1)
    with django_db_blocker.unblock():
        dataset = stored(crowd, "graph")
    yield crowd
    with django_db_blocker.unblock():
        schema.drop(dataset.item_table)
        dataset.delete()


def near_vectors(crowd: Crowd, count: int) -> np.ndarray:
    random = np.random.default_rng(11)
    near = crowd.image[random.integers(len(crowd), size=count)]
    noise = unit(random.standard_normal(near.shape))
    return unit(unit(near) + 0.7 * noise).astype(np.float32)


def plan(
    table: schema.ItemTable,
    field: str,
    filters: Filters,
    count: int,
    *,
    exact: bool = False,
    fetched: float = 1.0,
    whole: bool = False,
) -> str:
    condition = condition_of(filters, table)
    vector = np.ones(table.dimension)
    read = queries.read_graph(table, field, vector, count, exact, fetched)
    rows = client.rows(
        "EXPLAIN indexes = 1 " + read.sql(condition, whole),
        {**read.parameters, "count": count, **condition.parameters},
        **read.settings,
    )
    return "\n".join(row["explain"] for row in rows)


def table_of(slug: str) -> schema.ItemTable:
    return Dataset.objects.get(slug=slug).item_table


@pytest.mark.parametrize("filters", SHAPES, ids=str)
@pytest.mark.parametrize("field", ["image", "text"])
def test_each_kind_of_query_is_answered_by_the_index(graph, field, filters):
    for count in (10, 1_000, 10_000):
        for fetched in (1.0, 10_000 / count):
            told = plan(table_of("graph"), field, filters, count, fetched=fetched)
            assert "_distance" in told
            assert f"{field}_index" in told
    told = plan(table_of("graph"), field, filters, 64, whole=True)
    assert "_distance" in told
    assert f"{field}_index" in told


def test_a_first_page_searches_the_graph_as_wide_as_all_pages(graph, monkeypatch):
    """Its few candidates are a matter of reading, not of recall."""
    widths, run = [], client.nearest_arrow

    def recorded(*args, **settings):
        widths.append(settings["hnsw_candidate_list_size_for_search"])
        return run(*args, **settings)

    monkeypatch.setattr(client, "nearest_arrow", recorded)
    find("graph", near_vectors(graph, 1)[0], limit=10)
    service.neighbours("graph", int(graph.ids[0]), 10, SYSTEM)
    assert widths == [queries.PAGED_EF, queries.NARROW_EF]


@pytest.mark.parametrize("filters", SHAPES, ids=str)
def test_an_exact_search_leaves_the_index_and_keeps_that_of_words(graph, filters):
    for count in (10, 1_000, 10_000):
        told = plan(table_of("graph"), "image", filters, count, exact=True)
        assert "_distance" not in told
        assert "image_index" not in told
        assert ("words_index" in told) == ("caption" in filters.chosen)


def test_the_index_stays_when_items_are_removed():
    """Marking a row does not cost the graph."""
    crowd = drawn(2_000, seed=6)
    dataset = stored(crowd, "thinned")
    table = dataset.item_table
    try:
        client.command(
            f"ALTER TABLE {table.name} UPDATE deleted = 1 WHERE id % 2 = 0",
            mutations_sync=1,
        )
        assert "_distance" in plan(table, "image", Filters(), 1_000)
        assert queries.index_state(table)["parts_without_index"] == 0
        page = find("thinned", near_vectors(crowd, 1)[0], limit=100)
        assert len(page.hits) == 100
        assert all(hit.id % 2 for hit in page.hits)
    finally:
        schema.drop(table)


@pytest.fixture(scope="module")
def coarse(graph, django_db_blocker) -> Iterator[schema.ItemTable]:
    """The graph again, with numbers of eight bits in its graphs."""
    with django_db_blocker.unblock():
        dataset = stored(graph, "coarse", index_quantization="i8")
    yield dataset.item_table
    with django_db_blocker.unblock():
        dataset.delete()


def recall(slug: str, crowd: Crowd, field: str) -> float:
    filters = Filters(nsfw="any", dedupe=False)
    found = []
    for vector in near_vectors(crowd, 25):
        true = answer(crowd, {field: vector}, filters, 50).rows
        page = find(slug, vector, field=field, filters=filters, limit=50)
        assert not page.exact
        found.append(len(set(true) & set(crowd.rows_of(page.hits))) / len(true))
    return float(np.mean(found))


@pytest.mark.parametrize("field", ["image", "text"])
def test_a_coarse_index_finds_as_much_because_distances_are_measured_anew(
    graph, coarse, field
):
    assert recall("coarse", graph, field) >= recall("graph", graph, field) - 0.03
    told = plan(coarse, field, Filters(), 1_000)
    assert f"{field}_index" in told


def test_a_coarse_index_shows_true_similarities(graph, coarse):
    vector = near_vectors(graph, 1)[0]
    page = find("coarse", vector, limit=20)
    own = unit(graph.image[graph.rows_of(page.hits)]) @ vector
    assert np.allclose([hit.similarity for hit in page.hits], own, atol=1e-5)


@pytest.mark.parametrize("clients", [8, 32, 64])
def test_many_clients_get_the_answers_that_one_gets(graph, clients, monkeypatch):
    """The graph refuses more than two searches a core: they wait for a slot."""
    monkeypatch.setattr(client, "QUERY_TIMEOUT_S", 120)  # on a busy machine, too
    vectors = near_vectors(graph, 4)
    kinds = [Filters(), Filters(caption="fifth"), Filters(caption="thousandth")]

    def search(number: int) -> list[int]:
        vector = vectors[number % len(vectors)]
        page = find("graph", vector, filters=kinds[number % len(kinds)], limit=10)
        return [hit.id for hit in page.hits]

    def search_in_thread(number: int) -> list[int]:
        try:
            return search(number)
        finally:
            connection.close()

    alone = [search(number) for number in range(12)]
    with ThreadPoolExecutor(clients) as pool:
        together = list(pool.map(search_in_thread, range(clients)))
    assert together == [alone[number % 12] for number in range(clients)]


def test_parts_without_an_index_are_counted_and_searched():
    crowd = drawn(3_000, seed=8, shards={0: 0.5, 5: 0.5})
    dataset = stored(crowd, "halfway", build=False)
    table = dataset.item_table
    try:
        assert service.index_state(dataset)["rows_without_index"] == 3_000
        writer.build_indexes(table, partition_of(dataset, 0))
        state = service.index_state(dataset)
        assert (state["parts"], state["rows"]) == (2, 3_000)
        assert state["parts_without_index"] == 1
        assert state["rows_without_index"] == 1_500
        for vector in near_vectors(crowd, 5):
            true = answer(crowd, {"image": vector}, Filters(), 20).rows
            page = find("halfway", vector, limit=20)
            found = crowd.rows_of(page.hits)
            assert len(set(found) & set(true)) >= 18
            assert {0, 1} == {row // 1_500 for row in found}
    finally:
        schema.drop(table)


@pytest.fixture(scope="module")
def scattered(django_db_setup, django_db_blocker) -> Iterator[Crowd]:
    """Vectors of unequal length, told apart by L2."""
    crowd = drawn(8_000, seed=9)
    length = np.random.default_rng(9).uniform(0.5, 1.5, (len(crowd), 1))
    crowd = replace(
        crowd,
        image=bfloat16(length * crowd.image),
        text=bfloat16(length * crowd.text),
    )
    with django_db_blocker.unblock():
        dataset = stored(crowd, "scattered", metric="L2Distance")
    yield crowd
    with django_db_blocker.unblock():
        dataset.delete()


@pytest.mark.parametrize("field", ["image", "text", "both"])
def test_l2_orders_by_distance_and_shows_its_inverse(scattered, field):
    fields = ("image", "text") if field == "both" else (field,)
    for vector in near_vectors(scattered, 6):
        for filters in (Filters(), Filters(caption="tenth", cutoff=0.52)):
            true = answer(
                scattered,
                dict.fromkeys(fields, vector),
                filters,
                30,
                metric="L2Distance",
            )
            options = {"field": field, "filters": filters, "limit": 30}
            page = find("scattered", vector, mode="exact", **options)
            check_exact(scattered, page.hits, page.hidden, true)
            rows = scattered.rows_of(find("scattered", vector, **options).hits)
            assert len(set(rows) & set(true.rows)) >= 0.9 * len(true.rows)
