"""Deleting datasets: gone at once, restored for a day, dropped by the sweeper."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone
from support.tiny_shards import (
    drop_for_good,
    drop_tables,
    ids_of,
    import_all,
    queue,
    tiny_dataset,
    write_shard,
)

from search.clickhouse import client as engine
from search.errors import NotFound, SearchUnavailable
from search.ingestion import deletion, publishing, shard_run, sweeper, tasks
from search.ingestion.setup import creation
from search.jobs import broker
from search.models import SYSTEM, Dataset, Shard
from search.retrieval import service
from search.thumbnails.service import storage_key
from search.thumbnails.store import store
from usercollections.models import Collection, CollectionItem, SavedSearch

pytestmark = pytest.mark.django_db
State = Shard.State


@pytest.fixture
def source(tmp_path):
    write_shard(tmp_path, 0)
    return tmp_path


@pytest.fixture
def tiny(source):
    dataset = tiny_dataset(source, without_removal_list=True)
    import_all(dataset)
    yield dataset
    for each in Dataset.everything.exclude(slug="postcards"):
        drop_tables(each)


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    keys: list[int] = []
    monkeypatch.setattr(tasks.ingest_shard, "delay", keys.append)
    monkeypatch.setattr(tasks.publish, "delay", lambda *partition: None)
    monkeypatch.setattr(broker, "queue_is_empty", lambda task: True)
    return keys


@pytest.fixture
def staff(admin_user, client):
    client.force_login(admin_user)
    return client


def a_day_later(dataset: Dataset) -> None:
    later = timezone.now() - deletion.KEPT - timedelta(minutes=1)
    Dataset.everything.filter(pk=dataset.pk).update(deleted_at=later)


def test_a_deleted_dataset_is_gone_at_once_and_comes_back(tiny, staff):
    collection = Collection.objects.create(owner=User.objects.get(), name="boats")
    member = CollectionItem(collection=collection, dataset="tiny", item=3, position=1)
    member.save()
    SavedSearch.objects.create(
        owner=User.objects.get(),
        name="boat",
        dataset="tiny",
        address="dataset=tiny&q=boat",
        looked_at=timezone.now(),
    )
    page = reverse("dataset-delete", args=["tiny"])
    shown = staff.get(page).content.decode()
    for goes in ("40 images", "1 member of collections", "1 saved search"):
        assert f"<li>{goes}</li>" in shown
    refused = staff.post(page, {"sure": "tinny"}).content.decode()
    assert "nothing was deleted" in refused and Dataset.objects.get(slug="tiny")
    assert staff.post(page, {"sure": "tiny"}).status_code == 302

    for address in ("/d/tiny/", "/d/tiny/3", "/t/tiny/3/160.webp", "/ingestion/tiny/"):
        assert staff.get(address).status_code == 404
    assert staff.get("/api/search/?dataset=tiny&q=item:3").status_code == 404
    with pytest.raises(NotFound):
        service.item("tiny", 3, SYSTEM)
    members = CollectionItem.objects.visible_to(SYSTEM)
    assert not members.filter(collection=collection).exists()

    listed = staff.get("/datasets/").content.decode()
    assert "Deleted" in listed and "40 images" in listed
    restored = staff.post(reverse("dataset-restore", args=[tiny.pk]))
    assert (restored.status_code, restored.url) == (302, "/d/tiny/")
    assert service.item("tiny", 3, SYSTEM).id == 3
    assert members.get(collection=collection).dataset == "tiny"
    again = staff.post(reverse("dataset-restore", args=[tiny.pk]), follow=True)
    assert "There is no deleted dataset" in again.content.decode()


def test_it_is_deleted_while_the_engine_is_away_and_dropped_when_it_is_back(
    tiny, monkeypatch
):
    def away(*_, **__):
        raise SearchUnavailable("The engine is away.")

    with monkeypatch.context() as patched:
        for name in ("rows", "command", "ping"):
            patched.setattr(engine, name, away)
        deletion.delete(tiny)
        a_day_later(tiny)
        with pytest.raises(SearchUnavailable):
            deletion.purge_due()
    assert Dataset.everything.filter(pk=tiny.pk).exists()
    sweeper.recover()
    assert not Dataset.everything.filter(pk=tiny.pk).exists()
    assert not engine.rows("SHOW TABLES LIKE 'item_tiny%'")


def test_a_new_dataset_of_its_slug_has_nothing_of_the_old_one(tiny, source, staff):
    collection = Collection.objects.create(owner=User.objects.get(), name="boats")
    CollectionItem.objects.create(
        collection=collection, dataset="tiny", item=3, position=1
    )
    deletion.delete(tiny)
    new = creation.create(tiny_of(source))
    with pytest.raises(NotFound):
        service.item("tiny", 3, SYSTEM)
    assert staff.get("/api/search/?dataset=tiny&q=item:3").status_code == 404
    shown = staff.get(reverse("collection", args=[collection.pk])).content.decode()
    assert "/d/tiny/3" not in shown
    write_shard(source, 0, rows=24)
    import_all(new)
    assert len(ids_of(new)) == 24
    restored = deletion.restore(deletion.find_deleted(tiny.pk))
    assert restored.slug == "tiny-2" and len(ids_of(restored)) == 40
    members = CollectionItem.objects.filter(collection=collection)
    assert members.get().dataset == "tiny-2"
    drop_for_good(restored)
    assert len(ids_of(new)) == 24 and not members.exists()
    collection.refresh_from_db()
    assert collection.size == 0


def tiny_of(source) -> Dataset:
    fields = {"title": "Tiny", "kind": "laion", "source": str(source), "dimension": 8}
    return Dataset(slug="tiny", without_removal_list=True, **fields)


def test_tables_that_no_ledger_knows_are_not_found_by_a_new_dataset(tiny, source):
    Dataset.objects.filter(pk=tiny.pk).delete()  # the tables stay
    creation.create(tiny_of(source))
    with pytest.raises(NotFound):
        service.item("tiny", 3, SYSTEM)


def test_an_import_waits_while_its_dataset_is_deleted(tiny, source, sent):
    write_shard(source, 1)
    (*_, key) = queue(tiny)
    Shard.objects.filter(pk=key).update(state=State.INGESTING)
    deletion.delete(tiny)
    sent.clear()
    Dataset.objects.all().delete()  # other work may be due
    assert not shard_run.ingest(key)
    assert sweeper.recover() == 0 and sent == []
    deletion.restore(deletion.find_deleted(tiny.pk))
    assert key in sent
    for each in Shard.objects.filter(state=State.QUEUED):
        assert shard_run.ingest(each.pk)
    publishing.publish(Dataset.objects.get(pk=tiny.pk), 0)
    assert Dataset.objects.get(pk=tiny.pk).item_count() == 80


def test_thumbnails_go_with_the_dataset(tiny):
    table = tiny.item_table.name
    (row,) = engine.rows(f"SELECT url FROM {table} WHERE id = 3")
    key, other = storage_key(row["url"]), storage_key("https://example.org/other")
    for each in (key, other):
        store().put(each, {160: b"RIFF\x04\0\0\0WEBP"})
    drop_for_good(tiny)
    assert store().get(key, 160) is None
    assert store().get(other, 160) is not None
    store().delete(other)


def test_only_staff_who_may_delete_does(tiny, client):
    user = User.objects.create_user("eva", password="secret")
    client.force_login(user)
    assert client.get(reverse("dataset-delete", args=["tiny"])).status_code == 404
    deletion.delete(tiny)
    assert "Deleted" not in client.get("/datasets/").content.decode()
    assert client.post(reverse("dataset-restore", args=[tiny.pk])).status_code == 404
    for method, path in (("get", ""), ("post", f"{tiny.pk}/restore/")):
        answer = getattr(client, method)(f"/api/deleted-datasets/{path}")
        assert answer.status_code == 403
