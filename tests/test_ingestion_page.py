"""The staff's page of an import: its figures and its buttons."""

import csv
import io
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from support.tiny_shards import (
    drop_tables,
    ids_of,
    import_all,
    publish,
    tiny_dataset,
    vectors,
    write_shard,
)

from search.clickhouse.schema import SHARD_BITS
from search.ingestion import control, progress, shard_run, tasks
from search.ingestion.progress import ImportProgress, spans
from search.models import Dataset, Partition, Reject, Shard
from search.templatetags.ingestion import duration
from search.web import ingestion_views

pytestmark = pytest.mark.django_db
State = Shard.State
PAGE = "/ingestion/tiny/"


@pytest.fixture
def staff(admin_client):
    return admin_client


@pytest.fixture
def tiny(tmp_path: Path):
    """Three shards of forty rows, not in the ledger yet."""
    for number in range(3):
        write_shard(tmp_path, number)
    dataset = tiny_dataset(tmp_path)
    yield dataset
    drop_tables(dataset)


@pytest.fixture
def sent(monkeypatch) -> list[int]:
    """The keys of the shards that were sent to the workers."""
    keys: list[int] = []
    monkeypatch.setattr(tasks.ingest_shard, "delay", keys.append)
    monkeypatch.setattr(tasks.publish, "delay", lambda *_: None)
    return keys


def work(sent: list[int], dataset: Dataset) -> None:
    for key in sent:
        shard_run.ingest(key)
    sent.clear()
    publish(dataset)


@pytest.fixture
def press(staff):
    """Return a function that presses a button and returns the page's messages."""

    def press(action: str, **chosen) -> list[str]:
        answer = staff.post(f"{PAGE}steer", {"action": action, **chosen}, follow=True)
        assert answer.redirect_chain == [(PAGE, 302)]
        return [str(message) for message in answer.context["messages"]]

    return press


def put_in_states(dataset: Dataset, *states: str) -> list[Shard]:
    Shard.objects.bulk_create(
        Shard(dataset=dataset, number=number, state=state)
        for number, state in enumerate(states)
    )
    return list(dataset.shards.all())


def states(dataset: Dataset) -> list[str]:
    return list(dataset.shards.values_list("state", flat=True))


# --- Who gets in


@pytest.mark.parametrize("path", ["", "live", "rejects.csv"])
def test_who_is_not_logged_in_is_sent_to_the_login(client, tiny, path):
    answer = client.get(PAGE + path)
    assert answer.status_code == 302
    assert answer["Location"] == f"{reverse('admin:login')}?next={PAGE}"


def test_a_page_whose_session_has_ended_goes_to_the_login(client, tiny):
    answer = client.get(f"{PAGE}live", headers={"HX-Request": "true"})
    assert answer["HX-Redirect"] == f"{reverse('admin:login')}?next={PAGE}"


@pytest.mark.parametrize("has", ["staff", "permission", "both"])
def test_only_staff_that_may_change_datasets_finds_it(client, tiny, has, sent):
    user = User.objects.create_user("somebody", is_staff=has != "permission")
    if has != "staff":
        user.user_permissions.add(Permission.objects.get(codename="change_dataset"))
    client.force_login(user)
    wanted = 200 if has == "both" else 404
    for path in ("", "live", "rejects.csv"):
        assert client.get(PAGE + path).status_code == wanted
    client.post(f"{PAGE}steer", {"action": "start"})
    assert bool(tiny.shards.exists()) == (has == "both")
    assert client.post(f"{PAGE}take-down", {}).status_code in (302, 404)


def test_of_an_unknown_dataset_there_is_no_page(staff):
    assert staff.get("/ingestion/nowhere/").status_code == 404


def test_forged_posts_are_refused(tiny, admin_user, sent):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    for path in ("steer", "take-down"):
        answer = client.post(PAGE + path, {"action": "start", "item": 1})
        assert answer.status_code == 403
    assert client.get(f"{PAGE}steer").status_code == 405
    assert not tiny.shards.exists()


# --- What the buttons do


def test_start_looks_for_the_shards_and_queues_them(tiny, press, sent):
    assert press("start") == ["3 shards are queued."]
    assert sent == list(tiny.shards.values_list("pk", flat=True))
    assert press("start") == ["Nothing to start."]


@pytest.mark.parametrize(
    ("chosen", "numbers"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"shard": ["1", "3"]}, [1, 3]),
        ({"range": "2-3, 4"}, [2, 3, 4]),
        ({"state": ["failed"]}, [3, 4]),
        ({"state": ["failed"], "shard": ["0"], "range": "1"}, [0, 1, 3, 4]),
        ({"range": "7-9"}, []),
    ],
)
def test_a_button_is_for_what_is_chosen(tiny, press, sent, chosen, numbers):
    put_in_states(tiny, *["pending"] * 3, *["failed"] * 2)
    press("start", **chosen)
    queued = tiny.shards.filter(state=State.QUEUED)
    assert list(queued.values_list("number", flat=True)) == numbers


@pytest.mark.parametrize(
    ("action", "before", "after", "said"),
    [
        ("pause", "queued", "paused", "1 shard is paused."),
        ("pause", "ingesting", "paused", "1 shard is paused."),
        ("resume", "paused", "queued", "1 shard continues."),
        ("retry", "failed", "queued", "1 shard is tried again."),
        ("replace", "ingested", "queued", "1 shard is being replaced."),
        ("cancel", "paused", "pending", "1 shard is cancelled."),
        ("pause", "ingested", "ingested", "Nothing to pause."),
        ("replace", "failed", "failed", "Nothing to replace."),
    ],
)
def test_each_button_does_what_it_says(tiny, press, sent, action, before, after, said):
    put_in_states(tiny, before)
    (shown,) = press(action)
    assert shown.startswith(said)
    assert states(tiny) == [after]


@pytest.mark.parametrize(
    ("posted", "sentence"),
    [
        ({"action": "delete everything"}, "There is no such action."),
        ({"action": "start", "range": "3-1"}, "ends before it begins"),
        ({"action": "start", "range": "all"}, "is neither a shard's number"),
        ({"action": "start", "shard": "1 OR 1"}, "not the number of a shard"),
        ({"action": "drop"}, "Nothing to delete."),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(tiny, press, sent, posted, sentence):
    put_in_states(tiny, "pending")
    (shown,) = press(**posted)
    assert sentence in shown
    assert sent == []


def test_rows_are_dropped_only_after_a_question(tiny, staff, press, sent):
    import_all(tiny)
    question = staff.post(f"{PAGE}steer", {"action": "drop", "range": "1"})
    page = question.content.decode()
    assert "Delete 1 shard?" in page and "40 items" in page
    assert len(ids_of(tiny)) == 120
    repeated = dict(re.findall(r'name="(range|sure)" value="([^"]*)"', page))
    assert press("drop", **repeated) == ["1 shard is hidden now."]
    assert {number >> SHARD_BITS for number in ids_of(tiny)} == {0, 2}
    publish(tiny)
    assert states(tiny) == ["ingested", "pending", "ingested"]


def test_replacing_begins_from_nothing_in_the_figures_too(tiny, press, sent):
    import_all(tiny)
    press("replace", shard="0")
    shard = tiny.shards.get(number=0)
    assert (shard.rows_done, shard.rows_visible, shard.started_at) == (0, 40, None)
    work(sent, tiny)
    assert states(tiny) == ["ingested"] * 3
    assert len(ids_of(tiny)) == 120


# --- What it shows


def test_the_figures_are_those_of_the_ledger(tiny, staff, tmp_path):
    broken = vectors(200, 1)
    broken[7] = 0
    write_shard(tmp_path, 1, rows=200, image=broken)
    (tmp_path / "metadata_2.parquet").write_bytes(b"no table")
    import_all(tiny)
    page = staff.get(PAGE)
    current = page.context["progress"]
    assert (current.rows_done, current.rows_expected) == (240, 360)  # the mean is 120
    assert (current.rows_visible, current.rows_rejected) == (239, 1)
    assert current.rows_estimated and not current.moving
    text = page.content.decode()
    assert "Ingested: 199 items" in text
    assert "metadata_2.parquet is damaged: it cannot be read." in text
    assert "<b>1</b> <div>Its vector is zero or not finite." in text
    assert "240 rows = 239 items + 1 left out<" in text


def test_rows_that_are_lost_and_how_rows_were_read_are_told(staff, tiny):
    import_all(tiny)
    tiny.shards.filter(number=1).update(rows_kept=37, notes={"Read as <b>.": 3})
    text = staff.get(PAGE).content.decode()
    assert "120 rows = 117 items + 0 left out + 3 lost<" in text
    assert "3 rows became neither an item nor a row left out." in text
    assert "<b>3 rows</b> Read as &lt;b&gt;." in text


def test_errors_are_grouped_and_do_no_harm(tiny, staff):
    put_in_states(tiny, *["failed"] * 4)
    tiny.shards.filter(number__lt=3).update(error="<script>alert(1)</script>")
    tiny.shards.filter(number=3).update(error="Something else.")
    page = staff.get(PAGE)
    assert [(e["shards"], e["count"]) for e in page.context["errors"]] == [
        ("0-2", 3),
        ("3", 1),
    ]
    assert "<script>alert" not in page.content.decode()


def test_nothing_is_inline(tiny, staff):
    """The Content-Security-Policy forbids it."""
    put_in_states(tiny, *State.values)
    page = staff.get(PAGE)
    assert "'unsafe-inline'" not in page["Content-Security-Policy"]
    assert not re.search(
        r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page.content.decode()
    )


def test_the_page_asks_again_only_while_something_moves(tiny, staff):
    shard = put_in_states(tiny, State.INGESTED)[0]
    for state in State.values:
        Shard.objects.filter(pk=shard.pk).update(state=state)
        asks = 'hx-trigger="every 2s"' in staff.get(PAGE).content.decode()
        assert asks == (state in ("queued", "ingesting", "arrived", "removing"))
        letter = ingestion_views.STATE_LETTERS[state]
        answer = staff.get(f"{PAGE}live", {"seen": f"1{letter}"}).content.decode()
        assert ('hx-trigger="every 2s"' in answer) == asks


def test_an_answer_has_only_the_cells_that_have_changed(tiny, staff):
    put_in_states(tiny, "pending", "queued", "failed", "ingesting")
    answer = staff.get(f"{PAGE}live", {"seen": "1p1p1f1i"}).content.decode()
    assert re.findall(r'<span id="s(\d+)"', answer) == ["1", "3"]
    assert 'id="count-failed" hx-swap-oob="true">1</b>' in answer
    assert "seen=1p1q1f1i" in answer


@pytest.mark.parametrize("seen", ["", "2p", "x", "999z", "9" * 9_000, "1p1p\n", "-1p"])
def test_a_page_that_is_out_of_date_is_loaded_anew(tiny, staff, seen):
    put_in_states(tiny, "pending")
    answer = staff.get(f"{PAGE}live", {"seen": seen})
    assert answer["HX-Refresh"] == "true"


def test_of_410_shards_an_answer_is_small_and_takes_few_queries(
    tiny, staff, django_assert_max_num_queries
):
    put_in_states(tiny, *["ingested"] * 300, *["queued"] * 110)
    with django_assert_max_num_queries(8):  # three are for who asks
        page = staff.get(PAGE)
    assert page.content.count(b'name="shard"') == 410
    with django_assert_max_num_queries(5):
        answer = staff.get(f"{PAGE}live", {"seen": page.context["seen"]})
    assert page.context["seen"] == "300d110q"
    assert len(answer.content) < 4_000


def test_many_shards_are_on_several_pages(tiny, staff, monkeypatch):
    monkeypatch.setattr(ingestion_views, "SHARDS_PER_PAGE", 10)
    put_in_states(tiny, *["pending"] * 10, *["queued"] * 5)
    first = staff.get(PAGE).content.decode()
    assert first.count('name="shard"') == 10 and 'href="?page=2"' in first
    assert "page=1&amp;seen=10p" in first
    second = staff.get(f"{PAGE}?page=2").content.decode()
    assert re.findall(r'name="shard" value="(\d+)"', second) == [
        *map(str, range(10, 15))
    ]
    assert not staff.get(f"{PAGE}live?page=2&seen=5q").headers.get("HX-Refresh")


def test_it_tells_how_far_an_index_is(tiny, staff):
    put_in_states(tiny, "arrived")
    later = timezone.now() + timedelta(minutes=1)
    Partition.objects.create(
        dataset=tiny, number=0, vectors=80, vectors_done=20, lease_until=later
    )
    Partition.objects.create(dataset=tiny, number=1, vectors=80, vectors_done=80)
    Partition.objects.create(dataset=tiny, number=2, error="The disk is full.")
    page = staff.get(PAGE).content.decode()
    assert "Shards 0 to 3: search index, 20 of 80 vectors" in page
    assert "Shards 4 to 7" not in page
    assert "Shards 8 to 11: The disk is full." in page


def test_speed_and_time_left_come_from_what_was_seen_before(tiny, staff, monkeypatch):
    put_in_states(tiny, "ingesting", "queued")
    tiny.shards.filter(number=0).update(rows=100_000)
    clock = 1_000_000.0
    monkeypatch.setattr(progress.time, "time", lambda: clock)
    seen = []
    for rows in (10_000, 20_000, 0, 30_000):
        tiny.shards.filter(number=0).update(rows_done=rows)
        context = staff.get(PAGE).context
        seen.append((context["speed"], context["seconds_left"]))
        clock += 10
    assert seen[0] == (None, None)
    assert seen[1] == (1_000, 180)
    assert seen[2] == (500, 400)  # beginning anew is no progress
    assert seen[3] == (pytest.approx(40_000 / 30), pytest.approx(127.5))
    clock += 100
    assert staff.get(PAGE).context["speed"] is None


def test_all_rejected_rows_come_as_csv(tiny, staff):
    shards = put_in_states(tiny, "ingested", "ingested")
    hostile = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", 'a"b', "a,b\nc", "http://x/y"]
    Reject.objects.bulk_create(
        Reject(shard=shards[1], row=row, url=url, file=url, reason="=Because.")
        for row, url in enumerate(hostile)
    )
    answer = staff.get(f"{PAGE}rejects.csv")
    assert answer.streaming and answer["Content-Type"] == "text/csv; charset=utf-8"
    assert 'filename="tiny-rejects.csv"' in answer["Content-Disposition"]
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert head == ["shard", "row", "item", "url", "file", "reason"]
    for place in (3, 4):
        cells = [row[place] for row in rows]
        assert cells == [f"'{url}" for url in hostile[:6]] + hostile[6:]
    assert rows[2][:3] == ["1", "2", str((1 << SHARD_BITS) + 2)]
    assert {row[5] for row in rows} == {"'=Because."}


def test_without_shards_the_page_says_what_start_does(tiny, staff):
    page = staff.get(PAGE).content.decode()
    assert "No shards are known yet" in page and 'value="start"' in page


# --- In words


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([5], "5"), ([3, 1, 2, 7, 9, 8], "1-3, 7-9"), ([0, 2], "0, 2")],
)
def test_numbers_are_written_as_they_are_read(numbers, text):
    assert spans(numbers) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (89, "89 s"),
        (600, "10 min"),
        (12_000, "3 h 20 min"),
        (200_000, "2 days 7 h"),
    ],
)
def test_durations_are_rough(seconds, text):
    assert duration(seconds) == text


def test_a_cancelled_replacement_counts_as_whole(tiny):
    import_all(tiny)
    shard = tiny.shards.first()
    Shard.objects.filter(pk=shard.pk).update(state=State.PAUSED, rows_done=5)
    control.cancel(tiny.shards.filter(pk=shard.pk))
    current = ImportProgress.of(tiny)
    assert (current.rows_done, current.rows_rejected, current.moving) == (120, 0, False)


# --- The state of the import, and what mends it


def shown(staff) -> tuple[str, set[str]]:
    """The sentence on the state of the import, and the buttons."""
    text = staff.get(PAGE).content.decode()
    sentence = re.search(r'class="sentence">(.*?)</p>', text, re.DOTALL)[1].strip()
    return sentence, set(re.findall(r'<button id="do-(\w+)"', text))


@pytest.mark.parametrize(
    ("states", "sentence", "buttons"),
    [
        ([], "Nothing is imported yet.", {"start"}),
        (["pending"], "Nothing is imported yet.", {"start"}),
        (["queued", "pending"], "Importing.", {"start", "pause", "cancel"}),
        (["paused"], "Paused: 0 rows are imported.", {"start", "resume", "cancel"}),
        (["failed"], "The import failed.", {"start", "retry"}),
        (["ingested"], "Done: 0 images.", {"start", "replace"}),
        (
            ["ingested", "pending"],
            "0 images imported; some shards are not.",
            {"start", "replace"},
        ),
    ],
)
def test_only_what_makes_sense_is_offered(tiny, staff, states, sentence, buttons):
    put_in_states(tiny, *states)
    assert shown(staff) == (sentence, buttons)


def test_the_end_of_an_import_is_announced_once(tiny, staff, press, sent):
    press("start")
    live = f"{PAGE}live?seen=3q&was=running&can=pause,cancel"
    assert "announced" not in staff.get(live).content.decode()
    work(sent, tiny)
    Shard.objects.update(
        started_at=timezone.now() - timedelta(seconds=14),
        finished_at=timezone.now(),
        published_at=timezone.now(),
    )
    text = staff.get(live).content.decode()
    said = re.search(r'id="announced" hx-swap-oob="innerHTML">([^<]*)', text)[1]
    assert said.strip() == "Done: 120 images in 14 s."
    assert 'id="actions"' in text and 'hx-trigger="every' not in text
    assert (
        f'href="/?dataset={tiny.slug}">Search them</a>'
        in staff.get(PAGE).content.decode()
    )


def test_a_model_that_does_not_exist_fails_and_can_be_changed(staff, mine, sent):
    dataset = mine
    key = dataset.shards.get().pk
    shard_run.ingest(key)
    shard = dataset.shards.get()
    assert shard.state == State.FAILED
    assert shard.error == "The model local-dir:nowhere has no weights here."
    text = staff.get("/ingestion/mine/").content.decode()
    assert "The import failed." in text and "Change model" in text
    mended = {"model": "local-dir:postcards/model|"}
    staff.post("/ingestion/mine/model", {"model": "local-dir:none|"})
    dataset.refresh_from_db()
    assert dataset.model == "local-dir:nowhere"
    staff.post("/ingestion/mine/model", mended)
    dataset.refresh_from_db()
    assert (dataset.model, dataset.dimension) == ("local-dir:postcards/model", 512)
    assert dataset.shards.get().state == State.QUEUED and sent == [key]
    Shard.objects.update(rows_visible=1)
    staff.post("/ingestion/mine/model", {"model": "local-dir:other|"})
    dataset.refresh_from_db()
    assert dataset.model == "local-dir:postcards/model"


@pytest.fixture
def mine(db, tmp_path, torch) -> Dataset:
    """A dataset of one image, by a model that does not exist."""
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    dataset = Dataset.objects.create(
        slug="mine",
        title="Mine",
        kind="images",
        source=str(tmp_path),
        model="local-dir:nowhere",
        weights="",
        dimension=8,
    )
    control.discover_shards(dataset)
    dataset.shards.update(state=State.QUEUED)
    return dataset


def test_what_blocks_an_import_is_said_with_its_remedy(tiny, staff):
    Dataset.objects.update(without_removal_list=False)
    assert "Import a removal list</a>" in staff.get(PAGE).content.decode()
    Dataset.objects.update(without_removal_list=True)
    put_in_states(tiny, "queued")
    Shard.objects.update(error="The search engine does not answer.")
    text = staff.get(PAGE).content.decode()
    assert "The import waits." in text and "It continues by itself" in text
    columns = "There is no column named “x”; there are a, b."
    Shard.objects.update(state=State.FAILED, error=columns)
    assert "Edit columns</a>" in staff.get(PAGE).content.decode()
    Shard.objects.update(error="metadata_1.parquet is damaged: it cannot be read.")
    text = staff.get(PAGE).content.decode()
    assert '<button id="mend" class="primary" form="steer"' in text
