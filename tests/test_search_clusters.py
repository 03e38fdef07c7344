"""Searches of clusters: recall, exact order, filters, pages, and their statements."""

import json
import pickle
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from conftest import free_port
from support import searching
from support.crowd import (
    DIMENSION,
    Crowd,
    centred,
    drawn,
    put_clusters,
    reading,
    stored,
    unit,
)
from support.production import started_server
from support.truth import CLOSE, answer

from search.clickhouse import (
    centroids,
    client,
    cluster,
    clustered,
    queries,
    schema,
)
from search.clustering.curves import Queries, measure
from search.errors import InvalidQuery
from search.ingestion.publishing import partition_of
from search.models import Dataset
from search.query.filters import Filters
from search.query.model import MAX_RESULTS, SearchQuery, Term
from search.retrieval import service
from search.retrieval.ranking import load

pytestmark = pytest.mark.django_db
ROWS, CLUSTERS = 12_000, 60
ALL = Filters(nsfw="any", dedupe=False)


@pytest.fixture(scope="module")
def gathered(django_db_setup, django_db_blocker) -> Iterator[Crowd]:
    """A dataset in clusters, of two partitions, of which searches read a quarter."""
    crowd = drawn(ROWS, seed=21, index="clusters")
    with django_db_blocker.unblock():
        dataset = stored(crowd, "gathered", clusters=CLUSTERS)
        dataset.calibration = reading(0.25)
        dataset.save()
    yield crowd
    with django_db_blocker.unblock():
        schema.drop(dataset.item_table)
        dataset.delete()


def vectors_near(crowd: Crowd, count: int, field: str = "image") -> np.ndarray:
    random = np.random.default_rng(31)
    rows = getattr(crowd, field)
    near = rows[random.integers(len(crowd), size=count)]
    noise = unit(random.standard_normal(near.shape))
    return unit(unit(near) + 0.7 * noise).astype(np.float32)


def asked(slug: str, vector: np.ndarray, **options) -> SearchQuery:
    return SearchQuery(slug, (Term(embedding=tuple(vector.tolist())),), **options)


def find(slug: str, vector: np.ndarray, **options) -> service.Page:
    return searching.find(asked(slug, vector, **options))


def pages(slug: str, vector: np.ndarray, **options) -> list[service.Page]:
    found = [find(slug, vector, **options)]
    while found[-1].next:
        following = SearchQuery(slug, (), cursor=found[-1].next, limit=options["limit"])
        found.append(searching.find(following))
    return found


@contextmanager
def statements() -> Iterator[list[tuple[str, dict]]]:
    """Collect the statements that the engine gets, with their parameters."""
    sent: list[tuple[str, dict]] = []

    def recorded(run):
        def recording(sql, parameters=None, **settings):
            sent.append((sql, parameters or {}))
            return run(sql, parameters, **settings)

        return recording

    with ExitStack() as stack:
        for name in ("rows", "columns", "arrow"):
            patched = patch.object(client, name, recorded(getattr(client, name)))
            stack.enter_context(patched)
        yield sent


def check_true(crowd: Crowd, hits, true) -> None:
    """The hits are the true results; what is as near may change places."""
    rows = crowd.rows_of(hits)
    assert len(set(rows)) == len(rows) == len(true.rows)
    shown = np.array([hit.similarity for hit in hits])
    assert (np.diff(shown) <= 0).all()
    assert np.allclose(shown, true.similarities, rtol=0, atol=CLOSE)
    assert np.allclose(shown, true.all_similarities[rows], rtol=0, atol=CLOSE)


@pytest.mark.parametrize("field", ["image", "text", "both"])
def test_an_exact_search_has_the_order_of_numpy(gathered, field):
    fields = ("image", "text") if field == "both" else (field,)
    for vector in vectors_near(gathered, 5):
        true = answer(gathered, dict.fromkeys(fields, vector), ALL, 50)
        page = find(
            "gathered", vector, field=field, filters=ALL, mode="exact", limit=50
        )
        assert page.exact
        check_true(gathered, page.hits, true)


@pytest.mark.parametrize("field", ["image", "text"])
def test_a_part_of_the_clusters_has_most_of_the_nearest(gathered, field):
    found = []
    for vector in vectors_near(gathered, 30, field):
        true = answer(gathered, {field: vector}, ALL, 10)
        page = find("gathered", vector, field=field, filters=ALL, limit=10)
        assert not page.exact
        found.append(len(set(gathered.rows_of(page.hits)) & set(true.rows)))
    assert np.mean(found) >= 8.5


def test_more_recall_reads_more_clusters(gathered):
    vector = vectors_near(gathered, 1)[0]
    read = []
    for recall in (0.5, 0.95, 0.97):
        with statements() as sent:
            page = find("gathered", vector, filters=ALL, recall=recall)
        assert len(page.hits) == 40 and not page.exact
        read.append(str(sent[0][1]["clusters"]).count(",") + 1)
    assert read[0] < read[1] < read[2] < CLUSTERS
    with pytest.raises(InvalidQuery, match=r"between 0\.5 and 0\.999"):
        asked("gathered", vector, recall=1.0)


def test_words_and_pictures_are_calibrated_apart(gathered):
    dataset = Dataset.objects.get(slug="gathered")
    curve = dataset.calibration["image"]["pictures"]
    dataset.calibration = {"image": {"pictures": curve}}
    dataset.save()
    item = int(gathered.ids[5])
    with statements() as sent:
        by_item = searching.find(SearchQuery("gathered", (Term(item=item),)))
        # It may be one of words.
        by_vector = find("gathered", vectors_near(gathered, 1)[0])
    assert not by_item.exact and "clusters" in sent[-2][1]
    assert by_vector.exact and "clusters" not in sent[-1][1]


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(caption="half", max_width=400),
        Filters(caption="tenth"),
        Filters(caption="schön", nsfw="any"),
        Filters(caption="thousandth", dedupe=False),
        Filters(caption="ten"),
        Filters(caption="lonely", nsfw="any"),
        Filters(license="public domain", site="host3.example"),
        Filters(min_width=30_000),
    ],
    ids=str,
)
def test_pages_are_full_whatever_passes(gathered, filters):
    for vector in vectors_near(gathered, 3):
        true = answer(gathered, {"image": vector}, filters, 40)
        page = find("gathered", vector, filters=filters)
        assert len(page.hits) == pytest.approx(len(true.rows), abs=1)
        rows = gathered.rows_of(page.hits)
        assert len(set(rows)) == len(rows)
        if page.exact:
            # Twins may fold either way where rounding changes their places.
            assert len(set(rows) & set(true.rows)) >= len(true.rows) - 2
        assert bool(page.next) or len(true.rows) < 40 or true.ended


def test_a_first_page_is_one_statement(gathered):
    for number, vector in enumerate(vectors_near(gathered, 5)):
        with statements() as sent:
            page = find("gathered", vector, limit=(40, 10, 100)[number % 3])
        assert len(sent) == 1, [sql for sql, _ in sent]
        assert page.hits and page.hits[0].caption
        # Until a second page is asked for, little is kept.
        [ranking], _, _ = load(page.next, ["gathered"])
        assert len(pickle.dumps(ranking)) <= 20_000


def test_a_filter_is_estimated_once(gathered):
    vectors = vectors_near(gathered, 2)
    filters = Filters(max_width=1_234)
    find("gathered", vectors[0], filters=filters)
    with statements() as sent:
        page = find("gathered", vectors[1], filters=filters)
    assert len(sent) == 1 and page.matching is not None


@pytest.fixture(scope="module")
def cornered(django_db_setup, django_db_blocker) -> Iterator[tuple[Crowd, np.ndarray]]:
    """8,000 rows in forty groups, those of 12 are wide; queries near those opposite."""
    random = np.random.default_rng(25)
    groups = unit(random.standard_normal((40, DIMENSION)))
    groups = groups[np.argsort(groups[:, 0])]
    own = random.integers(40, size=8_000)
    image = noisy(groups[own], random)
    crowd = drawn(8_000, seed=25, removed=0)
    place = crowd.facts.column_names.index("width")
    width = pa.array(np.where(own >= 28, 900, 300).astype(np.uint32))
    facts = crowd.facts.set_column(place, "width", width)
    crowd = centred(replace(crowd, facts=facts), image, crowd.text)
    with django_db_blocker.unblock():
        dataset = stored(crowd, "cornered", clusters=100)
        table = dataset.item_table
        (live,) = centroids.live_versions(table, "image")
        asked = {"any": Queries(noisy(image[random.integers(8_000, size=60)], random))}
        rows = clustered.read_version(table, "image", live.centroids.version)
        curve = measure(live.centroids, rows, asked)["any"].to_json()
        dataset.calibration = {"image": {"words": curve, "pictures": curve}}
        dataset.save()
    yield crowd, noisy(image[random.choice(np.flatnonzero(own < 6), 20)], random)
    with django_db_blocker.unblock():
        schema.drop(table)
        dataset.delete()


def noisy(vectors: np.ndarray, random: np.random.Generator) -> np.ndarray:
    noise = unit(random.standard_normal(vectors.shape))
    return unit(vectors + noise).astype(np.float32)


def test_a_filter_far_from_the_query_costs_no_recall(cornered):
    crowd, vectors = cornered
    wide = Filters(min_width=900, nsfw="any", dedupe=False)
    holding = client.rows(
        "SELECT DISTINCT cluster FROM item_cornered_IMAGE WHERE width = 900"
    )
    count = 0
    for vector in vectors:
        true = answer(crowd, {"image": vector}, wide, 20)
        with statements() as sent:
            page = find("cornered", vector, filters=wide, limit=20)
        read = json.loads(str(sent[-1][1]["clusters"]))
        assert set(read) < {row["cluster"] for row in holding}
        count += len(set(crowd.rows_of(page.hits)) & set(true.rows))
    assert count >= 0.95 * 20 * len(vectors)
    assert not page.matching.estimated
    assert page.matching.items == (crowd.column("width") == 900).sum()


def test_rows_that_pass_are_counted_once_a_revision(cornered):
    crowd, vectors = cornered
    filters = Filters(max_width=300, nsfw="any")
    narrow = crowd.ids[crowd.column("width") == 300]
    dataset = Dataset.objects.get(slug="cornered")
    counts = [narrow_count(vectors[0], filters)]
    remove(dataset, narrow[:7])
    counts.append(narrow_count(vectors[1], filters))
    dataset.index_revision += 1
    dataset.save()
    counts.append(narrow_count(vectors[0], filters))
    assert counts == [(1, len(narrow)), (0, len(narrow)), (1, len(narrow) - 7)]


def narrow_count(vector: np.ndarray, filters: Filters) -> tuple[int, int]:
    """Return how often rows are counted by a search, and what it says."""
    with statements() as sent:
        page = find("cornered", vector, filters=filters, limit=10)
    return sum("AS passing" in sql for sql, _ in sent), page.matching.items


def test_of_large_tables_a_sample_is_counted(cornered, monkeypatch):
    crowd, vectors = cornered
    monkeypatch.setattr(centroids, "MAX_COUNTED_ROWS", 4_000)
    monkeypatch.setattr(centroids, "SAMPLED_BLOCK", 64)
    filters = Filters(min_width=899, nsfw="any", dedupe=False)
    there = (crowd.column("width") == 900).sum()
    page = find("cornered", vectors[0], filters=filters, limit=10)
    assert page.matching.estimated and len(page.hits) == 10
    assert page.matching.items == pytest.approx(there, rel=0.5)


@pytest.mark.parametrize("field", ["image", "both"])
def test_pages_neither_repeat_nor_leave_out(gathered, field):
    vector, filters = vectors_near(gathered, 1)[0], Filters(caption="fifth")
    found = pages("gathered", vector, filters=filters, field=field, limit=100)
    rows = gathered.rows_of([hit for page in found for hit in page.hits])
    fields = ("image", "text") if field == "both" else (field,)
    true = answer(gathered, dict.fromkeys(fields, vector), filters, MAX_RESULTS)
    assert len(rows) == len(set(rows))
    assert len(set(rows) & set(true.rows)) >= 0.99 * len(true.rows)
    assert {len(page.hits) for page in found[:-1]} == {100}
    for page in found:
        shown = [hit.similarity for hit in page.hits]
        assert shown == sorted(shown, reverse=True)


@pytest.fixture
def moving() -> Iterator[tuple[Crowd, Dataset]]:
    """6,000 rows in two partitions and thirty clusters, for one test."""
    crowd = drawn(6_000, seed=22, removed=0, index="clusters")
    dataset = stored(crowd, "moving", clusters=30)
    dataset.calibration = reading(0.2)
    dataset.save()
    yield crowd, dataset
    schema.drop(dataset.item_table)


def test_pages_go_on_while_rows_move_to_other_clusters(moving):
    crowd, dataset = moving
    vector = vectors_near(crowd, 1)[0]
    found = [find("moving", vector, filters=ALL, limit=100)]
    # New centroids are announced first, then partition by partition moves.
    put_clusters(crowd, dataset, 40, version=2, shards=[])
    for shards, partition in (([0, 1], 0), ([4], 1)):
        found += further("moving", found[-1], 3)
        for field in ("image", "text"):
            client.command(
                f"ALTER TABLE {dataset.item_table.clustered(field).name} "
                f"DROP PARTITION {partition}"
            )
        refill(dataset, shards)
    found += further("moving", found[-1], 100)
    hits = [hit for page in found for hit in page.hits]
    assert len(hits) == len({hit.id for hit in hits}) == len(crowd)


def further(slug: str, page: service.Page, count: int) -> list[service.Page]:
    found = []
    while page.next and len(found) < count:
        page = searching.find(SearchQuery(slug, (), cursor=page.next, limit=100))
        found.append(page)
    return found


def test_a_search_reads_rows_of_both_versions(moving):
    crowd, dataset = moving
    before = centroids.live_versions(dataset.item_table, "image")
    put_clusters(crowd, dataset, 40, version=2, shards=[])
    for field in ("image", "text"):
        name = dataset.item_table.clustered(field).name
        client.command(f"ALTER TABLE {name} DROP PARTITION 0")
    # The sizes of the new clusters are not known to this process.
    both = centroids.live_versions(dataset.item_table, "image")
    assert [len(each) for each in (before, both)] == [1, 2]
    refill(dataset, [0, 1])
    count = 0
    for vector in vectors_near(crowd, 20):
        true = answer(crowd, {"image": vector}, ALL, 10)
        with statements() as sent:
            page = find("moving", vector, filters=ALL, limit=10)
        assert len(sent) == 1 and not page.exact
        count += len(set(crowd.rows_of(page.hits)) & set(true.rows))
    assert count >= 140


def refill(dataset: Dataset, shards: list[int]) -> None:
    """Fill the tables with rows of shards in the newest clusters."""
    table = dataset.item_table
    newest = {
        field: centroids.live_versions(table, field)[-1].centroids
        for field in ("image", "text")
    }
    for number in shards:
        here = replace(table, partition=partition_of(dataset, number))
        clustered.fill(here, newest, dict.fromkeys(newest, [number]), lambda done: None)


def test_what_is_removed_between_pages_is_passed_over(moving):
    crowd, dataset = moving
    vector = vectors_near(crowd, 1)[0]
    true = answer(crowd, {"image": vector}, ALL, 30).rows
    page = find("moving", vector, filters=ALL, mode="exact", limit=10)
    remove(dataset, crowd.ids[true[10:14]])
    after = further("moving", page, 1)[0]
    rows = crowd.rows_of(after.hits)
    assert not set(rows) & set(true[:14]) and set(true[14:20]) <= set(rows)
    assert after.hidden.removed == 4


def remove(dataset: Dataset, ids: np.ndarray) -> None:
    for table in (dataset.item_table, *dataset.item_table.all_clustered):
        client.command(
            f"ALTER TABLE {table.name} "
            "UPDATE deleted = 1 WHERE id IN {ids:Array(UInt64)}",
            {"ids": ids.tolist()},
            mutations_sync=1,
        )


def test_without_a_calibration_all_is_read_up_to_a_limit(moving, monkeypatch):
    crowd, dataset = moving
    dataset.calibration = {}
    dataset.save()
    vector = vectors_near(crowd, 1)[0]
    assert find("moving", vector).exact
    monkeypatch.setattr(queries, "UNCALIBRATED_ROWS", 600)
    assert not find("moving", vector).exact


@pytest.fixture
def nodes(tmp_path, settings) -> Iterator[list[str]]:
    """Two engines behind HTTP; each has the partitions of its own."""
    with ExitStack() as stack:
        urls = [
            stack.enter_context(started_server(tmp_path / name, free_port()))
            for name in ("first", "second")
        ]
        settings.CLICKHOUSE_URL = ",".join(urls)
        yield urls


def test_a_search_reads_the_same_clusters_of_all_nodes(nodes):
    crowd = drawn(3_000, seed=24, index="clusters")
    dataset = stored(crowd, "spreadout", clusters=30)
    name = dataset.item_table.clustered("image").name
    for url, shards in zip(nodes, ([0, 1], [4]), strict=True):
        with cluster.on_node(url):
            rows = client.rows(f"SELECT id FROM {name}")
        assert {row["id"] >> 32 for row in rows} == set(shards)
    for vector in vectors_near(crowd, 3):
        true = answer(crowd, {"image": vector}, ALL, 40)
        check_true(crowd, find("spreadout", vector, filters=ALL).hits, true)
    dataset.calibration = reading(0.4)
    dataset.save()
    count = 0
    for vector in vectors_near(crowd, 5):
        true = answer(crowd, {"image": vector}, ALL, 10)
        with statements() as sent:
            page = find("spreadout", vector, filters=ALL, limit=10)
        assert (
            len(sent) == 2 and len({str(given["clusters"]) for _, given in sent}) == 1
        )
        assert not page.exact
        count += len(set(crowd.rows_of(page.hits)) & set(true.rows))
    assert count >= 40
    # Those that pass are counted on both.
    narrow = Filters(max_width=5_000, nsfw="any")
    there = (crowd.column("width") <= 5_000) & (crowd.column("deleted") == 0)
    page = find("spreadout", vector, filters=narrow, limit=10)
    assert page.matching == service.Matching(there.sum(), estimated=False)


@pytest.mark.parametrize("clusters", [1, 30])
def test_l2_orders_by_distance(clusters):
    crowd = drawn(3_000, seed=23, index="clusters")
    length = np.random.default_rng(9).uniform(0.5, 1.5, (len(crowd), 1))
    crowd = centred(crowd, length * crowd.image, length * crowd.text)
    dataset = stored(crowd, "distant", clusters=clusters, metric="L2Distance")
    try:
        count = 0
        for vector in vectors_near(crowd, 6):
            vectors = {"image": vector}
            true = answer(crowd, vectors, ALL, 30, metric="L2Distance")
            page = find("distant", vector, filters=ALL, limit=30)
            assert page.exact
            check_true(crowd, page.hits, true)
            dataset.calibration = reading(0.3)
            dataset.save()
            page = find("distant", vector, filters=ALL, limit=30)
            count += len(set(crowd.rows_of(page.hits)) & set(true.rows))
            dataset.calibration = {}
            dataset.save()
        assert count >= 130
    finally:
        schema.drop(dataset.item_table)
