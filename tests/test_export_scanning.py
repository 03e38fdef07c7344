"""Scans of whole datasets, compared with what numpy says of all rows."""

import numpy as np
import pyarrow as pa
import pytest
from support.crowd import Crowd, drawn, stored, unit
from support.tiny_shards import drop_tables
from support.truth import NSFW, REMOVED, VISIBLE, all_similarities, passing, reasons

from search.clickhouse import client, writer
from search.clickhouse.schema import SHARD_BITS
from search.models import SYSTEM, Dataset, Removal, Shard
from search.query.filters import Filters
from search.removals import takedowns
from search.removals.takedowns import RemovalList
from search.retrieval import scan as dataset_scan
from search.retrieval.scan import Scan, dataset_version, removals_version, shards_of

pytestmark = pytest.mark.django_db
ALL = Filters(nsfw="any")


@pytest.fixture(scope="module")
def throng(django_db_setup, django_db_blocker):
    """The rows of a dataset without indexes, in three shards of two partitions."""
    crowd = drawn(6_000, seed=1)
    with django_db_blocker.unblock():
        dataset = stored(crowd, "throng", build=False)
    yield crowd
    with django_db_blocker.unblock():
        drop_tables(dataset)
        dataset.delete()


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Several in each shard."""
    monkeypatch.setattr(dataset_scan, "WINDOW", 1_000)


def scan(slug: str, filters: Filters = ALL, vectors=None, **more) -> Scan:
    """`vectors` is the same vector for each field that is compared."""
    dataset = Dataset.for_slug(slug, SYSTEM)
    if vectors:
        more["field"] = "both" if len(vectors) == 2 else next(iter(vectors))
        more["vector"] = next(iter(vectors.values()))
    return Scan(dataset, shards_of(dataset), filters, **more)


def joined(batches) -> pa.Table:
    return pa.concat_tables(batch.table for batch in batches)


def check(crowd: Crowd, batches, wanted: np.ndarray, filters: Filters) -> pa.Table:
    """Return the selected rows that may be shown, in order, once each."""
    table, reason = joined(batches), reasons(crowd, filters)
    found = [crowd.row_of[item_id] for item_id in table["id"].to_pylist()]
    assert found == np.flatnonzero(wanted & (reason == VISIBLE)).tolist()
    counted = wanted & ~np.isin(crowd.ids, filters.exclude)
    for name, why in (("removed", REMOVED), ("nsfw", NSFW)):
        hidden = np.count_nonzero(counted & (reason == why))
        assert sum(getattr(batch, name) for batch in batches) == hidden
    return table


def test_all_items_come_in_order_with_all_that_is_known(throng):
    batches = list(scan("throng", with_embeddings=True).batches(size=300))
    assert max(len(batch.table) for batch in batches) == 300
    table = check(throng, batches, np.ones(len(throng), bool), ALL)
    rows = [throng.row_of[item_id] for item_id in table["id"].to_pylist()]
    for name in ("url", "caption", "nsfw", "license", "width", "height"):
        assert table[name].to_pylist() == throng.column(name)[rows].tolist()
    scores = throng.column("similarity")[rows]
    assert table["caption_similarity"].null_count == np.isnan(scores).sum() > 0
    known = ~np.isnan(scores)
    assert np.array_equal(table["caption_similarity"].to_numpy()[known], scores[known])
    for field in ("image", "text"):
        vectors = table[f"{field}_embedding"].combine_chunks()
        assert vectors.type == pa.list_(pa.float32(), throng.image.shape[1])
        matrix = vectors.flatten().to_numpy().reshape(len(rows), -1)
        assert np.array_equal(matrix, getattr(throng, field)[rows])


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(caption="schön"),
        Filters(caption="fifth", min_width=500, nsfw="any"),
        Filters(site="host1.example", license="CC-BY", max_height=900),
        Filters(min_similarity=0.4, exclude=(7, 1 << SHARD_BITS, 5)),
        Filters(caption="lonely", nsfw="any"),
    ],
    ids=str,
)
def test_filters_are_those_of_the_search(throng, filters):
    check(
        throng,
        list(scan("throng", filters).batches()),
        passing(throng, filters),
        filters,
    )


@pytest.mark.parametrize("fields", [("image",), ("text",), ("image", "text")], ids=str)
@pytest.mark.parametrize("at_least", [-1.0, 0.3, 1.0])
def test_a_threshold_lets_through_what_numpy_does(throng, fields, at_least):
    vector = unit(throng.image[11] + 0.3 * throng.text[400]).astype(np.float32)
    vectors = dict.fromkeys(fields, vector)
    found = list(scan("throng", vectors=vectors, at_least=at_least).batches())
    check_near(throng, found, vectors, at_least)


def check_near(crowd: Crowd, found, vectors, at_least: float, **more) -> None:
    table, true = joined(found), all_similarities(crowd, vectors, **more)
    rows = [crowd.row_of[item_id] for item_id in table["id"].to_pylist()]
    similarities = table["similarity"].to_numpy()
    assert np.allclose(similarities, true[rows], rtol=0, atol=1e-5)
    assert (similarities >= np.float32(at_least)).all()
    assert rows == sorted(set(rows))
    visible = reasons(crowd, ALL) == VISIBLE
    near = set(rows)
    surely = np.flatnonzero(visible & (true >= at_least + 1e-5))
    perhaps = np.flatnonzero(visible & (true >= at_least - 1e-5))
    assert set(surely.tolist()) <= near <= set(perhaps.tolist())


def test_the_threshold_itself_is_near_enough(throng):
    vectors = {"image": unit(throng.image[11]).astype(np.float32)}
    whole = joined(scan("throng", vectors=vectors, at_least=-1).batches())
    similarities = np.sort(whole["similarity"].to_numpy())
    for place in (10, 2_000, -300, -2):
        at_least = float(similarities[place])
        found = joined(scan("throng", vectors=vectors, at_least=at_least).batches())
        assert len(found) == np.count_nonzero(similarities >= similarities[place])


def test_distances_of_other_metrics_have_their_threshold_too():
    crowd = drawn(3_000, seed=5)
    dataset = stored(crowd, "far", build=False, metric=Dataset.Metric.L2)
    try:
        vectors = {"image": (0.5 * crowd.image[3]).astype(np.float32)}
        for at_least in (-1.0, 0.0, 0.45, 0.6, 1.0):
            found = list(scan("far", vectors=vectors, at_least=at_least).batches())
            check_near(crowd, found, vectors, at_least, metric="L2Distance")
    finally:
        drop_tables(dataset)


def test_a_scan_goes_on_from_the_end_of_any_batch(throng):
    filters = Filters(caption="fifth")
    whole = list(scan("throng", filters).batches(size=100))
    for place in (0, 1, len(whole) // 2, len(whole) - 2, len(whole) - 1):
        batch = whole[place]
        rest = list(scan("throng", filters).batches(batch.next, size=100))
        assert [told(each) for each in rest] == [told(b) for b in whole[place + 1 :]]


def told(batch):
    return batch.next, batch.removed, batch.nsfw, batch.table["id"].to_pylist()


def test_it_knows_how_many_items_there_are_to_look_at(throng):
    whole = scan("throng", Filters(caption="thousandth"))
    assert whole.to_look_at == len(throng)
    seen = [whole.looked_at(batch.next) for batch in whole.batches()]
    assert seen == sorted(set(seen)) and seen[-1] == len(throng)
    assert whole.looked_at(0) == 0


def test_shards_that_come_and_go_meanwhile_neither_double_nor_stop_it():
    crowd = drawn(2_000, seed=3, shards={0: 0.4, 4: 0.3, 8: 0.3})
    dataset = stored(crowd, "busy", build=False)
    table = dataset.item_table
    dataset.shards.filter(number=8).update(rows_visible=0)  # about to come
    try:
        whole = scan("busy")
        batches = whole.batches(size=100)
        found = [next(batches), next(batches)]
        dataset.shards.filter(number=8).update(rows_visible=600)  # has come
        writer.drop_partition(table, 1)  # which shard 4 is in
        found += list(batches)
        ids = joined(found)["id"].to_pylist()
        first = crowd.ids[crowd.rows_of_shard(0)].tolist()
        assert ids == [item_id for item_id in first if shown(crowd, item_id)]
        again = joined(scan("busy").batches())["id"].to_pylist()
        last = crowd.ids[crowd.rows_of_shard(8)].tolist()
        assert again == [i for i in first + last if shown(crowd, i)]
    finally:
        drop_tables(dataset)


def shown(crowd: Crowd, item_id: int) -> bool:
    return not crowd.column("deleted")[crowd.row_of[item_id]]


def test_bytes_that_are_no_text_become_text():
    dataset = stored(drawn(200, seed=9, shards={0: 1}), "broken", build=False)
    try:
        client.command(
            "ALTER TABLE item_broken UPDATE caption = unhex('61ff00c3'), "
            "metadata = map(unhex('6bfe'), unhex('fdfd')) WHERE id = 3",
            mutations_sync=1,
        )
        dataset = Dataset.for_slug("broken", SYSTEM)
        (row,) = dataset_scan.contents(dataset, [3]).to_pylist()
        assert row["caption"] == "a\ufffd\0\ufffd"
        assert row["metadata"] == [("k\ufffd", "\ufffd\ufffd")]
    finally:
        drop_tables(dataset)


def test_contents_have_the_order_in_which_they_are_asked_for(throng):
    ids = throng.ids[[900, 3, 5_500, 2_500, 4]].tolist()
    there = [item_id for item_id in ids if shown(throng, item_id)]
    dataset = Dataset.for_slug("throng", SYSTEM)
    found = dataset_scan.contents(dataset, [*ids[:2], 999_999, *ids[2:]])
    assert found["id"].to_pylist() == there and len(there) > 2
    assert dataset_scan.contents(dataset, [], with_embeddings=True).num_rows == 0


def test_what_is_on_a_list_is_left_out_before_the_engine_knows(throng):
    dataset = Dataset.objects.get(slug="throng")
    ids = [i for i in throng.ids[:40].tolist() if shown(throng, i)]
    table = dataset_scan.contents(dataset, ids)
    assert dataset_scan.without_listed(table, RemovalList.of(dataset)) is table
    takedowns.add(Removal.Kind.ITEM, [str(ids[0])], dataset)
    takedowns.add(Removal.Kind.URL, [table["url"][5].as_py()], None)
    takedowns.add(Removal.Kind.MD5, ["ab" * 16], None)
    sums = [[("md5", "AB" * 16)] if n == 9 else [] for n in range(len(ids))]
    place = table.column_names.index("metadata")
    column = pa.array(sums, table.schema.field("metadata").type)
    table = table.set_column(place, "metadata", column)
    left = dataset_scan.without_listed(table, RemovalList.of(dataset))
    gone = {ids[0], ids[5], ids[9]}
    assert left["id"].to_pylist() == [i for i in ids if i not in gone]


def test_versions_change_with_shards_and_lists(throng):
    dataset = Dataset.objects.get(slug="throng")
    version, lists = dataset_version(dataset), removals_version(dataset)
    assert (version["items"], version["shards"]) == (len(throng), 3)
    assert dataset_version(dataset) == version
    seen = {version["digest"]}
    for change in (
        {"state": Shard.State.QUEUED},
        {"epoch": 5},
        {"fingerprint": "other"},
        {"rows_visible": 9},
        {"rows_visible": 0},
    ):
        dataset.shards.filter(number=1).update(**change)
        seen.add(dataset_version(dataset)["digest"])
    assert len(seen) == 6
    assert lists["count"] == 0 and lists["latest"] is None
    takedowns.add(Removal.Kind.URL, ["http://a", "http://b"], None)
    two = removals_version(dataset)
    Removal.objects.filter(value="http://a").delete()
    takedowns.add(Removal.Kind.URL, ["http://c"], dataset)
    again = removals_version(dataset)
    assert two["count"] == again["count"] == 2
    assert len({lists["digest"], two["digest"], again["digest"]}) == 3
