"""Searches of the postcards through the pages, and without them to compare."""

from django.core.files.uploadedfile import SimpleUploadedFile

from search.query.model import SearchQuery, Term, encode_embedding
from support import searching
from support.html_page import Page

UNAVAILABLE = "The search engine does not respond; please try again in a moment."


def search(client, headers=None, **parameters) -> Page:
    answer = client.get("/", parameters, headers=headers)
    assert answer.status_code == 200, answer.content.decode()
    return Page(answer)


def found(*terms: Term, **options) -> list[int]:
    query = SearchQuery("postcards", terms, **options)
    return [hit.id for hit in searching.find(query).hits]


def embedding_of(item: int) -> str:
    query = SearchQuery("postcards", (Term(item=item),))
    return encode_embedding(searching.embed(query))


def send_picture(client, data: bytes, **fields):
    picture = SimpleUploadedFile("picture.jpg", data, "image/jpeg")
    fields = {"dataset": "postcards", **fields, "picture": picture}
    return client.post("/search/picture", fields)


def chips(page: Page) -> dict[str, str]:
    """Return, by the texts of the chips, the addresses without them."""
    return {
        attributes["aria-label"].removeprefix("Remove: "): attributes["href"]
        for tag, attributes in page.elements
        if tag == "a" and attributes.get("class") == "remove"
    }
