"""clip-retrieval's interface: what its clients send, and what they have to get back."""

import base64
import json

import numpy as np
import pytest
from django.core.cache import caches
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support import searching
from support.crowd import drawn, stored

from search import rate_limits
from search.clickhouse import schema
from search.errors import InvalidQuery
from search.models import SYSTEM, Shard
from search.query.model import SearchQuery, Term
from search.retrieval import service
from search.retrieval.dataset_index import DatasetIndex
from search.retrieval.deduplication import SAME_IMAGE_SIMILARITY
from tests.test_search_pictures import png_bomb
from usercollections.account.tokens import make_token

pytestmark = pytest.mark.django_db
ORIGIN = "http://front.example:1234"
ALL = [*range(1_000), *range(2**32, 2**32 + 1_000)]  # the postcards
# As ClipClient writes it, field by field.
CLIP_CLIENT = {
    "text": None,
    "image": None,
    "image_url": None,
    "embedding_input": None,
    "deduplicate": True,
    "use_safety_model": True,
    "use_violence_detector": True,
    "indice_name": "postcards",
    "use_mclip": False,
    "aesthetic_score": 9,
    "aesthetic_weight": 0.5,
    "modality": "image",
    "num_images": 40,
    "num_result_ids": 40,
}


@pytest.fixture
def api(client, postcards_dataset):
    client.defaults["HTTP_HOST"] = "localhost"
    return client


@pytest.fixture
def mixed():
    """400 items, half of which are not safe, and some removed ones; dimension 32."""
    rows = drawn(400, shards={0: 1.0}, nsfw=(0.5, 0.3, 0.2), removed=0.1)
    dataset = stored(rows, "mixed", build=False)
    yield rows
    schema.drop(dataset.item_table)


def ask(client, path: str, body, **options):
    """Without a Content-Type, as ClipClient does."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic("POST", at(path), data, content_type="", **options)


def at(path: str) -> str:
    """Two slashes alone would begin the name of a host."""
    return f"http://localhost{path}"


def knn(client, path: str = "/knn-service", **asked):
    return ask(client, path, CLIP_CLIENT | asked)


def rows_of(answer) -> list[dict]:
    assert answer.status_code == 200, answer.content
    return answer.json()


def ids(answer) -> list[int]:
    return [row["id"] for row in rows_of(answer)]


def message(answer) -> str:
    """Every refusal has this form, and is there for any origin."""
    assert answer["Content-Type"] == "application/json"
    assert answer["Access-Control-Allow-Origin"] in (ORIGIN, "*")
    assert list(answer.json()) == ["message"]
    return answer.json()["message"]


def found(*terms: Term, count: int = 40, **options) -> list[int]:
    """Return our own search's hits."""
    query = SearchQuery("postcards", terms, **options)
    return searching.rank(query, count).ids.tolist()


# --- What is searched for


def test_the_indices_are_the_datasets(api):
    answer = api.get("/indices-list")
    assert rows_of(answer) == ["postcards"]
    assert answer["Content-Type"] == "application/json"


def test_words_find_what_our_own_search_finds(api):
    rows = rows_of(knn(api, text="a red house"))
    assert [row["id"] for row in rows] == found(Term(text="a red house"))
    for row in rows:
        item = service.item("postcards", row["id"], SYSTEM)
        assert row == {
            "id": item.id,
            "similarity": row["similarity"],
            "url": f"http://localhost{item.url}",
            "caption": item.caption,
            "NSFW": "UNLIKELY",
        }
    similarities = [row["similarity"] for row in rows]
    assert similarities == sorted(similarities, reverse=True)
    page = searching.find(SearchQuery("postcards", (Term(text="a red house"),)))
    assert similarities == pytest.approx([hit.similarity for hit in page.hits])


def test_a_picture_finds_itself(api):
    picture = api.get("/postcards/77.jpg").content
    whole = base64.b64encode(picture).decode()
    broken = base64.encodebytes(picture).decode()
    assert ids(knn(api, image=whole))[0] == 77
    assert ids(knn(api, image=whole)) == ids(knn(api, image=broken))


def test_an_embedding_is_taken_at_any_length(api):
    (vector,) = service.embeddings("postcards", "image", [5], SYSTEM).values()
    first = rows_of(knn(api, embedding_input=vector.tolist()))
    assert first[0]["id"] == 5
    assert first[0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert rows_of(knn(api, embedding_input=(7 * vector).tolist())) == first


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/postcards/77.jpg",
        "/postcards/77.jpg",
        "http://localhost/d/postcards/77",
        "http://localhost/t/postcards/77/320.webp",
    ],
)
def test_the_address_of_an_item_stands_for_its_stored_vector(api, monkeypatch, url):
    monkeypatch.setattr(
        "search.retrieval.query_encoder.fetch", lambda *_: pytest.fail("was fetched")
    )
    (vector,) = service.embeddings("postcards", "image", [77], SYSTEM).values()
    assert ids(knn(api, image_url=url)) == ids(
        knn(api, embedding_input=vector.tolist())
    )
    captions = ids(knn(api, image_url=url, modality="text"))
    assert captions == found(Term(embedding=tuple(vector.tolist())), field="text")


def test_so_does_the_url_that_a_dataset_has_from_elsewhere(api, mixed, monkeypatch):
    monkeypatch.setattr(
        "search.retrieval.query_encoder.fetch", lambda *_: pytest.fail("was fetched")
    )
    facts = mixed.facts.to_pylist()
    row = next(
        row
        for row, fact in enumerate(facts)
        if fact["url"] and not fact["deleted"] and fact["nsfw"] == "UNLIKELY"
    )
    given = {"image_url": facts[row]["url"], "indice_name": "mixed"}
    assert rows_of(knn(api, **given)) == rows_of(
        knn(api, embedding_input=mixed.image[row].tolist(), indice_name="mixed")
    )


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "http://127.0.0.1:9/secret.png",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost/datasets/",  # ours, but no image
        "http://[::1]/",
        "http://10.0.0.1/a.jpg",
        "ftp://example.org/a.jpg",
        "http://user@example.org/a.jpg",
        "gopher://",
        "http://[",
        "a\ud800b",
    ],
)
def test_nothing_inside_the_network_is_fetched(api, url):
    answer = knn(api, image_url=url)
    assert answer.status_code in (400, 422)
    assert message(answer)


def test_a_removed_item_is_not_searched_by_its_url(api, mixed, monkeypatch):
    fetched = []

    def refuse(url, _):
        fetched.append(url)
        raise InvalidQuery("was fetched")

    monkeypatch.setattr("search.retrieval.query_encoder.fetch", refuse)
    gone = [fact["url"] for fact in mixed.facts.to_pylist() if fact["deleted"]]
    there = {f["url"] for f in mixed.facts.to_pylist() if not f["deleted"]}
    url = next(url for url in gone if url and url not in there)
    assert message(knn(api, image_url=url, indice_name="mixed")) == "was fetched"
    assert fetched == [url]


def test_of_several_the_text_wins_then_the_image_then_its_url(api):
    picture = base64.b64encode(api.get("/postcards/77.jpg").content).decode()
    url = "http://localhost/postcards/5.jpg"
    vector = [1.0] * 512
    given = {"image": picture, "image_url": url, "embedding_input": vector}
    assert ids(knn(api, text="a boat", **given)) == found(Term(text="a boat"))
    assert ids(knn(api, text="", **given))[0] == 77
    assert ids(knn(api, **given | {"image": None}))[0] == 5
    by_vector = knn(api, **given | {"image": None, "image_url": None})
    assert ids(by_vector) == found(Term(embedding=tuple(vector)))


def test_any_other_modality_searches_captions(api):
    captions = found(Term(text="a boat"), field="text")
    assert captions != found(Term(text="a boat"))
    for modality in ("text", "anything"):
        assert ids(knn(api, text="a boat", modality=modality)) == captions


# --- How much, and of what


def test_the_first_rows_are_told_of_in_full_and_the_rest_by_their_ids(api):
    rows = rows_of(knn(api, text="a boat", num_images=3, num_result_ids=250))
    assert len(rows) == 250
    assert [len(row) for row in rows] == [5] * 3 + [2] * 247
    assert all(set(row) == {"id", "similarity"} for row in rows[3:])
    assert [row["id"] for row in rows] == found(Term(text="a boat"), count=250)
    assert len(rows_of(knn(api, text="a boat", num_images=0))) == 40


def test_as_many_are_searched_as_are_told_of_unless_it_is_said(api):
    asked = {**CLIP_CLIENT, "text": "a boat", "num_images": 7}
    assert len(rows_of(ask(api, "/knn-service", asked | {"num_result_ids": None}))) == 7
    del asked["num_result_ids"]
    assert len(rows_of(ask(api, "/knn-service", asked))) == 7


@pytest.mark.parametrize("wanted", [3_000, 10_000, 10**30])
def test_more_may_be_asked_for_than_there_are(api, wanted):
    """clip-front asks 3,000, and 10,000 for a download."""
    asked = {"num_images": wanted, "num_result_ids": wanted, "deduplicate": False}
    rows = rows_of(knn(api, text="a boat", **asked))
    assert sorted(row["id"] for row in rows) == ALL
    assert all("caption" in row for row in rows)


def test_near_duplicates_are_folded_on_request(api, mixed):
    vector = mixed.image[0].tolist()
    asked = {"embedding_input": vector, "indice_name": "mixed", "num_result_ids": 400}
    shown = ids(knn(api, **asked, deduplicate=True))
    every = ids(knn(api, **asked, deduplicate=False))
    assert every == ids(knn(api, **asked, deduplicate=None))
    assert set(shown) < set(every)
    vectors = mixed.image[[mixed.row_of[item_id] for item_id in shown]]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = unit @ unit.T - np.eye(len(unit))
    assert alike.max() < SAME_IMAGE_SIMILARITY


@pytest.mark.parametrize(
    ("asked", "safe"),
    [
        ({}, True),
        ({"use_safety_model": True}, True),
        ({"use_safety_model": None}, True),
        ({"use_safety_model": False}, False),
        ({"use_safety_model": True, "use_violence_detector": False}, True),
        ({"use_safety_model": False, "use_violence_detector": True}, False),
    ],
)
def test_what_is_marked_as_unsafe_shows_only_when_asked_for(api, mixed, asked, safe):
    body = CLIP_CLIENT | {
        "embedding_input": mixed.image[0].tolist(),
        "indice_name": "mixed",
        "num_images": 400,
        "num_result_ids": 400,
        "deduplicate": False,
    }
    for name in ("use_safety_model", "use_violence_detector"):
        del body[name]
    rows = rows_of(ask(api, "/knn-service", body | asked))
    assert {row["id"] for row in rows} == {
        int(item_id)
        for item_id, fact in zip(mixed.ids, mixed.facts.to_pylist(), strict=True)
        if not fact["deleted"] and not (safe and fact["nsfw"] != "UNLIKELY")
    }


@pytest.mark.parametrize(
    "ignored",
    [
        {"aesthetic_score": 9, "aesthetic_weight": 0.5},
        {"aesthetic_score": "", "aesthetic_weight": ""},
        {"aesthetic_score": "9", "aesthetic_weight": "0.5"},
        {"aesthetic_score": None, "aesthetic_weight": None},
        {"aesthetic_score": "abc"},
        {"use_mclip": True},
        {"use_violence_detector": True},
        {"something_new": [1]},
    ],
)
def test_what_we_do_not_have_changes_nothing(api, ignored):
    assert ids(knn(api, text="a boat", **ignored)) == found(Term(text="a boat"))


def test_without_a_name_the_first_dataset_is_searched(api, mixed):
    assert ids(knn(api, text="a boat", indice_name=None)) == found(Term(text="a boat"))
    assert ids(knn(api, text="a boat", indice_name="")) == found(Term(text="a boat"))
    told = ask(api, "/metadata", {"ids": [7], "indice_name": None})
    assert rows_of(told)[0]["metadata"]["url"] == "http://localhost/postcards/7.jpg"


def test_without_any_dataset_there_is_nothing_to_search(api):
    Shard.objects.update(rows_visible=0)
    assert rows_of(api.get("/indices-list")) == []
    refused = knn(api, text="a boat", indice_name=None)
    assert refused.status_code == 404
    assert message(refused) == "There is no dataset yet."


# --- /metadata


def test_metadata_comes_in_the_order_asked_for(api):
    asked = [ALL[-1], 7, 7, 123_456, -1, 10**30, "42", "9" * 5_000]
    answer = ask(api, "/metadata", {"ids": asked, "indice_name": "postcards"})
    rows = rows_of(answer)
    assert [row["id"] for row in rows] == [ALL[-1], 7, 7, 42]
    item = service.item("postcards", 7, SYSTEM)
    assert rows[1] == {
        "id": 7,
        "metadata": {
            "url": "http://localhost/postcards/7.jpg",
            "caption": item.caption,
            "NSFW": "UNLIKELY",
        },
    }


def test_all_of_a_long_list_is_told(api):
    ids = [*range(2**33, 2**33 + 8_000), *ALL]
    rows = rows_of(ask(api, "/metadata", {"ids": ids, "indice_name": "postcards"}))
    assert [row["id"] for row in rows] == ALL


def test_no_ids_are_no_error(api):
    """clip-front asks on when it has come to the end of its results."""
    for name in ("postcards", "nowhere", None):
        asked = {"ids": [], "indice_name": name}
        assert rows_of(ask(api, "/metadata", asked)) == []
    assert rows_of(ask(api, "/metadata", {"ids": []})) == []


def test_removed_items_are_told_of_nowhere(api, mixed):
    asked = {"ids": mixed.ids.tolist(), "indice_name": "mixed"}
    told = {row["id"] for row in rows_of(ask(api, "/metadata", asked))}
    gone = mixed.column("deleted") == 1
    assert gone.any()
    assert told == set(mixed.ids[~gone].tolist())


# --- How it is asked


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain;charset=UTF-8", "application/json", "multipart/form-data"],
)
def test_a_body_is_json_whatever_it_is_called(api, content_type):
    body = json.dumps(CLIP_CLIENT | {"text": "a boat"})
    asked = {"content_type": content_type, "HTTP_ACCEPT": "text/html"}
    answer = api.generic("POST", "/knn-service", body, **asked)
    assert ids(answer) == found(Term(text="a boat"))


@pytest.mark.parametrize("before", ["/", "//", "///"])
@pytest.mark.parametrize("after", ["", "/"])
def test_slashes_do_not_count(api, before, after):
    assert rows_of(api.get(at(f"{before}indices-list{after}"))) == ["postcards"]
    path = f"{before}knn-service{after}"
    assert ids(knn(api, path, text="a boat")) == found(Term(text="a boat"))
    asked = {"ids": [7], "indice_name": "postcards"}
    assert rows_of(ask(api, f"{before}metadata{after}", asked))[0]["id"] == 7


@pytest.mark.parametrize("path", ["/knn-service", "//metadata", "/indices-list/"])
def test_pages_of_any_origin_may_ask(api, path):
    asked = {"HTTP_ORIGIN": ORIGIN}
    answers = [
        api.options(at(path), **asked),
        api.get(at(path), **asked),
        ask(api, path, b"{", **asked),
        api.delete(at(path), **asked),
    ]
    assert answers[0].status_code == 200
    for answer in answers:
        assert answer["Access-Control-Allow-Origin"] == ORIGIN
        assert "Origin" in answer["Vary"]
        assert not answer.has_header("Access-Control-Allow-Credentials")
    assert "POST" in answers[0]["Access-Control-Allow-Methods"]
    assert api.options(at(path))["Access-Control-Allow-Origin"] == "*"


def test_a_session_is_not_looked_at(api, django_user_model, settings):
    """Else any page could search in the name of who looks at it."""
    settings.SEARCH_ANONYMOUS = False
    ada = django_user_model.objects.create_user("ada")
    api.force_login(ada)
    for answer in (
        api.get("/indices-list"),
        knn(api, text="a boat"),
        ask(api, "/metadata", {"ids": [7], "indice_name": "postcards"}),
    ):
        assert answer.status_code == 401
        assert message(answer).startswith("This requires an account")
    assert api.options("/knn-service").status_code == 200
    token = {"HTTP_AUTHORIZATION": f"Token {make_token(ada, 'notebook', None)}"}
    assert rows_of(api.get("/indices-list", **token)) == ["postcards"]
    asked = CLIP_CLIENT | {"text": "a boat"}
    assert len(ids(ask(api, "/knn-service", asked, **token))) == 40
    token["HTTP_AUTHORIZATION"] += "x"
    assert api.get("/indices-list", **token).status_code == 401


# --- What is refused

WRONG = [
    ({"modality": ...}, "modality: This field is required."),
    ({"num_images": ...}, "num_images: This field is required."),
    ({"indice_name": ...}, "indice_name: This field is required."),
    ({"modality": None}, "modality: This field may not be null."),
    ({"num_images": None}, "num_images: This field may not be null."),
    ({"num_images": "many"}, "num_images: A valid integer is required."),
    ({"num_images": -1}, "num_images: "),
    ({"num_images": 0, "num_result_ids": 0}, "num_images: Ask for one result"),
    ({"num_result_ids": [1]}, "num_result_ids: A valid integer is required."),
    ({"text": ["a boat"]}, "text: Not a valid string."),
    ({"text": None}, "There is nothing to search for: give a text"),
    ({"text": ""}, "There is nothing to search for: give a text"),
    ({"text": "  "}, "There are no words to search for."),
    ({"text": "a" * 10_000}, "has 10,000 characters"),
    ({"text": "a\0b"}, "text: Null characters are not allowed."),
    ({"text": "a\ud800b"}, "text: Surrogate characters are not allowed"),
    ({"text": None, "image": "no base64!"}, "The image is not valid base64."),
    ({"text": None, "image": {}}, "image: Not a valid string."),
    ({"text": None, "embedding_input": [1, 2]}, "The embedding has 2 numbers"),
    ({"text": None, "embedding_input": []}, "There is nothing to search for"),
    ({"text": None, "embedding_input": "AAAA"}, "embedding_input: Expected a list"),
    ({"text": None, "embedding_input": [0] * 512}, "The embedding has no direction"),
    ({"text": None, "embedding_input": ["x"] * 512}, "embedding_input 0: A valid"),
    ({"text": None, "embedding_input": [10**400] * 512}, "embedding_input 0: "),
    ({"text": None, "embedding_input": [[1.0] * 512]}, "embedding_input 0: A valid"),
    ({"text": None, "embedding_input": [1] * 20_000}, "At most 16,384 are taken."),
    ({"text": None, "image_url": "http://a/" + "b" * 3_000}, "longer than 2,000"),
    ({"deduplicate": "perhaps"}, "deduplicate: Must be a valid boolean."),
    ({"use_safety_model": []}, "use_safety_model: Must be a valid boolean."),
]


@pytest.mark.parametrize(("asked", "sentence"), WRONG)
def test_wrong_values_are_refused_with_a_sentence(api, asked, sentence):
    body = CLIP_CLIENT | {"text": "a boat"} | asked
    body = {name: value for name, value in body.items() if value is not ...}
    answer = ask(api, "/knn-service", body)
    assert answer.status_code == 400
    assert sentence in message(answer)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "ids: Give a list of ids."),
        ({"ids": "7"}, "ids: Give a list of ids."),
        ({"ids": {"7": 1}}, "ids: Give a list of ids."),
        ({"ids": [None]}, "ids: An id is a whole number."),
        ({"ids": [True]}, "ids: An id is a whole number."),
        ({"ids": [7.5]}, "ids: An id is a whole number."),
        ({"ids": ["seven"]}, "ids: An id is a whole number."),
        ({"ids": ["९"]}, "ids: An id is a whole number."),
        ({"ids": [7] * 10_001}, "ids: At most 10,000 are taken."),
    ],
)
def test_wrong_ids_are_refused_with_a_sentence(api, asked, sentence):
    answer = ask(api, "/metadata", {"indice_name": "postcards"} | asked)
    assert answer.status_code == 400
    assert message(answer) == sentence


@pytest.mark.parametrize("name", ["nowhere", "Not A Slug", "a\ud800", "x" * 5_000, "7"])
def test_an_unknown_index_is_not_found(api, name):
    for answer in (
        knn(api, text="a boat", indice_name=name),
        ask(api, "/metadata", {"ids": [7], "indice_name": name}),
    ):
        assert answer.status_code in (400, 404)
        assert message(answer)
    unknown = knn(api, text="a boat", indice_name="nowhere")
    assert unknown.status_code == 404
    assert message(unknown) == "There is no dataset named “nowhere”."


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"\xff\xfe",
        b"[" * 20_000,
        b'{"a":' * 20_000,
        b'{"embedding_input": [NaN]}',
        b'{"num_images": ' + b"9" * 5_000 + b"}",
        b"text=a+boat&num_images=4",
    ],
    ids=range(12),
)
@pytest.mark.parametrize("path", ["/knn-service", "/metadata"])
def test_a_body_that_is_no_json_object_is_refused(api, path, body):
    answer = ask(api, path, body)
    assert answer.status_code == 400
    sentences = ("The body of the request is not", "The JSON is nested too deeply")
    assert message(answer).startswith(sentences)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from([*CLIP_CLIENT, "ids"]), ANYTHING),
    st.sampled_from(["/knn-service", "/metadata"]),
)
@example({"num_images": 5, "image": "=" * 9, "text": None}, "/knn-service")
@example({"ids": [-0.0, 2**70]}, "/metadata")
@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_body_makes_it_fail(api, changes, path):
    body = {"ids": [7], **CLIP_CLIENT, "text": "a boat", "num_images": 3} | changes
    answer = ask(api, path, body)
    assert answer.status_code < 500
    if answer.status_code != 200:
        assert message(answer)


def test_what_is_no_picture_is_refused(api):
    text = base64.b64encode(b"hello").decode()
    answer = knn(api, image=text)
    assert answer.status_code == 415
    assert "Could not read this file" in message(answer)
    bomb = knn(api, image=base64.b64encode(png_bomb(13_000)).decode())
    assert bomb.status_code == 413
    assert "13000 × 13000" in message(bomb)


def test_too_much_is_refused(api, settings):
    large = knn(api, image="A" * (15 * 2**20))
    assert large.status_code == 413
    assert message(large) == "The image is larger than 10 MB."
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    answer = knn(api, text="a" * 2_000)
    assert answer.status_code == 413
    assert message(answer) == "The request is larger than 16 MB."


def test_other_methods_are_refused_in_json(api):
    for path, method in (
        ("/knn-service", "get"),
        ("/metadata", "put"),
        ("/indices-list", "post"),
    ):
        answer = getattr(api, method)(path)
        assert answer.status_code == 405
        assert "not allowed" in message(answer)


def test_whoever_asks_too_often_is_told_when_to_go_on(api, settings):
    caches["limits"].clear()
    settings.LIMITS = dict.fromkeys(rate_limits.SCOPES, "2/min")
    assert [knn(api, text="a boat").status_code for _ in range(3)] == [200, 200, 429]
    refused = knn(api, text="a boat")
    assert int(refused["Retry-After"]) >= 1
    assert "the limit is 2 searches" in message(refused)
    asked = {"ids": [7], "indice_name": "postcards"}
    answers = [ask(api, "/metadata", asked) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    settings.LIMITS |= {"search": ""}
    url = {"image_url": "http://localhost/postcards/7.jpg"}
    assert [knn(api, **url).status_code for _ in range(3)] == [200, 200, 429]
    assert "searches by image" in message(knn(api, **url))
    caches["limits"].clear()


def test_an_engine_that_is_away_is_said_to_be(api, settings):
    settings.CLICKHOUSE_URL = "clickhouse://127.0.0.1:9/default"
    answer = knn(api, text="a boat")
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert message(answer)


def test_what_fails_before_a_view_is_asked_is_json_too(api, monkeypatch):
    elsewhere = api.get("/indices-list", HTTP_HOST="evil.example")
    assert elsewhere.status_code == 400
    assert message(elsewhere) == "The request cannot be read."

    def fail(user):
        raise RuntimeError

    monkeypatch.setattr(service, "datasets", fail)
    api.raise_request_exception = False
    broken = api.get("/indices-list")
    assert broken.status_code == 500
    assert "server log" in message(broken)


# --- The many results of one search


def test_many_results_are_those_of_page_after_page(postcards_dataset):
    query = SearchQuery("postcards", (Term(text="a boat"),), limit=100)
    paged = []
    while len(paged) < 700:
        page = searching.find(query)
        paged += [(hit.id, hit.similarity) for hit in page.hits]
        query = SearchQuery("postcards", (), limit=100, cursor=page.next)
    ranked = searching.rank(
        SearchQuery("postcards", (Term(text="a boat"),), limit=1), 700
    )
    assert len(set(ranked.ids.tolist())) == 700
    assert ranked.ids.tolist() == [item_id for item_id, _ in paged]
    assert ranked.similarities.tolist() == [similarity for _, similarity in paged]


def test_many_results_can_be_sorted_and_are_limited(postcards_dataset):
    query = SearchQuery("postcards", (Term(text="a boat"),), sort="size", limit=50)
    assert searching.rank(query, 50).ids.tolist() == [
        hit.id for hit in searching.find(query).hits
    ]
    for count in (0, -1, 10_001):
        with pytest.raises(InvalidQuery):
            searching.rank(query, count)


def test_ids_are_asked_for_in_pieces(postcards_dataset, monkeypatch):
    """All of them would not fit into a field of a request to a server."""
    from search.clickhouse import cluster

    monkeypatch.setattr(cluster, "MAX_IDS", 300)
    asked = []
    table = DatasetIndex.for_slug("postcards", SYSTEM).table
    answers = cluster.group_by_node(
        range(1_000), table.partition_bits, lambda own: asked.append(own) or own
    )
    assert [len(own) for own in asked] == [300, 300, 300, 100]
    assert sum(answers, []) == list(range(1_000))
    assert sorted(service.hits_by_id("postcards", ALL, SYSTEM)) == ALL
