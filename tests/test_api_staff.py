"""Datasets and their imports by programs of the staff."""

import json
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from kombu.exceptions import OperationalError
from rest_framework.serializers import BaseSerializer, ListSerializer
from support.tiny_shards import DIMENSION, publish, tiny_dataset, write_shard

from search.api.dataset_serializers import StaffDatasetSerializer
from search.api.shard_serializers import ProgressSerializer, ShardsSerializer
from search.clickhouse import client as engine
from search.errors import SearchUnavailable
from search.ingestion import shard_run, sweeper, tasks, validation
from search.jobs import broker
from search.models import Dataset, Partition, Reject, Shard
from usercollections.account.tokens import make_token

pytestmark = pytest.mark.django_db
State = Shard.State
DATASETS = "/api/datasets/"
TINY = f"{DATASETS}tiny/"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three shards of forty rows."""
    folder = tmp_path_factory.mktemp("tiny")
    for number in range(3):
        write_shard(folder, number)
    return folder


@pytest.fixture(autouse=True)
def open_folder(folder: Path, settings) -> None:
    settings.INGEST_FOLDERS = [str(folder)]


@pytest.fixture
def tiny(folder: Path) -> Dataset:
    """A dataset of three shards that are not looked for yet, and has no tables."""
    return tiny_dataset(folder)


@pytest.fixture
def sent(monkeypatch) -> list[int]:
    """The keys of the shards that were handed to the workers."""
    keys: list[int] = []
    monkeypatch.setattr(tasks.ingest_shard, "delay", keys.append)
    monkeypatch.setattr(tasks.publish, "delay", lambda *_: None)
    return keys


@pytest.fixture
def ask(client):
    """Asks as staff, by a token; returns the status and what is told."""
    admin = User.objects.create(username="ada", is_staff=True, is_superuser=True)
    authorization = authorized(admin)

    def ask(method: str, path: str, body=None) -> tuple[int, object]:
        return asked(client, method, path, body, authorization)

    return ask


def authorized(user: User) -> str:
    return f"Token {make_token(user, 'notebook', None)}"


def asked(client, method: str, path: str, body=None, authorization: str | None = None):
    headers = {"Authorization": authorization} if authorization else {}
    if method == "get":
        answer = client.get(path, body, headers=headers)
    else:
        text = body if isinstance(body, str) else json.dumps(body or {})
        send = getattr(client, method)
        answer = send(path, text, "application/json", headers=headers)
    return answer.status_code, answer.json() if answer.content else None


def in_states(dataset: Dataset, *states: str, **more) -> None:
    Shard.objects.bulk_create(
        Shard(dataset=dataset, number=number, state=state, **more)
        for number, state in enumerate(states)
    )


def states(dataset: Dataset) -> list[str]:
    return list(dataset.shards.order_by("number").values_list("state", flat=True))


def work(sent: list[int], dataset: Dataset) -> None:
    for key in sent:
        shard_run.ingest(key)
    sent.clear()
    publish(dataset)


def fits(told: object, answer: BaseSerializer) -> None:
    """Check that a response has the names of its schema, at all depths."""
    if isinstance(answer, ListSerializer):
        for each in told or []:
            fits(each, answer.child)
    elif isinstance(told, dict) and answer.fields:
        wanted = {name for name, field in answer.fields.items() if field.required}
        assert wanted <= told.keys() <= answer.fields.keys()
        for name, field in answer.fields.items():
            if isinstance(field, BaseSerializer) and name in told:
                fits(told[name], field)


def test_a_dataset_comes_in_is_searched_and_goes_by_the_api_alone(ask, folder, sent):
    given = {
        "slug": "tiny",
        "title": "Tiny",
        "source": str(folder),
        "dimension": DIMENSION,
        "without_removal_list": True,
    }
    status, entered = ask("post", DATASETS, given)
    assert status == 201
    fits(entered, StaffDatasetSerializer())
    assert entered["items"] == 0 and given.items() <= entered["settings"].items()
    assert ask("get", TINY) == (200, entered)
    dataset = Dataset.objects.get(slug="tiny")

    started = ask("post", f"{TINY}shards/start/", {"shards": "0-1"})
    assert started == (200, {"action": "start", "shards": 2, "found": 3})
    told = ask("get", f"{TINY}progress/")[1]
    fits(told, ProgressSerializer())
    assert told["moving"] and told["shards"]["queued"] == 2
    work(sent, dataset)
    told = ask("get", f"{TINY}progress/")[1]
    assert not told["moving"] and told["shards"]["ingested"] == 2
    assert told["rows"]["visible"] == told["rows"]["done"] == 80
    assert told["rows"]["expected"] == 120 and told["rows"]["estimated"]

    search = {"dataset": "tiny", "terms": [{"embedding": [1.0] * DIMENSION}]}
    status, found = ask("post", "/api/search/", search | {"filters": {"nsfw": "any"}})
    assert status == 200 and found["results"]
    assert ask("get", TINY)[1]["items"] == 80

    refused = ask("post", f"{TINY}shards/drop/", {"shards": "1"})
    assert refused == (400, {"sure": ["Write true to drop 1 shards with 40 items."]})
    dropped = ask("post", f"{TINY}shards/drop/", {"shards": "1", "sure": True})
    assert dropped == (200, {"action": "drop", "shards": 1, "found": None})
    publish(dataset)
    assert states(dataset) == [State.INGESTED, State.PENDING, State.PENDING]
    assert ask("get", TINY)[1]["items"] == 40

    status, told = ask("delete", TINY)
    assert (status, list(told)) == (400, ["sure"])
    status, told = ask("delete", f"{TINY}?sure=other")
    assert told == {"sure": ["Write sure=tiny to delete the dataset with 40 images."]}
    assert ask("delete", f"{TINY}?sure=tiny") == (204, None)
    assert ask("get", TINY)[0] == 404
    (kept,) = ask("get", "/api/deleted-datasets/")[1]
    assert (kept["slug"], kept["items"]) == ("tiny", 40)
    assert ask("delete", f"/api/deleted-datasets/{kept['number']}/") == (204, None)
    assert ask("get", "/api/deleted-datasets/") == (200, [])
    assert not engine.rows("SHOW TABLES LIKE 'item_tiny%'")


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("pause", ["queued", "ingesting", "failed"], ["paused", "paused", "failed"]),
        ("resume", ["paused", "pending", "failed"], ["queued", "pending", "failed"]),
        ("retry", ["failed", "ingested", "paused"], ["queued", "ingested", "paused"]),
        ("cancel", ["queued", "paused", "failed"], ["pending", "pending", "failed"]),
        ("replace", ["ingested", "pending"], ["queued", "pending"]),
        ("ingest", ["failed", "pending", "paused"], ["queued", "queued", "paused"]),
    ],
)
def test_actions_do_what_the_buttons_do(tiny, ask, sent, action, before, after):
    in_states(tiny, *before)
    count = sum(one != other for one, other in zip(before, after, strict=True))
    status, told = ask("post", f"{TINY}shards/{action}/")
    assert (status, told["shards"]) == (200, count)
    assert states(tiny)[: len(after)] == after


def test_of_the_shards_that_are_named_alone(tiny, ask, sent):
    in_states(tiny, *["queued"] * 6)
    told = ask("post", f"{TINY}shards/pause/", {"shards": "0, 2-3"})[1]
    assert told == {"action": "pause", "shards": 3, "found": None}
    assert states(tiny) == ["paused", "queued", "paused", "paused", "queued", "queued"]


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("tiny/shards/stop/", {}, 404, "There is no such action; there are start,"),
        ("nowhere/shards/start/", {}, 404, "There is no dataset named “nowhere”."),
        ("tiny/shards/pause/", {"shards": "1,7-9"}, 404, "Tiny has no shard 7-9."),
        ("tiny/shards/pause/", {"shards": "x"}, 422, "“x” is neither a shard's number"),
        ("tiny/shards/pause/", {"shards": "9" * 30}, 422, "is neither a shard's"),
        ("tiny/shards/pause/", {"shards": "0-" + "9" * 7}, 422, "is too high"),
        ("tiny/shards/pause/", {"shards": ","}, 422, "No shards are named"),
    ],
)
def test_what_cannot_be_steered_is_refused(tiny, ask, path, body, status, sentence):
    in_states(tiny, "queued", "queued")
    answered, told = ask("post", f"{DATASETS}{path}", body)
    assert answered == status and sentence in told["detail"]
    assert states(tiny) == ["queued", "queued"]


def test_a_malformed_action_is_refused_at_its_field(tiny, ask):
    in_states(tiny, "queued")
    for body, field in [
        ({"shard": "0"}, "shard"),
        ({"shards": ["0"]}, "shards"),
        ({"shards": ""}, "shards"),
        ({"shards": "0\0"}, "shards"),
        ({"shards": "\ud800"}, "shards"),
        ({"shards": "0," * 600}, "shards"),
        ({"sure": "perhaps"}, "sure"),
        ({"sure": [[]]}, "sure"),
        ({"\ud800": 1}, "?"),
        ([], "non_field_errors"),
    ]:
        status, told = ask("post", f"{TINY}shards/pause/", json.dumps(body))
        assert (status, list(told)) == (400, [field]), body
    assert states(tiny) == ["queued"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("{}/nowhere", "There is no folder {}/nowhere on this server."),
        ("{}", "There are no shards in “{}”."),
        ("a" * 300, "The source cannot be read: "),
    ],
    ids=["missing", "empty", "too long"],
)
def test_a_source_that_has_no_shards_says_so(
    tiny, ask, sent, tmp_path_factory, source, sentence
):
    empty = tmp_path_factory.mktemp("empty")
    Dataset.objects.filter(pk=tiny.pk).update(source=source.format(empty))
    status, told = ask("post", f"{TINY}shards/start/")
    assert (status, told["code"]) == (422, "shard_unreadable")
    assert told["detail"].startswith(sentence.format(empty))


def test_laion_shards_want_a_removal_list_first(tiny, ask, sent):
    Dataset.objects.filter(pk=tiny.pk).update(without_removal_list=False)
    status, told = ask("post", f"{TINY}shards/start/")
    assert (status, told["code"]) == (400, "bad_query")
    assert told["detail"].startswith("Import a removal list first")
    assert sent == []


# --- Who gets in

STAFFS = [
    ("get", f"{DATASETS}?all=true", "change"),
    ("post", DATASETS, "add"),
    ("patch", TINY, "change"),
    ("put", TINY, "change"),
    ("delete", f"{TINY}?sure=tiny", "delete"),
    ("get", f"{TINY}shards/", "change"),
    ("post", f"{TINY}shards/start/", "change"),
    ("get", f"{TINY}progress/", "change"),
]


ALL = ("change", "add", "delete")


@pytest.mark.parametrize(
    ("is_staff", "may"),
    [(None, ()), (False, ()), (True, ()), (False, ALL)],
    ids=["no account", "a user", "staff", "permissions"],
)
def test_others_are_refused(client, tiny, sent, is_staff, may):
    if is_staff is None:
        authorization, refused = None, (401, "not_authenticated")
    else:
        authorization = authorized(user_who(is_staff, *may))
        refused = (403, "permission_denied")
    for method, path, _ in STAFFS:
        status, told = asked(client, method, path, authorization=authorization)
        assert (status, told["code"]) == refused, path
    assert Dataset.objects.filter(pk=tiny.pk).exists() and not tiny.shards.exists()


@pytest.mark.parametrize("permission", ALL)
def test_each_permission_lets_in_where_it_is_for(client, tiny, sent, permission):
    authorization = authorized(user_who(True, permission))
    for method, path, needed in STAFFS:
        status, _ = asked(client, method, path, authorization=authorization)
        assert status == (let_in(method, path) if permission == needed else 403), path


def let_in(method: str, path: str) -> int:
    """Return the status of an empty request by an authorized user."""
    if path == DATASETS:
        return 400
    return {"put": 405, "delete": 204}.get(method, 200)


def user_who(is_staff: bool, *may: str) -> User:
    user = User.objects.create(username="somebody", is_staff=is_staff)
    codenames = [f"{do}_dataset" for do in may]
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def test_where_things_lie_on_the_server_is_for_staff(client, tiny, ask, folder):
    in_states(tiny, "ingested", rows_visible=40)
    for path in (TINY, DATASETS):
        status, told = asked(client, "get", path)
        assert status == 200 and str(folder) not in json.dumps(told)
        assert str(folder) in json.dumps(ask("get", path)[1])


def test_datasets_without_items_are_listed_for_staff_who_ask(client, tiny, ask):
    slugs = [each["slug"] for each in ask("get", DATASETS)[1]]
    assert "tiny" not in slugs
    everything = [each["slug"] for each in ask("get", f"{DATASETS}?all=true")[1]]
    assert {"tiny", *slugs} <= set(everything)
    assert ask("get", f"{DATASETS}?al=true")[0] == 400
    status, told = asked(client, "get", TINY)  # whoever knows of it may look
    assert status == 200 and "settings" not in told


# --- Settings

VALID = {"slug": "another", "title": "Another"}
NOT_OPEN = "Datasets may come from"
ADDRESS = {"source": "https://example.org/embeddings", "shard_range": "0-409"}


WRONG = [
    ({"slug": "Not a slug"}, "slug", "A slug has small letters"),
    ({"slug": "other"}, "slug", "already exists"),
    ({"slug": None}, "slug", "may not be null"),
    ({"title": "\ud800"}, "title", "Surrogate characters are not allowed"),
    ({"title": "a\0b"}, "title", "Null characters are not allowed"),
    ({"title": "x" * 121}, "title", "no more than 120"),
    ({"dimension": 0}, "dimension", "greater than or equal to 1"),
    ({"dimension": 10**400}, "dimension", "less than or equal to"),
    ({"dimension": 8.5}, "dimension", "A valid integer is required"),
    ({"dimension": True}, "dimension", "A valid integer is required"),
    ({"metric": "\ud800"}, "metric", "This is cosineDistance or L2Distance."),
    ({"kind": ["laion"]}, "kind", "This is laion, images or parquet."),
    ({"shards_per_partition": 3}, "shards_per_partition", "This is one of [1, 2,"),
    ({"shard_range": "7-3"}, "shard_range", "ends before it begins"),
    ({"source": "https://example.org/x"}, "shard_range", "Say which shards"),
    (ADDRESS | {"kind": "images"}, "source", "Only LAION shards are fetched"),
    ({"source": "/etc/passwd"}, "source", NOT_OPEN),
    (ADDRESS | {"text_pattern": "../{n}"}, "text_pattern", "is not a path"),
    ({"columns": ["url"]}, "columns", "Invalid data"),
    ({"ratings": {"values": {"a": "mild"}}}, "ratings", "safe"),
    ({"ratings": {"values": {"a\0": "safe"}}}, "ratings", "is no rating"),
    ({"ratings": {"values": {"-": "safe"}}}, "ratings", "is no rating"),
    ({"ratings": {"threshold": "high"}}, "ratings", "A valid number"),
    ({"ratings": {"all ages": "safe"}}, "ratings", "This key is not known."),
    ({"columns": {"picture": "x"}}, "columns", "This key is not known."),
    ({"columns": {"url": "a\0b"}}, "columns", "Null characters"),
    ({"columns": {"\ud800": "x"}}, "columns", "This key is not known."),
    ({"rows": 7}, "rows", "This key is not known."),
    ({"created_at": "2020-01-01"}, "created_at", "This key is not known."),
]


@pytest.mark.parametrize("method", ["post", "patch"])
def test_settings_that_are_wrong_are_told_at_their_field(tiny, ask, method):
    Dataset.objects.create(slug="other", title="Other")
    for given, field, sentence in WRONG:
        if method == "post":
            status, told = ask("post", DATASETS, VALID | given)
        else:
            status, told = ask("patch", TINY, given)
        assert (status, list(told)) == (400, [field]), given
        assert sentence in json.dumps(told, ensure_ascii=False)
    assert not Dataset.objects.filter(title="Another").exists()
    assert Dataset.objects.filter(slug="tiny", title="Tiny", columns={}).exists()


@pytest.mark.parametrize("method", ["post", "patch"])
def test_what_is_no_object_is_refused(tiny, ask, method):
    for body in ("[]", '"x"', "null", "{", "[" * 10_000, '{"dimension": NaN}'):
        assert ask(method, DATASETS if method == "post" else TINY, body)[0] == 400


def test_settings_are_changed_and_can_be_sent_back(tiny, ask):
    changes = {"title": "Renamed", "slug": "tiny_too", "columns": {"url": "link"}}
    changes["ratings"] = {"values": {"R-15": "unsure"}, "threshold": 0.25}
    status, told = ask("patch", TINY, changes)
    assert (status, told["title"], told["slug"]) == (200, "Renamed", "tiny_too")
    tiny.refresh_from_db()
    assert (tiny.title, tiny.columns) == ("Renamed", {"url": "link"})
    assert tiny.ratings == changes["ratings"]
    again = ask("patch", f"{DATASETS}tiny_too/", told["settings"])
    assert again == (200, told)


def test_what_decides_the_table_is_fixed_once_there_are_shards(tiny, ask):
    in_states(tiny, "pending")
    for name in validation.FIXED:
        value = {
            "metric": "L2Distance",
            "index": "graph",
            "index_quantization": "i8",
            "slug": "x",
        }
        status, told = ask("patch", TINY, {"title": "X", name: value.get(name, 16)})
        assert (status, told) == (400, {name: ["This is fixed once there are shards."]})
    told = ask("get", TINY)[1]
    assert told["title"] == "Tiny"
    same = told["settings"] | {"title": "Renamed"}
    assert ask("patch", TINY, same)[1]["title"] == "Renamed"


def test_a_change_leaves_what_a_worker_writes_meanwhile(tiny, ask, monkeypatch):
    def slow_check(dataset: Dataset) -> dict:
        Dataset.objects.filter(pk=dataset.pk).update(image_mean="0000803f")
        return {}

    monkeypatch.setattr(validation, "problems", slow_check)
    assert ask("patch", TINY, {"title": "Renamed"})[0] == 200
    tiny.refresh_from_db()
    assert (tiny.title, tiny.image_mean) == ("Renamed", "0000803f")


def test_two_who_enter_the_same_name_at_once_leave_one(tiny, ask, monkeypatch):
    monkeypatch.setattr(validation, "problems", lambda dataset: {})
    status, told = ask("post", DATASETS, VALID | {"slug": "tiny"})
    assert (status, told) == (
        400,
        {"slug": ["There is a dataset of this name already."]},
    )


# --- Shards and progress


def test_shards_are_listed_in_pages_and_by_state(tiny, ask):
    in_states(tiny, *["ingested", "failed"] * 3, error="Broken.", rows=40)
    status, first = ask("get", f"{TINY}shards/", {"limit": 4})
    fits(first, ShardsSerializer())
    rest = ask("get", f"{TINY}shards/", {"limit": 4, "cursor": first["next"]})[1]
    assert [shard["number"] for shard in first["results"]] == [0, 1, 2, 3]
    assert [shard["number"] for shard in rest["results"]] == [4, 5]
    assert rest["next"] is None
    failed = ask("get", f"{TINY}shards/", {"state": "failed", "limit": 3})[1]
    assert [shard["number"] for shard in failed["results"]] == [1, 3, 5]
    assert failed["next"] is None
    assert (
        failed["results"][0] | {"error": "Broken.", "rows": 40}
        == (failed["results"][0])
    )
    assert ask("get", f"{TINY}shards/", {"cursor": "9" * 9})[1]["results"] == []


def test_a_malformed_page_is_refused_at_its_field(tiny, ask):
    for given in [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "x"},
        {"cursor": "-1"},
        {"cursor": "9" * 40},
        {"cursor": "x\0"},
        {"state": "lost"},
        {"page": "2"},
    ]:
        status, told = ask("get", f"{TINY}shards/", given)
        assert (status, told.keys()) == (400, given.keys())


def test_progress_tells_what_went_wrong_and_what_was_left_out(tiny, ask):
    in_states(tiny, *["failed"] * 3, "ingested", error="Broken.", rows=40, rows_done=8)
    tiny.shards.update(rows_kept=7, rows_rejected=1, notes={"Read as CSV.": 8})
    Reject.objects.bulk_create(
        Reject(shard=tiny.shards.get(number=3), row=row, reason="Because.")
        for row in range(5)
    )
    Partition.objects.create(dataset=tiny, number=1, vectors=80, error="Full.")
    later = timezone.now() + timezone.timedelta(minutes=1)
    Partition.objects.create(
        dataset=tiny, number=2, vectors=80, vectors_done=20, lease_until=later
    )
    status, told = ask("get", f"{TINY}progress/")
    fits(told, ProgressSerializer())
    assert told["errors"] == [{"error": "Broken.", "count": 3, "shards": "0-2"}]
    assert told["left_out"] == [{"reason": "Because.", "rows": 5}]
    assert told["rows"]["done"] == 3 * 8 + 40
    rows = told["rows"]
    assert (rows["kept"], rows["left_out"], rows["unaccounted"]) == (28, 4, 32)
    assert told["notes"] == [{"note": "Read as CSV.", "rows": 32}]
    assert told["indexes"] == [
        {"shards": "4-7", "vectors": 80, "vectors_done": 0, "error": "Full."},
        {"shards": "8-11", "vectors": 80, "vectors_done": 20, "error": ""},
    ]
    tiny.shards.filter(number=0).update(state=State.QUEUED)
    told = ask("get", f"{TINY}progress/")[1]
    assert told["moving"] and told["left_out"] is None


def test_of_a_dataset_without_shards_there_is_progress_too(tiny, ask):
    status, told = ask("get", f"{TINY}progress/")
    fits(told, ProgressSerializer())
    assert told["rows"]["expected"] is None and set(told["shards"].values()) == {0}


# --- When something is away


def test_without_the_engine_nothing_changes(tiny, ask, monkeypatch):
    def away(*_, **__):
        raise SearchUnavailable("The engine is away.")

    in_states(tiny, "ingested", "paused", rows_visible=40)
    before = list(tiny.shards.values())
    monkeypatch.setattr(engine, "rows", away)
    for method, path, body in [
        ("post", f"{TINY}shards/drop/", {"sure": True}),
        ("post", f"{TINY}shards/cancel/", None),
        ("post", DATASETS, VALID),
        ("patch", TINY, {"title": "Renamed"}),
    ]:
        status, told = ask(method, path, body)
        assert (status, told["code"]) == (503, "unavailable")
    assert list(tiny.shards.values()) == before
    assert [each.title for each in Dataset.objects.filter(slug="tiny")] == ["Tiny"]
    assert not Dataset.objects.filter(slug="another").exists()
    assert ask("post", f"{TINY}shards/pause/")[0] == 200
    assert ask("get", f"{TINY}progress/")[0] == 200
    # Deleting hides the dataset; the sweeper drops its tables later.
    assert ask("delete", f"{TINY}?sure=tiny") == (204, None)
    assert Dataset.everything.filter(deleted_slug="tiny").exists()


def test_without_a_broker_shards_stay_queued_for_the_sweeper(
    tiny, ask, sent, monkeypatch
):
    def away(key):
        raise OperationalError("connection refused")

    monkeypatch.setattr(tasks.ingest_shard, "delay", away)
    assert ask("post", f"{TINY}shards/start/")[1]["shards"] == 3
    assert states(tiny) == ["queued"] * 3
    monkeypatch.setattr(tasks.ingest_shard, "delay", sent.append)
    monkeypatch.setattr(broker, "queue_is_empty", lambda task: True)
    sweeper.recover()
    assert len(sent) == 3
