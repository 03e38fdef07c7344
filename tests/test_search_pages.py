"""The pages as the server sends them, without a browser: what they say and hold."""

import re
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from support import searching
from support.html_page import NO_ENGINE, Page
from support.tiny_shards import DIMENSION, import_all, vectors, write_shard

from postcards.shards import jpeg
from search.clickhouse import client as clickhouse
from search.clickhouse import schema
from search.errors import NotFound
from search.images.decode import MAX_BYTES
from search.models import Dataset
from search.query import concepts
from search.query.filters import MAX_EXCLUDED, Filters
from search.query.model import SearchQuery, Term, decode_embedding, encode_embedding
from search.query.url_params import safe_url
from search.retrieval import service
from search.retrieval.feedback import MAX_MARKS
from search.retrieval.sampling import farthest_point_sample
from search.web.forms import MAX_IMAGES
from search.web.histogram import BARS, WIDTH
from search.web.selection_views import MAX_SELECTED
from tests.test_search_pictures import png_bomb

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
UNAVAILABLE = "The search engine did not answer as it should."


@pytest.fixture
def site(client, postcards_dataset):
    return client


@pytest.fixture
def nothing(db):
    """No dataset at all."""
    Dataset.objects.all().delete()


def search(site, headers=None, **parameters) -> Page:
    answer = site.get("/", parameters, headers=headers)
    assert answer.status_code == 200, answer.content.decode()
    return Page(answer)


def found(*terms: Term, **options) -> list[int]:
    query = SearchQuery("postcards", terms, **options)
    return [hit.id for hit in searching.find(query).hits]


def embedding_of(item: int) -> str:
    query = SearchQuery("postcards", (Term(item=item),))
    return encode_embedding(searching.embed(query))


def send_picture(site, data: bytes, **fields):
    picture = SimpleUploadedFile("picture.jpg", data, "image/jpeg")
    fields = {"dataset": "postcards", **fields, "picture": picture}
    return site.post("/search/picture", fields)


# --- What the pages hold


def test_the_start_page_has_a_wall_of_pictures_and_examples_that_find_some(site):
    page = search(site)
    assert len(set(page.ids)) == 36
    assert "A few of the 2,000 pictures of Postcards" in page.text
    examples = re.findall(
        r'<li><a href="(/\?q=[^"]+)" dir', site.get("/").content.decode()
    )
    assert len(examples) >= 4
    assert len(Page(site.get(examples[0].replace("&amp;", "&"))).ids) == 40


def test_the_wall_of_the_start_page_differs_from_visit_to_visit(site):
    assert search(site).ids != search(site).ids


def test_words_show_the_nearest_pictures_with_their_captions(site):
    page = search(site, q="boats at night")
    assert page.ids == found(Term(text="boats at night"))
    assert page.all("input", "value", id="q") == ["boats at night"]
    assert "Nearest of 2,000 pictures" in page.text
    assert "boats at night – laionweb" in page.text
    for item in page.ids[:5]:
        caption = service.item("postcards", item).caption
        assert caption in page.text
        assert caption in page.all("img", "alt")


def test_the_pictures_are_shown_in_their_size_by_this_host_alone(site):
    page = search(site, q="a boat")
    pictures = [
        attributes
        for tag, attributes in page.elements
        if tag == "img" and attributes.get("src", "").startswith("/t/postcards/")
    ]
    assert len(pictures) == len(page.pictures) == 40
    for picture in pictures:
        assert (picture["width"], picture["height"]) == ("640", "480")


def test_an_item_shows_its_like_and_can_be_removed(site):
    page = search(site, item=7)
    assert page.ids == found(Term(item=7))
    assert "like item 7" in page.text
    assert page.all("input", "value", name="item", form="search") == ["7"]
    assert page.all("a", "href", **{"class": "remove"}) == ["/"]


def test_words_refine_what_an_item_shows(site):
    page = search(site, item=7, q="at night")
    assert page.ids == found(Term(text="at night"), Term(item=7))
    assert page.all("a", "href", **{"class": "remove"}) == ["/?q=at+night"]


def test_an_embedding_in_the_address_is_searched_for(site):
    page = search(site, embedding=embedding_of(42))
    assert page.ids[0] == 42
    assert page.all("input", "value", name="embedding") == [embedding_of(42)]
    assert "Like a picture – laionweb" in page.text


def test_captions_are_searched_where_the_address_says_so(site):
    page = search(site, q="a black cat", field="text")
    words = Term(text="a black cat")
    assert page.ids == found(words, field="text") != found(words)
    assert "Nearest of 2,000 captions" in page.text
    assert page.all("input", "checked", value="text", name="field") == [None]
    assert page.all("input", "checked", value="image", name="field") == []


def test_an_exact_search_says_that_it_was_exact(site):
    page = search(site, q="a black cat", mode="exact")
    assert page.ids == found(Term(text="a black cat"), mode="exact")
    assert "exact" in page.text and "approximate" not in page.text
    assert page.all("input", "checked", value="exact", name="mode") == [None]
    page = search(site, q="a black cat")
    assert "approximate" in page.text
    assert page.all("input", "checked", value="exact", name="mode") == []


def test_an_item_has_a_page_with_its_facts_and_its_nearest(site):
    page = Page(site.get("/d/postcards/7"))
    item = service.item("postcards", 7)
    assert item.caption in page.text
    assert "640 × 480" in page.text and "CC0" in page.text and "UNLIKELY" in page.text
    assert item.metadata["md5"] in page.text
    assert page.ids == found(Term(item=7), limit=12)
    links = page.all("a", "href")
    assert "/?item=7&dataset=postcards" in links
    assert "/?item=7&field=text&dataset=postcards" in links
    assert "/postcards/7.jpg" in links


def test_the_address_of_a_search_leaves_out_what_goes_without_saying(site):
    asked = {"mode": "ann", "dataset": "postcards", "field": "image", "q": "a boat"}
    answer = site.get("/", asked, headers=HTMX)
    assert answer["HX-Push-Url"] == "/?q=a+boat&dataset=postcards"


# --- Whole pages and parts of them


def test_htmx_is_sent_the_results_and_anyone_else_the_page(site):
    whole = search(site, q="a boat")
    part = search(site, HTMX, q="a boat")
    assert whole.is_whole and not part.is_whole
    assert part.ids == whole.ids
    assert "a boat – laionweb" in part.text
    assert not part.all("form", "id")


def test_a_page_from_the_history_is_whole(site):
    headers = HTMX | {"HX-History-Restore-Request": "true"}
    assert search(site, headers, q="a boat").is_whole


def test_caches_are_told_that_htmx_is_sent_something_else(site):
    varying = site.get("/", {"q": "a boat"})["Vary"]
    assert {"HX-Request", "HX-History-Restore-Request"} <= set(varying.split(", "))


def test_the_next_page_goes_on_where_the_first_ends_with_and_without_htmx(site):
    first = search(site, q="a boat")
    part = Page(site.get(first.more, headers=HTMX))
    whole = Page(site.get(first.more))
    assert not part.is_whole and whole.is_whole
    assert part.ids == whole.ids
    assert len({*first.ids, *part.ids}) == 80
    assert not part.all("section", "id")
    third = Page(site.get(part.more, headers=HTMX))
    assert not {*first.ids, *part.ids} & {*third.ids}


def test_the_address_of_a_next_page_does_not_get_into_the_history(site):
    answer = site.get(search(site, q="a boat").more, headers=HTMX)
    assert "HX-Push-Url" not in answer


def test_a_next_page_that_has_expired_says_so(site):
    more = search(site, q="a boat").more
    cache.clear()
    answer = site.get(more, headers=HTMX)
    assert answer.status_code == 400
    assert "expired" in Page(answer).text


# --- Searching by a picture


def test_a_picture_is_sent_on_to_an_address_that_finds_it(site):
    answer = send_picture(site, jpeg(123))
    address = answer["Location"]
    assert answer.status_code == 303
    parameters = parse_qs(urlsplit(address).query)
    assert urlsplit(address).path == "/"
    assert set(parameters) == {"embedding", "dataset"}
    assert Page(site.get(address)).ids[0] == 123


def test_a_picture_keeps_the_choices_and_replaces_what_was_searched_for(site):
    answer = send_picture(site, jpeg(9), field="text", mode="exact", q="a", item="3")
    parameters = parse_qs(urlsplit(answer["Location"]).query)
    assert set(parameters) == {"embedding", "field", "mode", "dataset"}
    assert parameters["field"] == ["text"] and parameters["mode"] == ["exact"]


REFUSED_PICTURES = {
    "none": (b"hello", 415, "not a picture that can be read"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not a picture"),
    "cut": (jpeg(1)[:2_000], 415, "damaged"),
    "bomb": (png_bomb(13_000), 413, "13000 × 13000 pixels"),
    "large": (bytes(10 * 2**20 + 1), 413, "larger than 10 MB"),
    "empty": (b"", 400, "Choose a picture first."),
}


@pytest.mark.parametrize("name", REFUSED_PICTURES)
def test_a_bad_picture_is_refused_with_a_sentence(site, name):
    data, status, sentence = REFUSED_PICTURES[name]
    answer = send_picture(site, data)
    assert answer.status_code == status
    page = Page(answer)
    assert sentence in page.text
    assert page.is_whole
    assert page.all("form", "action") == ["/", "/search/picture"]


def test_a_form_without_a_picture_asks_for_one(site):
    answer = site.post("/search/picture", {"dataset": "postcards"})
    assert answer.status_code == 400
    assert "Choose a picture first." in Page(answer).text


def test_a_picture_for_an_unknown_dataset_is_not_found(site):
    answer = send_picture(site, jpeg(1), dataset="nope")
    assert answer.status_code == 404
    assert "no dataset" in Page(answer).text


def test_a_refused_picture_leaves_the_address_as_it_is(site):
    answer = site.post("/search/picture", {"dataset": "postcards"}, headers=HTMX)
    assert answer.status_code == 400
    assert answer["HX-Push-Url"] == "false"
    assert not Page(answer).is_whole


# --- Terms in the address, with weights


def test_terms_in_the_address_have_signs_and_weights_of_their_own(site):
    boat, lake = embedding_of(42), embedding_of(9)
    page = search(site, item=["7", "-0.5:8"], embedding=[f"2:{boat}", f"-1:{lake}"])
    terms = [
        Term(item=7),
        Term(item=8, weight=-0.5),
        Term(embedding=decode_embedding(boat), weight=2),
        Term(embedding=decode_embedding(lake), weight=-1),
    ]
    assert page.ids == found(*terms)
    assert page.all("input", "value", name="item", form="search") == ["7", "-0.5:8"]
    assert "Like 2 pictures – laionweb" in page.text
    without = [parse_qs(urlsplit(address).query) for address in removals(page)]
    assert [each.get("item") for each in without] == [
        ["-0.5:8"],
        ["7"],
        *2 * [["7", "-0.5:8"]],
    ]
    assert without[2]["embedding"] == [f"-1:{lake}"]


def removals(page: Page) -> list[str]:
    return page.all("a", "href", **{"class": "remove"})


def turned(page: Page) -> list[str]:
    """The addresses in which one term after the other has the other sign."""
    return page.all("a", "href", **{"class": "sign"})


def words_of(address: str) -> str:
    return parse_qs(urlsplit(address).query).get("q", [""])[0]


def test_a_sign_can_be_turned(site):
    page = search(site, q="red house -car 2:item:7 width>5", item="3")
    of_item, *others = turned(page)
    assert parse_qs(urlsplit(of_item).query)["item"] == ["-1:3"]
    assert [words_of(address) for address in others] == [
        "-(red house) -car 2:item:7 width>5",
        "red house +car 2:item:7 width>5",
        "red house -car -2:item:7 width>5",
    ]
    page = Page(site.get(others[0]))
    terms = [
        Term(item=3),
        Term(text="red house", weight=-1),
        Term(text="car", weight=-1),
    ]
    terms += [Term(item=7, weight=2)]
    assert page.ids == found(*terms, filters=Filters(min_width=6))


def weigh(site, term: str, weight: object, **parameters):
    asked = search(site, **parameters).all("input", "value", name="search")[0]
    return site.get("/search/weigh", {"search": asked, "term": term, "weight": weight})


@pytest.mark.parametrize(
    ("term", "weight", "left"),
    [
        ("q-0", "0.5", {"q": ["0.5:(red house) -car"]}),
        ("q-1", "-1.75", {"q": ["red house -1.75:car"]}),
        ("q-1", "1", {"q": ["red house +car"]}),
        ("item-0", "-2", {"item": ["-2:7"], "q": ["red house -car"]}),
        ("item-0", "1", {"item": ["7"]}),
    ],
)
def test_a_weight_leads_to_the_search_with_it(site, term, weight, left):
    answer = weigh(site, term, weight, q="red house -car", item="7", mode="exact")
    assert answer.status_code == 303
    asked = parse_qs(urlsplit(answer["Location"]).query)
    assert asked.items() >= left.items()
    assert asked["mode"] == ["exact"]
    assert len(Page(site.get(answer["Location"])).ids) == 40


@pytest.mark.parametrize(
    ("term", "weight", "sentence"),
    [
        ("q-9", "1", "no such term"),
        ("mode-0", "1", "no such term"),
        ("q-x", "1", "no such term"),
        ("", "1", "no such term"),
        ("q-0", "much", "between −100 and 100"),
        ("q-0", "nan", "between −100 and 100"),
        ("q-0", "1e9", "between −100 and 100"),
    ],
)
def test_a_weight_that_makes_no_sense_is_refused(site, term, weight, sentence):
    answer = weigh(site, term, weight, q="red house -car")
    assert answer.status_code == 400
    assert sentence in Page(answer).text


def test_several_pictures_are_searched_by_at_once(site):
    def sent(*items: int):
        pictures = [
            SimpleUploadedFile(f"{i}.jpg", jpeg(i), "image/jpeg") for i in items
        ]
        fields = {"dataset": "postcards", "picture": pictures}
        return site.post("/search/picture", fields)

    address = sent(9, 123)["Location"]
    assert len(parse_qs(urlsplit(address).query)["embedding"]) == 2
    assert len(address) < 4_000
    assert {9, 123} <= {*Page(site.get(address)).ids[:10]}
    answer = sent(1, 2, 3, 4, 5)
    assert answer.status_code == 400
    assert "up to 4 pictures" in Page(answer).text


def test_a_picture_can_join_what_is_searched_for(site):
    kept = {"q": "at night", "item": ["7"], "embedding": [embedding_of(3)]}
    answer = send_picture(site, jpeg(9), beside="yes", weight="-0.5", **kept)
    asked = parse_qs(urlsplit(answer["Location"]).query)
    assert asked["q"] == ["at night"] and asked["item"] == ["7"]
    assert asked["embedding"][0] == embedding_of(3)
    weight, _, embedding = asked["embedding"][1].partition(":")
    assert weight == "-0.5"
    cosine = np.dot(decode_embedding(embedding), decode_embedding(embedding_of(9)))
    assert cosine > 0.99


@pytest.fixture
def concept(monkeypatch):
    """A concept that only one user sees, as the room above would find it."""
    number = "0b5c2b52-9d0e-4c1c-9a56-3f1f2b3c4d5e"

    def find(wanted, user, dataset):
        if (wanted, user.username, dataset) != (number, "ann", "postcards"):
            raise NotFound("There is no such concept.")
        vector = decode_embedding(embedding_of(42))
        return concepts.ResolvedConcept(
            vector, "night boats", "/concepts/1", exclude=(42,)
        )

    monkeypatch.setattr(concepts, "_lookup", find)
    return number


def test_a_concept_is_a_term_for_those_who_may_see_it(site, django_user_model, concept):
    site.force_login(django_user_model.objects.create(username="ann"))
    wanted = Filters(exclude=(42,))
    ids = found(Term(embedding=decode_embedding(embedding_of(42))), filters=wanted)
    for asked in ({"concept": concept}, {"q": f"concept:{concept}"}):
        page = search(site, **asked)
        assert page.ids == ids
        assert "night boats" in page.text
        assert "/concepts/1" in page.all("a", "href")
    (less,) = turned(search(site, q=f"concept:{concept}"))
    assert words_of(less) == f"-concept:{concept}"
    site.logout()
    for asked in ({"concept": concept}, {"q": f"a boat -concept:{concept}"}):
        answer = site.get("/", asked)
        assert answer.status_code == 404
        assert "no such concept" in Page(answer).text


# --- The language of the box, and filters


def chips(page: Page) -> dict[str, str]:
    """Return the texts of the chips, and the addresses without them."""
    return {
        attributes["aria-label"].removeprefix("Remove: "): attributes["href"]
        for tag, attributes in page.elements
        if tag == "a" and attributes.get("class") == "remove"
    }


def test_chips_show_how_the_words_were_read_and_take_them_out(site):
    query = 'red house -car 2:boat width>512 "moon" nsfw:any'
    page = search(site, q=query, mode="exact")
    terms = (
        Term(text="red house"),
        Term(text="car", weight=-1),
        Term(text="boat", weight=2),
    )
    filters = Filters(min_width=513, caption="moon", nsfw="any")
    assert page.ids == found(*terms, filters=filters, mode="exact")
    left = {
        said: parse_qs(urlsplit(address).query)["q"][0]
        for said, address in chips(page).items()
    }
    assert left == {
        "red house": '-car 2:boat width>512 "moon" nsfw:any',
        "car": 'red house 2:boat width>512 "moon" nsfw:any',
        "boat": 'red house -car width>512 "moon" nsfw:any',
        "width ≥ 513": 'red house -car 2:boat "moon" nsfw:any',
        "caption with “moon”": "red house -car 2:boat width>512 nsfw:any",
        "not safe, too": 'red house -car 2:boat width>512 "moon"',
    }
    for words in ("+ red house × 1", "− car × 1", "+ boat × 2"):
        assert words in page.text
    assert all("mode=exact" in address for address in chips(page).values())


def test_plain_words_have_no_chip(site):
    assert chips(search(site, q="a red house")) == {}


def test_a_number_alone_is_an_item_where_there_is_one(site):
    page = search(site, q="7")
    assert page.ids == found(Term(item=7))
    assert list(chips(page)) == ["like item 7"]
    page = search(site, q="2001")
    assert page.ids == found(Term(text="2001"))
    assert chips(page) == {}


def test_the_address_of_an_item_is_that_item(site):
    page = search(site, q="-0.5:http://testserver/d/postcards/7 a boat")
    assert page.ids == found(Term(text="a boat"), Term(item=7, weight=-0.5))
    assert list(chips(page)) == ["like item 7", "a boat"]


def test_quoted_words_alone_are_searched_for(site):
    page = search(site, q='"moon"', mode="exact")
    moon = Term(text="moon")
    assert page.ids == found(moon, filters=Filters(caption="moon"), mode="exact")
    for item in page.ids:
        assert "moon" in service.item("postcards", item).caption.lower()


@pytest.mark.parametrize("headers", [None, HTMX])
def test_a_word_that_cannot_be_read_is_marked(site, headers):
    answer = site.get("/", {"q": "a <b>house</b> heigth>5 -car"}, headers=headers)
    assert answer.status_code == 400
    page = answer.content.decode()
    marked = "a &lt;b&gt;house&lt;/b&gt; <mark>heigth&gt;5</mark> -car"
    assert marked in page
    assert "Is height&gt;512 or height&lt;=2000 meant?" in page


def test_filters_are_chosen_beside_the_box_and_stay(site):
    chosen = {
        "min_width": "100",
        "min_height": "200",
        "caption": "moon",
        "dedupe": "no",
        "nsfw": "any",
    }
    page = search(site, q="a boat", field="both", mode="exact", **chosen)
    filters = Filters(
        min_width=100, min_height=200, caption="moon", dedupe=False, nsfw="any"
    )
    options = {"filters": filters, "field": "both", "mode": "exact"}
    assert page.ids == found(Term(text="a boat"), **options)
    for name, value in chosen.items():
        assert value in page.all("input", "value", name=name)
    for name in ("dedupe", "nsfw"):
        assert page.all("input", "checked", name=name) == [None]
    assert page.all("input", "checked", name="field") == [None]
    assert page.all("input", "checked", value="both") == [None]
    assert list(chips(page)) == [
        "not safe, too",
        "width ≥ 100",
        "height ≥ 200",
        "caption with “moon”",
        "near-duplicates shown",
    ]
    without = parse_qs(urlsplit(chips(page)["height ≥ 200"]).query)
    assert without.keys() == {"q", "field", "mode", *chosen} - {"min_height"}
    sent = send_picture(site, jpeg(9), field="both", **chosen)
    assert parse_qs(urlsplit(sent["Location"]).query).keys() == {
        *("embedding", "field", "dataset"),
        *chosen,
    }


def test_a_filter_in_the_words_goes_before_one_beside_them(site):
    page = search(site, q='a boat "moon" width>5', caption="sea", min_width=9_999)
    filters = Filters(caption="moon", min_width=6)
    assert page.ids == found(Term(text="a boat"), filters=filters)
    assert list(chips(page)) == ["a boat", "caption with “moon”", "width ≥ 6"]


def test_the_page_of_a_search_holds_help_on_the_language(site):
    page = search(site)
    assert "red house -car" in page.text and "item:123" in page.text


ROWS = 30


@pytest.fixture
def varied(client, tmp_path):
    """A visitor of a dataset in which 0 is near to twins, and to what is not safe."""
    dataset = Dataset.objects.create(
        slug="varied",
        title="Varied",
        dimension=DIMENSION,
        source=str(tmp_path),
        without_removal_list=True,
    )
    image = vectors(ROWS, 1)
    image[:6] = image[0]
    image[1:6, 0] += np.float16(0.7)  # 1 … 5: twins, near to 0
    image[4, 1] += np.float16(1.5)  # but 4 and 5
    image[5, 2] += np.float16(1.5)
    metadata = {
        "url": [f"http://{'a' if i < 9 else 'b'}.org/{i}.jpg" for i in range(ROWS)],
        "caption": [f"number {i}" for i in range(ROWS)],
        "NSFW": ["NSFW" if i == 4 else "UNLIKELY" for i in range(ROWS)],
        "WIDTH": [100 + i for i in range(ROWS)],
        "HEIGHT": [100] * ROWS,
    }
    write_shard(tmp_path, 0, ROWS, image=image, metadata=metadata)
    (shard,) = import_all(dataset)
    assert shard.rows == ROWS, shard.error
    yield client
    schema.drop(dataset.item_table)


def varied_search(varied, **parameters) -> Page:
    asked = {"dataset": "varied", "item": 0, "mode": "exact", **parameters}
    return Page(varied.get("/", asked))


def test_what_is_hidden_is_counted_and_a_link_away(varied):
    page = varied_search(varied)
    assert "1 not safe hidden · 2 near-duplicates folded" in page.text
    assert 4 not in page.ids and len({1, 2, 3} & {*page.ids}) == 1
    links = [link for link in page.all("a", "href") if link.startswith("/?")]
    (unsafe,) = [link for link in links if "nsfw=any" in link]
    assert 4 in Page(varied.get(unsafe)).ids
    (twins,) = {link for link in links if "dedupe=no" in link and "mode" in link}
    page = Page(varied.get(twins))
    assert {1, 2, 3} <= {*page.ids}
    assert "folded" not in page.text


def test_links_to_what_is_hidden_overrule_the_words(varied):
    page = varied_search(varied, q="nsfw:safe dedupe:yes")
    for name in ("nsfw=any", "dedupe=no"):
        (link,) = {
            link for link in page.all("a", "href") if name in link and "mode" in link
        }
        assert chips(page).keys() >= {"safe only", "near-duplicates folded"}
        assert Page(varied.get(link)).ids != page.ids


def test_a_hit_tells_of_its_twins_and_leads_to_them(varied):
    page = varied_search(varied)
    assert "+2 similar" in page.text
    (link,) = page.all("a", "href", **{"class": "folded"})
    (shown,) = {1, 2, 3} & {*page.ids}
    assert link == f"/?item={shown}&dedupe=no&dataset=varied"
    assert {*Page(varied.get(link)).ids[:2]} == {1, 2, 3} - {shown}


def test_a_removed_item_is_counted(varied):
    clickhouse.command("ALTER TABLE item_varied UPDATE deleted = 1 WHERE id = 5")
    page = varied_search(varied)
    assert "1 removed" in page.text and 5 not in page.ids


def test_few_results_are_said_to_be_all_that_pass(varied):
    page = varied_search(varied, q="width>124")
    assert page.ids and len(page.ids) == 5
    assert "Only 5 pictures pass the filters" in page.text
    page = varied_search(varied, q="width>128")
    assert "Only 1 picture passes the filters" in page.text
    assert "Nearest of 30 pictures" in varied_search(varied).text


def test_no_results_have_a_reason_and_a_way_out(varied):
    page = varied_search(varied, q="width>900")
    assert "None of the 30 pictures of Varied passes the filter." in page.text
    assert "Without “width ≥ 901”" in page.text
    page = varied_search(varied, q="width>900 site:a.org", min_height=1)
    assert "passes all filters." in page.text
    buttons = [
        link for link in page.all("a", "href", **{"class": "button"}) if "?" in link
    ]
    assert [urlsplit(address).query.count("site") for address in buttons] == [1, 0, 1]
    assert Page(varied.get(buttons[0])).ids
    page = varied_search(varied, q="width=104")
    assert "All that was found is marked as not safe." in page.text
    show, *_ = page.all("a", "href", **{"class": "button"})
    assert Page(varied.get(show)).ids == [4]


def test_each_filter_says_how_much_it_hides(varied):
    page = varied_search(varied, q="width>=120", site="a.org")
    assert "width ≥ 120 hides about 20" in page.text
    assert "from a.org hides about 21" in page.text
    page = varied_search(varied, cutoff=0.2)
    below = sum(similarity < 0.2 for similarity in similarities(varied))
    assert f"similarity ≥ 0.2 hides {below} of the" in page.text


def test_the_scripts_hold_to_the_limits_of_the_server(varied):
    told = {a["id"]: a for _, a in varied_search(varied).elements if "id" in a}
    assert told["refine"]["data-max-marks"] == str(MAX_MARKS)
    assert told["refine"]["data-max-seen"] == str(MAX_EXCLUDED)
    assert told["selection"]["data-max"] == str(MAX_SELECTED)
    assert told["picture-file"]["data-max"] == str(MAX_IMAGES)
    assert told["picture-file"]["data-max-bytes"] == str(MAX_BYTES)


def test_bars_of_the_cutoff_know_their_edge(varied):
    bars = [a for _, a in varied_search(varied).elements if "data-place" in a]
    assert 1 < len(bars) <= BARS
    assert all(int(bar["data-place"]) * WIDTH == int(bar["x"]) for bar in bars)


def similarities(varied) -> list[float]:
    filters = Filters(dedupe=False)
    query = SearchQuery("varied", (Term(item=0),), filters=filters, mode="exact")
    return [hit.similarity for hit in searching.find(query).hits]


def test_the_cutoff_stands_over_how_similar_the_candidates_are(varied):
    known = similarities(varied)
    page = varied_search(varied)
    (slider,) = [a for tag, a in page.elements if a.get("id") == "cutoff-slider"]
    edges = [float(edge) for edge in slider["data-edges"].split()]
    reaching = [int(count) for count in slider["data-reaching"].split()]
    total = int(slider["data-total"])
    assert total == len(known) == reaching[0] and len(edges) == 40
    assert reaching == [sum(each >= edge for each in known) for edge in edges]
    page = varied_search(varied, cutoff=edges[20], dedupe="no")
    assert len(page.ids) == reaching[20] < total
    assert f"{reaching[20]} of the {total} nearest reach" in page.text
    (slider,) = [a for tag, a in page.elements if a.get("id") == "cutoff-slider"]
    assert slider["value"] == "20" and slider["data-total"] == str(total)
    page = varied_search(varied, cutoff=0.999)
    assert page.ids == []
    assert (
        f"Nothing is as similar as 0.999: the nearest picture has {max(known):.3f}"
        in (page.text)
    )


def test_all_filters_of_the_panel_narrow_the_search(varied):
    assert varied_search(varied, max_width=109).ids == found_in_varied(max_width=109)
    assert varied_search(varied, max_height=99).ids == []
    assert varied_search(varied, orientation="portrait").ids == []
    landscape = varied_search(varied, orientation="landscape")
    assert landscape.ids == found_in_varied(min_width=106)
    assert varied_search(varied, q="orientation:landscape").ids == landscape.ids
    assert varied_search(varied, orientation="square").ids == found_in_varied(
        max_width=105
    )
    largest = varied_search(varied, sort="size").ids
    assert largest == sorted(largest, reverse=True) and largest[0] == ROWS - 1


def found_in_varied(**filters) -> list[int]:
    query = SearchQuery(
        "varied", (Term(item=0),), mode="exact", filters=Filters(**filters)
    )
    return [hit.id for hit in searching.find(query).hits]


def test_filters_without_a_column_are_not_offered(varied, postcards_dataset):
    names = varied_search(varied).all("input", "name", form="search")
    assert {"min_width", "max_height", "site", "caption"} <= {*names}
    assert not {"license", "min_similarity"} & {*names}
    assert "license" in search(varied).all("input", "name", form="search")
    orders = search(varied).all("option", "value")
    assert "size" in orders and "popularity" not in orders


@pytest.fixture
def unmarked(client, tmp_path):
    """A visitor of a dataset that does not say what is safe."""
    dataset = Dataset.objects.create(
        slug="unmarked",
        title="Unmarked",
        dimension=DIMENSION,
        source=str(tmp_path),
        without_removal_list=True,
    )
    captions = [f"a picture of the boat number {i}" for i in range(ROWS)]
    captions[:3] = ["width>5", "-no", "12345"]
    metadata = {
        "url": [f"http://a.org/{i}.jpg" for i in range(ROWS)],
        "caption": captions,
        "NSFW": [""] * ROWS,
    }
    write_shard(tmp_path, 0, ROWS, image=vectors(ROWS, 1), metadata=metadata)
    import_all(dataset)
    yield client
    schema.drop(dataset.item_table)


def test_safe_mode_veils_what_nobody_has_marked(unmarked, postcards_dataset):
    told = "This dataset does not say what is safe, so its pictures are blurred."
    for asked in ({}, {"item": 0}):
        page = search(unmarked, dataset="unmarked", **asked)
        assert told in page.text
        assert page.all("ul", "class").count("grid veiled") == 1
        (show,) = [link for link in page.all("a", "href") if "nsfw=any" in link]
        page = Page(unmarked.get(show))
        assert told not in page.text and "grid veiled" not in page.all("ul", "class")
        assert page.ids
    assert told not in search(unmarked, dataset="postcards").text


def test_any_dataset_has_examples_that_can_be_searched_for(unmarked):
    answer = unmarked.get("/", {"dataset": "unmarked"})
    examples = re.findall(r'<li><a href="(/\?q=[^"]+)" dir', answer.content.decode())
    assert len(examples) == 6
    assert all("a+picture+of+the+boat" in example for example in examples)


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


# --- The exact check


def check(site, headers=HTMX, **parameters):
    return site.get("/search/exact", parameters, headers=headers)


def test_the_exact_check_says_how_many_of_the_nearest_the_index_found(site):
    page = search(site, q="a boat")
    (address,) = page.all("a", "hx-get", **{"class": "check-exactly"})
    answer = site.get(address, headers=HTMX)
    assert answer.status_code == 200
    part = Page(answer)
    assert not part.is_whole
    assert re.search(r"The index found (39|40) of the 40 nearest", part.text)
    whole = Page(site.get(address))
    assert whole.is_whole and whole.ids == page.ids
    assert re.search(r"found (39|40) of the 40 nearest", whole.text)
    assert "check-exactly" not in search(site, q="a boat", mode="exact").all(
        "a", "class"
    )


def test_the_exact_check_shows_what_the_index_missed(site, monkeypatch):
    exactly = service.search

    def lossy(query, user, limiter):
        page = exactly(replace(query, mode="exact"), user, limiter)
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
    part = Page(check(site, q="a boat"))
    assert "found 38 of the 40 nearest" in part.text
    assert part.all("a", "href") == [f"/d/postcards/{hit.id}" for hit in missed]


def test_the_exact_check_says_why_it_could_not_be_made(site, settings):
    assert check(site, q="a boat heigth>5").status_code == 400
    assert check(site, q="a boat", dataset="nope").status_code == 404
    assert check(site).status_code == 400
    settings.CLICKHOUSE_URL = NO_ENGINE
    answer = check(site, q="a boat")
    assert answer.status_code == 503
    part = Page(answer)
    assert UNAVAILABLE in part.text and "Try again" in part.text
    assert part.all("a", "hx-target") == ["#exact-check"]


# --- What is refused, and how


def test_empty_words_show_the_start_page(site):
    for words in ("", "   ", "\t"):
        page = search(site, q=words)
        assert "A few of the 2,000" in page.text
        assert len(page.ids) == 36


NOT_FINITE = encode_embedding(np.full(512, np.nan))
REFUSED = [
    ({"q": "a" * 10_000}, 400, "3,000 characters"),
    ({"q": "a\0b"}, 400, "Null characters"),
    ({"q": "a boat", "dataset": "nope"}, 404, "no dataset"),
    ({"dataset": "nope"}, 404, "no dataset"),
    ({"item": "2000"}, 404, "no item 2000"),
    ({"item": "zz", "q": "a boat"}, 400, "not the number of an item"),
    ({"item": "-1"}, 400, "not the number of an item"),
    ({"item": "101:3"}, 400, "between −100 and 100"),
    ({"item": ["1"] * 17}, 400, "at most 16 terms"),
    ({"concept": "zz"}, 400, "not the id of a concept"),
    ({"q": "concept:zz"}, 400, "id of a concept"),
    ({"q": "a boat", "concept": "0" * 8 + 3 * "-0000" + "-" + "0" * 12}, 404, "oncept"),
    ({"item": "9" * 30}, 400, "not the number of an item"),
    ({"item": "9" * 5_000}, 400, "not the number of an item"),
    ({"embedding": "!!!"}, 400, "not base64url"),
    ({"embedding": "AAAA"}, 400, "not base64url"),
    ({"embedding": encode_embedding([1, 2])}, 400, "has 2 numbers"),
    ({"embedding": encode_embedding([0] * 512)}, 400, "no direction"),
    ({"embedding": NOT_FINITE}, 400, "not finite"),
    ({"embedding": "A" * 12_001}, 400, "not readable"),
    ({"q": "a boat", "field": "all"}, 400, "in captions or in both"),
    ({"q": "a boat", "nsfw": "no"}, 400, "safe pictures or any"),
    ({"q": "a boat", "dedupe": "off"}, 400, "yes or no"),
    ({"q": "a boat", "min_width": "wide"}, 400, "least width is a number"),
    ({"q": "a boat", "min_height": "9" * 50}, 400, "least height is a number"),
    ({"q": "a boat", "site": "a b"}, 400, "a host such as"),
    ({"q": "a boat", "orientation": "round"}, 400, "landscape, portrait or square"),
    ({"q": "a boat orientation:round"}, 400, "orientation:landscape"),
    ({"q": "a boat", "cutoff": "2"}, 400, "cutoff is a number between −1 and 1"),
    ({"q": "a boat", "sort": "age"}, 400, "by similarity, by size"),
    ({"q": "a boat", "caption": "?!"}, 400, "holds no word"),
    ({"q": "width>5 nsfw:any"}, 400, "only filters"),
    ({"q": "a http://127.0.0.1/1.jpg"}, 422, "address"),
    ({"q": "item:2000"}, 404, "no item 2000"),
    ({"q": "a boat", "mode": "fast"}, 400, "approximate or exact"),
    ({"q": "a boat", "cursor": "forged"}, 400, "cursor"),
    ({"q": "a boat", "cursor": "a" * 2_001}, 400, "next page"),
]


@pytest.mark.parametrize(("parameters", "status", "sentence"), REFUSED)
def test_a_bad_address_is_refused_with_a_sentence(site, parameters, status, sentence):
    answer = site.get("/", parameters)
    assert answer.status_code == status
    page = Page(answer)
    assert page.is_whole
    assert sentence in page.text
    assert page.pictures == []
    assert page.all("input", "value", id="q") == [parameters.get("q", "")]
    as_part = site.get("/", parameters, headers=HTMX)
    assert as_part.status_code == status
    assert sentence in Page(as_part).text


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/d/postcards/2000", "no item 2000"),
        ("/d/postcards/99999999999999999999999", "no item"),
        ("/d/nope/1", "no dataset"),
        ("/nothing/here", "nothing at this address"),
        ("/d/postcards/x", "nothing at this address"),
    ],
)
def test_what_does_not_exist_is_not_found(site, path, sentence):
    answer = site.get(path)
    assert answer.status_code == 404
    assert sentence in Page(answer).text


def test_an_engine_that_is_away_is_said_to_be(site, settings):
    more = search(site, q="a boat").more
    settings.CLICKHOUSE_URL = NO_ENGINE
    for path in ("/", "/?q=a+boat", "/?item=7", "/d/postcards/7", more):
        answer = site.get(path)
        assert answer.status_code == 503, path
        assert answer["Retry-After"] == "5"
        assert UNAVAILABLE in Page(answer).text
        assert "Try again" in Page(answer).text


def test_a_next_page_can_be_tried_again_when_the_engine_was_away(site, settings):
    more = search(site, q="a boat").more
    engine = settings.CLICKHOUSE_URL
    settings.CLICKHOUSE_URL = NO_ENGINE
    failed = site.get(more, headers=HTMX)
    assert failed.status_code == 503
    assert UNAVAILABLE in Page(failed).text
    settings.CLICKHOUSE_URL = engine
    again = Page(site.get(Page(failed).more, headers=HTMX))
    assert len(again.ids) == 40


def test_a_form_from_elsewhere_is_refused(postcards_dataset):
    stranger = Client(enforce_csrf_checks=True)
    answer = send_picture(stranger, jpeg(1))
    assert answer.status_code == 403
    assert "This form is too old" in Page(answer).text
    (token,) = Page(stranger.get("/")).all("input", "value", name="csrfmiddlewaretoken")
    assert send_picture(stranger, jpeg(1), csrfmiddlewaretoken=token).status_code == 303


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_pages_are_for_reading_only(site, method):
    for path in ("/", "/d/postcards/7"):
        assert getattr(site, method)(path).status_code == 405
    assert site.get("/search/picture").status_code == 405


def test_reading_pages_changes_nothing(site, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError(f"a page changes the engine: {arguments}")

    monkeypatch.setattr(clickhouse, "command", refuse)
    monkeypatch.setattr(clickhouse, "insert_arrow", refuse)
    paths = ("/", "/?q=a+boat", "/?item=7", "/d/postcards/7", "/?dataset=nope")
    with CaptureQueriesContext(connection) as asked:
        for path in paths:
            answer = site.get(path)
            assert set(answer.cookies) <= {"csrftoken"}
    assert asked.captured_queries
    for query in asked.captured_queries:
        assert query["sql"].startswith("SELECT")


# --- What datasets bring along is not trusted


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
    "/postcards/1.jpg\n",
    "/postcards/١.jpg",
    "postcards/1.jpg",
    "\\\\example.org\\1.jpg",
    "http:\\\\example.org\\1.jpg",
    "http://",
    "http:///1.jpg",
    "http:example.org",
    "http://example.org@evil.example/1.jpg",
    "http://user:password@example.org/1.jpg",
    'http://example.org/"onerror="alert(1)',
    "http://example.org/'><script>alert(1)</script>",
    "http://example.org/1.jpg\nSet-Cookie: a=b",
    "http://example.org/\u2028",
    "http://[example.org/1.jpg",
    "x" * 10_000,
]
URLS = BAD_URLS + GOOD_URLS


@pytest.mark.parametrize("url", BAD_URLS)
def test_an_address_that_is_not_safe_is_left_out(url):
    assert safe_url(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        *GOOD_URLS,
        "HTTPS://EXAMPLE.ORG/",
        "http://example.org:8080/a%20b.jpg",
        "http://[::1]/1.jpg",
        "https://例え.jp/絵.jpg",
        "/postcards/0.jpg",
    ],
)
def test_an_address_that_is_safe_stays_as_it_is(url):
    assert safe_url(url) == url


@pytest.fixture
def hostile(client, tmp_path):
    """A visitor of a small dataset that was made by someone with bad intentions."""
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
    assert {*GOOD_URLS} <= shown


def foreign(page: Page) -> list[str]:
    """Elements that hostile texts would make, were they not shown as text."""
    made = [tag for tag, _ in page.elements if tag in ("b", "i", "u")]
    return made[1:] if made[:1] == ["b"] and page.is_whole else made  # one is our own


def page_without_danger(answer) -> Page:
    """The page, which runs no text and leads nowhere but here and to good addresses."""
    assert answer.status_code == 200
    page = Page(answer)
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src", "action", "formaction", "hx-get"):
            address = attributes.get(name) or "/"
            is_own = re.match(r"([/#]|http://testserver/)(?!/)", address)
            assert is_own or address in GOOD_URLS, (tag, attributes)
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


def test_hostile_words_are_shown_as_text_on_chips(site):
    query = (
        "a -(<img src=x onerror=alert(1)>) 2:<script>alert(1)</script> "
        '"<b>moon</b>" license:"<i>" site:b'
    )
    page = page_without_danger(site.get("/", {"q": query}))
    assert {"<img src=x onerror=alert(1)>", "license <i>"} <= chips(page).keys()
    assert not foreign(page)


# --- The browser is told to be careful


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
def test_pages_allow_no_script_or_style_but_files_of_their_own(site, path):
    answer = site.get(path)
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
        assert tag != "script" or attributes["src"].startswith("/static/")
        for name in attributes:
            assert name != "style" and not name.startswith(("on", "hx-on"))


def test_what_the_pages_load_is_there(site):
    page = search(site, q="a boat")
    files = page.all("script", "src") + page.all("link", "href")
    assert len(files) >= 4
    for path in files:
        assert site.get(path).status_code == 200


# --- Datasets


def test_without_a_dataset_the_page_says_so(client, nothing):
    for path in ("/", "/?q=a+boat", "/?item=7"):
        answer = client.get(path)
        assert answer.status_code == 200
        page = Page(answer)
        assert "No dataset yet" in page.text
        assert page.pictures == []
    assert client.get("/?q=a+boat&dataset=postcards").status_code == 404


def test_a_dataset_that_is_not_in_yet_is_not_offered(client, nothing):
    Dataset.objects.create(slug="coming", title="Coming")
    assert "No dataset yet" in Page(client.get("/")).text
    assert client.get("/?q=a+boat&dataset=coming").status_code == 404


def test_one_of_several_datasets_is_chosen_by_its_address(hostile, postcards_dataset):
    page = search(hostile, dataset="hostile", item=0)
    assert {"postcards", "hostile"} <= {*page.all("option", "value")}
    assert page.all("option", "selected", value="hostile") == [None]
    assert all(address.startswith("/d/hostile/") for address in page.pictures)
    page = search(hostile, item=0)
    assert all(address.startswith("/d/postcards/") for address in page.pictures)


def test_only_staff_is_shown_the_way_to_the_admin_pages(site, admin_client):
    assert "/admin/" not in search(site).all("a", "href")
    assert "/admin/" in search(admin_client).all("a", "href")
