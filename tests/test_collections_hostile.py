"""Requests that no page of ours sends: each is refused, and nothing is lost."""

import io
import json

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import QueryDict
from django.test import Client
from support.collection_helpers import address, as_items, collection, filled, post

from search.errors import InvalidQuery, NotFound, SearchUnavailable
from search.retrieval import item_lookup

pytestmark = pytest.mark.django_db
HALF = "\ud800"  # of a character; JSON can carry it, a database cannot


@pytest.fixture
def ada(client):
    user = get_user_model().objects.create_user("ada")
    client.force_login(user)
    return user


def told(answer, status: int = 400) -> str:
    assert answer.status_code == status, answer.content[:300]
    return answer.json()["detail"]


ORDERS = ("hand", "newest", "caption", "dataset", "unlike")


@pytest.mark.parametrize("order", ORDERS)
def test_a_cursor_leads_on_in_its_own_order_alone(client, ada, order):
    many = filled(ada, 50)
    for other in {*ORDERS} - {order, "unlike"}:
        page = client.get(address("", many), {"order": other})
        cursor = QueryDict(page.context["more"].partition("?")[2])["cursor"]
        answer = client.get(address("", many), {"order": order, "cursor": cursor})
        assert answer.status_code == 400, other
        assert b"link to the next page is not valid" in answer.content


@pytest.mark.parametrize("name", ["\0", HALF, "no such name", "x" * 41])
@pytest.mark.parametrize("where", ["add", "remove", "move", "note", "cover"])
def test_items_of_what_cannot_be_a_dataset_are_refused(client, ada, name, where):
    boats = filled(ada, 3)
    items = json.dumps([{"dataset": name, "id": 1}])
    answer = post(client, address(where, boats), items=items, to="first")
    assert "item IDs" in told(answer)


def test_items_of_very_many_datasets_are_refused(client, ada):
    named = [{"dataset": f"d{number}", "id": 1} for number in range(3_000)]
    answer = post(client, address("add", filled(ada, 1)), items=json.dumps(named))
    assert "datasets" in told(answer)


@pytest.mark.parametrize("name", ["\0", HALF])
def test_a_selection_of_what_cannot_be_a_dataset_is_not_found(client, name):
    items = json.dumps([{"dataset": name, "id": 1}])
    answer = client.post("/selection.csv", {"items": items})
    assert "no dataset" in told(answer, 404)


def test_more_of_a_collection_from_what_cannot_be_a_dataset(client, ada):
    shared = collection(ada, visibility="unlisted", share_token="a-token")
    answer = Client().get(
        f"/collections/shared/{shared.share_token}/like-it?dataset=%00"
    )
    assert answer.status_code == 404


def test_a_collection_that_got_nothing_is_not_made(client, ada, monkeypatch):
    from usercollections.models import Collection

    def away(*_):
        raise SearchUnavailable("The engine is away.")

    monkeypatch.setattr(item_lookup, "facts", away)
    answer = post(client, "/collections/", name="boats", items=as_items(1))
    assert told(answer, 503) == "The engine is away."
    assert not Collection.objects.exists()


def lying(header: bytes) -> bytes:
    padded = header + b" " * 50 + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded


def as_json(**changes) -> bytes:
    about = {"model": "m", "weights": "", "name": "sea", "vector": [1.0]}
    return json.dumps(about | changes).encode()


@pytest.mark.parametrize(
    "data",
    [
        lying(b"("),
        lying(b"{'descr': '<f4', 'shape':"),
        lying(b"-" * 9_000),
        lying(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
        as_json(vector=[10**400]),
        as_json(vector=[[[1]], [2]]),
        as_json(vector={"a": 1}),
        as_json(vector="x"),
        as_json(vector=None),
        b"[" * 100_000,
        b"\xff\xfe",
        b"",
    ],
)
def test_a_file_that_is_no_concept(postcards_dataset, data):
    from usercollections.concept.files import read

    with pytest.raises(InvalidQuery):
        read(data, postcards_dataset)


def test_a_name_that_cannot_be_kept(client, ada, postcards_dataset):
    by = {"model": postcards_dataset.model, "weights": postcards_dataset.weights}
    vector = [1.0] * postcards_dataset.dimension
    for texts in ({"name": HALF}, {"description": HALF}, {"name": "a\0b"}):
        file = SimpleUploadedFile("a.json", as_json(vector=vector, **by, **texts))
        asked = {"file": file, "dataset": "postcards"}
        answer = post(client, "/concepts/import", **asked)
        assert told(answer)


def test_a_new_name_leaves_the_newest_version_alone(
    client, ada, postcards_dataset, monkeypatch
):
    from usercollections import sharing_views
    from usercollections.concept import services
    from usercollections.models import Concept

    file = io.BytesIO()
    np.save(file, np.ones(postcards_dataset.dimension, "<f4"))
    upload = SimpleUploadedFile("a.npy", file.getvalue())
    post(client, "/concepts/import", file=upload, dataset="postcards")
    concept = Concept.objects.get()
    check = sharing_views.check_form

    def slowly(form):
        check(form)
        services.restore(ada, concept.pk, 1)  # in another tab

    monkeypatch.setattr(sharing_views, "check_form", slowly)
    where = f"/concepts/{concept.pk}/edit"
    assert post(client, where, name="sea").status_code == 200
    concept.refresh_from_db()
    assert (concept.name, concept.version) == ("sea", 2)


def test_too_many_rounds_are_told_when_to_go_on(client, settings):
    settings.LIMITS = {**settings.LIMITS, "refine": "1/min"}
    caches["limits"].clear()
    assert post(client, "/refine/").status_code == 400
    answer = post(client, "/refine/")
    assert answer.status_code == 429 and int(answer["Retry-After"]) > 0


def test_an_item_on_a_list_counts_as_removed_without_its_table(db, monkeypatch):
    from search.clickhouse import lookup
    from search.models import Dataset, Removal
    from search.removals.takedowns import digest

    def no_table(*_):
        raise NotFound("This dataset has no items yet.")

    monkeypatch.setattr(lookup, "deletion_flags", no_table)
    dataset = Dataset.objects.create(slug="empty", title="Empty")
    kind = Removal.Kind.ITEM
    Removal.objects.create(
        dataset=dataset, kind=kind, value="7", digest=digest(kind, "7")
    )
    found = item_lookup.states("empty", {7: "", 8: ""})
    assert found == {7: item_lookup.ItemState.REMOVED, 8: item_lookup.ItemState.GONE}
