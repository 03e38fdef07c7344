"""Removals: rejected at import, hidden at once, and loaded as lists."""

import gzip
import hashlib
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone
from kombu.exceptions import OperationalError
from support import searching
from support.tiny_shards import (
    drop_tables,
    ids_of,
    import_all,
    metadata,
    publish,
    queue,
    tiny_dataset,
    write_shard,
)

from search.clickhouse import writer
from search.clickhouse.schema import SHARD_BITS
from search.errors import InvalidQuery, NotFound, SearchUnavailable
from search.ingestion import control, shard_run, sweeper, tasks
from search.models import SYSTEM, Dataset, Reject, Removal, Shard
from search.query.model import SearchQuery, Term
from search.removals import files, restoring, takedowns
from search.retrieval import service

pytestmark = pytest.mark.django_db
State = Shard.State
ADD = reverse("admin:search_removal_add")
LIST = reverse("admin:search_removal_changelist")


def md5(row: int) -> str:
    return hashlib.md5(str(row).encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def tiny(tmp_path: Path):
    """A shard of forty rows, harmless captions and MD5 sums."""
    facts = metadata(40) | {"caption": ["a picture"] * 40, "NSFW": ["UNLIKELY"] * 40}
    write_shard(tmp_path, 0, metadata=facts | {"md5": list(map(md5, range(40)))})
    dataset = tiny_dataset(tmp_path)
    yield dataset
    drop_tables(dataset)


@pytest.fixture
def hidden_soon(monkeypatch) -> None:
    """Run tasks at once instead of sending them."""
    monkeypatch.setattr(tasks.hide_removed, "delay", tasks.hide_removed)


def hidden_calls(monkeypatch) -> list[Dataset]:
    """The datasets that takedowns.hide is called for from now on."""
    calls, hide = [], takedowns.hide

    def noted(dataset: Dataset, *given) -> None:
        calls.append(dataset)
        hide(dataset, *given)

    monkeypatch.setattr(takedowns, "hide", noted)
    return calls


def load(text: bytes, kind: str = "url", name: str = "list.txt", **more):
    return files.load(BytesIO(text), name, kind, more.get("dataset"))


def visible_ids(dataset: Dataset) -> set[int]:
    """Return the ids that searches, random images and neighbours show."""
    example = Term(embedding=tuple([1.0] * 8))
    hits = set()
    for field in ("image", "text"):
        for mode in ("ann", "exact"):
            query = SearchQuery("tiny", (example,), field=field, mode=mode, limit=50)
            hits |= {hit.id for hit in searching.find(query).hits}
    hits |= {hit.id for hit in service.random_hits("tiny", 1_000, SYSTEM)}
    return hits | {hit.id for hit in service.neighbours("tiny", 20, 50, SYSTEM)}


# --- Out from the beginning


LISTED = [
    ("item", "3", 3),
    ("url", "http://example.org/4.jpg", 4),
    ("md5", md5(5).upper(), 5),
]


@pytest.mark.parametrize(("kind", "value", "row"), LISTED)
@pytest.mark.parametrize("scope", ["of the dataset", "of all"])
def test_what_is_on_a_list_never_comes_in(tiny, kind, value, row, scope):
    if scope == "of all" and kind == "item":
        with pytest.raises(InvalidQuery, match="belongs to one dataset"):
            takedowns.add(kind, [value], None)
        return
    takedowns.add(kind, [value], tiny if scope == "of the dataset" else None)
    for _ in range(2):  # and not when it is brought in again
        (shard,) = import_all(tiny)
        assert (shard.rows_done, shard.rows_kept, shard.rows_visible) == (40, 39, 39)
        assert set(ids_of(tiny)) == set(range(40)) - {row}
        (reject,) = Reject.objects.filter(shard=shard)
        assert (reject.row, reject.reason) == (row, takedowns.REJECT_REASON)


def test_a_list_of_another_dataset_is_no_hindrance(tiny, tmp_path):
    other = tiny_dataset(tmp_path, slug="other")
    takedowns.add("item", ["3"], other)
    import_all(tiny)
    assert len(ids_of(tiny)) == 40


def test_laion_shards_do_not_come_in_without_a_list(tiny, tmp_path):
    Dataset.objects.filter(pk=tiny.pk).update(without_removal_list=False)
    tiny.refresh_from_db()
    with pytest.raises(InvalidQuery, match="Import a removal list"):
        queue(tiny)
    assert tiny.shards.get().state == State.PENDING
    other = tiny_dataset(tmp_path, slug="other")
    takedowns.add("url", ["http://a/"], other)
    with pytest.raises(InvalidQuery, match="Import a removal list"):
        queue(tiny)
    takedowns.add("url", ["http://a/"], None)
    import_all(tiny)
    assert len(ids_of(tiny)) == 40


@pytest.mark.parametrize("kind", ["images", "parquet"])
def test_other_sources_need_no_list(tiny, kind):
    Dataset.objects.filter(pk=tiny.pk).update(without_removal_list=False, kind=kind)
    tiny.refresh_from_db()
    control.check_removal_list(tiny)


# --- Gone at once


def test_an_item_that_is_taken_down_is_found_nowhere(tiny, admin_client):
    import_all(tiny)
    assert 3 in visible_ids(tiny)
    form = {"item": "3", "reason": "asked for"}
    asked = admin_client.post("/ingestion/tiny/take-down", form).content.decode()
    assert "Take down item 3?" in asked and "a picture" in asked
    assert 3 in visible_ids(tiny)
    form["sure"] = "yes"
    page = admin_client.post("/ingestion/tiny/take-down", form, follow=True)
    assert "Item 3 is hidden" in page.content.decode()
    assert visible_ids(tiny) == set(range(40)) - {3}
    with pytest.raises(NotFound):
        service.item("tiny", 3, SYSTEM)
    with pytest.raises(NotFound):
        service.neighbours("tiny", 3, 5, SYSTEM)
    assert admin_client.get("/d/tiny/3").status_code == 404
    control.queue(tiny, tiny.shards.all(), "replace")
    shard_run.ingest(tiny.shards.get().pk)
    publish(tiny)
    assert set(ids_of(tiny)) == set(range(40)) - {3}
    assert Removal.objects.get().reason == "asked for"


def test_an_item_that_is_not_there_is_not_taken_down(tiny, admin_client):
    import_all(tiny)
    form = {"item": "40", "sure": "yes"}
    page = admin_client.post("/ingestion/tiny/take-down", form, follow=True)
    assert "There is no item" in page.content.decode()
    assert not Removal.objects.exists()


def test_a_takedown_is_undone(tiny, admin_client):
    import_all(tiny)
    for item in ("3", "5"):
        form = {"item": item, "sure": "yes"}
        admin_client.post("/ingestion/tiny/take-down", form)
    takedowns.add("md5", [md5(5)], None)  # on another list, too
    assert visible_ids(tiny) == set(range(40)) - {3, 5}
    for item, said in (("3", "is shown again"), ("5", "may come in again")):
        removal = Removal.objects.get(kind="item", value=item)
        page = admin_client.post(
            "/ingestion/tiny/restore", {"removal": removal.pk}, follow=True
        )
        assert f"Item {item} {said}." in page.content.decode()
    assert visible_ids(tiny) == set(range(40)) - {5}
    assert service.item("tiny", 3, SYSTEM).id == 3


def test_entries_are_restored_all_or_none(tiny, monkeypatch):
    import_all(tiny)
    takedowns.add("url", ["http://example.org/4.jpg"], None)
    takedowns.hide(tiny, tiny.item_table)

    def away(*_, **__):
        raise SearchUnavailable("The engine is away.")

    with monkeypatch.context() as patched:
        patched.setattr(writer, "show", away)
        with pytest.raises(SearchUnavailable):
            restoring.restore(Removal.objects.all())
    assert Removal.objects.count() == 1
    tiny.partitions.update(lease_until=timezone.now() + timedelta(minutes=1))
    with pytest.raises(SearchUnavailable, match="is being indexed"):
        restoring.restore(Removal.objects.all())
    tiny.partitions.update(lease_until=None)
    assert restoring.restore(Removal.objects.all()) == 1
    assert len(ids_of(tiny)) == 40 and not Removal.objects.exists()


def test_a_list_is_previewed(tiny, admin_client, hidden_soon):
    import_all(tiny)
    lines = b"http://example.org/4.jpg\nhttp://example.org/9.jpg\nhttp://a/\n\xff\n"
    upload = SimpleUploadedFile("list.txt", lines)
    shown = admin_client.post(ADD, {"kind": "url", "dataset": "", "file": upload})
    page = shown.content.decode()
    assert "3 values can be loaded; 1 line cannot" in page
    assert "2 items" in page and "/d/tiny/4" in page
    assert not Removal.objects.exists() and len(ids_of(tiny)) == 40
    confirmed = {"kind": "url", "dataset": "", "sure": "yes", "reason": ""}
    confirmed["values"] = shown.context["values"]
    assert admin_client.post(ADD, confirmed).status_code == 302
    assert set(ids_of(tiny)) == set(range(40)) - {4, 9}


@pytest.mark.parametrize("item", ["", "-1", "x", str(2**53), "1e3"])
def test_what_is_no_item_is_not_taken_down(tiny, admin_client, item):
    form = {"item": item}
    page = admin_client.post("/ingestion/tiny/take-down", form, follow=True)
    assert "not an item ID" in page.content.decode()
    assert not Removal.objects.exists()


def test_an_item_taken_down_while_it_is_on_its_way_stays_out(tiny):
    """Its row was read before, and is not published yet."""
    (key,) = queue(tiny)
    shard_run.ingest(key)
    takedowns.take_down(tiny, 3, "")
    publish(tiny)
    assert set(ids_of(tiny)) == set(range(40)) - {3}


@pytest.mark.parametrize(("kind", "value", "row"), LISTED)
def test_a_list_hides_what_is_in(tiny, hidden_soon, kind, value, row):
    import_all(tiny)
    takedowns.add(kind, ["1" * 32 if kind == "md5" else "77", value], tiny)
    tasks.schedule_hiding(tiny, timezone.now() - timedelta(seconds=9))
    assert set(ids_of(tiny)) == set(range(40)) - {row}


def test_a_list_for_all_datasets_hides_in_each(tiny, hidden_soon, tmp_path):
    tiny_dataset(tmp_path, slug="never_brought_in")
    import_all(tiny)
    since = timezone.now()
    load(b"http://example.org/4.jpg\nhttp://example.org/6.jpg\n")
    tasks.schedule_hiding(None, since)
    assert set(ids_of(tiny)) == set(range(40)) - {4, 6}


def test_without_a_broker_it_is_hidden_right_away(tiny, monkeypatch):
    def refuse(*_):
        raise OperationalError("Nobody is there.")

    monkeypatch.setattr(tasks.hide_removed, "delay", refuse)
    import_all(tiny)
    takedowns.add("item", ["3"], tiny)
    calls = hidden_calls(monkeypatch)
    tasks.schedule_hiding(tiny, timezone.now() - timedelta(seconds=9))
    assert set(ids_of(tiny)) == set(range(40)) - {3}
    assert calls == [tiny]


def test_with_a_broker_it_is_left_to_the_workers(tiny, monkeypatch):
    import_all(tiny)
    takedowns.add("item", ["3"], tiny)
    sent, calls = [], hidden_calls(monkeypatch)
    monkeypatch.setattr(tasks.hide_removed, "delay", lambda *given: sent.append(given))
    tasks.schedule_hiding(tiny, timezone.now() - timedelta(seconds=9))
    assert not calls and set(ids_of(tiny)) == set(range(40))
    ((pk, since),) = sent
    tasks.hide_removed(pk, since)
    assert calls == [tiny] and set(ids_of(tiny)) == set(range(40)) - {3}


def test_a_message_lost_with_its_process_is_sent_at_the_next_start(tiny, monkeypatch):
    import_all(tiny)
    takedowns.add("item", ["3"], tiny)
    monkeypatch.setattr(tasks.hide_removed, "delay", lambda *given: None)
    tasks.schedule_hiding(tiny, timezone.now() - timedelta(seconds=9))
    assert set(ids_of(tiny)) == set(range(40))
    monkeypatch.setattr(tasks.hide_removed, "delay", tasks.hide_removed)
    sweeper.recover_alone()
    assert set(ids_of(tiny)) == set(range(40)) - {3}


# --- Files


def values(kind: str = "url") -> list[str]:
    return list(Removal.objects.filter(kind=kind).values_list("value", flat=True))


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("list.txt", b"a\nb,c\n\n  d  \n", ["a", "b,c", "d"]),
        ("list.txt", b"url\r\na\r\nb", ["a", "b"]),
        ("list.txt", b"\xef\xbb\xbfURL\na\n", ["a"]),
        ("list.csv", b'"b,c",why\n\nd,x,y\n', ["b,c", "d"]),
        ("LIST.CSV", b"url,reason\na,b\n", ["a"]),
        ("list.csv.gz", gzip.compress(b"a,b\nc,d\n", mtime=0), ["a", "c"]),
        ("list", gzip.compress(b"a,b\n", mtime=0), ["a,b"]),
        ("list", "ä\n日本\n".encode(), ["ä", "日本"]),
    ],
)
def test_lists_are_read_as_lines_or_as_csv(name, text, wanted):
    loaded = load(text, name=name)
    assert values() == wanted
    assert (loaded.new, loaded.known, loaded.bad) == (len(wanted), 0, 0)


def test_good_lines_come_in_though_others_are_bad(monkeypatch):
    monkeypatch.setattr(takedowns, "MAX_AT_ONCE", 3)
    good = [md5(row) for row in range(8)]
    lines = [*good[:4], "", "not one", *good[4:], good[0].upper(), "z" * 32]
    loaded = load("\n".join(lines).encode(), kind="md5")
    assert values("md5") == good
    assert (loaded.new, loaded.known, loaded.bad) == (8, 1, 2)
    assert str(loaded) == (
        "8 values are new, 1 were known, 2 lines were of no use. "
        "Line 6: “not one” is not an MD5 sum. "
        f"Line 12: “{'z' * 32}” is not an MD5 sum."
    )
    again = load("\n".join(lines).encode(), kind="md5")
    assert (again.new, again.known) == (0, 9)


def test_of_many_bad_lines_the_first_are_told():
    loaded = load(b"good\n" + b"\xff\n" * 500)
    assert (loaded.new, loaded.bad, len(loaded.errors)) == (1, 500, 10)
    assert loaded.errors[0] == "Line 2: It is not text in UTF-8."


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (b"", "url", "Nothing was loaded."),
        (b"\n\n", "url", "Nothing was loaded."),
        (b"url\n", "url", "Nothing was loaded."),
        (b"\xff\xfe", "url", "Line 1: It is not text in UTF-8."),
        (b"a\0b", "url", "Line 1: It is not text in UTF-8."),
        (b"x" * 50_000, "url", "Line 1: It is too long."),
        (b"1" * 32 + b"\n", "item", "is not the number of an item."),
        (b"9" * 5_000, "item", "is not the number of an item."),
        (b"\x1f\x8bnot gzip", "url", "Line 1: The file is damaged from here on"),
    ],
)
def test_a_list_of_no_use_is_refused(tiny, text, kind, reason):
    with pytest.raises(InvalidQuery, match="Nothing was loaded") as refused:
        load(text, kind=kind, dataset=tiny)
    assert reason in refused.value.message
    assert len(refused.value.message) < 300
    assert not Removal.objects.exists()


def test_of_a_file_that_breaks_off_the_beginning_is_loaded():
    lines = [
        f"http://example.org/{hashlib.md5(b'%d' % n).hexdigest()}" for n in range(5_000)
    ]
    packed = gzip.compress("\n".join(lines).encode())
    loaded = load(packed[: len(packed) // 2])
    assert 0 < loaded.new < 5_000 and loaded.bad == 1
    assert values() == lines[: loaded.new]
    assert "The file is damaged from here on and was not read." in str(loaded)


# --- In the admin, and by command


def post(admin_client, **fields):
    fields = {"kind": "url", "dataset": "", "sure": "yes"} | fields
    return admin_client.post(ADD, fields)


def test_the_staff_loads_a_file(tiny, admin_client, hidden_soon):
    import_all(tiny)
    text = gzip.compress(b"url,why\nhttp://example.org/4.jpg,x\nhttp://a/,x\n", mtime=0)
    upload = SimpleUploadedFile("bad links.csv.gz", text)
    answer = post(admin_client, file=upload, dataset=tiny.pk, reason="A list")
    assert answer["Location"] == LIST
    page = admin_client.get(LIST)
    (said,) = map(str, page.context["messages"])
    assert said.startswith("2 values are new, 0 were known.")
    assert {removal.reason for removal in tiny.removals.all()} == {"A list"}
    assert 4 not in ids_of(tiny)
    assert "http://example.org/4.jpg" in page.content.decode()


def test_the_staff_enters_values(tiny, admin_client, hidden_soon):
    import_all(tiny)
    fields = {"kind": "item", "dataset": tiny.pk, "values": "3\r\nsix\r\n5"}
    assert post(admin_client, **fields).status_code == 302
    assert set(ids_of(tiny)) == set(range(40)) - {3, 5}
    (said,) = map(str, admin_client.get(LIST).context["messages"])
    assert "1 line was of no use. Line 2: “six” is not the number of an item." in said


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Choose a file or enter values: one of them."),
        ({"values": "a", "file": b"a"}, "Choose a file or enter values: one of them."),
        ({"kind": "item", "values": "3"}, "An item's number belongs to one dataset."),
        ({"kind": "md5", "values": "abc"}, "Line 1: “abc” is not an MD5 sum."),
        ({"kind": "other", "values": "abc"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_the_form(admin_client, fields, sentence):
    if "file" in fields:
        fields = fields | {"file": SimpleUploadedFile("list.txt", fields["file"])}
    answer = post(admin_client, **fields)
    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert sentence in " ".join(map(str, errors.values())).replace("&#x27;", "'")
    assert not Removal.objects.exists()


def test_a_value_that_is_deleted_says_what_is_shown_again(admin_client):
    takedowns.add("url", ["a"], None)
    removal = Removal.objects.get()
    change = reverse("admin:search_removal_change", args=[removal.pk])
    assert admin_client.post(change, {"value": "b"}).status_code == 403
    delete = reverse("admin:search_removal_delete", args=[removal.pk])
    answer = admin_client.post(delete, {"post": "yes"}, follow=True)
    assert "0 hidden items are shown again" in answer.content.decode()
    assert not Removal.objects.exists()


def test_only_staff_loads_lists(client, django_user_model):
    assert post(client, values="a").status_code == 302
    staff = django_user_model.objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    assert post(client, values="a").status_code == 403
    assert not Removal.objects.exists()


def test_a_list_is_loaded_by_command(tiny, tmp_path, capsys):
    import_all(tiny)
    path = tmp_path / "list.txt"
    path.write_text("3\nx\n5\n")
    call_command("load_removals", path, kind="item", dataset="tiny", reason="Why")
    assert capsys.readouterr().out.startswith("2 values are new, 0 were known, 1 line")
    assert set(ids_of(tiny)) == set(range(40)) - {3, 5}
    assert {removal.reason for removal in tiny.removals.all()} == {"Why"}
    call_command("load_removals", path, kind="item", dataset="tiny", restore=True)
    assert "2 hidden items are shown again." in capsys.readouterr().out
    assert len(ids_of(tiny)) == 40 and not tiny.removals.exists()
    call_command("load_removals", path, kind="item", dataset="tiny", check=True)
    assert "2 items would be hidden, such as 3, 5." in capsys.readouterr().out
    assert len(ids_of(tiny)) == 40


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"dataset": "nowhere"}, "There is no dataset named “nowhere”."),
        ({"kind": "item"}, "An item's number belongs to one dataset: choose it."),
        ({"file": Path("nothing.txt")}, "nothing.txt cannot be read: No such file"),
        ({"kind": "md5"}, "Nothing was loaded. Line 1: “a” is not an MD5 sum."),
    ],
)
def test_a_command_that_cannot_load_says_why(tmp_path, given, sentence):
    path = tmp_path / "list.txt"
    path.write_text("a\n")
    given = {"file": path, "kind": "url"} | given
    with pytest.raises(CommandError) as refused:
        call_command("load_removals", given.pop("file"), **given)
    assert str(refused.value).startswith(sentence)


def test_ids_of_other_shards_stay_apart(tiny, tmp_path):
    write_shard(tmp_path, 2)
    takedowns.add("item", [str((2 << SHARD_BITS) + 1)], tiny)
    import_all(tiny)
    assert len(ids_of(tiny)) == 79 and 1 in ids_of(tiny)
