"""Saved searches, as programs keep and run them."""

from datetime import timedelta

import pytest
from django.utils import timezone
from support.api_calls import Caller, assert_refuses_all, assert_shaped, caller, walked

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def dataset(postcards_dataset):
    return postcards_dataset


@pytest.fixture
def ada() -> Caller:
    return caller("ada")


@pytest.fixture
def eve() -> Caller:
    return caller("eve")


def save(one: Caller, q: str = "a+boat", status: int = 201, **more) -> dict:
    body = {"search": f"dataset=postcards&q={q}", **more}
    return one.post("searches/", body, status)


def path(told: dict, *more: str) -> str:
    return "/".join(["searches", told["id"], *more, ""])


def row_of(told: dict):
    from usercollections.models import SavedSearch

    return SavedSearch.objects.get(pk=told["id"])


def test_a_search_is_saved_in_one_spelling(ada):
    from usercollections.api.search_serializers import (
        SavedSearchDetailSerializer,
        SavedSearchSerializer,
    )

    search = "https://example.org/?cursor=x&evil=1&q=a+boat&min_width=512#top"
    told = ada.post("searches/", {"search": search})
    assert_shaped(SavedSearchSerializer, told)
    assert told["address"] == "q=a+boat&min_width=512&dataset=postcards"
    assert told["url"] == f"http://localhost/?{told['address']}"
    assert (told["dataset"], told["place"]) == ("postcards", 1)
    assert told["name"].startswith("A boat") and told["words"][0] == "a boat"
    detail = ada.get(path(told))
    assert_shaped(SavedSearchDetailSerializer, detail)
    assert detail == told | {"new": None}


def test_what_is_saved_already_is_answered_as_it_is(ada):
    first = save(ada, name="boats")
    assert save(ada, status=200, name="ships") == first
    assert len(ada.get("searches/")["results"]) == 1


def test_they_are_listed_in_the_order_made_by_hand(ada, eve):
    save(eve)
    told = {
        name: save(ada, name, name=name) for name in ("sea", "boat", "house", "cat")
    }
    listed = walked(ada, "searches/", limit=3)
    assert [each["name"] for each in listed] == ["cat", "house", "boat", "sea"]
    assert [each["place"] for each in listed] == [1, 2, 3, 4]
    assert ada.patch(path(told["sea"]), place=2)["place"] == 2
    assert ada.patch(path(told["cat"]), place=400)["place"] == 4
    assert ada.patch(path(told["boat"]), place=1)["place"] == 1
    names = [each["name"] for each in walked(ada, "searches/")]
    assert names == ["boat", "sea", "house", "cat"]
    assert ada.get("searches/", 400, sort="name")["sort"]


def test_it_is_renamed_and_asks_for_something_else(ada):
    told = save(ada)
    changed = ada.patch(path(told), name="ships", search="q=a+ship&dataset=postcards")
    assert (changed["name"], changed["words"]) == ("ships", ["a ship"])
    assert ada.patch(path(told), name="")["name"] == "A ship"
    refused = ada.patch(path(told), 400, name="lost", search="dataset=postcards")
    assert "nothing to search" in refused["detail"]
    assert ada.get(path(told))["name"] == "A ship"


def test_running_it_answers_as_the_search_does(ada):
    told = save(ada, "a+red+house", name="houses")
    parameters = {"dataset": "postcards", "q": "a red house", "limit": 3}
    found = ada.get("search/", **parameters)
    run = ada.get(path(told, "results"), limit=3)
    assert run["results"] == found["results"] and len(run["results"]) == 3
    assert set(run) == set(found) and run["dataset"] == "postcards"
    further = ada.get(path(told, "results"), limit=3, cursor=run["next"])
    next_page = ada.get("search/", **parameters, cursor=found["next"])
    assert further["results"] == next_page["results"]
    seen = {row["id"] for row in run["results"]} & {
        row["id"] for row in further["results"]
    }
    assert not seen
    vectors = ada.get(path(told, "results"), limit=1, include="embedding")
    assert len(vectors["results"][0]["embedding"]) == 512
    assert ada.get(path(told, "results"), 400, limit=101)["limit"]
    assert ada.get(path(told, "results"), 400, cursor="forged")["code"] == "bad_query"


def test_running_it_with_its_filters(ada):
    search = {"search": "dataset=postcards&q=boat&min_width=641"}
    run = ada.get(path(ada.post("searches/", search), "results"))
    assert run["results"] == [] and run["matching"]["items"] == 0


def test_what_came_in_since_is_new_until_it_is_run(ada):
    told = save(ada)
    long_ago = timezone.now() - timedelta(days=400)
    row = row_of(told)
    row.looked_at = long_ago
    row.save()
    detail = ada.get(path(told))
    assert detail["new"] == 200  # all of its nearest
    first = ada.get(path(told, "results"))
    row.refresh_from_db()
    assert timezone.now() - row.looked_at < timedelta(minutes=1)
    assert ada.get(path(told))["new"] is None
    row.looked_at = long_ago
    row.save()
    ada.get(path(told, "results"), cursor=first["next"])
    row.refresh_from_db()
    assert row.looked_at == long_ago  # further pages say nothing new


def test_what_cannot_be_searched_any_more_says_so(ada, eve):
    vector = [1.0] + [0.0] * 511
    body = {
        "name": "sea",
        "dataset": "postcards",
        "embedding": vector,
        "visibility": "public",
    }
    concept = ada.post("concepts/", body)["id"]
    search = {"search": f"dataset=postcards&concept={concept}"}
    told = eve.post("searches/", search)
    assert told["words"] == ["like “sea”"]
    assert eve.get(path(told, "results"))["results"]
    ada.patch(f"concepts/{concept}/", visibility="private")
    assert "concept" in eve.get(path(told, "results"), 404)["detail"]
    row = row_of(told)
    row.looked_at -= timedelta(days=400)
    row.save()
    detail = eve.get(path(told))
    assert (detail["new"], detail["words"]) == (None, ["a refined search"])


def test_an_engine_that_is_away_is_said_to_be(ada, settings):
    from usercollections.models import SavedSearch

    told = save(ada)
    settings.CLICKHOUSE_URL = "clickhouse://127.0.0.1:9/default"
    assert ada.get(path(told, "results"), 503)["code"] == "unavailable"
    assert ada.get(path(told))["new"] is None  # nothing came in: it is not asked
    long_ago = timezone.now() - timedelta(days=400)
    SavedSearch.objects.update(looked_at=long_ago)
    assert ada.get(path(told), 503)["code"] == "unavailable"
    assert ada.get("searches/")["results"][0]["id"] == told["id"]
    assert save(ada, "a+ship")["name"] == "A ship"


def test_it_is_deleted(ada):
    told = save(ada)
    ada.delete(path(told))
    ada.get(path(told), 404)
    assert ada.get("searches/")["results"] == []


def test_they_are_their_owners_alone(ada, eve):
    told = save(ada)
    visitor = Caller()
    for method, where, body in (
        ("get", path(told), None),
        ("get", path(told, "results"), None),
        ("patch", path(told), {"name": "mine"}),
        ("delete", path(told), {}),
    ):
        assert eve.ask(method, where, body, 404)["code"] == "not_found"
        assert visitor.ask(method, where, body, 401)["code"] == "not_authenticated"
    visitor.get("searches/", 401)
    save(visitor, status=401)
    assert eve.get("searches/")["results"] == []
    assert ada.get(path(told)) == told | {"new": None}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "required"),
        ({"search": ""}, 400, "blank"),
        ({"search": "dataset=postcards"}, 400, "nothing to search"),
        ({"search": "dataset=nowhere&q=a"}, 404, "no dataset"),
        ({"search": "dataset=postcards&q=a&nsfw=maybe"}, 400, "must be “safe”"),
        ({"search": "dataset=postcards&q=heigth>5"}, 400, "heigth"),
        ({"search": "https://example.org/"}, 400, "nothing to search"),
        ({"search": "q=a&item=" + "1" * 40}, 400, "item ID"),
        ({"search": "q=" + "a" * 33_000}, 400, "too long"),
        ({"search": {"q": "a"}}, 400, "string"),
        ({"search": "q=a", "name": "x" * 121}, 400, "120"),
        ({"search": "q=a", "owner": 1}, 400, "not known"),
    ],
)
def test_a_refusal_says_what_is_wrong(ada, body, status, words):
    assert words in str(ada.post("searches/", body, status))


def test_malformed_bodies_are_refused(ada):
    good = {"search": "dataset=postcards&q=a+cat", "name": "x"}
    told = save(ada)
    assert_refuses_all(ada, "post", "searches/", good)
    assert_refuses_all(ada, "patch", path(told), good | {"place": 1})
    fields = "&".join(f"a{number}=1" for number in range(3_000))
    refused = ada.post("searches/", {"search": f"q=a&{fields}"}, 400)
    assert "too many" in refused["detail"]


def test_there_is_a_most_of_them(ada, monkeypatch):
    from usercollections.saved_search import services

    monkeypatch.setattr(services, "MAX_SAVED", 1)
    save(ada)
    assert "Delete one" in save(ada, "a+ship", 400)["detail"]


def test_running_it_counts_as_a_search(ada, settings):
    told = save(ada)
    settings.LIMITS = settings.LIMITS | {"search": "1/h"}
    ada.get(path(told, "results"))
    assert ada.get(path(told, "results"), 429)["code"] == "throttled"
    assert ada.get(path(told))["new"] is None
    row = row_of(told)
    row.looked_at -= timedelta(days=400)
    row.save()
    assert ada.get(path(told), 429)["code"] == "throttled"
