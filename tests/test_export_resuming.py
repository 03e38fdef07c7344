"""An export that breaks off anywhere ends with the same bytes when resumed."""

import json
import os
from itertools import count

import numpy as np
import pytest
from support import hostile_items
from support.collection_helpers import collection, first_ids
from support.export_helpers import bytes_of, check, made, rows, rows_of

from search.errors import InvalidQuery
from search.models import SYSTEM, Dataset, Removal, Shard
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.removals import takedowns
from search.retrieval import scan
from search.retrieval.service import unlimited

pytestmark = pytest.mark.django_db
ALL = Filters(nsfw="any")
KINDS = ("dataset", "concept", "search", "collection")


class BrokeOff(Exception):
    """The worker died or was stopped."""


@pytest.fixture(scope="module")
def crowd(django_db_setup, django_db_blocker):
    with hostile_items.dataset(django_db_blocker) as crowd:
        yield crowd


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Parts of several batches, several of them in a shard."""
    from usercollections.export import writer

    monkeypatch.setattr(writer, "PART_ROWS", 40)
    monkeypatch.setattr(writer, "MAX_AT_ONCE", 10)
    monkeypatch.setattr(writer, "MAX_EMBEDDED", 10)
    monkeypatch.setattr(scan, "WINDOW", 30)


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("ada")


def request_for(kind: str, user, crowd):
    from usercollections.export import export_request
    from usercollections.models import Concept

    if kind == "dataset":
        return export_request.of_dataset(
            SYSTEM, "hostile", ALL, "parquet", with_embeddings=True
        )
    if kind == "collection":
        ids = first_ids("hostile", 60)
        mine = collection(user, *reversed(ids), dataset="hostile", name="mine")
        return export_request.of_collection(user, mine.pk, "json")
    vector = crowd.image[2].astype("<f4")
    if kind == "search":
        term = Term(embedding=tuple(vector.tolist()))
        query = SearchQuery("hostile", (term,), mode="exact", filters=ALL)
        return export_request.of_search(query, user, unlimited, "img2dataset")
    dataset = Dataset.objects.get(slug="hostile")
    concept = Concept.objects.create(
        owner=user,
        name="boats",
        model=dataset.model,
        weights=dataset.weights,
        vector=(vector / np.linalg.norm(vector)).tobytes(),
    )
    return export_request.of_concept(
        user, concept.pk, "hostile", -0.2, filters=ALL, form="csv"
    )


class Interrupter:
    """Counts the moments at which a run may end, and ends it at one of them."""

    def __init__(self, monkeypatch, *, killed: bool):
        from usercollections.export import checkpoint, writer

        self.seen, self.at = count(), None
        replaced = os.replace

        def replace(*paths):
            self.moment()
            replaced(*paths)
            self.moment()

        for module in (writer, checkpoint):
            monkeypatch.setattr(module.os, "replace", replace)
        if killed:  # what a process does as it ends is not done
            monkeypatch.setattr(writer.PartWriter, "__exit__", lambda *_: None)

    def moment(self, _=None) -> None:
        self.last = next(self.seen)
        if self.last == self.at:
            raise BrokeOff

    def begin(self, at: int | None) -> None:
        self.seen, self.at = count(), at


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_wherever_it_broke_off(
    crowd, user, tmp_path, monkeypatch, kind, killed
):
    from usercollections.export.writer import write

    request = request_for(kind, user, crowd)
    breaking = Interrupter(monkeypatch, killed=killed)
    whole = made(request, tmp_path / "whole", user, breaking.moment)
    moments = breaking.last + 1
    assert len(whole["files"]) >= 2 and moments > 12
    # All eight together have each of the first moments, and many of those that follow.
    for at in range(2 * KINDS.index(kind) + killed, moments, 5):
        folder = tmp_path / str(at)
        breaking.begin(at)
        with pytest.raises(BrokeOff):
            write(request, user, folder, breaking.moment)
        breaking.begin(None)
        again = write(request, user, folder, breaking.moment)
        check(again, folder)
        assert bytes_of(again) == bytes_of(whole)
        for name in ("counts", "columns", "datasets"):
            assert again[name] == whole[name]


def test_finished_parts_are_not_written_again(crowd, tmp_path, monkeypatch):
    from usercollections.export.export_request import of_dataset
    from usercollections.export.writer import write

    request, reports = of_dataset(SYSTEM, "hostile", ALL, "json"), []

    def report(progress):
        reports.append(progress)
        if len(reports) == 10:
            raise BrokeOff

    with pytest.raises(BrokeOff):
        write(request, SYSTEM, tmp_path, report)
    finished = json.loads((tmp_path / "progress.json").read_text())
    parts = [tmp_path / file["name"] for file in finished["files"]]
    assert len(parts) >= 2
    # A file that is written anew is another one.
    before = [path.stat().st_ino for path in parts]
    looked_at = []
    manifest = made(request, tmp_path, SYSTEM, lambda p: looked_at.append(p.looked_at))
    assert [path.stat().st_ino for path in parts] == before
    assert looked_at[0] > finished["looked_at"] > 0
    assert looked_at == sorted(looked_at)
    assert looked_at[-1] == hostile_items.ROWS == manifest["counts"]["looked_at"]
    assert reports[0].to_look_at == hostile_items.ROWS


def test_what_is_told_grows_to_what_the_manifest_says(crowd, tmp_path):
    from usercollections.export.export_request import of_dataset

    reports = []
    manifest = made(
        of_dataset(SYSTEM, "hostile", ALL, "csv"), tmp_path, SYSTEM, reports.append
    )
    for name in ("looked_at", "rows", "bytes"):
        values = [getattr(progress, name) for progress in reports]
        assert values == sorted(values)
    assert reports[-1].rows == manifest["counts"]["rows"]
    assert reports[-1].bytes <= sum(file["bytes"] for file in manifest["files"])


def test_a_part_of_few_rows_ends_when_much_was_looked_at(crowd, tmp_path, monkeypatch):
    from usercollections.export import writer
    from usercollections.export.export_request import of_dataset

    monkeypatch.setattr(writer, "PART_SCANNED", 30)
    request = of_dataset(
        SYSTEM, "hostile", Filters(caption="degrees", nsfw="any"), "json"
    )
    states = []

    def report(progress):
        states.append(json.loads((tmp_path / "progress.json").read_text()))

    manifest = made(request, tmp_path, SYSTEM, report)
    assert [state["looked_at"] for state in states] == [0, 30, 60, 90]
    assert len(rows(manifest, tmp_path)) == manifest["counts"]["rows"] > 3


def test_a_shard_that_comes_later_is_not_in_it(crowd, tmp_path):
    from usercollections.export.export_request import of_dataset
    from usercollections.export.writer import write

    Shard.objects.filter(number=4).update(rows_visible=0)
    request = of_dataset(SYSTEM, "hostile", ALL, "json")

    def report(progress):
        if progress.rows > 41:
            raise BrokeOff

    with pytest.raises(BrokeOff):
        write(request, SYSTEM, tmp_path, report)
    Shard.objects.filter(number=4).update(rows_visible=hostile_items.ROWS // 2)
    manifest = made(request, tmp_path)
    assert {row["id"] >> 32 for row in rows(manifest, tmp_path)} == {0}
    assert manifest["changed_meanwhile"] is True
    assert manifest["datasets"][0]["version"]["shards"] == 1


@pytest.mark.parametrize("change", ["members", "order", "removals", "files"])
def test_what_cannot_be_gone_on_with_begins_anew(crowd, user, tmp_path, change):
    from usercollections.collection import members as collection_members
    from usercollections.collection.item_keys import ItemKey
    from usercollections.export.writer import PROGRESS, write
    from usercollections.models import Collection

    request = request_for("collection", user, crowd)

    def report(progress):
        if progress.rows > 40:
            raise BrokeOff

    with pytest.raises(BrokeOff):
        write(request, user, tmp_path, report)
    mine = Collection.objects.get(name="mine")
    left = mine.items.count() - (change in ("members", "removals"))
    first = mine.items.order_by("position").first()
    if change == "members":
        first.delete()
        collection_members.recount(mine)
    elif change == "order":
        collection_members.move(mine, [ItemKey("hostile", first.item)], "last")
    elif change == "removals":
        dataset = Dataset.objects.get(slug="hostile")
        takedowns.add(Removal.Kind.ITEM, [str(first.item)], dataset)
    else:
        parts = (path for path in tmp_path.glob("*.json") if path.name != PROGRESS)
        next(parts).write_text("broken")
    manifest = made(request, tmp_path, user)
    assert manifest["counts"]["rows"] == left
    assert len({row["id"] for row in rows(manifest, tmp_path)}) == left


@pytest.mark.parametrize("kind", ["dataset", "concept", "search"])
def test_what_is_removed_before_it_goes_on_is_not_in_it(crowd, user, tmp_path, kind):
    from usercollections.export.writer import write

    request = request_for(kind, user, crowd)

    def report(progress):
        if progress.rows > 40:
            raise BrokeOff

    with pytest.raises(BrokeOff):
        write(request, user, tmp_path, report)
    (part,) = tmp_path.glob("*-00000.*")
    removed_id = rows_of(part)[0]["id"]
    dataset = Dataset.objects.get(slug="hostile")
    takedowns.add(Removal.Kind.ITEM, [str(removed_id)], dataset)
    manifest = made(request, tmp_path, user)
    ids = [row["id"] for row in rows(manifest, tmp_path)]
    assert removed_id not in ids and len(ids) == manifest["counts"]["rows"] > 40
    assert manifest["datasets"][0]["removals"]["count"] == 1


def test_a_folder_that_is_done_stays_and_another_is_refused(crowd, tmp_path):
    from usercollections.export.export_request import of_dataset
    from usercollections.export.writer import write

    request = of_dataset(SYSTEM, "hostile", ALL, "json")
    manifest = made(request, tmp_path)
    takedowns.add(Removal.Kind.URL, ["https://example.org/0.jpg"], None)
    assert write(request, SYSTEM, tmp_path, None) == manifest
    for name, text in (
        ("notes.txt", "mine"),
        ("manifest.json", "{"),
        ("manifest.json", "[]"),
        ("progress.json", '{"asked": 1}'),
    ):
        folder = tmp_path / f"{name}{len(text)}"
        folder.mkdir()
        (folder / name).write_text(text)
        with pytest.raises(InvalidQuery, match="something else"):
            write(request, SYSTEM, folder, None)
        assert [path.name for path in folder.iterdir()] == [name]
