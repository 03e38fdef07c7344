"""Stored URLs as links: on pages, in answers and files, for fetching and filtering."""

import json
import re
import string
import unicodedata
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pytest
from support.collection_helpers import collection
from support.crowd import Crowd, bfloat16, stored, unit
from support.export_helpers import made, rows
from support.html_page import Page
from support.tiny_shards import drop_tables

from search import links
from search.clickhouse import client as engine
from search.fetch.target import parse
from search.ingestion.columns import item_columns
from search.ingestion.sources.image_files import folder_files, list_folder
from search.ingestion.sources.protocol import Batch
from search.models import SYSTEM
from search.query.filters import Filters, Host
from search.removals.takedowns import RemovalList, add
from search.retrieval import scan, service

SEED = 20261130
ODD = " '\"<>\\`^|{}[]();,~ñ日ж\u0301🏠"
IN_QUOTES_ALSO = re.compile(r"[!#-&(-;=?-\[\]_a-z|~]+")  # in ASCII
HOSTS = {
    "bücher.example": "xn--bcher-kva.example",
    "дом.рф": "xn--d1aqf.xn--p1ai",
    "हिन्दी.भारत": "xn--j2bd4cyah0f.xn--h2brj9c",
    "เว็บ.ไทย": "xn--r3cz4e3a.xn--o3cw4h",
}
NO_LINKS = [
    "",
    " ",
    "javascript:alert(1)//http://example.org/",
    "java\tscript:alert('1')",
    "\ufeff javascript:alert(1)",
    "data:image/png;base64,iVBORw0KGgo=",
    "ftp://example.org/o'brien.jpg",
    "//example.org/a b.jpg",
    "example.org/a.jpg",
    "http:\\\\example.org\\a.jpg",
    "http://user:o'brien@example.org/a.jpg",
    "http://example.org\\@evil.example/",
    "http://exa mple.org/",
    "http://%65xample.org/",
    "http://example.org/\r\nHost: evil.example",
    "http://example.org/a\x00b",
]


def drawn_urls(count: int) -> list[str]:
    """URLs of a host each, with odd characters, some in white space."""
    random = Random(SEED)
    urls = []
    for number in range(count):
        odd = ["".join(random.choices(ODD, k=3)) for _ in range(2)]
        url = f"http://h{number}.example/a{odd[0]}b.jpg?q={odd[1]}{number}"
        urls.append(random.choice(["{}", " {}", "{}\n", "\u3000{}\t"]).format(url))
    return urls


def test_a_link_is_what_is_fetched_in_ascii():
    for url in drawn_urls(300):
        link = links.link_of(url)
        assert link == parse(url).url
        assert IN_QUOTES_ALSO.fullmatch(link), link
        assert unquote(link) == url.strip()
        assert links.link_of(link) == link


@pytest.mark.parametrize("url", NO_LINKS)
def test_some_urls_are_no_links(url):
    assert links.link_of(url) == links.readable_host(url) == ""


@pytest.mark.parametrize(
    ("url", "link"),
    [
        (
            "HTTPS://Example.ORG:8443/A%20b.jpg#p",
            "HTTPS://Example.ORG:8443/A%20b.jpg#p",
        ),
        ("http://[::1]:80/é", "http://[::1]:80/%C3%A9"),
        ("http://example.org/t\tab.jpg", "http://example.org/tab.jpg"),
        ("http://example.org?o'b", "http://example.org/?o%27b"),
        ("http://BÜCHER。example:80/#ü", "http://xn--bcher-kva.example:80/#%C3%BC"),
        ("http://☃.example/", "http://xn--n3h.example/"),
        (" /postcards/7.jpg\n", "/postcards/7.jpg"),
        ("/postcards/../7.jpg", ""),
        ("/postcards/7.jpg?o'b", ""),
    ],
)
def test_links_keep_what_browsers_read(url, link):
    assert links.link_of(url) == link


def test_hosts_are_read_in_their_own_script():
    for name, encoded in HOSTS.items():
        assert links.host_forms(name.upper()) == (encoded, name)
        assert links.host_forms(encoded) == (encoded, name)
        assert links.readable_host(f"http://{encoded}:81/a b") == name
    assert links.host_forms("a_b.example") == ("a_b.example", "a_b.example")


def test_the_filter_takes_hosts_of_any_script():
    for name in (*HOSTS, *HOSTS.values()):
        assert Host().clean("site", name) == name
        assert Host().clean("site", f"{unicodedata.normalize('NFD', name)}.") == name


# --- In every interface


@pytest.fixture(scope="module")
def odd(django_db_setup, django_db_blocker):
    """The URLs of a dataset "odd": some with a link, then some without."""
    urls = [*drawn_urls(12), *(url for url in NO_LINKS if "\x00" not in url)]
    image = unit(np.random.default_rng(SEED).standard_normal((len(urls), 8)))
    facts = {"url": urls, "caption": urls, "nsfw": ["UNLIKELY"] * len(urls)}
    crowd = Crowd(
        ids=np.arange(len(urls), dtype=np.uint64),
        image=bfloat16(image),
        text=bfloat16(image),
        facts=pa.table(facts | {"deleted": np.zeros(len(urls), np.uint8)}),
    )
    with django_db_blocker.unblock():
        dataset = stored(crowd, "odd", build=False)
        # As an earlier version stored them.
        for number, url in enumerate(urls):
            engine.command(
                f"ALTER TABLE item_odd UPDATE url = {{url:String}} WHERE id = {number}",
                {"url": url},
                mutations_sync=1,
            )
    yield dict(enumerate(urls))
    with django_db_blocker.unblock():
        drop_tables(dataset)
        dataset.delete()


def of_page(client, odd):
    page = Page(client.get("/?dataset=odd&item=0&dedupe=no&width="))
    shown = [path for path in page.all("img", "src") if path.startswith("/t/odd/")]
    return {int(path.split("/")[3]): None for path in shown if "/320." in path}


def of_item_page(client, odd):
    found = {}
    for number in odd:
        page = Page(client.get(f"/d/odd/{number}?panel"))
        assert len(page.all("a", "href", target="_blank")) < 2
        for link in page.all("a", "href", target="_blank"):
            found[number] = link
            assert page.all("img", "src") == [f"/t/odd/{number}/1280.webp"]
    return found


def of_api(client, odd):
    asked = {"dataset": "odd", "terms": [{"item": 0}], "filters": {"dedupe": False}}
    answer = client.post("/api/search/", asked, content_type="application/json").json()
    hits = answer["results"]
    assert all(hit["url"] == odd[hit["id"]] for hit in hits)
    return {hit["id"]: None for hit in hits if hit["thumbnail"]}


def of_clip_retrieval(client, odd):
    asked = {"ids": list(odd), "indice_name": "odd"}
    answer = client.post("/metadata", asked, content_type="application/json")
    told = {row["id"]: row["metadata"]["url"] for row in answer.json()}
    return {number: link for number, link in told.items() if link}


def of_collection(client, odd):
    mine = collection(client.user, *odd, dataset="odd")
    answer = client.get(f"/api/collections/{mine.pk}/items/?limit=100").json()
    return {row["id"]: None for row in answer["results"] if row["thumbnail"]}


def of_list(client, odd):
    from usercollections.export.export_request import of_dataset

    with TemporaryDirectory() as folder:
        asked = of_dataset(SYSTEM, "odd", Filters(), "img2dataset")
        manifest = made(asked, Path(folder), client.user)
        return {row["id"]: row["url"] for row in rows(manifest, Path(folder))}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "interface",
    [of_page, of_item_page, of_api, of_clip_retrieval, of_collection, of_list],
)
def test_an_item_has_an_image_however_its_url_is_written(
    client, django_user_model, odd, interface
):
    client.user = django_user_model.objects.create_user("ada")
    client.force_login(client.user)
    true = {number: links.link_of(url) for number, url in odd.items()}
    true = {number: link for number, link in true.items() if link}
    assert len(true) == 12
    found = interface(client, odd)
    if interface in (of_page, of_api):
        true.pop(0)  # what it is searched by
        found.pop(0, None)
    assert found.keys() == true.keys()
    assert all(link in (None, true[number]) for number, link in found.items())


@pytest.mark.django_db
def test_an_item_is_found_by_its_url_and_by_its_link(odd):
    stored = [(number, url) for number, url in odd.items() if links.link_of(url)]
    for number, url in stored:
        assert service.item_id_by_url("odd", url, SYSTEM) == number
    trimmed = [(number, url) for number, url in stored if url == url.strip()]
    assert trimmed
    for number, url in trimmed:
        assert service.item_id_by_url("odd", links.link_of(url), SYSTEM) == number
        assert service.item_id_by_url("odd", f" {links.link_of(url)}", SYSTEM) == number


@pytest.mark.django_db
def test_a_removal_list_holds_for_urls_with_white_space(odd):
    add("url", (url.strip() for url in odd.values() if url.strip()), None)
    listed = RemovalList(RemovalList.of(scan.Dataset(slug="odd", pk=-1)).digests)
    assert listed.contains(list(odd), odd.values()).tolist() == [
        bool(url.strip()) for url in odd.values()
    ]


# --- Import


def test_urls_are_trimmed_when_they_come_in():
    urls = drawn_urls(40)
    vectors = np.ones((40, 8), np.float32)
    table = pa.table({"URL": urls, "caption": urls})
    batch = Batch(0, 40, np.arange(40), vectors, vectors, table)
    columns = item_columns(batch, 0)
    assert columns["url"].to_pylist() == [url.strip() for url in urls]
    assert columns["caption"].to_pylist() == urls


def test_an_image_in_a_file_keeps_the_url_of_its_json(tmp_path):
    urls = [*drawn_urls(20), *NO_LINKS]
    for number, url in enumerate(urls):
        (tmp_path / f"{number:02}.jpg").write_bytes(b"")
        (tmp_path / f"{number:02}.json").write_text(json.dumps({"url": url}))
    shards = folder_files(tmp_path, list_folder(tmp_path).samples(), {})
    (read,) = shards[0]().read(0, len(urls))
    stored = read.table["url"].to_pylist()
    assert stored == [url.strip() for url in urls[:20]] + [""] * len(NO_LINKS)


# --- The filter by host

FULL_WIDTH = {ord(letter): ord(letter) + 0xFEE0 for letter in string.ascii_lowercase}


@pytest.fixture(scope="module")
def international(django_db_setup, django_db_blocker):
    """URLs of a dataset whose hosts are written in all ways."""
    names = [*HOSTS, *HOSTS.values(), *map(str.upper, HOSTS)]
    names += [unicodedata.normalize("NFD", name) for name in HOSTS]
    names += [f"{name}." for name in (*HOSTS, *HOSTS.values())]
    names += [name.replace(".", "。").translate(FULL_WIDTH) for name in HOSTS]
    starts = ["http://", "http://www.", "http://a.", "HTTPS://", "HTTPS://WWW."]
    urls = [f"{start}{name}/{start}.jpg" for start in starts for name in names]
    urls += ["http://not-bücher.example/", "http://xn--p1ai.example/", ""]
    image = unit(np.random.default_rng(SEED).standard_normal((len(urls), 8)))
    crowd = Crowd(
        ids=np.arange(len(urls), dtype=np.uint64),
        image=bfloat16(image),
        text=bfloat16(image),
        facts=pa.table({"url": urls, "deleted": np.zeros(len(urls), np.uint8)}),
    )
    with django_db_blocker.unblock():
        dataset = stored(crowd, "international", build=False)
    yield urls
    with django_db_blocker.unblock():
        drop_tables(dataset)
        dataset.delete()


def test_a_host_has_one_name_in_all_its_spellings(international, django_db_blocker):
    with django_db_blocker.unblock():
        dataset = service.Dataset.objects.get(slug="international")
        shards = scan.shards_of(dataset)
    for name, encoded in [*HOSTS.items(), ("рф", "xn--p1ai")]:
        ends = f".{name}", f".{encoded}"
        composed = (unicodedata.normalize("NFKC", url) for url in international)
        urls = (url.replace("。", ".") for url in composed)
        hosts = [(urlsplit(url).hostname or "").rstrip(".") for url in urls]
        true = [number for number, h in enumerate(hosts) if f".{h}".endswith(ends)]
        assert len(true) == 35
        for asked in (name, encoded, name.upper(), f"www.{name}"):
            filters = Filters(site=asked)
            (batch,) = scan.Scan(dataset, shards, filters).batches()
            assert batch.table["id"].to_pylist() == true, asked
