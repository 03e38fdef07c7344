"""Pages accept, send and permit only what is safe, whatever a dataset holds."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from support.html_page import HTMX, Page
from support.search_pages import chips, search, send_picture
from support.tiny_shards import DIMENSION, import_all, vectors, write_shard

from postcards.shards import jpeg
from search.clickhouse import client as clickhouse
from search.clickhouse import schema
from search.links import link_of
from search.models import Dataset

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("postcards_dataset")]


# --- Requests


def test_a_form_from_elsewhere_is_refused():
    stranger = Client(enforce_csrf_checks=True)
    answer = send_picture(stranger, jpeg(1))
    assert answer.status_code == 403
    assert "This form has expired" in Page(answer).text
    (token,) = Page(stranger.get("/")).all("input", "value", name="csrfmiddlewaretoken")
    assert send_picture(stranger, jpeg(1), csrfmiddlewaretoken=token).status_code == 303


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_pages_are_for_reading_only(client, method):
    for path in ("/", "/d/postcards/7"):
        assert getattr(client, method)(path).status_code == 405
    assert client.get("/search/picture").status_code == 405


def test_reading_pages_changes_nothing(client, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError(f"a page changes the engine: {arguments}")

    monkeypatch.setattr(clickhouse, "command", refuse)
    monkeypatch.setattr(clickhouse, "insert_arrow", refuse)
    paths = ("/", "/?q=a+boat", "/?item=7", "/d/postcards/7", "/?dataset=nope")
    with CaptureQueriesContext(connection) as executed:
        for path in paths:
            answer = client.get(path)
            assert set(answer.cookies) <= {"csrftoken"}
    assert executed.captured_queries
    for query in executed.captured_queries:
        assert query["sql"].startswith("SELECT")


# --- Hostile datasets


CAPTIONS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></textarea><svg onload=alert(1)>",
    "{{ 7|add:7 }}{% now 'Y' %}${7*7}",
    "\u202eright to left, 日本語, 🏠",
    "",
    "&lt;b&gt; &amp;amp;",
    "a" * 100_000,
]
GOOD_URLS = ["http://example.org/1.jpg", "https://example.org/a?b=1&c=2#d"]
BAD_URLS = [
    "",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "javascript://example.org/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:image/svg+xml,<svg onload=alert(1)>",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "blob:http://example.org/1",
    "ftp://example.org/1.jpg",
    "///example.org/1.jpg",
    "//example.org/1.jpg",
    "/admin/logout/",
    "/postcards/../admin/",
    "/postcards/١.jpg",
    "postcards/1.jpg",
    "\\\\example.org\\1.jpg",
    "http:\\\\example.org\\1.jpg",
    "http://",
    "http:///1.jpg",
    "http:example.org",
    "http://example.org@evil.example/1.jpg",
    "http://user:password@example.org/1.jpg",
    "http://example.org/1.jpg\nSet-Cookie: a=b",
    "http://[example.org/1.jpg",
    "x" * 10_000,
]
# Links once they are encoded.
ODD_URLS = {
    "/postcards/1.jpg\n": "/postcards/1.jpg",
    'http://example.org/"onerror="alert(1)': "http://example.org/"
    "%22onerror=%22alert(1)",
    "http://example.org/'><script>alert(1)</script>": "http://example.org/"
    "%27%3E%3Cscript%3Ealert(1)%3C/script%3E",
    "http://example.org/\u2028": "http://example.org/",
    "https://例え.jp/絵.jpg": "https://xn--r8jz45g.jp/%E7%B5%B5.jpg",
}
URLS = BAD_URLS + GOOD_URLS + [*ODD_URLS]
LINKS = {*GOOD_URLS, *ODD_URLS.values()}


@pytest.mark.parametrize("url", BAD_URLS)
def test_an_address_that_is_not_safe_is_left_out(url):
    assert link_of(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        *GOOD_URLS,
        "HTTPS://EXAMPLE.ORG/",
        "http://example.org:8080/a%20b.jpg",
        "http://[::1]/1.jpg",
        "/postcards/0.jpg",
    ],
)
def test_an_address_that_is_safe_stays_as_it_is(url):
    assert link_of(url) == url


def test_an_address_that_is_safe_once_encoded_is_encoded():
    assert {url: link_of(url) for url in ODD_URLS} == ODD_URLS


@pytest.fixture
def hostile(client, tmp_path):
    """Yield a client; each text of the dataset "hostile" is an attack."""
    dataset = Dataset.objects.create(
        slug="hostile",
        title="<b>Hostile</b>",
        dimension=DIMENSION,
        source=str(tmp_path),
        without_removal_list=True,
    )
    rows = len(URLS)
    captions = [CAPTIONS[i % len(CAPTIONS)] for i in range(rows)]
    metadata = {
        "url": URLS,
        "caption": captions,
        "NSFW": ["<i>nsfw</i>"] * rows,
        "LICENSE": ["<i>license</i>"] * rows,
        "<u>name</u>": captions,
        "exif": ['{"a": "<u>value</u>"}'] * rows,
        "deep": ["[" * 100_000] * rows,
    }
    write_shard(
        tmp_path,
        0,
        rows,
        image=vectors(rows, 1),
        text=vectors(rows, 2),
        metadata=metadata,
    )
    (shard,) = import_all(dataset)
    assert shard.rows == rows, shard.error
    yield client
    schema.drop(dataset.item_table)


def test_hostile_items_are_shown_as_text_and_lead_nowhere(hostile):
    pages = [
        "/?dataset=hostile",
        "/?item=0&dataset=hostile",
        "/?item=0&field=text&mode=exact&dataset=hostile",
        *(f"/d/hostile/{i}" for i in range(len(URLS))),
    ]
    shown = set()
    for path in pages:
        for headers in (None, HTMX):
            page = page_without_danger(hostile.get(path, headers=headers))
            shown |= {*page.all("a", "href")}
            assert not foreign(page)
    assert shown >= LINKS


def foreign(page: Page) -> list[str]:
    """Return the elements that hostile texts make if they are not escaped."""
    made = [tag for tag, _ in page.elements if tag in ("b", "i", "u")]
    return made[1:] if made[:1] == ["b"] and page.is_whole else made  # one is our own


def page_without_danger(answer) -> Page:
    """Return the page, which runs no text and links only here and to good addresses."""
    assert answer.status_code == 200
    page = Page(answer)
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src", "action", "formaction", "hx-get"):
            address = attributes.get(name) or "/"
            is_own = re.match(r"([/#]|http://testserver/)(?!/)", address)
            assert is_own or address in LINKS, (tag, attributes)
    assert page.scripts == ""
    return page


def test_hostile_words_are_shown_as_text(hostile):
    for words in CAPTIONS[:5]:
        parameters = {"q": words, "item": words, "dataset": words, "field": words}
        answer = hostile.get("/", parameters)
        assert answer.status_code == 400
        page = Page(answer)
        assert page.all("input", "value", id="q") == [words]
        assert page.scripts == ""
        for _, attributes in page.elements:
            assert not [name for name in attributes if name.startswith("on")]


def test_hostile_words_are_shown_as_text_on_chips(client):
    query = (
        "a -(<img src=x onerror=alert(1)>) 2:<script>alert(1)</script> "
        '"<b>moon</b>" license:"<i>" site:b'
    )
    page = page_without_danger(client.get("/", {"q": query}))
    assert {"<img src=x onerror=alert(1)>", "license <i>"} <= chips(page).keys()
    assert not foreign(page)


def test_one_of_several_datasets_is_chosen_by_its_address(hostile):
    page = search(hostile, dataset="hostile", item=0)
    assert {"postcards", "hostile"} <= {*page.all("option", "value")}
    assert page.all("option", "selected", value="hostile") == [None]
    assert all(address.startswith("/d/hostile/") for address in page.pictures)
    page = search(hostile, item=0)
    assert all(address.startswith("/d/postcards/") for address in page.pictures)


# --- Headers and static files


PAGES = [
    "/",
    "/?q=a+boat",
    "/?item=7&q=at+night",
    "/?q=red+-car+2:item:7+width>5+%22boat%22&nsfw=any",
    "/?q=a+boat+width>9999",
    "/?q=heigth>5",
    "/?dataset=nope",
    "/d/postcards/7",
    "/d/postcards/2000",
    "/nothing/here",
    "/accounts/login/",
]


@pytest.mark.parametrize("path", PAGES)
def test_pages_allow_no_script_or_style_but_files_of_their_own(client, path):
    answer = client.get(path)
    policy = dict(
        rule.strip().partition(" ")[::2]
        for rule in answer["Content-Security-Policy"].split(";")
    )
    for kind in ("default-src", "base-uri", "frame-ancestors"):
        assert policy[kind] == "'none'"
    for kind in ("script-src", "style-src", "connect-src", "form-action"):
        assert policy[kind] == "'self'"
    assert policy["img-src"] == "'self' data: blob:"
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    page = Page(answer)
    assert page.scripts == ""
    for tag, attributes in page.elements:
        assert tag != "style"
        assert tag != "script" or attributes["src"].startswith("/bundle/")
        for name in attributes:
            assert name != "style" and not name.startswith(("on", "hx-on"))


def test_what_the_pages_load_is_there(client):
    page = search(client, q="a boat")
    files = page.all("script", "src") + page.all("link", "href")
    assert len(files) >= 3
    for path in files:
        assert client.get(path).status_code == 200
