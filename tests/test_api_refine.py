"""Refining by the API, and how often items were picked."""

import base64
import json

import numpy as np
import pytest
from django.core.cache import caches
from support import searching

from search.models import SYSTEM, Conversion, ConversionFile, Pick
from search.query.model import SearchQuery, Term
from search.retrieval import popularity, service
from search.retrieval.feedback import tune
from tests.test_search_pictures import png_bomb

pytestmark = pytest.mark.django_db

HOUSE = {"terms": [{"text": "a house"}]}


@pytest.fixture
def api(client, postcards_dataset):
    client.defaults["HTTP_HOST"] = "localhost"
    return client


def post(api, path="refine", **body):
    return api.post(
        f"/api/{path}/",
        json.dumps({"dataset": "postcards", **body}),
        content_type="application/json",
    )


def found(answer) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [result["id"] for result in answer.json()["results"]]


@pytest.fixture
def marked(api):
    """Mark two of the first hits of a search good, and two bad."""
    hits = found(post(api, "search", **HOUSE, limit=20))
    return {"good": [hits[3], hits[8]], "bad": [hits[0], hits[1]]}


def unit(slug: str, field: str, ids: list[int]) -> np.ndarray:
    vectors = service.embeddings(slug, field, ids, SYSTEM)
    rows = np.array([vectors[item] for item in ids])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("field", ["image", "text"])
def test_marks_turn_the_search_as_the_rounds_on_the_page_do(api, marked, field):
    answer = post(api, **HOUSE, **marked, strength=2, field=field, limit=5).json()
    start = searching.embed(SearchQuery("postcards", (Term(text="a house"),)))
    good, bad = (unit("postcards", field, marked[kind]) for kind in ("good", "bad"))
    assert answer["embedding"] == pytest.approx(tune(start, good, bad, 2), abs=1e-6)
    assert np.linalg.norm(answer["embedding"]) == pytest.approx(1)
    assert answer["marks"] == {**marked, "gone": []}


def test_what_is_found_is_what_the_tuned_vector_finds(api, marked):
    refined = post(api, **HOUSE, **marked, limit=10)
    term = {"embedding": refined.json()["embedding"]}
    exclude = {"exclude": marked["good"] + marked["bad"]}
    searched = post(api, "search", terms=[term], filters=exclude, limit=10)
    assert found(refined) == found(searched)
    assert found(refined) != found(post(api, "search", **HOUSE, limit=10))


def test_further_pages_come_from_the_search(api, marked):
    all_at_once = found(post(api, **HOUSE, **marked, limit=30))
    first = post(api, **HOUSE, **marked, limit=10)
    second = post(api, "search", cursor=first.json()["next"], limit=10)
    third = api.get(
        "/api/search/",
        {"dataset": "postcards", "cursor": second.json()["next"], "limit": 10},
    )
    assert found(first) + found(second) + found(third) == all_at_once


def test_marked_and_seen_items_stay_out_unless_they_are_wanted(api, marked):
    marks = {*marked["good"], *marked["bad"]}
    hits = found(post(api, **HOUSE, **marked))
    assert not marks & set(hits)
    with_marked = found(post(api, **HOUSE, **marked, exclude_marked=False, limit=100))
    assert set(marked["good"]) <= set(with_marked)
    unseen = found(post(api, **HOUSE, **marked, seen=hits[:5]))
    assert unseen[:10] == hits[5:15]


def test_an_item_that_is_searched_for_is_no_result(api):
    assert 7 not in found(post(api, terms=[{"item": 7}], good=[8], limit=100))


def test_more_strength_turns_it_further(api, marked):
    start = searching.embed(SearchQuery("postcards", (Term(text="a house"),)))
    likeness = [
        float(start @ post(api, **HOUSE, **marked, strength=s).json()["embedding"])
        for s in (0.25, 1, 4)
    ]
    assert 1 > likeness[0] > likeness[1] > likeness[2]


def test_marks_on_what_is_gone_are_told_and_do_not_count(api, marked):
    good = [*marked["good"], 999, 2000, 10**15]
    told = post(api, **HOUSE, good=good, bad=[2001]).json()
    assert told["marks"] == {
        "good": [*marked["good"], 999],
        "bad": [],
        "gone": [2000, 10**15, 2001],
    }
    alone = post(api, **HOUSE, good=[2000]).json()
    start = searching.embed(SearchQuery("postcards", (Term(text="a house"),)))
    assert alone["embedding"] == pytest.approx(start, abs=1e-6)


def test_filters_vectors_and_order_are_as_in_a_search(api, marked):
    answer = post(
        api,
        **HOUSE,
        **marked,
        filters={"caption": "moon"},
        include=["embedding"],
        sort="size",
        mode="exact",
        limit=4,
    ).json()
    assert answer["exact"] is True and answer["matching"]["items"] > 0
    assert all("moon" in hit["caption"].lower() for hit in answer["results"])
    assert [len(hit["embedding"]) for hit in answer["results"]] == [512] * 4


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({**HOUSE}, 400, "Mark at least one"),
        ({**HOUSE, "good": [], "bad": []}, 400, "Mark at least one"),
        ({"good": [1]}, 400, "required"),
        ({"terms": [], "good": [1]}, 400, "terms"),
        ({**HOUSE, "good": list(range(400)), "bad": list(range(500, 700))}, 400, "500"),
        ({**HOUSE, "good": list(range(501))}, 400, "At most 500"),
        ({**HOUSE, "good": [1], "bad": [1]}, 400, "as good and as bad"),
        ({**HOUSE, "good": 1}, 400, "list"),
        ({**HOUSE, "good": [True]}, 400, "integer"),
        ({**HOUSE, "good": [-1]}, 400, "greater than"),
        ({**HOUSE, "good": [2**60]}, 400, "less than"),
        ({**HOUSE, "good": ["\ud800"]}, 400, "integer"),
        ({**HOUSE, "good": [1], "strength": 0.1}, 400, "between 0.25 and 4"),
        ({**HOUSE, "good": [1], "strength": 10**400}, 400, "strength"),
        ({**HOUSE, "good": [1], "cursor": "x"}, 400, "not known"),
        ({**HOUSE, "good": [1], "seen": list(range(5_001))}, 400, "At most 5,000"),
        (
            {
                **HOUSE,
                "good": [9_999],
                "seen": list(range(3_000)),
                "filters": {"exclude": list(range(3_000, 6_000))},
            },
            400,
            "together",
        ),
        ({**HOUSE, "good": [1], "dataset": "nope"}, 404, "no dataset"),
        ({"terms": [{"concept": "nope"}], "good": [1]}, 404, "concept"),
        ({"terms": [{"item": 2000}], "good": [1]}, 404, "no item"),
        ({"terms": [{"image_url": "ftp://a.org/b"}], "good": [1]}, 422, "http"),
    ],
)
def test_bad_marks_are_refused_with_a_sentence(api, body, status, words):
    answer = post(api, **body)
    assert answer.status_code == status, answer.content
    assert words in answer.content.decode()


def test_a_picture_bomb_is_refused(api):
    bomb = base64.b64encode(png_bomb(13_000)).decode()
    assert post(api, terms=[{"image": bomb}], good=[1]).status_code == 413


def test_refining_is_limited_like_the_rounds_on_the_page(api, marked, settings):
    caches["limits"].clear()
    settings.LIMITS = {**settings.LIMITS, "refine": "1/min"}
    assert post(api, **HOUSE, **marked).status_code == 200
    refused = post(api, **HOUSE, **marked)
    assert refused.status_code == 429
    assert 1 <= int(refused["Retry-After"]) <= 120
    assert "refinement rounds" in refused.json()["detail"]


# --- How often items were picked


@pytest.fixture
def picked(postcards_dataset):
    """Item 5 was picked three times in a file, item 6 by six people here."""
    file = ConversionFile.objects.create(dataset=postcards_dataset, name="x.csv")
    Conversion.objects.create(
        dataset=postcards_dataset, file=file, item=5, keyword="boat", count=3
    )
    for person in range(6):
        popularity.record("postcards", [6], "red house", Pick.Kind.SAVED, str(person))
    popularity.record("postcards", [5], "moon", Pick.Kind.OPENED, "0")


def test_popularity_is_told_by_item_and_by_words(api, picked):
    told = {
        "dataset": "postcards",
        "items": {"6": 6, "5": 3},
        "keywords": [{"words": "red house", "count": 6}, {"words": "boat", "count": 3}],
    }
    got = api.get("/api/popularity/", {"dataset": "postcards", "items": "6, 5,7"})
    assert got.json() == told
    assert list(got.json()["items"]) == ["6", "5"]
    assert post(api, "popularity", items=[7, 6, 5, 5]).json() == told


def test_many_items_are_asked_for_at_once(api, picked):
    answer = post(api, "popularity", items=list(range(5_000)))
    assert answer.json()["items"] == {"6": 6, "5": 3}
    assert post(api, "popularity", items=list(range(5_001))).status_code == 400


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"dataset": "postcards", "items": ""}, 400),
        ({"dataset": "postcards"}, 400),
        ({"items": "5"}, 400),
        ({"dataset": "postcards", "items": "5;6"}, 400),
        ({"dataset": "postcards", "items": "9" * 30}, 400),
        ({"dataset": "postcards", "items": "5", "top": "3"}, 400),
        ({"dataset": "nope", "items": "5"}, 404),
        ({"dataset": "a\x00", "items": "5"}, 400),
    ],
)
def test_a_bad_question_about_popularity_is_refused(api, asked, status):
    assert api.get("/api/popularity/", asked).status_code == status
