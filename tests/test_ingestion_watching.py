"""Watched sources: new files come in, items of removed ones are hidden."""

import io
import os
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone
from PIL import Image
from support.tiny_shards import drop_tables, ids_of, import_all, publish, rows_of

from postcards.shards import MODEL
from search.clickhouse.schema import SHARD_BITS
from search.encoder import openclip
from search.errors import InvalidQuery
from search.ingestion import control, shard_run, sweeper, tasks, watching
from search.ingestion.sources import image_lists
from search.ingestion.sources.image_fetch import read_image
from search.jobs import broker
from search.models import Dataset, Shard, Watch
from search.removals import takedowns

pytestmark = pytest.mark.django_db
State = Shard.State


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    monkeypatch.setattr(tasks.ingest_shard, "delay", lambda key: None)
    monkeypatch.setattr(tasks.publish, "delay", lambda *partition: None)
    monkeypatch.setattr(tasks.hide_removed, "delay", tasks.hide_removed)
    monkeypatch.setattr(broker, "queue_is_empty", lambda task: True)


@pytest.fixture
def embedded(monkeypatch) -> list[int]:
    """The numbers of images that were embedded at a time."""
    counts, encode = [], openclip.OpenClipEncoder.encode_images

    def counted(self, images):
        counts.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(openclip.OpenClipEncoder, "encode_images", counted)
    return counts


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    for number in range(4):
        write(path / f"{number}.png", number)
    return path


@pytest.fixture
def album(folder) -> Iterator[Dataset]:
    dataset = Dataset.objects.create(
        slug="album",
        title="Album",
        kind=Dataset.Kind.IMAGES,
        model=MODEL,
        weights="",
        source=str(folder),
    )
    yield dataset
    drop_tables(dataset)


def write(path: Path, colour: int, age_s: float = 60) -> None:
    """Write an image of a colour of its own, some time ago."""
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (40 * colour % 256, 90, 200)).save(file, "PNG")
    path.write_bytes(file.getvalue())
    age(path, age_s)


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def look(dataset: Dataset) -> Watch:
    """Look at a source as if it were due, and import what is new."""
    Watch.objects.update(looked_at=None)
    watching.look(dataset.pk)
    for key in dataset.shards.filter(state=State.QUEUED).values_list("pk", flat=True):
        shard_run.ingest(key)
    publish(dataset)
    return Watch.objects.get()


def files(dataset: Dataset) -> dict[str, int]:
    """Return the ids of visible items by their files."""
    rows = rows_of(dataset)
    return {row["metadata"]["file"]: row["id"] for row in rows if not row["deleted"]}


def test_new_and_removed_files_come_and_go(album, folder, embedded):
    import_all(album)
    before = files(album)
    watching.switch_on(album)
    watch = look(album)
    assert (watch.new, watch.removed, watch.fault) == (0, 0, "")
    assert sum(embedded) == 4 and files(album) == before

    write(folder / "1b.png", 5)  # between the others
    (folder / "2.png").unlink()
    watch = look(album)
    assert (watch.new, watch.removed) == (1, 1)
    assert sum(embedded) == 5
    there = files(album)
    assert sorted(there) == ["0.png", "1.png", "1b.png", "3.png"]
    assert {name: there[name] for name in ("0.png", "1.png", "3.png")} == {
        name: before[name] for name in ("0.png", "1.png", "3.png")
    }
    # Another one joins the shard of the first, which is not embedded again.
    write(folder / "zz.png", 6)
    assert look(album).new == 1
    assert sum(embedded) == 6
    assert files(album)["zz.png"] == files(album)["1b.png"] + 1
    assert album.shards.count() == 2
    look(album)
    assert sum(embedded) == 6


def test_files_that_are_touched_renamed_or_back_are_not_embedded_again(
    album, folder, embedded
):
    import_all(album)
    before = files(album)
    watching.switch_on(album)
    look(album)
    age(folder / "0.png", 30)
    (folder / "1.png").rename(folder / "renamed.png")
    content = (folder / "3.png").read_bytes()
    (folder / "3.png").unlink()
    watch = look(album)
    assert (watch.new, watch.removed) == (0, 1)
    assert files(album)["renamed.png"] == before["1.png"]
    (folder / "3.png").write_bytes(content)
    age(folder / "3.png", 20)
    assert look(album).new == 1
    assert files(album)["3.png"] == before["3.png"]
    assert sum(embedded) == 4

    write(folder / "0.png", 7)  # another image by the same name
    watch = look(album)
    assert (watch.new, watch.removed) == (1, 1)
    assert files(album)["0.png"] != before["0.png"]
    assert sum(embedded) == 5


def test_what_is_taken_down_stays_hidden_when_its_file_is_back(album, folder):
    import_all(album)
    item = files(album)["3.png"]
    watching.switch_on(album)
    look(album)
    content = (folder / "3.png").read_bytes()
    (folder / "3.png").unlink()
    look(album)
    takedowns.take_down(album, item, "")
    (folder / "3.png").write_bytes(content)
    age(folder / "3.png", 20)
    look(album)
    assert "3.png" not in files(album)


@pytest.mark.parametrize("way", ["gone", "empty", "unreadable"])
def test_a_folder_that_is_away_as_a_whole_removes_nothing(
    album, folder, way, monkeypatch
):
    import_all(album)
    watching.switch_on(album)
    look(album)
    aside = folder.with_name("aside")
    if way == "unreadable":
        with monkeypatch.context() as patched:
            patched.setattr(os, "scandir", refuse)
            watch = look(album)
    else:
        folder.rename(aside)
        if way == "empty":
            folder.mkdir()
        watch = look(album)
        assert "nothing is removed" in watch.fault
    assert watch.fault and len(files(album)) == 4
    if way != "unreadable":
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    assert look(album).fault == "" and len(files(album)) == 4


def refuse(path):
    raise PermissionError(13, "no")


def test_files_that_are_being_written_wait(album, folder):
    import_all(album)
    watching.switch_on(album)
    look(album)
    write(folder / "new.png", 5, age_s=0)
    assert look(album).new == 0
    age(folder / "new.png", 60)
    assert look(album).new == 1
    # Of a clock that is ahead.
    write(folder / "ahead.png", 6, age_s=-7200)
    assert look(album).new == 1


def test_replacing_all_shards_keeps_ids_and_doubles_nothing(album, folder):
    import_all(album)
    watching.switch_on(album)
    look(album)
    write(folder / "00.png", 5)
    (folder / "1.png").unlink()
    look(album)
    before = files(album)
    control.discover_shards(album)
    import_all(album)
    control.queue(album, album.shards.all(), "replace")
    look(album)
    assert files(album) == before
    assert len(ids_of(album)) == len(before) == 4


def test_rows_added_to_a_list_come_in(tmp_path, monkeypatch, embedded):
    small = io.BytesIO()
    Image.new("RGB", (40, 30)).save(small, "PNG")

    def fetched(url):
        return read_image(small.getvalue())

    monkeypatch.setattr(image_lists, "fetch_image", fetched)
    path = tmp_path / "list.csv"
    lines = ["url,caption", *(f"https://a.b/{n},caption {n}" for n in range(3))]
    path.write_text("\n".join(lines) + "\n")
    age(path, 60)
    dataset = Dataset.objects.create(
        slug="listed", title="L", kind="images", model=MODEL, weights="", source=path
    )
    try:
        import_all(dataset)
        watching.switch_on(dataset)
        assert look(dataset).new == 0
        with path.open("a") as file:
            file.write("https://a.b/3,new\nhttps://a.b/4,newer\n")
        age(path, 50)
        assert look(dataset).new == 2
        assert ids_of(dataset) == [0, 1, 2, *((1 << SHARD_BITS) + n for n in (0, 1))]
        assert sum(embedded) == 5
        path.write_text("\n".join(["url,caption", "https://a.b/9,x", *lines[1:]]))
        age(path, 40)
        watch = look(dataset)
        assert "has changed before its end" in watch.fault
        assert len(ids_of(dataset)) == 5
    finally:
        drop_tables(dataset)


def test_looks_are_due_by_their_interval_and_by_the_sweeper(album, monkeypatch):
    import_all(album)
    asked = []
    monkeypatch.setattr(sweeper.watch, "delay", asked.append)
    watch = watching.switch_on(album, 60)
    sweeper.recover()
    assert asked == [album.pk]
    now = timezone.now()
    for looked_at, due in (
        (now - timedelta(seconds=50), False),
        (now - timedelta(seconds=61), True),
        (now + timedelta(days=2), True),  # the clock was wrong then
    ):
        Watch.objects.update(looked_at=looked_at)
        assert Watch.objects.due().exists() is due
    watching.switch_off(album)
    assert not Watch.objects.due().exists()
    with pytest.raises(InvalidQuery, match="interval"):
        watching.switch_on(album, 5)
    album.source = str(Path(album.source) / "0.png")
    with pytest.raises(InvalidQuery, match="neither"):
        watching.switch_on(album)
    assert watch.dataset == album


def test_the_page_says_what_a_look_found(album, folder, admin_client, client):
    import_all(album)
    address = reverse("dataset-watch", args=["album"])
    assert admin_client.post(address, {"active": "yes"}).status_code == 302
    write(folder / "new.png", 5)
    look(album)
    page = admin_client.get("/d/album/").content.decode()
    assert str(folder) in page and "1 new, 0 removed" in page
    assert str(folder) not in client.get("/d/album/").content.decode()
    assert admin_client.post(address, {}).status_code == 302
    assert not Watch.objects.get().active
    assert client.post(address, {"active": "yes"}).status_code in (302, 404)
    assert not Watch.objects.get().active
    put = admin_client.put(
        "/api/datasets/album/watch/",
        {"active": True, "every_s": 30},
        content_type="application/json",
    )
    assert put.status_code == 200 and put.json()["every_s"] == 30
    assert admin_client.get("/api/datasets/album/watch/").json()["new"] == 1
