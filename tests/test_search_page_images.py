"""Searches by uploaded images."""

from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from support.html_page import HTMX, Page
from support.search_pages import embedding_of, send_picture

from postcards.shards import jpeg
from search.query.model import decode_embedding
from tests.test_search_pictures import png_bomb

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("postcards_dataset")]


def test_a_picture_is_sent_on_to_an_address_that_finds_it(client):
    answer = send_picture(client, jpeg(123))
    address = answer["Location"]
    assert answer.status_code == 303
    parameters = parse_qs(urlsplit(address).query)
    assert urlsplit(address).path == "/"
    assert set(parameters) == {"embedding", "dataset"}
    assert Page(client.get(address)).ids[0] == 123


def test_a_picture_keeps_the_choices_and_replaces_what_was_searched_for(client):
    answer = send_picture(client, jpeg(9), field="text", mode="exact", q="a", item="3")
    parameters = parse_qs(urlsplit(answer["Location"]).query)
    assert set(parameters) == {"embedding", "field", "mode", "dataset"}
    assert parameters["field"] == ["text"] and parameters["mode"] == ["exact"]


REFUSED_PICTURES = {
    "none": (b"hello", 415, "Could not read this file"),
    "svg": (
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        415,
        "Could not read this file",
    ),
    "cut": (jpeg(1)[:200], 415, "damaged"),
    "bomb": (png_bomb(13_000), 413, "13000 × 13000 pixels"),
    "large": (bytes(10 * 2**20 + 1), 413, "larger than 10 MB"),
    "empty": (b"", 400, "Choose an image first."),
}


@pytest.mark.parametrize("name", REFUSED_PICTURES)
def test_a_bad_picture_is_refused_with_a_sentence(client, name):
    data, status, sentence = REFUSED_PICTURES[name]
    answer = send_picture(client, data)
    assert answer.status_code == status
    page = Page(answer)
    assert sentence in page.text
    assert page.is_whole
    assert page.all("form", "action") == ["/", "/search/picture"]


def test_a_form_without_a_picture_asks_for_one(client):
    answer = client.post("/search/picture", {"dataset": "postcards"})
    assert answer.status_code == 400
    assert "Choose an image first." in Page(answer).text


def test_a_picture_for_an_unknown_dataset_is_not_found(client):
    answer = send_picture(client, jpeg(1), dataset="nope")
    assert answer.status_code == 404
    assert "no dataset" in Page(answer).text


def test_a_refused_picture_leaves_the_address_as_it_is(client):
    answer = client.post("/search/picture", {"dataset": "postcards"}, headers=HTMX)
    assert answer.status_code == 400
    assert answer["HX-Push-Url"] == "false"
    assert not Page(answer).is_whole


def test_several_pictures_are_searched_by_at_once(client):
    def sent(*items: int):
        pictures = [
            SimpleUploadedFile(f"{i}.jpg", jpeg(i), "image/jpeg") for i in items
        ]
        fields = {"dataset": "postcards", "picture": pictures}
        return client.post("/search/picture", fields)

    address = sent(9, 123)["Location"]
    assert len(parse_qs(urlsplit(address).query)["embedding"]) == 2
    assert len(address) < 4_000
    assert {9, 123} <= {*Page(client.get(address)).ids[:10]}
    answer = sent(1, 2, 3, 4, 5)
    assert answer.status_code == 400
    assert "up to 4 images" in Page(answer).text


def test_a_picture_can_join_what_is_searched_for(client):
    terms = {"q": "at night", "item": ["7"], "embedding": [embedding_of(3)]}
    answer = send_picture(client, jpeg(9), beside="yes", weight="-0.5", **terms)
    parameters = parse_qs(urlsplit(answer["Location"]).query)
    assert parameters["q"] == ["at night"] and parameters["item"] == ["7"]
    assert parameters["embedding"][0] == embedding_of(3)
    weight, _, embedding = parameters["embedding"][1].partition(":")
    assert weight == "-0.5"
    cosine = np.dot(decode_embedding(embedding), decode_embedding(embedding_of(9)))
    assert cosine > 0.99
