"""Exports by the API: requests, progress and files."""

import csv
import hashlib
import json
from datetime import timedelta
from io import BytesIO, StringIO

import numpy as np
import pyarrow.parquet as pq
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient
from support import searching
from support.collection_helpers import collection, first_ids

from search.models import SYSTEM, Dataset, Removal
from search.query.model import SearchQuery, Term
from search.removals import takedowns
from search.retrieval import service
from usercollections.account.tokens import make_token
from usercollections.export import services, storage, tasks
from usercollections.models import Concept, Export

pytestmark = pytest.mark.django_db
State = Export.State


@pytest.fixture(autouse=True)
def quiet(settings, tmp_path, monkeypatch, postcards_dataset):
    settings.EXPORT_DIR = tmp_path / "exports"
    monkeypatch.setattr(tasks.write_export, "delay", lambda key: None)


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def api(ada) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {make_token(ada, 'test', None)}")
    return client


def post(api, **body):
    return api.post("/api/exports/", body, format="json")


def create_export(api, **body) -> dict:
    answer = post(api, **body)
    assert answer.status_code == 201, answer.content
    return answer.json()


def content(answer) -> bytes:
    return b"".join(answer.streaming_content)


def download(api, export: dict) -> bytes:
    (file,) = export["files"]
    return content(api.get(file["url"]))


def boats_request(**more) -> dict:
    terms = [{"text": "a boat"}, {"text": "snow", "weight": -0.5}]
    return {
        "kind": "search",
        "search": {"dataset": "postcards", "terms": terms, **more},
    }


def concept_of(ada: User, words: str = "a boat") -> Concept:
    vector = searching.embed(SearchQuery("postcards", (Term(text=words),)))
    dataset = Dataset.for_slug("postcards", SYSTEM)
    return Concept.objects.create(
        owner=ada,
        name=words,
        model=dataset.model,
        weights=dataset.weights,
        vector=vector.astype("<f4").tobytes(),
    )


# --- Each kind


def test_a_collection_as_csv(api, ada):
    ids = first_ids("postcards", 3)
    boats = collection(ada, *ids)
    export = create_export(api, kind="collection", collection=str(boats.pk), form="csv")
    assert (export["kind"], export["form"], export["state"]) == (
        *("collection", "csv"),
        "done",
    )
    assert export["name"] == "boats"
    rows = list(csv.DictReader(StringIO(download(api, export).decode("utf-8-sig"))))
    assert [int(row["id"]) for row in rows] == ids
    assert export["progress"]["rows"] == 3 and export["progress"]["share"] == 1


def test_a_search_as_parquet_with_embeddings(api):
    body = boats_request(limit=120)
    export = create_export(api, **body, form="parquet", embeddings=True)
    table = pq.read_table(BytesIO(download(api, export)))
    found = []
    cursor = None
    while len(found) < 120:
        search = {**body["search"], "limit": 60, "cursor": cursor}
        page = api.post("/api/search/", search, format="json").json()
        found += [hit["id"] for hit in page["results"]]
        cursor = page["next"]
    assert table["id"].to_pylist() == found
    vector = np.array(table["embedding"][0].as_py(), np.float32)
    stored = service.embeddings("postcards", "image", found[:1], SYSTEM)[found[0]]
    assert vector == pytest.approx(stored, abs=1e-3)


def test_what_is_like_a_concept_as_json(api, ada):
    concept = concept_of(ada)
    ranked = searching.rank(
        SearchQuery("postcards", (Term(embedding=tuple(concept.embedding.tolist())),)),
        200,
    )
    least = float(ranked.similarities[49])
    export = create_export(
        api,
        kind="concept",
        concept=str(concept.pk),
        dataset="postcards",
        at_least=least - 1e-6,
        form="json",
        filters={"min_width": 1},
    )
    rows = json.loads(download(api, export))
    rows = rows if isinstance(rows, list) else rows["items"]
    assert {row["id"] for row in rows} >= set(map(int, ranked.ids[:50]))
    assert all(row["similarity"] >= least - 1e-4 for row in rows)
    assert export["progress"]["looked_at"] == 2_000
    assert export["manifest"]["files"][0]["rows"] == len(rows)


def test_a_dataset_as_a_list_for_img2dataset(api):
    export = create_export(
        api, kind="dataset", dataset="postcards", form="img2dataset", filters={}
    )
    (file,) = export["files"]
    assert file["rows"] == export["progress"]["rows"]
    assert hashlib.sha256(download(api, export)).hexdigest() == file["sha256"]


def test_what_is_large_is_answered_before_it_is_made(api, monkeypatch):
    monkeypatch.setattr(services, "SMALL", 1_000)
    answer = post(api, kind="dataset", dataset="postcards", form="csv")
    assert answer.status_code == 202
    waiting = answer.json()
    assert (waiting["state"], waiting["files"]) == ("queued", [])
    assert waiting["manifest"] is None and waiting["manifest_url"] is None
    assert api.get(answer["Location"]).json() == waiting
    assert answer["Location"].endswith(f"/api/exports/{waiting['id']}/")
    tasks.write_export(waiting["id"])
    done = api.get(answer["Location"]).json()
    assert done["state"] == "done" and done["expires_at"] and done["finished_at"]
    assert sum(file["bytes"] for file in done["files"]) == done["bytes"]


# --- What is refused


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"kind", "form"}),
        ({"kind": "planet", "form": "csv"}, {"kind"}),
        ({"kind": "dataset", "form": "xls", "dataset": "postcards"}, {"form"}),
        ({"kind": "collection", "form": "csv"}, {"collection"}),
        ({"kind": "collection", "form": "csv", "collection": "7"}, {"collection"}),
        ({"kind": "search", "form": "csv"}, {"search"}),
        ({"kind": "search", "form": "csv", "search": []}, {"search"}),
        ({**boats_request(limit=10_001), "form": "csv"}, {"search"}),
        ({**boats_request(limit=0), "form": "csv"}, {"search"}),
        ({**boats_request(cursor="x"), "form": "csv"}, {"search"}),
        ({**boats_request(include=["embedding"]), "form": "csv"}, {"search"}),
        (
            {"kind": "search", "form": "csv", "search": {"dataset": "postcards"}},
            {"search"},
        ),
        ({**boats_request(), "form": "csv", "dataset": "postcards"}, {"dataset"}),
        ({"kind": "concept", "form": "csv"}, {"concept", "dataset", "at_least"}),
        (
            {
                "kind": "dataset",
                "form": "csv",
                "dataset": "postcards",
                "filters": {"cutoff": 0.2},
            },
            {"filters"},
        ),
        (
            {"kind": "dataset", "form": "csv", "dataset": "postcards", "field": "text"},
            {"field"},
        ),
        ({"kind": "dataset", "form": "csv", "dataset": "p", "color": 1}, {"color"}),
    ],
    ids=lambda value: "-".join(sorted(value)) if isinstance(value, set) else "",
)
def test_what_does_not_fit_is_told_by_its_name(api, body, wrong):
    answer = post(api, **body)
    assert answer.status_code == 400, answer.content
    assert set(answer.json()) == wrong
    assert not Export.objects.exists()


@pytest.mark.parametrize(
    "least",
    ["NaN", "Infinity", "1e400", "1.5", '"nan"', '"\\ud800"', "[]", "{}", "null"],
)
def test_a_similarity_that_is_none_is_refused(api, ada, least):
    body = {"kind": "concept", "form": "csv", "dataset": "postcards"}
    current = json.dumps(body | {"concept": str(concept_of(ada).pk), "at_least": 0})
    current = current.replace('"at_least": 0', f'"at_least": {least}')
    answer = api.post("/api/exports/", current, content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert not Export.objects.exists()


def test_embeddings_are_of_parquet_alone(api):
    answer = post(api, **boats_request(), form="csv", embeddings=True)
    assert answer.status_code == 400
    assert answer.json() == {
        "detail": "Embeddings can only be exported as Parquet.",
        "code": "bad_query",
    }


def test_what_is_not_there_is_not_found(api):
    nobody = "00000000-0000-4000-8000-000000000000"
    for body in (
        {"kind": "collection", "collection": nobody},
        {"kind": "dataset", "dataset": "nowhere"},
        {"kind": "concept", "concept": nobody, "dataset": "postcards", "at_least": 0},
    ):
        assert post(api, **body, form="csv").status_code == 404


def test_as_many_as_one_may_have(api, monkeypatch):
    monkeypatch.setattr(services, "MAX_AT_WORK", 0)
    answer = post(api, **boats_request(), form="csv")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_query")


def test_having_them_made_is_limited_and_looking_is_not(api, settings):
    settings.LIMITS = {**settings.LIMITS, "export": "1/hour"}
    export = create_export(api, **boats_request(limit=3), form="csv")
    answer = post(api, **boats_request(), form="csv")
    assert answer.status_code == 429 and int(answer["Retry-After"]) > 1
    for _ in range(3):
        assert api.get(f"/api/exports/{export['id']}/").status_code == 200
        assert download(api, export)


# --- Lists, cancelling, deleting


def test_lists_come_in_pages_the_latest_first(api, ada):
    for number in range(5):
        Export.objects.create(
            owner=ada,
            name=f"{number}",
            asked={"kind": "dataset", "form": "csv", "with_embeddings": False},
        )
    first = api.get("/api/exports/?limit=3").json()
    assert [each["name"] for each in first["results"]] == ["4", "3", "2"]
    rest = api.get("/api/exports/", {"limit": 3, "cursor": first["next"]}).json()
    assert [each["name"] for each in rest["results"]] == ["1", "0"]
    assert rest["next"] is None
    for wrong in ("limit=0", "limit=101", "limit=x", "cursor=x", "page=2"):
        assert api.get(f"/api/exports/?{wrong}").status_code == 400


def test_one_that_waits_can_be_cancelled_and_deleted(api, monkeypatch):
    monkeypatch.setattr(services, "SMALL", -1)
    export = post(api, **boats_request(), form="csv").json()
    where = f"/api/exports/{export['id']}/"
    answer = api.post(f"{where}cancel/")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert api.post(f"{where}cancel/").status_code == 400
    assert api.delete(where).status_code == 204
    assert api.get(where).status_code == 404


# --- Files


def test_files_come_with_their_kind_and_their_name(api):
    export = create_export(api, **boats_request(limit=3), form="csv")
    asked = {"Accept": "text/csv"}
    answer = api.get(export["files"][0]["url"], headers=asked)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["X-Content-Type-Options"] == "nosniff"
    name = export["files"][0]["name"]
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
    body = content(answer)
    assert int(answer["Content-Length"]) == len(body) == export["files"][0]["bytes"]
    manifest = api.get(export["manifest_url"])
    assert manifest["Content-Type"] == "application/json"
    assert json.loads(content(manifest)) == export["manifest"]


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=10-", 206, 10, None),
        ("bytes=-7", 206, -7, None),
        ("bytes=5-99999999", 206, 5, None),
        ("bytes=99999999-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=9-3", 200, 0, None),
        ("bytes=0-1,4-5", 200, 0, None),
        ("lines=0-1", 200, 0, None),
        ("bytes=-", 200, 0, None),
    ],
)
def test_a_part_of_a_file(api, asked, status, start, end):
    export = create_export(api, **boats_request(limit=3), form="csv")
    url = export["files"][0]["url"]
    whole = content(api.get(url))
    answer = api.get(url, headers={"Range": asked})
    assert answer.status_code == status
    if status == 416:
        assert answer["Content-Range"] == f"bytes */{len(whole)}"
        return
    body = content(answer)
    assert body == whole[start:end]
    assert int(answer["Content-Length"]) == len(body)
    if status == 206:
        first = start % len(whole)
        last = first + len(body) - 1
        assert answer["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"


def test_only_what_the_manifest_lists_is_given_out(api, settings):
    export = create_export(api, **boats_request(limit=3), form="csv")
    where = f"/api/exports/{export['id']}/files/"
    beside = storage.folder_of(Export.objects.get().pk) / "1" / "secret.txt"
    beside.write_text("not listed")
    secret = settings.EXPORT_DIR / "secret.txt"
    secret.write_text("above")
    for name in (
        *("secret.txt", "..%2fsecret.txt", "..%2f..%2fsecret.txt", "%2fetc%2fpasswd"),
        *("progress.json", "", ".", "..", "%00", "manifest.json%00", "manifest.json/"),
    ):
        assert api.get(where + name).status_code == 404, name


def test_files_that_expired_are_not_there(api):
    export = create_export(api, **boats_request(limit=3), form="csv")
    Export.objects.update(state=State.EXPIRED, expires_at=timezone.now())
    assert api.get(export["files"][0]["url"]).status_code == 404
    current = api.get(f"/api/exports/{export['id']}/").json()
    assert (current["state"], current["files"], current["manifest"]) == (
        "expired",
        [],
        None,
    )


def test_after_a_take_down_an_export_has_to_be_made_again(api):
    """Also for items that are not among its rows, which are not checked."""
    export = create_export(api, **boats_request(limit=3), form="csv")
    url = export["files"][0]["url"]
    ids = [
        int(row["id"])
        for row in csv.DictReader(StringIO(download(api, export).decode("utf-8-sig")))
    ]
    dataset = Dataset.objects.get(slug="postcards")
    takedowns.add(Removal.Kind.ITEM, [str(ids[0])], dataset, "asked for")
    answer = api.get(url)
    assert (answer.status_code, answer.json()["detail"]) == (404, storage.TAKEN_DOWN)
    assert not storage.folder_of(Export.objects.get().pk).exists()
    current = api.get(f"/api/exports/{export['id']}/").json()
    assert (current["state"], current["error"]) == ("expired", storage.TAKEN_DOWN)
    services.restart(User.objects.get(), Export.objects.get().pk)
    current = api.get(f"/api/exports/{export['id']}/").json()
    again = csv.DictReader(StringIO(download(api, current).decode("utf-8-sig")))
    assert ids[0] not in [int(row["id"]) for row in again]


def test_files_are_not_given_out_past_their_time(api):
    export = create_export(api, **boats_request(limit=3), form="csv")
    Export.objects.update(expires_at=timezone.now())  # the sweeper has yet to pass
    answer = api.get(export["files"][0]["url"])
    assert (answer.status_code, answer.json()["detail"]) == (404, storage.DELETED)


def test_a_download_goes_on_though_its_files_are_deleted(api):
    export = create_export(api, **boats_request(limit=3), form="csv")
    answer = api.get(export["files"][0]["url"])
    storage.remove(Export.objects.get().pk)
    assert len(content(answer)) == export["bytes"]
    assert api.get(export["files"][0]["url"]).status_code == 404


# --- Whose they are


def test_visitors_and_others_see_none(api, ada):
    export = create_export(api, **boats_request(limit=3), form="csv")
    where = f"/api/exports/{export['id']}/"
    addresses = ["/api/exports/", where, export["files"][0]["url"]]
    visitor = APIClient()
    assert {visitor.get(address).status_code for address in addresses} == {401}
    assert visitor.post("/api/exports/", {}, format="json").status_code == 401
    other = Client()
    other.force_login(User.objects.create_user("bo"))
    assert other.get("/api/exports/").json()["results"] == []
    for answer in (
        *(other.get(address) for address in addresses[1:]),
        other.delete(where),
        other.post(f"{where}cancel/"),
    ):
        assert answer.status_code == 404
    assert Export.objects.get().owner == ada


def test_a_collection_of_another_is_exported_without_its_notes(api):
    bo = User.objects.create_user("bo")
    theirs = collection(bo, *first_ids("postcards", 2), visibility="public")
    theirs.items.update(note="a secret note")
    export = create_export(
        api, kind="collection", collection=str(theirs.pk), form="json"
    )
    assert b"a secret note" not in download(api, export)
    theirs.visibility = "private"
    theirs.save()
    answer = post(api, kind="collection", collection=str(theirs.pk), form="json")
    assert answer.status_code == 404


def test_the_answer_is_as_the_schema_tells(api):
    from usercollections.api.export_serializers import ExportSerializer

    export = create_export(api, **boats_request(limit=3), form="csv")
    assert set(export) == set(ExportSerializer().fields)
    assert set(export["progress"]) == set(ExportSerializer().fields["progress"].fields)
    assert set(export["files"][0]) == set(
        ExportSerializer().fields["files"].child.fields
    )
    expected = timezone.now() + timedelta(days=7)
    assert export["expires_at"][:10] in (
        expected.isoformat()[:10],
        (expected - timedelta(minutes=5)).isoformat()[:10],
    )
