"""The pages of the staff: datasets are added, brought in and taken away there."""

import re
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from postcards.shards import MODEL
from search.clickhouse import client as clickhouse
from search.clickhouse import schema
from search.ingestion import run
from search.ingestion.tasks import ingest_shard
from search.models import Dataset, Shard
from search.service import table_of
from tests.test_ingestion import DIMENSION, bring_in, write_shard

State = Shard.State
INGEST_TIMEOUT_S = 120
DATASETS = reverse("admin:search_dataset_changelist")
SHARDS = reverse("admin:search_shard_changelist")


# --- With Django's client


@pytest.fixture
def staff(admin_client):
    return admin_client


@pytest.fixture
def small(db, tmp_path: Path):
    """A dataset of two shards that is not in yet."""
    for number in (0, 1):
        write_shard(tmp_path, number)
    dataset = Dataset.objects.create(
        slug="small", title="Small", dimension=DIMENSION, source=str(tmp_path)
    )
    yield dataset
    schema.drop(table_of(dataset))


@pytest.fixture
def queued(monkeypatch) -> list[int]:
    """The keys of the shards that were handed to the worker."""
    keys: list[int] = []
    monkeypatch.setattr(ingest_shard, "delay", keys.append)
    return keys


@pytest.fixture
def act(staff, django_capture_on_commit_callbacks):
    """Runs an action on some rows of a list; returns what the next page says."""

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


def test_ingest_enters_the_shards_and_hands_them_to_the_worker(small, act, queued):
    (said,) = act(DATASETS, "ingest_datasets", small)
    assert said.startswith("Small: 2 shards are queued")
    assert [shard.number for shard in small.shards.all()] == [0, 1]
    assert {shard.state for shard in small.shards.all()} == {State.QUEUED}
    assert queued == keys(small)


def test_shards_that_are_on_their_way_are_not_queued_again(small, act, queued):
    act(DATASETS, "ingest_datasets", small)
    queued.clear()
    later = timezone.now() + timedelta(minutes=1)
    small.shards.update(state=State.INGESTING, lease_until=later)
    (said,) = act(DATASETS, "ingest_datasets", small)
    assert said == "Small: there is nothing to bring in."
    act(SHARDS, "ingest_shards", *small.shards.all())
    assert queued == []
    assert {shard.state for shard in small.shards.all()} == {State.INGESTING}


def test_a_shard_whose_run_has_died_is_queued_again(small, act, queued):
    run.find_shards(small)
    before = timezone.now() - timedelta(seconds=1)
    small.shards.update(state=State.INGESTING, lease_until=before)
    act(DATASETS, "ingest_datasets", small)
    assert queued == keys(small)


def test_ingest_on_a_dataset_leaves_out_what_is_in_already(small, act, queued):
    run.find_shards(small)
    first, second = small.shards.all()
    Shard.objects.filter(pk=first.pk).update(state=State.INGESTED, rows=40)
    Shard.objects.filter(pk=second.pk).update(state=State.FAILED, error="Broken.")
    act(DATASETS, "ingest_datasets", small)
    assert queued == [second.pk]
    assert small.shards.get(pk=second.pk).error == ""


def test_ingest_on_a_shard_brings_it_in_again(small, act, queued):
    first, second = bring_in(small)
    (said,) = act(SHARDS, "ingest_shards", second)
    assert "1 shard is queued" in said
    assert queued == [second.pk]
    assert run.ingest(second.pk)
    assert small.shards.get(pk=second.pk).state == State.INGESTED
    assert small.item_count() == 80


@pytest.mark.parametrize(
    ("source", "sentence"),
    [("{}/nowhere", "There is no folder {}/nowhere"), ("{}", "no shards in {}")],
)
def test_ingest_without_shards_says_what_is_missing(
    small, act, queued, tmp_path_factory, source, sentence
):
    empty = tmp_path_factory.mktemp("empty")
    Dataset.objects.filter(pk=small.pk).update(source=source.format(empty))
    (said,) = act(DATASETS, "ingest_datasets", small)
    assert said.startswith("Small: ")
    assert sentence.format(empty) in said
    assert queued == []


def test_the_lists_show_how_the_imports_stand(small, staff):
    run.find_shards(small)
    first, second = small.shards.all()
    run.ingest(first.pk)
    Shard.objects.filter(pk=second.pk).update(
        state=State.FAILED, error="<b>metadata_1.parquet</b> is missing."
    )
    datasets = staff.get(DATASETS).content.decode()
    assert "1 ingested, 1 failed" in datasets
    assert '<td class="field-items">40</td>' in datasets
    shards = staff.get(SHARDS).content.decode()
    assert "40 of 40" in shards
    assert "&lt;b&gt;metadata_1.parquet&lt;/b&gt; is missing." in shards


@pytest.mark.parametrize("way", ["from its page", "from the list"])
def test_deleting_a_dataset_drops_its_table(small, act, staff, way):
    bring_in(small)
    assert "item_small" in tables()
    before = tables()
    if way == "from the list":
        act(DATASETS, "delete_selected", small, post="yes")
    else:
        address = reverse("admin:search_dataset_delete", args=[small.pk])
        staff.post(address, {"post": "yes"})
    assert not Dataset.objects.filter(slug="small").exists()
    assert tables() == before - {"item_small"}


def test_a_dataset_that_was_never_brought_in_can_be_deleted(small, act):
    act(DATASETS, "delete_selected", small, post="yes")
    assert not Dataset.objects.filter(slug="small").exists()


def test_what_decides_the_table_is_fixed_once_there_are_shards(small, staff):
    address = reverse("admin:search_dataset_change", args=[small.pk])
    assert 'name="dimension"' in staff.get(address).content.decode()
    run.find_shards(small)
    page = staff.get(address).content.decode()
    for name in ("slug", "dimension", "metric", "index_connections"):
        assert f'name="{name}"' not in page
    fields = {"title": "Renamed", "model": "other", "weights": "", "source": ""}
    answer = staff.post(address, {**fields, "slug": "other", "dimension": 3})
    assert answer.status_code == 302
    small.refresh_from_db()
    assert (small.title, small.slug, small.dimension) == ("Renamed", "small", DIMENSION)


@pytest.mark.parametrize("slug", ["Small", "9lives", "a-b", "a b", "ä", "a;drop", ""])
def test_a_slug_that_could_not_name_a_table_is_refused(staff, slug):
    fields = {"title": "Another", "model": "m", "metric": "cosineDistance"}
    numbers = {"dimension": 8, "index_connections": 32, "index_construction": 64}
    address = reverse("admin:search_dataset_add")
    answer = staff.post(address, {**fields, **numbers, "slug": slug})
    assert answer.status_code == 200
    assert "slug" in answer.context["adminform"].form.errors
    assert not Dataset.objects.filter(title="Another").exists()


def test_shards_are_neither_added_nor_edited_nor_deleted_by_hand(small, staff):
    run.find_shards(small)
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


# --- In the browser, with the worker of the server. pytest-django has tests that use
# its database run first, so that no browser is open when they do.


def test_staff_adds_a_dataset_that_then_can_be_searched(
    page, live_server_process, postcards_folder
):
    log_in(page, live_server_process.password)
    add_dataset(page, "second", postcards_folder)
    run_on(page, "second", "Ingest: bring in the shards that are not in yet")
    expect(page.locator(".messagelist")).to_contain_text("2 shards are queued")
    wait_until_ingested(page, "second")
    page.goto("/")
    page.get_by_label("Dataset").select_option("Second")
    expect(page.locator("#results .summary")).to_contain_text(
        "2,000 pictures of Second"
    )
    page.locator("#q").fill("a black cat")
    page.keyboard.press("Enter")
    expect(page.locator("#results .summary")).to_contain_text("Nearest of 2,000")
    expect(page).to_have_url(re.compile("dataset=second"))
    first = page.locator("#results a.picture").first
    expect(first).to_have_attribute("href", re.compile(r"^/d/second/\d+$"))

    run_on(page, "second", "Delete selected datasets")
    page.get_by_role("button", name="Yes, I’m sure").click()
    expect(page.locator(".messagelist")).to_contain_text("Successfully deleted 1")
    assert page.request.get("/?dataset=second&q=a").status == 404


def log_in(page: Page, password: str) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Site administration")).to_be_visible()


def add_dataset(page: Page, slug: str, source: Path) -> None:
    page.goto("/admin/search/dataset/add/")
    page.get_by_label("Title").fill(slug.title())
    page.get_by_label("Slug").fill(slug)
    page.get_by_label("Model").fill(MODEL)
    page.get_by_label("Weights").fill("")
    page.get_by_label("Source").fill(str(source))
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("was added successfully")


def run_on(page: Page, slug: str, action: str) -> None:
    page.goto("/admin/search/dataset/")
    row = page.get_by_role("row").filter(has_text=slug)
    row.get_by_role("checkbox").check()
    page.locator("select[name=action]").select_option(action)
    page.get_by_role("button", name=re.compile("^(Go|Run)")).click()


def wait_until_ingested(page: Page, slug: str) -> None:
    """Both shards are in."""
    deadline = time.monotonic() + INGEST_TIMEOUT_S
    while time.monotonic() < deadline:
        datasets = page.request.get("/api/datasets/").json()
        dataset = next((each for each in datasets if each["slug"] == slug), None)
        if dataset and dataset["items"] == 2_000:
            assert dataset["model"] == MODEL
            return
        page.wait_for_timeout(200)
    raise AssertionError(f"not brought in: {datasets}")
