"""Calibration: curves of clusters, when they are measured, and that they hold."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from itertools import product
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import call_command
from django.utils import timezone
from support.html_page import Page
from support.tiny_shards import (
    drop_for_good,
    drop_tables,
    import_all,
    publish,
    tiny_dataset,
)

from search.clickhouse import centroids, lookup
from search.clickhouse import client as engine
from search.clickhouse.schema import VECTOR_COLUMNS, ItemTable
from search.clustering.curves import Curve
from search.errors import SearchUnavailable
from search.evaluation import calibration, profile
from search.evaluation.advice import advice
from search.ingestion import clusters, control, publishing, shard_run, sweeper, tasks
from search.jobs import broker
from search.jobs.leases import MAX_FAILURES
from search.management.console import Error
from search.models import CalibrationRun, Dataset, Evaluation, Shard, Training

pytestmark = pytest.mark.django_db
DIMENSION, ROWS = 16, 100  # of a shard


def drawn(seed: int, rows: int = ROWS) -> np.ndarray:
    """Vectors around sixty centres, with a large mean, as of CLIP."""
    centres = np.random.default_rng(0).standard_normal((60, DIMENSION)) + 1
    random = np.random.default_rng((1, seed))
    own = random.standard_normal((rows, DIMENSION))
    return unit(centres[random.integers(60, size=rows)] + 0.8 * own)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write(folder, number: int, text: bool = True, rows: int = ROWS) -> None:
    image = drawn(number, rows)
    np.save(folder / f"img_emb_{number}.npy", image.astype(np.float16))
    if text:
        noise = 0.7 * np.random.default_rng(number).standard_normal(image.shape)
        captions = unit(image + 0.25 * noise).astype(np.float16)
        np.save(folder / f"text_emb_{number}.npy", captions)
    table = pa.table(
        {
            "url": [f"http://e.org/{number}/{row}.jpg" for row in range(rows)],
            "caption": ["a house"] * rows,
        }
    )
    pq.write_table(table, folder / f"metadata_{number}.parquet")


@pytest.fixture(autouse=True)
def no_profiles(monkeypatch):
    """Nothing but calibrations is due."""
    monkeypatch.setattr(profile, "is_due", lambda dataset: False)


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    """Clusters of about thirty rows, and messages that nobody reads."""
    monkeypatch.setattr(
        clusters, "clusters_for", lambda rows, sample: max(1, rows // 30)
    )
    monkeypatch.setattr(calibration, "QUERIES", 60)
    monkeypatch.setattr(tasks.ingest_shard, "delay", lambda key: None)
    monkeypatch.setattr(tasks.publish, "delay", lambda dataset, number: None)
    monkeypatch.setattr(broker, "queue_is_empty", lambda task: True)


@pytest.fixture(autouse=True)
def asked(monkeypatch) -> list[int]:
    """The datasets that tasks were sent to calibrate."""
    sent: list[int] = []
    monkeypatch.setattr(tasks.calibrate, "delay", sent.append)
    return sent


@pytest.fixture
def made(tmp_path) -> Iterator[Dataset]:
    """A dataset of two partitions, of which nothing is imported yet."""
    for number in (0, 4):
        write(tmp_path, number)
    dataset = tiny_dataset(tmp_path, index="clusters", dimension=DIMENSION)
    yield dataset
    drop_tables(Dataset(slug="tiny", dimension=DIMENSION))


@pytest.fixture
def listed(monkeypatch) -> Dataset:
    """A dataset in clusters by the ledger, of which nothing is in the engine."""
    monkeypatch.setattr(calibration, "_measure", lambda dataset: curves(version=1))
    dataset = Dataset.objects.create(slug="listed", title="Listed", index="clusters")
    Shard.objects.create(
        dataset=dataset, number=0, state=Shard.State.INGESTED, rows_visible=100
    )
    Training.objects.create(dataset=dataset, version=1, clusters=9, is_due=False)
    return dataset


def curves(**known) -> dict:
    return {field: {"rows": 100, "version": 1, **known} for field in VECTOR_COLUMNS}


def calibrated(dataset: Dataset) -> Dataset:
    assert calibration.calibrate(dataset.pk)
    dataset.refresh_from_db()
    return dataset


def stored(table: ItemTable, field: str) -> tuple[np.ndarray, np.ndarray]:
    """Return all vectors of a field, and their clusters, as they are searched."""
    (live,) = centroids.live_versions(table, field)
    rows = engine.rows(
        f"SELECT cluster, CAST(vector AS Array(Float32)) AS vector "
        f"FROM {table.clustered(field).name}"
    )
    vectors = np.array([row["vector"] for row in rows]) + table.mean(field)
    return vectors, np.array([row["cluster"] for row in rows]) - live.first_cluster


def test_the_share_of_a_curve_finds_as_many_as_it_says(tmp_path, made, monkeypatch):
    """Other queries of both kinds, in both fields, against exact answers."""
    for number in (0, 4):
        write(tmp_path, number, rows=1_500)
    import_all(made)
    dataset = calibrated(made)
    ids = [row["id"] for row in engine.rows("SELECT id FROM item_tiny")][1::29]
    for field, kind in product(VECTOR_COLUMNS, calibration.KINDS):
        table = dataset.item_table
        asking = lookup.embeddings(table, calibration.KINDS[kind], ids)
        curve = dataset.curve(field, kind)
        assert curve.shares[-1] == curve.recalls[10][-1] == 1.0
        for recall in (0.8, 0.95):
            share = curve.share_for(recall, 10)
            assert 0.001 < share < 0.6
            queries = unit(np.stack(list(asking.values())))
            assert recall_of(table, field, queries, share) > recall - 0.05
    # Captions lie farther from images than images do.
    words, pictures = (dataset.curve("image", kind) for kind in calibration.KINDS)
    assert words.share_for(0.9, 10) > pictures.share_for(0.9, 10)
    # Of a larger table some rows are drawn, and more is read.
    monkeypatch.setattr(calibration, "MAX_ROWS", 600)
    assert calibration.calibrate(made.pk, forced=True)
    part = Dataset.objects.get(slug="tiny").curve("image", "pictures")
    assert sorted(part.recalls) == [50, 500, 5_000]
    for recall in (0.8, 0.95):
        assert part.share_for(recall, 10) >= 0.9 * pictures.share_for(recall, 10)
        assert part.share_for(recall, 50) < 2 * pictures.share_for(recall, 50)


def recall_of(table: ItemTable, field: str, queries: np.ndarray, share: float) -> float:
    """Return the recall of the nearest ten in the clusters that are read."""
    vectors, numbers = stored(table, field)
    (live,) = centroids.live_versions(table, field)
    found = []
    for query in queries:
        true = np.argsort(-(vectors @ query))[:10]
        read = live.centroids.route(query, share, live.sizes)
        found.append(np.isin(numbers[true], read).mean())
    return float(np.mean(found))


def test_an_evaluation_reads_as_much_as_searches_do(tmp_path, made, client):
    for number in (0, 4):
        write(tmp_path, number, rows=600)
    import_all(made)
    dataset = calibrated(made)
    output = StringIO()
    call_command("evaluate", "tiny", queries=40, seed=9, stdout=output)
    evaluation = dataset.evaluations.get()
    kinds = [calibration.WORDS, *[calibration.PICTURES] * 2, calibration.WORDS]
    for each, kind in zip(evaluation.figures, kinds, strict=True):
        curve, rank = dataset.curve(each["field"], kind), 40
        if each["name"] == "neighbours of an item":
            rank = 10
        assert each["share"] == pytest.approx(curve.share_for(0.95, rank), abs=1e-6)
        assert each["width"] is None
        assert each["recall_10"] > 0.9
        assert each["wider_share"] > each["share"]
        assert each["wider_recall_10"] >= each["recall_10"]
        assert f"{each['share']:7.2%} {each['recall_1']:9.3f}" in output.getvalue()
    assert output.getvalue().count("with recall=0.99") == 4
    assert advice(evaluation) == []
    page = Page(client.get("/d/tiny/"))
    assert page.text.count("… with recall=0.99") == 4
    shown = client.get("/api/datasets/tiny/").json()["evaluation"]["figures"]
    assert [each["share"] for each in shown] == [
        each["share"] for each in evaluation.figures
    ]


def test_advice_on_clusters_names_what_to_run(listed):
    figures = {"name": "captions by words", "share": 0.02, "recall_10": 0.92}
    figures |= {"ann_p50_ms": 8.2, "wider_share": 0.0634, "wider_recall_10": 0.981}
    evaluation = Evaluation(dataset=listed, rows=100, rows_without_index=0)
    evaluation.figures = [figures | {"wider_p50_ms": 15.1}]
    Dataset.objects.filter(slug="listed").update(calibration=curves())
    listed.refresh_from_db()
    reading, anew = advice(evaluation)
    assert reading == (
        "Captions by words: recall@10 is 0.920, below 0.95. With recall=0.99, which "
        "reads 6.3% of the rows in place of 2.0%, it is 0.981, at 15.1 ms in place of "
        "8.2."
    )
    assert anew.endswith("manage.py dataset calibrate listed.")
    evaluation.figures[0]["recall_10"] = 0.94  # by chance
    assert advice(evaluation) == []
    (more,) = advice(evaluation, is_outgrown=True)
    assert more.endswith("manage.py dataset reindex listed.")
    listed.calibration = {}
    assert advice(evaluation) == [anew]
    # Of the graph that it had before.
    del evaluation.figures[0]["share"]
    (again,) = advice(evaluation)
    assert again.endswith("manage.py evaluate listed.")


def test_without_vectors_of_captions_words_are_harder_by_a_factor(tmp_path, made):
    with pytest.raises(Error, match="has no items yet"):
        printed("tiny")
    for number in (0, 4):
        (tmp_path / f"text_emb_{number}.npy").unlink()
    import_all(made)
    lines = printed("tiny").splitlines()
    made.refresh_from_db()
    assert list(made.calibration) == ["image"]
    words, pictures = (made.curve("image", kind) for kind in calibration.KINDS)
    least = pictures.share_for(0.1, 10)
    assert words.share_for(0.1, 10) == pytest.approx(calibration.WORDS_FACTOR * least)
    assert lines[0] == "Field image, searched by words:"
    assert f"{0.95:12.3f} {pictures.share_for(0.95, 10):10.2%}" in lines
    made.index = "graph"
    made.save()
    with pytest.raises(Error, match="only clusters are calibrated"):
        printed("tiny")


def printed(slug: str) -> str:
    output = StringIO()
    call_command("dataset", "calibrate", slug, stdout=output)
    return output.getvalue()


def test_publishing_asks_for_it_once_nothing_else_waits(tmp_path, made, asked):
    arrive(made)
    tasks.publish(made.pk, 0)
    assert asked == []  # the partition 1 waits
    tasks.publish(made.pk, 1)
    assert asked == [made.pk]
    measure = calibration._measure

    def publish_meanwhile(dataset):
        found = measure(dataset)
        write(tmp_path, 8)
        arrive(made)
        publish(made)
        return found

    with patch.object(calibration, "_measure", publish_meanwhile):
        tasks.calibrate(made.pk)
    made.refresh_from_db()
    assert made.calibration["image"]["rows"] == 2 * ROWS
    # For the rows that have come.
    assert sweeper.recover() == 1 and asked == [made.pk] * 2
    assert calibrated(made).calibration["text"]["rows"] == 3 * ROWS
    # Other clusters are measured after the move.
    asked.clear()
    clusters.schedule(made, made.training)
    for partition in (0, 1, 2):
        assert not asked
        assert not calibration.calibrate(made.pk)
        tasks.publish(made.pk, partition)
    assert asked == [made.pk]
    assert made.calibration["image"]["version"] == 1
    assert calibrated(made).calibration["image"]["version"] == 2
    assert made.curve("image", "words") and made.curve("text", "pictures")


def arrive(dataset: Dataset) -> None:
    """Import the new shards of a dataset's source, without publishing them."""
    control.discover_shards(dataset)
    new = dataset.shards.filter(state=Shard.State.PENDING)
    keys = list(new.values_list("pk", flat=True))
    control.queue(dataset, new)
    assert all(map(shard_run.ingest, keys))


@pytest.mark.parametrize(
    ("known", "due"),
    [
        ({}, True),
        (curves(), False),
        ({"image": curves()["image"]}, True),
        (curves(version=2), True),
        (curves(rows=67), False),
        (curves(rows=66), True),
        (curves(rows=149), False),
        (curves(rows=150), True),
    ],
)
def test_many_more_rows_and_other_clusters_make_it_due(listed, asked, known, due):
    Dataset.objects.filter(slug="listed").update(calibration=known)
    assert tasks.enqueue_due_calibration(listed) == len(asked) == int(due)
    assert calibration.calibrate(listed.pk) == due


def test_graphs_and_single_clusters_need_none(listed):
    Training.objects.filter(dataset=listed).update(clusters=1)
    assert not calibration.calibrate(listed.pk)
    Training.objects.filter(dataset=listed).update(clusters=9)
    Dataset.objects.filter(slug="listed").update(index="graph")
    assert not calibration.calibrate(listed.pk)
    Dataset.objects.filter(slug="listed").update(index="clusters")
    Training.objects.filter(dataset=listed).update(is_due=True)
    assert not calibration.calibrate(listed.pk)


def test_one_worker_at_a_time_measures(listed):
    """Two publications that end at once both ask for it."""
    others = []

    def other_worker(dataset):
        others.append(calibration.calibrate(dataset.pk))
        others.append(calibration.calibrate(dataset.pk, forced=True))
        return curves()

    with patch.object(calibration, "_measure", other_worker):
        assert calibration.calibrate(listed.pk)
    assert others == [False, False]
    assert not calibration.calibrate(listed.pk)  # the second message


def test_what_a_dead_worker_left_is_done_again(listed, asked):
    dies = patch.object(calibration, "_measure", side_effect=KeyboardInterrupt)
    with dies, pytest.raises(KeyboardInterrupt):
        calibration.calibrate(listed.pk)
    assert sweeper.recover() == 0  # it may be at work
    past = timezone.now() - timedelta(seconds=1)
    CalibrationRun.objects.update(lease_until=past)
    assert sweeper.recover() == 1 and asked == [listed.pk]
    CalibrationRun.objects.update(lease_until=timezone.now() + timedelta(hours=1))
    sweeper.recover_alone()  # all other workers are dead
    assert asked == [listed.pk] * 2
    tasks.calibrate(listed.pk)
    assert Dataset.objects.get(slug="listed").calibration == curves()
    assert CalibrationRun.objects.get(dataset=listed).failures == 0


def test_what_fails_often_waits_for_the_next_publication(listed, monkeypatch):
    away = SearchUnavailable("The engine is away.")
    with patch.object(calibration, "_measure", side_effect=away):
        for _ in range(MAX_FAILURES):
            assert sweeper.recover() == 1
            tasks.calibrate(listed.pk)  # logs the error
    assert sweeper.recover() == 0
    monkeypatch.setattr(publishing, "publish", lambda dataset, number: True)
    tasks.publish(listed.pk, 0)
    assert sweeper.recover() == 1


def test_a_dataset_that_is_dropped_meanwhile_stays_dropped(listed):
    def drop_meanwhile(dataset):
        drop_for_good(Dataset.objects.get(pk=dataset.pk))
        return curves()

    with patch.object(calibration, "_measure", drop_meanwhile):
        assert not calibration.calibrate(listed.pk)
    assert not Dataset.objects.filter(slug="listed").exists()
    assert not calibration.calibrate(listed.pk)


def test_the_page_and_the_api_show_the_curves(listed, client):
    words = Curve((1e-3, 0.1, 1.0), {10: (0.5, 0.96, 1.0), 100: (0.3, 0.8, 1.0)})
    pictures = Curve((1e-3, 0.02, 1.0), {10: (0.7, 0.96, 1.0), 100: (0.3, 0.8, 1.0)})
    known = curves(measured=timezone.now().isoformat(), words=words.to_json())
    known["image"]["pictures"] = pictures.to_json()
    Dataset.objects.filter(slug="listed").update(calibration=known)
    page = Page(client.get("/d/listed/"))
    assert "9 clusters of 11 rows on average, version 1" in page.text
    sentence = (
        "a search by words reads 10% of the rows, and one by an image reads 2.00%"
    )
    assert sentence in page.text
    assert "a search by words reads 10% of the rows. Measured" in page.text  # captions
    named = page.all("svg", "aria-labelledby", role="img")
    assert named == [f"curve-{field} curve-{field}-text" for field in VECTOR_COLUMNS]
    assert set(" ".join(named).split()) <= {
        *page.all("title", "id"),
        *page.all("desc", "id"),
    }
    # At .7 a fourth from the left; then .96, and the other end.
    (path,) = page.all("path", "d", **{"class": "pictures"})
    assert path == "M193.0 85.2L381.6 21.8L628.0 12.0"
    assert "0.95 10% 2.00%" in page.text

    index = client.get("/api/datasets/listed/").json()["index"]
    assert (index["kind"], index["clusters"], index["version"]) == ("clusters", 9, 1)
    image, text = index["calibration"]
    assert (image["field"], image["rows"], image["version"]) == ("image", 100, 1)
    assert image["images"] == {
        "share": 0.02,
        "neighbours": 10,
        "shares": [0.001, 0.02, 1.0],
        "recalls": [0.7, 0.96, 1.0],
    }
    assert image["words"]["share"] == 0.1
    assert text["images"] is None
    Dataset.objects.filter(slug="listed").update(index="graph")
    assert not Page(client.get("/d/listed/")).all("svg", "role")
    index = client.get("/api/datasets/listed/").json()["index"]
    assert (index["clusters"], index["calibration"]) == (None, [])


def test_curves_of_all_rows_and_of_harder_queries():
    curve = Curve((0.1, 0.5, 1.0), {10: (0.5, 0.9, 1.0), 100: (0.3, 0.8, 1.0)})
    assert sorted(curve.of_all(0.25).recalls) == [40, 400]
    assert curve.of_all(0.25).share_for(0.9, 40) == curve.share_for(0.9, 10)
    harder = curve.harder(3)
    assert harder.shares == pytest.approx((0.3, 1.0))
    assert harder.recalls[10] == (0.5, 1.0)
