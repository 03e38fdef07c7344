"""Terms, their weights and signs, and the query language on the pages."""

from urllib.parse import parse_qs, urlsplit

import pytest
from support.html_page import HTMX, Page
from support.search_pages import chips, embedding_of, found, search

from search.errors import NotFound
from search.models import SYSTEM
from search.query import concepts
from search.query.filters import Filters
from search.query.model import Term, decode_embedding
from search.retrieval import service

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("postcards_dataset")]


def test_terms_in_the_address_have_signs_and_weights_of_their_own(client):
    boat, lake = embedding_of(42), embedding_of(9)
    page = search(client, item=["7", "-0.5:8"], embedding=[f"2:{boat}", f"-1:{lake}"])
    terms = [
        Term(item=7),
        Term(item=8, weight=-0.5),
        Term(embedding=decode_embedding(boat), weight=2),
        Term(embedding=decode_embedding(lake), weight=-1),
    ]
    assert page.ids == found(*terms)
    assert page.all("input", "value", name="item", form="search") == ["7", "-0.5:8"]
    assert "Like 2 images – laionweb" in page.text
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
    """Return the addresses that each turn the sign of one term."""
    return page.all("a", "href", **{"class": "sign"})


def words_of(address: str) -> str:
    return parse_qs(urlsplit(address).query).get("q", [""])[0]


def test_a_sign_can_be_turned(client):
    page = search(client, q="red house -car 2:item:7 width>5", item="3")
    of_item, *others = turned(page)
    assert parse_qs(urlsplit(of_item).query)["item"] == ["-1:3"]
    assert [words_of(address) for address in others] == [
        "-(red house) -car 2:item:7 width>5",
        "red house +car 2:item:7 width>5",
        "red house -car -2:item:7 width>5",
    ]
    page = Page(client.get(others[0]))
    terms = [
        Term(item=3),
        Term(text="red house", weight=-1),
        Term(text="car", weight=-1),
    ]
    terms += [Term(item=7, weight=2)]
    assert page.ids == found(*terms, filters=Filters(min_width=6))


def weigh(client, term: str, weight: object, **parameters):
    query = search(client, **parameters).all("input", "value", name="search")[0]
    return client.get(
        "/search/weigh", {"search": query, "term": term, "weight": weight}
    )


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
def test_a_weight_leads_to_the_search_with_it(client, term, weight, left):
    answer = weigh(client, term, weight, q="red house -car", item="7", mode="exact")
    assert answer.status_code == 303
    parameters = parse_qs(urlsplit(answer["Location"]).query)
    assert parameters.items() >= left.items()
    assert parameters["mode"] == ["exact"]
    assert len(Page(client.get(answer["Location"])).ids) == 40


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
def test_a_weight_that_makes_no_sense_is_refused(client, term, weight, sentence):
    answer = weigh(client, term, weight, q="red house -car")
    assert answer.status_code == 400
    assert sentence in Page(answer).text


@pytest.fixture
def concept(monkeypatch):
    """Return the id of a concept that only one user sees."""
    number = "0b5c2b52-9d0e-4c1c-9a56-3f1f2b3c4d5e"

    def find(wanted, user, dataset):
        if (wanted, user.username, dataset) != (number, "ann", "postcards"):
            raise NotFound("This concept does not exist or you cannot view it.")
        vector = decode_embedding(embedding_of(42))
        return concepts.ResolvedConcept(
            vector, "night boats", "/concepts/1", exclude=(42,)
        )

    monkeypatch.setattr(concepts, "_lookup", find)
    return number


def test_a_concept_is_a_term_for_those_who_may_see_it(
    client, django_user_model, concept
):
    client.force_login(django_user_model.objects.create(username="ann"))
    wanted = Filters(exclude=(42,))
    ids = found(Term(embedding=decode_embedding(embedding_of(42))), filters=wanted)
    for parameters in ({"concept": concept}, {"q": f"concept:{concept}"}):
        page = search(client, **parameters)
        assert page.ids == ids
        assert "night boats" in page.text
        assert "/concepts/1" in page.all("a", "href")
    (less,) = turned(search(client, q=f"concept:{concept}"))
    assert words_of(less) == f"-concept:{concept}"
    client.logout()
    for parameters in ({"concept": concept}, {"q": f"a boat -concept:{concept}"}):
        answer = client.get("/", parameters)
        assert answer.status_code == 404
        assert "This concept does not exist" in Page(answer).text


# --- The query language


def test_chips_show_how_the_words_were_read_and_take_them_out(client):
    query = 'red house -car 2:boat width>512 "moon" nsfw:any'
    page = search(client, q=query, mode="exact")
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
        "includes NSFW": 'red house -car 2:boat width>512 "moon"',
    }
    for words in ("+ red house × 1", "− car × 1", "+ boat × 2"):
        assert words in page.text
    assert all("mode=exact" in address for address in chips(page).values())


def test_plain_words_have_a_chip_with_a_weight(client):
    page = search(client, q="a red house")
    assert chips(page) == {"a red house": "/"}
    assert "+ a red house × 1" in page.text


def test_a_number_alone_is_an_item_where_there_is_one(client):
    page = search(client, q="7")
    assert page.ids == found(Term(item=7))
    assert list(chips(page)) == ["like item 7"]
    page = search(client, q="2001")
    assert page.ids == found(Term(text="2001"))
    assert list(chips(page)) == ["2001"]


def test_the_address_of_an_item_is_that_item(client):
    page = search(client, q="-0.5:http://testserver/d/postcards/7 a boat")
    assert page.ids == found(Term(text="a boat"), Term(item=7, weight=-0.5))
    assert list(chips(page)) == ["like item 7", "a boat"]


def test_quoted_words_alone_are_searched_for(client):
    page = search(client, q='"moon"', mode="exact")
    moon = Term(text="moon")
    assert page.ids == found(moon, filters=Filters(caption="moon"), mode="exact")
    for item in page.ids:
        assert "moon" in service.item("postcards", item, SYSTEM).caption.lower()


@pytest.mark.parametrize("headers", [None, HTMX])
def test_a_word_that_cannot_be_read_is_marked(client, headers):
    answer = client.get("/", {"q": "a <b>house</b> heigth>5 -car"}, headers=headers)
    assert answer.status_code == 400
    page = answer.content.decode()
    marked = "a &lt;b&gt;house&lt;/b&gt; <mark>heigth&gt;5</mark> -car"
    assert marked in page
    assert "Did you mean height&gt;512 or height&lt;=2000?" in page


def test_the_help_explains_the_language(client):
    page = Page(client.get("/help/"))
    assert "red house -car" in page.text and "item:123" in page.text
