"""Bodies are limited before they are parsed, of every sender and view."""

import base64
import json
import random

import pytest
from django.test import RequestFactory
from support.routes import routes

from search.errors import BodyTooLarge, InvalidQuery
from search.images.formats import MAX_BYTES as MAX_IMAGE_FILE
from search.request_bodies import (
    MAX_BYTES,
    MAX_IMAGE_BYTES,
    MAX_JSON_DEPTH,
    MAX_JSON_ITEMS,
    check_json,
    max_bytes_of,
)
from search.web.middleware import BodyLimitMiddleware

IMAGES = {
    "api-exports",
    "api-refine",
    "api-search",
    "knn-service",
    "search-by-picture",
}
LISTS = {
    "api-collection-items",
    "api-collection-items-remove",
    "api-collections",
    "collection-add",
    "collection-move",
    "collection-remove",
    "collections",
    "collections-choose",
    "concept-import",
}
CHUNKS = {"api-chunk", "dataset-add-upload"}  # of uploads by staff

SEARCH = "/api/search/"


def post(client, body: str | bytes, path: str = SEARCH):
    return client.post(path, body, content_type="application/json")


def padded(length: int, **body: object) -> str:
    """Return JSON of this many bytes, most of them in a string."""
    text = json.dumps({**body, "padding": ""})
    return text[:-2] + "x" * (length - len(text)) + text[-2:]


def test_few_views_take_large_bodies():
    large = {each for each in routes() if max_bytes_of(each.view) > MAX_BYTES}
    names = {each.name or each.pattern for each in large}
    assert names == IMAGES | LISTS | CHUNKS


@pytest.mark.parametrize("route", routes(), ids=lambda route: route.pattern)
def test_every_view_refuses_what_is_larger_before_reading_it(route):
    most = max_bytes_of(route.view)
    assert most <= MAX_IMAGE_BYTES

    def ask(length: object):
        request = RequestFactory().post("/" + route.pattern, CONTENT_LENGTH=str(length))
        request._stream = None  # reading it would fail
        middleware = BodyLimitMiddleware(lambda request: None)
        return middleware.process_view(request, route.view, (), {})

    assert ask(most) is None
    for length in (most + 1, 10**12, "-1", "1e9"):
        answer = ask(length)
        assert answer.status_code == 413
        assert b"larger than" in answer.content


@pytest.mark.parametrize("path", ["/metadata", "/api/popularity/", "/api/searches/"])
def test_small_bodies_only(client, db, path):
    answer = post(client, padded(MAX_BYTES + 1), path)
    assert answer.status_code == 413
    assert "larger than 256 kB" in answer.content.decode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"terms":[' + "[]," * 5_000_000 + "[]]}", "too_large"),
        ('{"terms":[' + "{}," * MAX_JSON_ITEMS + '{"image":"A"}]}', "too_large"),
        ('{"image":"A","terms":' + "1," * MAX_JSON_ITEMS + "1]}", "too_large"),
        ('{"a":' * 200 + "1" + "}" * 200, "bad_query"),
        ("[" * 100_000, "bad_query"),
        ('{"image":"' + '"' * 10_000_000, "too_large"),
        ("[" * 15_000_000, "too_large"),
        (padded(MAX_BYTES + 1, terms=[{"text": "image"}]), "too_large"),
    ],
    ids=lambda value: value[:20],
)
def test_json_that_is_costly_to_parse_is_refused_unparsed(
    client, db, monkeypatch, body, code
):
    monkeypatch.setattr(json, "loads", None)
    answer = post(client, body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (
        413 if code == "too_large" else 400,
        "application/json",
    )
    monkeypatch.undo()
    assert answer.json()["code"] == code


def test_the_bounds_count_what_is_outside_of_strings():
    inside = json.dumps({"image": '[{,\\"' * 60_000})
    check_json(inside.encode(), MAX_IMAGE_BYTES)
    with pytest.raises(BodyTooLarge):
        check_json(inside.encode(), MAX_BYTES)
    draw = random.Random(5)
    for _ in range(200):
        text = "".join(draw.choice('[]{}",:\\a1') for _ in range(draw.randint(0, 60)))
        check_json(json.dumps({text: [text, {"a": text}]}).encode(), MAX_BYTES)
    check_json(b'"' + b'\\"' * 100_000, MAX_BYTES)  # not in quadratic time
    deepest = "[" * MAX_JSON_DEPTH + "]" * MAX_JSON_DEPTH
    check_json(deepest.encode(), MAX_BYTES)
    with pytest.raises(InvalidQuery):
        check_json(f"[{deepest}]".encode(), MAX_BYTES)


def test_a_charset_cannot_hide_brackets(client, db):
    body = ('{"terms":[' + "[]," * MAX_JSON_ITEMS + "[]]}").encode("utf-7")
    answer = client.post(SEARCH, body, content_type="application/json; charset=utf-7")
    assert answer.status_code in (400, 413)


def test_the_largest_image_fits():
    text = base64.b64encode(bytes(MAX_IMAGE_FILE)).decode()
    body = json.dumps({"dataset": "a", "terms": [{"image": text}]})
    check_json(body.encode(), MAX_IMAGE_BYTES)
