import base64
import json

import numpy as np
import pytest
from django.db import OperationalError
from django.utils.html import escape
from support.bombs import scans_jpeg

from search.errors import NotFound
from search.query import concepts
from search.query.model import encode_embedding
from search.retrieval import service
from tests.test_search_pictures import png_bomb

MANY_SCANS = base64.b64encode(scans_jpeg(6300, 8_561)).decode()

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(client, postcards_dataset):
    client.defaults["HTTP_HOST"] = "localhost"
    return client


def post(api, **body):
    return api.post(
        "/api/search/",
        {"dataset": "postcards", **body},
        content_type="application/json",
    )


def test_the_datasets_are_listed(api):
    (dataset,) = api.get("/api/datasets/").json()
    assert dataset["slug"] == "postcards"
    assert dataset["items"] == 2000
    assert dataset["dimension"] == 512
    assert dataset["fields"] == ["image", "text", "both"]
    assert dataset["index"]["quantization"] == "bf16"
    assert dataset["index"]["parts_without_index"] == 0
    assert dataset["index"]["health"] == 1


def test_the_end_of_a_text_that_the_model_does_not_read_is_told(api):
    text = "a red house by the sea at night " * 10 + "with a <b>boat</b>"
    answer = post(api, terms=[{"text": text}, {"text": "snow", "weight": 0.1}])
    body = answer.json()
    (told,) = body["truncated"]
    assert told["text"] == text and 0 < told["read"] < 250
    read = text[: told["read"]]
    terms = [{"text": read}, {"text": "snow", "weight": 0.1}]
    again = post(api, terms=terms)
    assert ids_of(again) == ids_of(answer) and again.json()["truncated"] == []
    assert post(api, cursor=body["next"]).json()["truncated"] == []
    page = api.get("/", {"q": text}).content.decode()
    assert f"<q>{escape(text[told['read'] :])}</q>" in page
    assert 'class="truncated"' not in api.get("/", {"q": read}).content.decode()


@pytest.mark.parametrize("path", ["/api/search/", "/api/search"])
def test_words_are_searched_for_by_get(api, path):
    answer = api.get(path, {"dataset": "postcards", "q": "a red house", "limit": 3})
    body = answer.json()
    assert answer.status_code == 200
    assert body["dataset"] == "postcards"
    assert body["exact"] is True
    assert set(body["hidden"]) == {"nsfw", "duplicates", "removed"}
    assert body["matching"] is None
    assert body["truncated"] == []
    assert set(body["timing"]) == {"encode_ms", "search_ms", "total_ms"}
    assert len(body["results"]) == 3
    assert body["datasets"] == []
    assert set(body["results"][0]) == {
        "dataset",
        "id",
        "url",
        "caption",
        "similarity",
        "caption_similarity",
        "width",
        "height",
        "nsfw",
        "safe",
        "license",
        "similar",
        "thumbnail",
        "page",
    }
    first = body["results"][0]
    thumbnail = f"http://localhost/t/postcards/{first['id']}/320.webp"
    assert first["thumbnail"] == thumbnail
    assert api.get(thumbnail)["Content-Type"] == "image/webp"
    assert api.get(body["results"][0]["page"]).status_code == 200


def test_get_and_post_agree(api):
    got = api.get("/api/search/", {"dataset": "postcards", "q": "a black cat"})
    posted = post(api, terms=[{"text": "a black cat"}])
    assert got.json()["results"] == posted.json()["results"]
    assert len(posted.json()["results"]) == 40


def test_an_embedding_travels_in_the_address(api):
    numbers = np.linspace(-1, 1, 512)
    vector = encode_embedding(numbers)
    got = api.get("/api/search/", {"dataset": "postcards", "embedding": vector}).json()
    posted = post(api, terms=[{"embedding": numbers.tolist()}]).json()
    ids = [[hit["id"] for hit in body["results"]] for body in (got, posted)]
    assert len(ids[0]) == 40
    assert ids[0] == ids[1]


def test_all_kinds_of_terms_are_taken(api):
    picture = base64.b64encode(api.get("/postcards/77.jpg").content).decode()
    found = post(api, terms=[{"image": picture}], limit=1).json()["results"]
    assert found[0]["id"] == 77
    mixed = post(
        api,
        terms=[
            {"text": "a boat", "weight": 2},
            {"item": 5, "weight": -0.5},
            {"image": picture},
            {"embedding": [0.1] * 512},
        ],
        field="text",
        mode="exact",
        limit=7,
    )
    assert mixed.status_code == 200
    assert mixed.json()["exact"] is True
    assert len(mixed.json()["results"]) == 7


def test_the_next_page_follows_by_its_cursor(api):
    first = post(api, terms=[{"text": "a boat"}], limit=5).json()
    second = post(api, limit=5, cursor=first["next"]).json()
    by_get = api.get(
        "/api/search/",
        {"dataset": "postcards", "limit": 5, "cursor": first["next"]},
    ).json()
    ids = [hit["id"] for hit in first["results"] + second["results"]]
    assert len(set(ids)) == 10
    assert second["results"] == by_get["results"]


def ids_of(answer) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [result["id"] for result in answer.json()["results"]]


def get(api, **parameters):
    return api.get("/api/search/", {"dataset": "postcards", **parameters})


CAR = {"text": "car", "weight": -1}
SAME = [
    ({"q": "red house -car"}, [{"text": "red house"}, CAR], {}),
    ({"q": "2:(a boat) item:7"}, [{"text": "a boat", "weight": 2}, {"item": 7}], {}),
    ({"q": "http://localhost/d/postcards/7"}, [{"item": 7}], {}),
    ({"q": "7"}, [{"item": 7}], {}),
    ({"q": "2001"}, [{"text": "2001"}], {}),  # there is no such item
    ({"q": "a boat width>639"}, [{"text": "a boat"}], {"min_width": 640}),
    ({"q": 'house "boat"'}, [{"text": "house"}], {"caption": "boat"}),
    ({"q": '"boat"'}, [{"text": "boat"}], {"caption": "boat"}),
    ({"q": "a boat", "caption": "moon"}, [{"text": "a boat"}], {"caption": "moon"}),
    ({"q": 'a "boat"', "caption": "moon"}, [{"text": "a"}], {"caption": "boat"}),
    ({"q": "cat", "exclude": "5, 6"}, [{"text": "cat"}], {"exclude": [5, 6]}),
    ({"q": "cat", "dedupe": "no"}, [{"text": "cat"}], {"dedupe": False}),
    ({"q": "cat dedupe:no"}, [{"text": "cat"}], {"dedupe": False}),
    ({"q": "cat", "cutoff": "0.3"}, [{"text": "cat"}], {"cutoff": 0.3}),
    (
        {"q": "cat", "min_similarity": "0.3", "license": "cc0", "nsfw": "any"},
        [{"text": "cat"}],
        {"min_similarity": 0.3, "license": "CC0", "nsfw": "any"},
    ),
    (
        {"q": "cat", "max_width": "640", "min_height": "480", "max_height": "480"},
        [{"text": "cat"}],
        {"max_width": 640, "min_height": 480, "max_height": 480},
    ),
]


@pytest.mark.parametrize(("parameters", "terms", "filters"), SAME)
def test_the_language_and_the_body_ask_for_the_same(api, parameters, terms, filters):
    got = ids_of(get(api, mode="exact", **parameters))
    assert got == ids_of(post(api, terms=terms, filters=filters, mode="exact"))
    assert got != ids_of(get(api, q="a windmill", mode="exact"))


def test_text_in_the_body_is_words_and_not_the_language(api):
    literal = ids_of(post(api, terms=[{"text": "house -boat"}]))
    assert literal != ids_of(get(api, q="house -boat"))
    words = post(api, terms=[{"text": "boat nsfw:maybe width>x"}])
    assert words.status_code == 200


def test_a_filter_leaves_only_what_passes_it_and_tells_how_many_do(api):
    body = get(api, q='a house "moon"', mode="exact", limit=100).json()
    captions = [result["caption"].lower() for result in body["results"]]
    assert captions and all("moon" in caption for caption in captions)
    assert body["matching"]["items"] >= len(captions)
    assert body["hidden"]["nsfw"] == body["hidden"]["removed"] == 0


def test_both_fields_are_searched_at_once(api):
    one, other, both = (
        get(api, q="a black cat", field=field, mode="exact", dedupe="no").json()
        for field in ("image", "text", "both")
    )
    best: dict[int, float] = {}
    for result in one["results"] + other["results"]:
        similarity = max(result["similarity"], best.get(result["id"], -1))
        best[result["id"]] = similarity
    first = sorted(best.values(), reverse=True)[:40]
    assert [result["similarity"] for result in both["results"]] == pytest.approx(first)


def test_vectors_are_included_where_they_are_asked_for(api):
    asked = {"terms": [{"item": 7}], "limit": 3}
    (first, *_) = post(api, **asked, include=["embedding"]).json()["results"]
    assert len(first["embedding"]) == 512
    nearest = post(api, terms=[{"embedding": first["embedding"]}], limit=1)
    assert ids_of(nearest) == [first["id"]]
    by_get = get(api, q="item:7", limit=3, include="embedding").json()["results"]
    assert by_get[0] == first
    assert "embedding" not in post(api, **asked).json()["results"][0]
    captions = post(api, **asked, include=["embedding"], field="text").json()["results"]
    assert captions[0]["embedding"] != first["embedding"]


def test_a_word_that_cannot_be_read_is_pointed_at(api):
    answer = get(api, q="  a house heigth>5 -car")
    assert answer.status_code == 400
    assert answer.json()["code"] == "unreadable_word"
    assert answer.json()["position"] == [10, 18]
    assert "height>512" in answer.json()["detail"]


def test_a_concept_is_looked_up_for_who_asks(api, admin_user, monkeypatch):
    def lookup(concept, user, dataset):
        if (concept, user, dataset) != ("sea", admin_user, "postcards"):
            raise NotFound("This concept does not exist or you cannot view it.")
        return concepts.ResolvedConcept((1.0,) + (0.0,) * 511, "sea")

    monkeypatch.setattr(concepts, "_lookup", lookup)
    terms = [{"concept": "sea", "weight": 0.5}]
    assert post(api, terms=terms).status_code == 404
    api.force_login(admin_user)
    vector = post(api, terms=[{"embedding": [1] + [0] * 511}])
    assert ids_of(post(api, terms=terms)) == ids_of(vector)


def test_an_item_shows_all_its_metadata(api):
    item = api.get("/api/datasets/postcards/items/7/").json()
    assert item["url"] == "/postcards/7.jpg"
    assert json.loads(item["metadata"]["scene"])["things"]
    assert item["metadata"]["original_width"] == "640"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"terms": []}, 400, "nothing to search"),
        ({"terms": [{"text": ""}]}, 400, "no words"),
        ({"terms": [{"text": "a" * 10_000}]}, 400, "10,000 characters"),
        ({"terms": [{"text": "a"}], "filters": {"min_widht": 1}}, 400, "min_widht"),
        ({"terms": [{"text": "a"}], "filters": []}, 400, "dictionary"),
        ({"terms": [{"text": "a"}], "filters": None}, 400, "null"),
        (
            {"terms": [{"text": "a"}], "filters": {"nsfw": "maybe"}},
            400,
            "safe or any",
        ),
        ({"terms": [{"text": "a"}], "filters": {"min_width": -1}}, 400, "pixels"),
        ({"terms": [{"text": "a"}], "filters": {"max_height": 2**33}}, 400, "pixels"),
        ({"terms": [{"text": "a"}], "filters": {"min_width": 0.5}}, 400, "integer"),
        ({"terms": [{"text": "a"}], "filters": {"cutoff": 2}}, 400, "between"),
        (
            {"terms": [{"text": "a"}], "filters": {"min_similarity": "nan"}},
            400,
            "valid",
        ),
        ({"terms": [{"text": "a"}], "filters": {"caption": "?!"}}, 400, "no word"),
        ({"terms": [{"text": "a"}], "filters": {"site": "a b"}}, 400, "a host"),
        ({"terms": [{"text": "a"}], "filters": {"exclude": [2**64]}}, 400, "less than"),
        ({"terms": [{"text": "a"}], "filters": {"exclude": "7"}}, 400, "list"),
        ({"terms": [{"text": "a"}], "filters": {"dedupe": "maybe"}}, 400, "boolean"),
        ({"terms": [{"text": "a"}], "include": ["thumbnail"]}, 400, "not a valid"),
        ({"terms": [{"image_url": "ftp://a.org/b"}]}, 422, "http"),
        ({"terms": [{"text": "a", "image_url": "http://a/"}]}, 400, "exactly one of"),
        ({"terms": [{"concept": "nope"}]}, 404, "concept"),
        ({"terms": [{"text": "a", "concept": ["x"]}]}, 400, "string"),
        ({"terms": [{"text": "a", "colour": "red"}]}, 400, "colour"),
        ({"terms": [{"text": "a"}], "limit": True}, 400, "integer"),
        ({"terms": [{"text": "a"}], "limit": 1000}, 400, "1 to 100"),
        ({"terms": [{"item": 10**30}]}, 404, "no item"),
        ({"terms": [{"item": "7"}], "dataset": "nope"}, 404, "no dataset"),
        ({"terms": [{"embedding": [1, 2]}]}, 400, "2 numbers"),
        ({"terms": [{"embedding": ["x"] * 512}]}, 400, "number"),
        ({"terms": [{"image": "no base64!"}]}, 400, "base64"),
        ({"terms": [{"image": "aGVsbG8="}]}, 415, "Could not read this file."),
        ({"terms": [{"image": "aGVsbG8="}] * 5}, 400, "up to 4 images"),
        ({"terms": [{"image": MANY_SCANS}]}, 413, "more than 100 scans"),
        ({"terms": "a boat"}, 400, "list"),
        ({"terms": [["a"]]}, 400, "dictionary"),
        ({"cursor": "forged"}, 400, "cursor"),
        ({"terms": [{"text": "a"}], "dataset": [7]}, 400, "slug"),
        ({"terms": [{"text": "a\u0000b"}]}, 400, "Null"),
    ],
)
def test_a_bad_body_is_refused_with_a_sentence(api, body, status, words):
    answer = post(api, **body)
    assert answer.status_code == status, answer.content
    assert words in answer.content.decode()


def test_a_picture_bomb_is_refused(api):
    bomb = base64.b64encode(png_bomb(13_000)).decode()
    answer = post(api, terms=[{"image": bomb}])
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert "13000 × 13000" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[1]",
        "null",
        '"x"',
        '{"embedding": NaN}',
        "\xff",
        "[" * 100_000,
        '{"\\ud800": 1}',
    ],
)
def test_broken_json_is_refused(api, body):
    answer = api.post("/api/search/", body, content_type="application/json")
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/json"


def test_a_bad_address_is_refused(api):
    for parameters, status in (
        ({"dataset": "postcards", "q": "a", "nsfw": "maybe"}, 400),
        ({"dataset": "postcards", "q": "a", "colour": "red"}, 400),
        ({"dataset": "postcards", "q": "a", "exclude": "7;8"}, 400),
        ({"dataset": "postcards", "q": "a", "exclude": "9" * 40}, 400),
        ({"dataset": "postcards", "q": "a", "include": "thumbnail"}, 400),
        ({"dataset": "postcards", "q": "width>100"}, 400),
        ({"dataset": "postcards", "min_width": "100"}, 400),
        ({"dataset": "postcards", "embedding": "%%%"}, 400),
        ({"dataset": "postcards", "embedding": "AAAA"}, 400),
        ({"dataset": "postcards"}, 400),
        ({"q": "a"}, 400),
        ({"dataset": "nope", "q": "a"}, 404),
    ):
        assert api.get("/api/search/", parameters).status_code == status
    assert api.get("/api/datasets/postcards/items/2000/").status_code == 404
    assert api.get("/api/datasets/nope/items/1/").status_code == 404


def test_a_body_that_is_too_large_is_refused(api, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    answer = post(api, terms=[{"text": "a"}], cursor="x" * 2000)
    assert answer.status_code in (400, 413)
    assert answer["Content-Type"] == "application/json"


def test_an_unknown_address_answers_in_json(api):
    for path in ("/api/", "/api/nothing/", "/api/datasets/postcards/nothing/"):
        for ask in (api.get, api.post):
            answer = ask(path)
            assert answer.status_code == 404
            assert answer.json()["code"] == "not_found"
            assert "slash" not in answer.json()["detail"]
    answer = api.get("/api/exports")
    assert answer.status_code == 404
    assert answer.json()["detail"].endswith("All of them end with a slash.")


def test_passwords_cannot_be_tried_at_the_api(api, django_user_model):
    django_user_model.objects.create_user("alice", password="secret")
    basic = "Basic " + base64.b64encode(b"alice:wrong").decode()
    answer = api.get("/api/datasets/", headers={"authorization": basic})
    assert answer.status_code == 200  # as for anybody; the header is not looked at


def test_an_engine_that_is_away_is_said_to_be(api, settings):
    settings.CLICKHOUSE_URL = "clickhouse://127.0.0.1:9/default"
    answer = post(api, terms=[{"text": "a boat"}])
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert answer.json()["code"] == "unavailable"


def test_a_database_that_is_away_is_said_to_be(api, monkeypatch):
    def nobody_there(user):
        raise OperationalError("connection refused")

    monkeypatch.setattr(service, "datasets", nobody_there)
    answer = api.get("/api/datasets/")
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert answer.json() == {
        "detail": "The database is not responding.",
        "code": "unavailable",
    }


def test_hits_are_sorted_on_request(api, postcards_dataset):
    for answer in (
        api.get("/api/search/?dataset=postcards&q=boat&limit=5&sort=size"),
        api.post(
            "/api/search/",
            {"dataset": "postcards", "terms": [{"text": "boat"}], "sort": "popularity"},
            content_type="application/json",
        ),
    ):
        assert answer.status_code == 200
        similarities = [hit["similarity"] for hit in answer.json()["results"]]
        assert similarities == sorted(similarities, reverse=True)  # all are equals
    refused = api.get("/api/search/?dataset=postcards&q=boat&sort=age")
    assert refused.status_code == 400
