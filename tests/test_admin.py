"""The admin's pages: adding, importing and deleting datasets."""

from pathlib import Path

import pytest
from django.urls import reverse
from support.tiny_shards import (
    DIMENSION,
    drop_for_good,
    drop_tables,
    ids_of,
    import_all,
    queue,
    tiny_dataset,
    write_shard,
)

from search.clickhouse import client as clickhouse
from search.ingestion import control, deletion, shard_run, validation
from search.ingestion.tasks import ingest_shard
from search.models import Dataset, Shard

State = Shard.State
DATASETS = reverse("admin:search_dataset_changelist")
SHARDS = reverse("admin:search_shard_changelist")
FIELDS = {
    "title": "Another",
    "slug": "another",
    "safety": "labelled",
    "visibility": "public",
    "kind": "laion",
    "source": "",
    "shard_range": "",
    "columns": "{}",
    "ratings": "{}",
    "image_pattern": "img_emb/img_emb_{n}.npy",
    "text_pattern": "text_emb/text_emb_{n}.npy",
    "metadata_pattern": "metadata/metadata_{n}.parquet",
    "model": "m",
    "weights": "",
    "dimension": 8,
    "metric": "cosineDistance",
    "index": "clusters",
    "index_connections": 32,
    "index_construction": 64,
    "index_quantization": "bf16",
    "shards_per_partition": 4,
}
ADDRESS = {"source": "https://example.org/embeddings", "shard_range": "0-409"}


@pytest.fixture
def staff(admin_client):
    return admin_client


@pytest.fixture
def small(db, tmp_path: Path):
    """A dataset of two shards to import."""
    for number in (0, 1):
        write_shard(tmp_path, number)
    dataset = tiny_dataset(tmp_path, slug="small", title="Small")
    yield dataset
    drop_tables(dataset)


@pytest.fixture
def queued(monkeypatch) -> list[int]:
    """The keys of the shards that were sent to the workers."""
    keys: list[int] = []
    monkeypatch.setattr(ingest_shard, "delay", keys.append)
    return keys


@pytest.fixture
def act(staff, django_capture_on_commit_callbacks):
    """Return a function that runs an action on rows and returns the messages."""

    def act(address: str, action: str, *rows, **more) -> list[str]:
        chosen = {"action": action, "_selected_action": [row.pk for row in rows]}
        with django_capture_on_commit_callbacks(execute=True):
            answer = staff.post(address, {**chosen, **more})
        assert answer.status_code == 302
        return [str(message) for message in staff.get(address).context["messages"]]

    return act


def tables() -> set[str]:
    return {row["name"] for row in clickhouse.rows("SHOW TABLES")}


def keys(dataset: Dataset) -> list[int]:
    return list(dataset.shards.values_list("pk", flat=True))


def test_only_staff_gets_in(client, small):
    for address in (DATASETS, SHARDS):
        answer = client.get(address)
        assert answer.status_code == 302
        assert answer["Location"].startswith(reverse("admin:login"))


def test_start_enters_the_shards_and_hands_them_to_the_worker(small, act, queued):
    (said,) = act(DATASETS, "start", small)
    assert said == "Small: 2 shards are queued."
    assert [shard.number for shard in small.shards.all()] == [0, 1]
    assert {shard.state for shard in small.shards.all()} == {State.QUEUED}
    assert queued == keys(small)


def test_shards_that_are_on_their_way_are_not_queued_again(small, act, queued):
    act(DATASETS, "start", small)
    queued.clear()
    small.shards.update(state=State.INGESTING)
    (said,) = act(DATASETS, "start", small)
    assert said == "Small: there is nothing to bring in."
    assert queued == []
    assert {shard.state for shard in small.shards.all()} == {State.INGESTING}


def test_start_leaves_out_what_is_in_already(small, act, queued):
    control.discover_shards(small)
    first, second = small.shards.all()
    Shard.objects.filter(pk=first.pk).update(state=State.INGESTED, rows=40)
    Shard.objects.filter(pk=second.pk).update(state=State.FAILED, error="Broken.")
    act(DATASETS, "start", small)
    assert queued == [second.pk]
    assert small.shards.get(pk=second.pk).error == ""


def test_laion_shards_want_a_removal_list_first(small, act, queued):
    Dataset.objects.filter(pk=small.pk).update(without_removal_list=False)
    (said,) = act(DATASETS, "start", small)
    assert said.startswith("Small: Import a removal list first")
    assert queued == []


@pytest.mark.parametrize(
    ("source", "sentence"),
    [("{}/nowhere", "There is no folder {}/nowhere"), ("{}", "no shards in {}")],
)
def test_start_without_shards_says_what_is_missing(
    small, act, queued, tmp_path_factory, source, sentence
):
    empty = tmp_path_factory.mktemp("empty")
    Dataset.objects.filter(pk=small.pk).update(source=source.format(empty))
    (said,) = act(DATASETS, "start", small)
    assert said.startswith("Small: ")
    assert sentence.format(empty) in said
    assert queued == []


def test_the_lists_show_how_the_imports_stand(small, staff, queued):
    _, second = queue(small)
    control.pause(small.shards.filter(pk=second))
    shard_run.ingest(queued[0])
    control.tasks.publishing.publish(small, 0)
    Shard.objects.filter(pk=second).update(
        state=State.FAILED, error="<b>metadata_1.parquet</b> is missing."
    )
    datasets = staff.get(DATASETS).content.decode()
    assert "1 ingested, 1 failed" in datasets
    assert '<td class="field-items">40</td>' in datasets
    assert reverse("ingestion", args=["small"]) in datasets
    shards = staff.get(SHARDS).content.decode()
    assert "40 of 40" in shards
    assert "&lt;b&gt;metadata_1.parquet&lt;/b&gt; is missing." in shards


def test_slugs_with_hyphens_have_tables_of_their_own(db, tmp_path):
    write_shard(tmp_path, 0)
    names = "a-b", "a_b", "2024-a-b", "ab"
    datasets = [tiny_dataset(tmp_path, slug=slug) for slug in names]
    for dataset in datasets:
        import_all(dataset)
    drop_for_good(datasets[0])
    assert "item_aXb" not in tables()
    for dataset in datasets[1:]:
        assert len(ids_of(dataset)) == 40
        drop_for_good(dataset)
    assert not tables() & {"item_a_b", "item_2024XaXb", "item_ab"}


@pytest.mark.parametrize("way", ["from its page", "from the list"])
def test_deleting_a_dataset_drops_its_table(small, act, staff, way):
    import_all(small)
    assert "item_small" in tables()
    before = tables()
    if way == "from the list":
        act(DATASETS, "delete_selected", small, post="yes")
    else:
        address = reverse("admin:search_dataset_delete", args=[small.pk])
        staff.post(address, {"post": "yes"})
    assert not Dataset.objects.filter(slug="small").exists()
    own = {f"item_small{name}" for name in ("", "_IMAGE", "_TEXT", "_CENTROIDS")}
    assert own <= before == tables()
    deletion.purge(deletion.find_deleted(small.pk))
    assert tables() == before - own


def test_a_dataset_that_was_never_brought_in_can_be_deleted(small, act):
    act(DATASETS, "delete_selected", small, post="yes")
    assert not Dataset.objects.filter(slug="small").exists()


def test_a_change_leaves_what_a_worker_writes_meanwhile(small, staff, monkeypatch):
    def slow_check(_: Dataset) -> dict[str, str]:
        Dataset.objects.filter(pk=small.pk).update(image_mean="0000803f")
        return {}

    monkeypatch.setattr(validation, "validation_errors", slow_check)
    address = reverse("admin:search_dataset_change", args=[small.pk])
    changed = {"slug": "small", "title": "Renamed"}
    assert staff.post(address, FIELDS | changed).status_code == 302
    small.refresh_from_db()
    assert (small.title, small.image_mean) == ("Renamed", "0000803f")


def test_what_decides_the_table_is_fixed_once_there_are_shards(small, staff):
    address = reverse("admin:search_dataset_change", args=[small.pk])
    assert 'name="dimension"' in staff.get(address).content.decode()
    control.discover_shards(small)
    page = staff.get(address).content.decode()
    for name in ("slug", "dimension", "metric", "index_connections"):
        assert f'name="{name}"' not in page
    assert reverse("ingestion", args=["small"]) in page
    changed = {"title": "Renamed", "slug": "other", "dimension": 3}
    assert staff.post(address, FIELDS | changed).status_code == 302
    small.refresh_from_db()
    assert (small.title, small.slug, small.dimension) == ("Renamed", "small", DIMENSION)


def add(staff, **fields) -> dict[str, list[str]]:
    """Submit a dataset; return the errors of its fields."""
    answer = staff.post(reverse("admin:search_dataset_add"), FIELDS | fields)
    if answer.status_code == 302:
        return {}
    return dict(answer.context["adminform"].form.errors)


@pytest.mark.parametrize("slug", ["Small", "-a", "_a", "a b", "ä", "a;drop", ""])
def test_a_slug_that_could_not_name_a_table_is_refused(staff, slug):
    assert set(add(staff, slug=slug)) == {"slug"}
    assert not Dataset.objects.filter(title="Another").exists()


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"shard_range": "7-3"}, "shard_range", "ends before it begins"),
        ({"source": "https://example.org/x"}, "shard_range", "Say which shards"),
        (ADDRESS | {"image_pattern": "img.npy"}, "image_pattern", "has no {n}"),
        (ADDRESS | {"text_pattern": "../{n}"}, "text_pattern", "is not a path"),
        (ADDRESS | {"source": "https://a:b@c/"}, "source", "must have no user name"),
        (ADDRESS | {"kind": "images"}, "source", "Only LAION shards are fetched"),
        ({"source": "/etc"}, "source", "Datasets may come from"),
        ({"columns": '["url"]'}, "columns", "Write the columns as"),
        ({"columns": '{"url": 7}'}, "columns", "Write the columns as"),
        ({"ratings": '{"all ages": "safe"}'}, "ratings", "Write the ratings as"),
        ({"ratings": '{"threshold": "x"}'}, "ratings", "is a number such as 0.3"),
        ({"columns": '{"picture": "x"}'}, "columns", "“picture” is none of url,"),
        (
            {"columns": '{"embedding": "x"}'},
            "columns",
            "Only a dataset of the kind par",
        ),
    ],
)
def test_a_source_that_cannot_be_read_is_told_at_its_field(
    staff, fields, field, sentence
):
    errors = add(staff, **fields)
    assert set(errors) == {field}
    assert sentence in errors[field][0]


@pytest.mark.parametrize("fields", [{}, ADDRESS, {"columns": ""}])
def test_a_dataset_is_entered(staff, fields):
    assert add(staff, **fields) == {}
    assert Dataset.objects.get(slug="another").columns == {}


def test_shards_are_neither_added_nor_edited_nor_deleted_by_hand(small, staff):
    control.discover_shards(small)
    shard = small.shards.first()
    assert staff.get(reverse("admin:search_shard_add")).status_code == 403
    address = reverse("admin:search_shard_change", args=[shard.pk])
    page = staff.get(address)
    assert page.status_code == 200
    assert 'name="state"' not in page.content.decode()
    assert staff.post(address, {"state": "ingested", "rows": 7}).status_code == 403
    address = reverse("admin:search_shard_delete", args=[shard.pk])
    assert staff.post(address, {"post": "yes"}).status_code == 403
    assert small.shards.get(pk=shard.pk).state == State.PENDING
