"""The start page, results and items as the server sends them, without a browser."""

import re
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from django.core.cache import cache
from support import searching
from support.html_page import HTMX, NO_ENGINE, Page
from support.search_pages import UNAVAILABLE, embedding_of, found, search
from support.tiny_shards import drop_tables, import_all

from postcards.shards import MODEL
from search.evaluation import calibration
from search.ingestion import clusters
from search.models import SYSTEM, Dataset, Shard
from search.query.filters import Filters
from search.query.model import SearchQuery, Term, encode_embedding
from search.retrieval import service
from search.retrieval.sampling import farthest_point_sample

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("postcards_dataset")]


# --- The start page and the datasets


def test_the_start_page_has_a_wall_of_pictures_and_examples_that_find_some(client):
    page = search(client)
    assert len(set(page.ids)) == 36
    assert "A few of the 2,000 images in Postcards" in page.text
    examples = re.findall(
        r'<li><a href="(/\?q=[^"]+)" dir', client.get("/").content.decode()
    )
    assert len(examples) >= 4
    assert len(Page(client.get(examples[0].replace("&amp;", "&"))).ids) == 40


def test_the_wall_of_the_start_page_differs_from_visit_to_visit(client):
    assert search(client).ids != search(client).ids


def test_the_wall_shows_what_differs():
    drawn = np.random.default_rng(1)
    groups = drawn.normal(size=(6, 16))
    near = groups.repeat(10, axis=0) + 0.05 * drawn.normal(size=(60, 16))
    chosen = farthest_point_sample(dict(enumerate(near.astype(np.float32))), 6)
    assert {item // 10 for item in chosen} == {*range(6)}
    assert (
        farthest_point_sample({}, 6) == []
        and len(farthest_point_sample({3: near[0]}, 6)) == 1
    )


def test_empty_words_show_the_start_page(client):
    for words in ("", "   ", "\t"):
        page = search(client, q=words)
        assert "A few of the 2,000" in page.text
        assert len(page.ids) == 36


def test_without_a_dataset_the_page_says_so(client, no_datasets):
    for path in ("/", "/?q=a+boat", "/?item=7"):
        answer = client.get(path)
        assert answer.status_code == 200
        page = Page(answer)
        assert "No dataset yet" in page.text
        assert page.pictures == []
    assert client.get("/?q=a+boat&dataset=postcards").status_code == 404


def test_a_dataset_that_is_not_in_yet_is_not_offered(client, no_datasets):
    Dataset.objects.create(slug="coming", title="Coming")
    assert "No dataset yet" in Page(client.get("/")).text
    assert client.get("/?q=a+boat&dataset=coming").status_code == 404


def test_a_site_whose_first_images_are_being_imported_says_so(client, no_datasets):
    coming = Dataset.objects.create(slug="coming", title="Coming")
    coming.shards.create(number=0, state=Shard.State.INGESTING)
    page = Page(client.get("/")).text
    assert "Images are being imported" in page and "No dataset yet" not in page


def test_only_staff_is_shown_the_way_to_the_admin_pages(client, admin_client):
    assert "/admin/" not in search(client).all("a", "href")
    assert "/admin/" in search(admin_client).all("a", "href")


# --- Results and items


def test_words_show_the_nearest_pictures_with_their_captions(client):
    page = search(client, q="boats at night")
    assert page.ids == found(Term(text="boats at night"))
    assert page.all("input", "value", id="q") == ["boats at night"]
    assert "Top matches from 2,000 images" in page.text
    assert "boats at night – laionweb" in page.text
    for item in page.ids[:5]:
        caption = service.item("postcards", item, SYSTEM).caption
        assert caption in page.text
        assert caption in page.all("img", "alt")


def test_the_pictures_are_shown_in_their_size_by_this_host_alone(client):
    page = search(client, q="a boat")
    pictures = [
        attributes
        for tag, attributes in page.elements
        if tag == "img" and attributes.get("src", "").startswith("/t/postcards/")
    ]
    assert len(pictures) == len(page.pictures) == 40
    for picture in pictures:
        assert (picture["width"], picture["height"]) == ("640", "480")


def test_an_item_shows_its_like_and_can_be_removed(client):
    page = search(client, item=7)
    assert page.ids == found(Term(item=7))
    assert "like item 7" in page.text
    assert page.all("input", "value", name="item", form="search") == ["7"]
    assert page.all("a", "href", **{"class": "remove"}) == ["/"]


def test_words_refine_what_an_item_shows(client):
    page = search(client, item=7, q="at night")
    assert page.ids == found(Term(text="at night"), Term(item=7))
    removing = page.all("a", "href", **{"class": "remove"})
    assert removing == ["/?q=at+night", "/?item=7"]


def test_an_embedding_in_the_address_is_searched_for(client):
    page = search(client, embedding=embedding_of(42))
    assert page.ids[0] == 42
    assert page.all("input", "value", name="embedding") == [embedding_of(42)]
    assert "Like an image – laionweb" in page.text


def test_captions_are_searched_where_the_address_says_so(client):
    page = search(client, q="a black cat", field="text")
    words = Term(text="a black cat")
    assert page.ids == found(words, field="text") != found(words)
    assert "Top matches from 2,000 captions" in page.text
    assert page.all("input", "checked", value="text", name="field") == [None]
    assert page.all("input", "checked", value="image", name="field") == []


def test_an_exact_search_says_that_it_was_exact(client):
    page = search(client, q="a black cat", mode="exact")
    assert page.ids == found(Term(text="a black cat"), mode="exact")
    assert "exact" in page.text and "approximate" not in page.text
    assert page.all("input", "checked", value="exact", name="mode") == [None]
    # So few are compared in any case, which is not what was asked for.
    page = search(client, q="a black cat")
    assert "exact" in page.text and "approximate" not in page.text
    assert page.all("input", "checked", value="exact", name="mode") == []


def test_an_item_has_a_page_with_its_facts_and_its_nearest(client):
    page = Page(client.get("/d/postcards/7"))
    item = service.item("postcards", 7, SYSTEM)
    assert item.caption in page.text
    assert "640 × 480" in page.text and "CC0" in page.text and "UNLIKELY" in page.text
    assert item.metadata["md5"] in page.text
    assert page.ids == found(Term(item=7), limit=12)
    links = page.all("a", "href")
    assert "/?item=7&dataset=postcards" in links
    assert "/?item=7&field=text&dataset=postcards" in links
    assert "/postcards/7.jpg" in links


def test_the_address_of_a_search_leaves_out_what_goes_without_saying(client):
    parameters = {"q": "a boat", "dataset": "postcards"}
    defaults = {"mode": "ann", "field": "image"}
    answer = client.get("/", defaults | parameters, headers=HTMX)
    assert answer["HX-Push-Url"] == "/?q=a+boat&dataset=postcards"


# --- Whole pages and parts of them


def test_htmx_is_sent_the_results_and_anyone_else_the_page(client):
    whole = search(client, q="a boat")
    part = search(client, HTMX, q="a boat")
    assert whole.is_whole and not part.is_whole
    assert part.ids == whole.ids
    assert "a boat – laionweb" in part.text
    assert not part.all("form", "id")


def test_a_page_from_the_history_is_whole(client):
    headers = HTMX | {"HX-History-Restore-Request": "true"}
    assert search(client, headers, q="a boat").is_whole


def test_caches_are_told_that_htmx_is_sent_something_else(client):
    varying = client.get("/", {"q": "a boat"})["Vary"]
    assert {"HX-Request", "HX-History-Restore-Request"} <= set(varying.split(", "))


def test_the_next_page_goes_on_where_the_first_ends_with_and_without_htmx(client):
    first = search(client, q="a boat")
    part = Page(client.get(first.more, headers=HTMX))
    whole = Page(client.get(first.more))
    assert not part.is_whole and whole.is_whole
    assert part.ids == whole.ids
    assert len({*first.ids, *part.ids}) == 80
    assert not part.all("section", "id")
    third = Page(client.get(part.more, headers=HTMX))
    assert not {*first.ids, *part.ids} & {*third.ids}


def test_the_address_of_a_next_page_does_not_get_into_the_history(client):
    answer = client.get(search(client, q="a boat").more, headers=HTMX)
    assert "HX-Push-Url" not in answer


def test_a_next_page_that_has_expired_says_so(client):
    more = search(client, q="a boat").more
    cache.clear()
    answer = client.get(more, headers=HTMX)
    assert answer.status_code == 400
    assert "expired" in Page(answer).text


# --- The exact check


def check(client, headers=HTMX, **parameters):
    return client.get("/search/exact", parameters, headers=headers)


@pytest.fixture
def grouped(postcards_folder):
    """The postcards again, of whose twenty clusters a search reads some."""
    dataset = Dataset.objects.create(
        slug="grouped",
        title="Grouped",
        model=MODEL,
        weights="",
        source=str(postcards_folder),
        without_removal_list=True,
    )
    with patch.object(clusters, "clusters_for", return_value=20):
        import_all(dataset)
    assert calibration.calibrate(dataset.pk)
    yield dataset
    drop_tables(dataset)


def test_the_exact_check_says_how_many_of_the_nearest_the_index_found(client, grouped):
    page = search(client, q="a boat", dataset="grouped")
    assert "approximate" in page.text
    (address,) = page.all("a", "hx-get", **{"class": "check-exactly"})
    answer = client.get(address, headers=HTMX)
    assert answer.status_code == 200
    part = Page(answer)
    assert not part.is_whole
    assert re.search(r"The index found (3\d|40) of the 40 nearest", part.text)
    whole = Page(client.get(address))
    assert whole.is_whole and whole.ids == page.ids
    assert re.search(r"found (3\d|40) of the 40 nearest", whole.text)
    exactly = search(client, q="a boat", dataset="grouped", mode="exact")
    assert "approximate" not in exactly.text
    assert "check-exactly" not in exactly.all("a", "class")


def test_an_exact_check_of_an_exact_search_says_so(client):
    assert "already compared" in Page(check(client, q="a boat")).text


def test_the_exact_check_shows_what_the_index_missed(client, monkeypatch):
    exactly = service.search

    def lossy(query, user, limiter, **options):
        page = exactly(replace(query, mode="exact"), user, limiter, **options)
        if query.mode == "exact":
            return page
        return replace(page, hits=page.hits[:3] + page.hits[5:], exact=False)

    missed = searching.find(
        SearchQuery(
            "postcards",
            (Term(text="a boat"),),
            mode="exact",
            filters=Filters(dedupe=False),
        )
    ).hits[3:5]
    monkeypatch.setattr(service, "search", lossy)
    part = Page(check(client, q="a boat"))
    assert "found 38 of the 40 nearest" in part.text
    assert part.all("a", "href") == [f"/d/postcards/{hit.id}" for hit in missed]


def test_the_exact_check_says_why_it_could_not_be_made(client, settings):
    assert check(client, q="a boat heigth>5").status_code == 400
    assert check(client, q="a boat", dataset="nope").status_code == 404
    assert check(client).status_code == 400
    settings.CLICKHOUSE_URL = NO_ENGINE
    answer = check(client, q="a boat")
    assert answer.status_code == 503
    part = Page(answer)
    assert UNAVAILABLE in part.text and "Try again" in part.text
    assert part.all("a", "hx-target") == ["#exact-check"]


# --- Errors


NOT_FINITE = encode_embedding(np.full(512, np.nan))
REFUSED = [
    ({"q": "a" * 10_000}, 400, "3,000 characters"),
    ({"q": "a\0b"}, 400, "Null characters"),
    ({"q": "a boat", "dataset": "nope"}, 404, "no dataset"),
    ({"dataset": "nope"}, 404, "no dataset"),
    ({"item": "2000"}, 404, "no item 2000"),
    ({"item": "zz", "q": "a boat"}, 400, "not an item ID"),
    ({"item": "-1"}, 400, "not an item ID"),
    ({"item": "101:3"}, 400, "between −100 and 100"),
    ({"item": ["1"] * 17}, 400, "up to 16 terms"),
    ({"concept": "zz"}, 400, "not a concept ID"),
    ({"q": "concept:zz"}, 400, "concept ID"),
    ({"q": "a boat", "concept": "0" * 8 + 3 * "-0000" + "-" + "0" * 12}, 404, "oncept"),
    ({"item": "9" * 30}, 400, "not an item ID"),
    ({"item": "9" * 5_000}, 400, "not an item ID"),
    ({"embedding": "!!!"}, 400, "not base64url"),
    ({"embedding": "AAAA"}, 400, "not base64url"),
    ({"embedding": encode_embedding([1, 2])}, 400, "has 2 numbers"),
    ({"embedding": encode_embedding([0] * 512)}, 400, "no direction"),
    ({"embedding": NOT_FINITE}, 400, "not finite"),
    ({"embedding": "A" * 12_001}, 400, "cannot be read"),
    ({"q": "a boat", "field": "all"}, 400, "images, captions or both"),
    ({"q": "a boat", "nsfw": "no"}, 400, "must be “safe” or “any”"),
    ({"q": "a boat", "dedupe": "off"}, 400, "yes or no"),
    ({"q": "a boat", "min_width": "wide"}, 400, "minimum width must be a number"),
    ({"q": "a boat", "min_height": "9" * 50}, 400, "minimum height must be a number"),
    ({"q": "a boat", "site": "a b"}, 400, "a host such as"),
    ({"q": "a boat", "orientation": "round"}, 400, "landscape, portrait or square"),
    ({"q": "a boat orientation:round"}, 400, "orientation:landscape"),
    ({"q": "a boat", "cutoff": "2"}, 400, "cutoff must be a number between −1 and 1"),
    ({"q": "a boat", "sort": "age"}, 400, "by similarity, size"),
    ({"q": "a boat", "caption": "?!"}, 400, "has no words"),
    ({"q": "width>5 nsfw:any"}, 400, "needs more than filters"),
    ({"q": "a http://127.0.0.1/1.jpg"}, 422, "address"),
    ({"q": "item:2000"}, 404, "no item 2000"),
    ({"q": "a boat", "mode": "fast"}, 400, "approximate or exact"),
    ({"q": "a boat", "cursor": "forged"}, 400, "cursor"),
    ({"q": "a boat", "cursor": "a" * 2_001}, 400, "next page"),
]


@pytest.mark.parametrize(("parameters", "status", "sentence"), REFUSED)
def test_a_bad_address_is_refused_with_a_sentence(client, parameters, status, sentence):
    answer = client.get("/", parameters)
    assert answer.status_code == status
    page = Page(answer)
    assert page.is_whole
    assert sentence in page.text
    assert page.pictures == []
    assert page.all("input", "value", id="q") == [parameters.get("q", "")]
    as_part = client.get("/", parameters, headers=HTMX)
    assert as_part.status_code == status
    assert sentence in Page(as_part).text


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/d/postcards/2000", "no item 2000"),
        ("/d/postcards/99999999999999999999999", "no item"),
        ("/d/nope/1", "no dataset"),
        ("/nothing/here", "no page at this address"),
        ("/d/postcards/x", "no page at this address"),
    ],
)
def test_what_does_not_exist_is_not_found(client, path, sentence):
    answer = client.get(path)
    assert answer.status_code == 404
    assert sentence in Page(answer).text


def test_an_engine_that_is_away_is_said_to_be(client, settings):
    more = search(client, q="a boat").more
    settings.CLICKHOUSE_URL = NO_ENGINE
    for path in ("/", "/?q=a+boat", "/?item=7", "/d/postcards/7", more):
        answer = client.get(path)
        assert answer.status_code == 503, path
        assert answer["Retry-After"] == "5"
        assert UNAVAILABLE in Page(answer).text
        assert "Try again" in Page(answer).text


def test_a_next_page_can_be_tried_again_when_the_engine_was_away(client, settings):
    more = search(client, q="a boat").more
    engine = settings.CLICKHOUSE_URL
    settings.CLICKHOUSE_URL = NO_ENGINE
    failed = client.get(more, headers=HTMX)
    assert failed.status_code == 503
    assert UNAVAILABLE in Page(failed).text
    settings.CLICKHOUSE_URL = engine
    again = Page(client.get(Page(failed).more, headers=HTMX))
    assert len(again.ids) == 40
