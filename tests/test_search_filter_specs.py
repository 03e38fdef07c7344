"""A filter has one spec: the form, the language, the API and SQL are made of it."""

import io
import json
import pickle
import re

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import api_contract

from search.clickhouse.filters import condition_of
from search.clickhouse.schema import ItemTable
from search.errors import InvalidQuery, UnreadableWord
from search.models import SYSTEM
from search.query.describe import describe_filters
from search.query.filters import (
    LAST_ITEM,
    MAX_SIDE_PX,
    SPECS,
    Control,
    Filters,
    FilterSpec,
    Switch,
    Text,
    Whole,
    Word,
)
from search.query.model import FIELDS, MODES, SORTS, SearchQuery, Term
from search.query.parser import parse
from search.query.url_params import search_url, url_defaults
from search.web.forms import SearchForm
from usercollections.export import export_request
from usercollections.saved_search.saved_query import canonical

EVERY = FilterSpec(
    name="every",
    type=Whole(minimum=1, maximum=100, noun="a number"),
    error="Every which item: a number from 1 to 100.",
    chip="each {}th",
    word=Word("each", "each=7", help="each=50"),
    signs={"=": 0},
    sql="id % {every:UInt32} = 0",
    control=Control("Only one item in"),
    api_help="The ids are multiples of this.",
    option_help="ids that are multiples of this",
    metavar="NUMBER",
)


@pytest.fixture
def every(monkeypatch) -> FilterSpec:
    """A filter that the application does not know of."""
    monkeypatch.setitem(SPECS, EVERY.name, EVERY)
    return EVERY


def multiples(ids: list[int]) -> bool:
    return bool(ids) and all(number % 7 == 0 for number in ids)


def test_a_filter_has_a_place_in_addresses(every):
    assert url_defaults()["every"] == ""
    assert search_url({"q": "a", "every": "7"}) == "/?q=a&every=7"
    assert canonical("?every=7&q=a&unknown=1").address == "q=a&every=7"


def test_a_filter_has_a_field_in_the_form(every):
    form = SearchForm({"q": "a", "every": "7"})
    form.check()
    assert form.filters == {"every": 7}
    for value in ("0", "101", "x"):
        with pytest.raises(InvalidQuery, match="Every which item"):
            SearchForm({"every": value}).check()


def test_a_filter_is_a_word_of_the_box(every):
    assert parse("boats each=7").filters == {"every": 7}
    for word in ("each=x", "each>7", "each:7"):
        with pytest.raises(UnreadableWord, match="Write this filter as each=7"):
            parse(word)
    with pytest.raises(UnreadableWord, match="Invalid filter: every must be a number"):
        parse("each=101")
    with pytest.raises(UnreadableWord, match="Did you mean each=7"):
        parse("eachh=7")


def test_a_filter_is_a_condition_in_sql(every):
    condition = condition_of(Filters(every=7, min_width=5), ItemTable("any", 8))
    assert condition.sql == "width >= {min_width:UInt32} AND id % {every:UInt32} = 0"
    assert condition.parameters == {"min_width": 5, "every": 7}


def test_a_filter_is_described_in_words(every, db):
    assert describe_filters({"every": 7, "nsfw": "any"}) == "each 7th, includes NSFW"
    assert canonical("?q=a&every=7").words(None) == ["a", "each 7th"]


def test_a_filter_is_in_the_description_of_the_api(every):
    schema = api_contract.described()
    shown = schema["components"]["schemas"]["FiltersRequest"]["properties"]["every"]
    assert shown == {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "description": EVERY.api_help,
    }
    parameters = schema["paths"]["/api/search/"]["get"]["parameters"]
    assert "every" in {parameter["name"] for parameter in parameters}


@pytest.mark.django_db
def test_a_filter_narrows_searches_by_api(every, client, postcards_dataset):
    body = {
        "dataset": "postcards",
        "terms": [{"text": "boats"}],
        "filters": {"every": 7},
    }
    answer = client.post("/api/search/", body, "application/json").json()
    by_parameter = {"dataset": "postcards", "q": "boats", "every": "7"}
    by_word = {"dataset": "postcards", "q": "boats each=7"}
    for other in (by_parameter, by_word):
        assert client.get("/api/search/", other).json()["results"] == answer["results"]
    assert multiples([result["id"] for result in answer["results"]])
    assert answer["matching"]["items"] == 286
    body["filters"] = {"every": 101}
    refused = client.post("/api/search/", body, "application/json")
    assert refused.status_code == 400
    assert "This is a number, from 1 to 100." in refused.content.decode()


@pytest.mark.django_db
def test_a_filter_narrows_searches_on_the_page(every, client, postcards_dataset):
    answer = client.get("/", {"q": "boats", "every": "7"})
    page = answer.content.decode()
    assert multiples([hit.id for hit in answer.context["hits"]])
    assert [chip.label for chip, _ in answer.context["chips"]] == ["boats", "each 7th"]
    (control,) = re.findall(r"<label[^>]*>Only one item in (<[^>]+>)", page)
    for attribute in ('name="every" value="7"', 'form="search"', 'min="1" max="100"'):
        assert attribute in control
    assert "cutoff:0.25, each=50</dd>" in client.get("/help/").content.decode()
    (chip,) = re.findall(r"hides about ([0-9,]+)", page)
    assert chip == "1,714"


@pytest.mark.django_db
def test_a_filter_narrows_searches_by_command(every, postcards_dataset):
    def search(*arguments: str) -> dict:
        printed = io.StringIO()
        call_command("search", "boats", "--json", *arguments, stdout=printed)
        return json.loads(printed.getvalue())

    found = search("--every", "7")
    assert multiples([result["id"] for result in found["results"]])
    with pytest.raises(CommandError, match="Invalid filter: every must be a number"):
        search("--every", "0")


@pytest.mark.django_db
def test_a_filter_narrows_exports(every, client, postcards_dataset):
    request = export_request.of_dataset(SYSTEM, "postcards", Filters(every=7), "csv")
    assert export_request.ExportRequest.from_dict(request.to_dict()) == request
    assert request.filters == Filters(every=7, dedupe=False)
    client.force_login(User.objects.create_user("ada"))
    page = client.get("/exports/new?dataset=postcards").content.decode()
    assert "<label>Only one item in <input" in page


@pytest.mark.django_db
def test_a_switch_is_a_tick_and_an_option(monkeypatch, client, postcards_dataset):
    switch = FilterSpec(
        name="tinted",
        type=Switch(("In colour", "Without colour")),
        chip={True: "in colour", False: "without colour"},
        control=Control("Without colour"),
    )
    monkeypatch.setitem(SPECS, "tinted", switch)
    page = client.get("/?q=boats&tinted=no").content.decode()
    (tick,) = re.findall(r'<label class="tick">(<[^>]+>) Without colour', page)
    for attribute in ('type="checkbox" name="tinted" value="no"', "checked"):
        assert attribute in tick
    assert SearchForm({"q": "a", "tinted": "yes"}).params["tinted"] == "yes"
    printed = io.StringIO()
    call_command("search", "boats", "--no-tinted", "--json", stdout=printed)
    assert json.loads(printed.getvalue())["results"]


@pytest.mark.django_db
def test_a_filter_without_values_in_the_dataset_has_no_control(
    monkeypatch, client, postcards_dataset
):
    for name, sql in (("always", "id >= 0"), ("never", "id < 0")):
        control = Control(f"Shown {name}")
        spec = FilterSpec(
            name=name, type=Text(), available_sql=sql, control=control, sql="1"
        )
        monkeypatch.setitem(SPECS, name, spec)
    page = client.get("/?q=boats").content.decode()
    assert "Shown always" in page and "Shown never" not in page


def test_each_filter_can_be_written_and_shown():
    for name, spec in SPECS.items():
        assert name == spec.name
        assert spec.clean(None) == spec.type.default
        assert bool(spec.word) == bool(spec.signs)
        assert not spec.in_url or spec.error, name
        if isinstance(spec.sql, str):
            assert not spec.sql or f"{{{name}:" in spec.sql


# --- Values

# A busy machine draws slowly.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

VALUES = {
    "nsfw": st.sampled_from(["safe", "rated", "any"]),
    **dict.fromkeys(
        ("min_width", "max_width", "min_height", "max_height"),
        st.none() | st.integers(0, MAX_SIDE_PX),
    ),
    "orientation": st.sampled_from(["", "landscape", "portrait", "square"]),
    "caption": st.text(max_size=20).map(lambda text: text and f"a{text}"),
    "site": st.sampled_from(["", "flickr.com", "www.Example.org"]),
    "license": st.text(max_size=20),
    "min_similarity": st.none() | st.floats(-1, 1),
    "exclude": st.lists(st.integers(0, LAST_ITEM), max_size=5).map(tuple),
    "dedupe": st.booleans(),
    "cutoff": st.none() | st.floats(-1, 1),
}
some_filters = st.fixed_dictionaries({}, optional=VALUES).map(
    lambda values: Filters(**values)
)
float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
weights = st.floats(-100, 100)
contents = st.one_of(
    st.fixed_dictionaries({"text": st.text(min_size=1).filter(str.strip)}),
    st.fixed_dictionaries({"image": st.binary()}),
    st.fixed_dictionaries({"image_url": st.text(max_size=50)}),
    st.fixed_dictionaries({"item": st.integers(0, LAST_ITEM)}),
    st.fixed_dictionaries({"concept": st.uuids().map(str)}),
    st.fixed_dictionaries(
        {"embedding": st.lists(float32, min_size=1, max_size=6).map(tuple)}
    ),
)
some_terms = st.builds(
    lambda content, weight: Term(**content, weight=weight), contents, weights
)
some_queries = st.builds(
    SearchQuery,
    dataset=st.text(min_size=1),
    terms=st.lists(some_terms, min_size=1, max_size=4).map(tuple),
    field=st.sampled_from(FIELDS),
    mode=st.sampled_from(MODES),
    filters=some_filters,
    sort=st.sampled_from(SORTS),
    limit=st.integers(1, 100),
    cursor=st.text(),
)


def test_all_filters_are_drawn_here():
    assert set(VALUES) == set(SPECS)


@PATIENT
@given(some_queries)
def test_a_query_goes_through_json(query):
    stored = json.dumps(query.to_dict())
    assert SearchQuery.from_dict(json.loads(stored)) == query


@PATIENT
@given(some_filters)
def test_filters_are_equal_by_value(chosen):
    again = Filters(**chosen)
    assert again == chosen and hash(again) == hash(chosen)
    assert pickle.loads(pickle.dumps(chosen)) == chosen
    assert Filters(**chosen.chosen) == chosen
    other = chosen.replace(nsfw="safe" if chosen.nsfw == "any" else "any")
    assert other != chosen and other.replace(nsfw=chosen.nsfw) == chosen


def test_filters_do_not_change():
    chosen = Filters(min_width=5)
    with pytest.raises(AttributeError):
        chosen.nsfw = "any"
    with pytest.raises(TypeError):
        chosen["min_width"] = 6
    assert repr(chosen) == "Filters(min_width=5)"
    assert dict(chosen)["max_width"] is None and len(chosen) == len(SPECS)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        {},
        {"dataset": "a"},
        {"dataset": "a", "terms": []},
        {"dataset": 5, "terms": [{"text": "a"}]},
        {"dataset": "a", "terms": "text"},
        {"dataset": "a", "terms": [5]},
        {"dataset": "a", "terms": [{"text": 5}]},
        {"dataset": "a", "terms": [{"item": "5"}]},
        {"dataset": "a", "terms": [{"image": "???"}]},
        {"dataset": "a", "terms": [{"image": "é"}]},
        {"dataset": "a", "terms": [{"embedding": "é"}]},
        {"dataset": "a", "terms": [{"text": "a", "item": 5}]},
        {"dataset": "a", "terms": [{"words": "a"}]},
        {"dataset": "a", "terms": [{"text": "a"}], "limit": "5"},
        {"dataset": "a", "terms": [{"text": "a"}], "page": 5},
        {"dataset": "a", "terms": [{"text": "a"}], "filters": {"shape": "round"}},
        {"dataset": "a", "terms": [{"text": "a"}], "filters": {"caption": 5}},
        {"dataset": "a", "terms": [{"text": "a"}], "filters": {"exclude": 5}},
        {"dataset": "a", "terms": [{"text": "a"}], "filters": {"dedupe": "no"}},
        {"dataset": "a", "terms": [{"text": "a"}], "filters": []},
    ],
    ids=repr,
)
def test_what_is_no_stored_query_is_refused(stored):
    with pytest.raises(InvalidQuery):
        SearchQuery.from_dict(stored)


def test_an_export_of_an_earlier_version_is_read():
    """As version 0.2.0 stored it, when Filters was a plain dataclass."""
    chosen = {
        "nsfw": "any",
        "min_width": 5,
        "max_width": None,
        "min_height": None,
        "max_height": None,
        "orientation": "",
        "min_similarity": None,
        "license": "",
        "caption": "",
        "site": "example.org",
        "exclude": [3, 4],
        "dedupe": True,
        "cutoff": None,
    }
    vector = Term(embedding=(1.0, 0.0)).to_dict()["embedding"]
    stored = {
        "kind": "search",
        "form": "csv",
        "with_embeddings": False,
        "name": "a house",
        "what": {
            "dataset": "hostile",
            "terms": [
                {"text": "a house", "weight": 1.0},
                {
                    "embedding": vector,
                    "image_url": "https://example.org/a.jpg",
                    "weight": -1,
                },
                {
                    "embedding": vector,
                    "concept": {"id": "a", "name": "b", "version": 2},
                    "weight": 2.5,
                },
                {"embedding": vector, "image": {"sha256": "0a"}, "weight": 1.0},
            ],
            "field": "both",
            "mode": "ann",
            "sort": "size",
            "filters": chosen,
            "limit": 10_000,
        },
    }
    request = export_request.ExportRequest.from_dict(stored)
    assert request.to_dict() == stored
    embedding = (1.0, 0.0)
    assert request.search_query == SearchQuery(
        "hostile",
        (
            Term(text="a house"),
            Term(embedding=embedding, weight=-1.0),
            Term(embedding=embedding, weight=2.5),
            Term(embedding=embedding),
        ),
        field="both",
        sort="size",
        filters=Filters(nsfw="any", min_width=5, site="example.org", exclude=(3, 4)),
    )
    # Filters that were added since have their defaults.
    assert chosen.items() <= request.filters.to_dict().items()
