"""Safe mode in every interface: only what is known to be safe is shown plainly.

Pages blur what is not rated; elsewhere it is left out, unless nothing is rated.
"""

import io
import json
import re
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.urls import reverse
from support import searching
from support.collection_helpers import collection
from support.crowd import Crowd, bfloat16, drawn, stored, unit
from support.export_helpers import made, rows
from support.html_page import Page
from support.tiny_shards import drop_tables

from search.clickhouse import client as engine
from search.clickhouse import queries, schema
from search.errors import SearchUnavailable
from search.models import SYSTEM, Dataset
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.query.ratings import SAFE, is_safe, is_unsafe
from search.retrieval import service
from search.retrieval.column_stats import has_ratings
from tests.test_search_ratings import UNKNOWN, VOCABULARIES, spelled

pytestmark = pytest.mark.django_db
SEED = 20261130
ITEMS = 30  # the first one, which is safe, is searched for
WITH = {"item": 0, "dedupe": "no", "dataset": "mixed"}


@dataclass(frozen=True)
class Shown:
    """The items that an interface has: shown plainly, or blurred."""

    plain: set[int]
    veiled: set[int]


@dataclass(frozen=True)
class Mixed:
    """A dataset with ratings of all kinds, of which some are not known."""

    values: list[str]

    @property
    def safe(self) -> set[int]:
        return {n for n, value in enumerate(self.values) if is_safe(value)}

    @property
    def unrated(self) -> set[int]:
        unsafe = {n for n, value in enumerate(self.values) if is_unsafe(value)}
        return {*range(ITEMS)} - self.safe - unsafe


def drawn_ratings(*, known: bool = True) -> list[str]:
    random = Random(SEED)
    of = {True: [], False: [*UNKNOWN]}
    for value, rating in [pair for pairs in VOCABULARIES.values() for pair in pairs]:
        of[rating == SAFE].append(spelled(value, random))
    kinds = [True, *(random.random() < 0.5 for _ in range(ITEMS - 1))]
    return [random.choice(of[kind] if known else UNKNOWN) for kind in kinds]


def stored_as(slug: str, values: list[str], *, raw: bool) -> Dataset:
    """Store items with these ratings; `raw` as versions before 0.2 did."""
    random = np.random.default_rng(SEED)
    image = unit(random.standard_normal((len(values), 32)))
    words = [f"caption of number {n}" for n in range(len(values))]
    crowd = Crowd(
        ids=np.arange(len(values), dtype=np.uint64),
        image=bfloat16(image),
        text=bfloat16(image),
        facts=pa.table(
            {
                "url": [f"http://example.org/{n}.jpg" for n in range(len(values))],
                "caption": words,
                "nsfw": values,
                "deleted": np.zeros(len(values), np.uint8),
            }
        ),
    )
    dataset = stored(crowd, slug, build=False)
    if raw:
        engine.command(
            f"ALTER TABLE item_{slug} UPDATE nsfw = {{values:Array(String)}}[id + 1] "
            "WHERE 1",
            {"values": values},
            mutations_sync=1,
        )
    return dataset


@pytest.fixture(params=["imported", "of an earlier version"])
def mixed(request):
    cache.clear()
    values = drawn_ratings()
    dataset = stored_as("mixed", values, raw=request.param != "imported")
    yield Mixed(values)
    drop_tables(dataset)


@pytest.fixture
def ada(client, django_user_model):
    client.user = django_user_model.objects.create_user("ada")
    client.force_login(client.user)
    return client


# --- Pages, which can blur


def of_hits(page: Page) -> Shown:
    hits = [each for tag, each in page.elements if tag == "li" and "data-item" in each]
    assert hits
    return Shown(
        {int(hit["data-item"]) for hit in hits if "data-unsafe" not in hit},
        {int(hit["data-item"]) for hit in hits if "data-unsafe" in hit},
    )


def union(*parts: Shown) -> Shown:
    return Shown(
        set().union(*(part.plain for part in parts)),
        set().union(*(part.veiled for part in parts)),
    )


def of_results(ada, **more) -> Shown:
    return of_hits(Page(ada.get("/", WITH | more)))


def of_further_results(ada) -> Shown:
    query = SearchQuery(
        "mixed", (Term(item=0),), filters=Filters(dedupe=False), limit=5
    )
    first = service.search(query, ada.user, service.unlimited, veils=True)
    address = reverse("search"), WITH | {"cursor": first.next}
    further = of_hits(Page(ada.get(*address, headers={"HX-Request": "true"})))
    whole, ids = of_results(ada), {hit.id for hit in first.hits}
    assert len(ids) == 5 and not ids & (further.plain | further.veiled)
    return union(further, Shown(whole.plain & ids, whole.veiled & ids))


def of_item_pages(ada) -> Shown:
    plain, veiled = set(), set()
    for number in range(ITEMS):
        page = Page(ada.get(f"/d/mixed/{number}"))
        large = next(e for _, e in page.elements if "large" in (e.get("class") or ""))
        (veiled if "data-unsafe" in large else plain).add(number)
    return Shown(plain, veiled)


def of_neighbours(ada) -> Shown:
    return union(*(of_hits(Page(ada.get(f"/d/mixed/{n}"))) for n in range(ITEMS)))


def of_collection(ada) -> Shown:
    mine = collection(ada.user, *range(ITEMS), dataset="mixed")
    return of_hits(Page(ada.get(mine.get_absolute_url())))


def of_covers(ada) -> Shown:
    for number in range(ITEMS):
        collection(ada.user, number, dataset="mixed", name=f"of {number}")
    html = ada.get("/collections/").content.decode()
    tiles = re.findall(r'<span class="tile"([^>]*)><img src="/t/mixed/(\d+)/', html)
    return Shown(
        {int(number) for attributes, number in tiles if not attributes},
        {int(number) for attributes, number in tiles if "data-unsafe" in attributes},
    )


def of_chosen_covers(ada) -> Shown:
    for number in range(ITEMS):
        mine = collection(ada.user, number, dataset="mixed", name=f"of {number}")
        mine.cover = mine.items.get()
        mine.save()
    html = ada.get("/collections/").content.decode()
    tiles = re.findall(r'<span class="tile"([^>]*)><img src="/t/mixed/(\d+)/', html)
    return Shown(
        {int(number) for attributes, number in tiles if not attributes},
        {int(number) for attributes, number in tiles if "data-unsafe" in attributes},
    )


def of_preview(ada) -> Shown:
    from usercollections.models import SavedSearch

    data = {"address": "dataset=mixed&item=0&dedupe=no", "name": "mine"}
    assert ada.post(reverse("save-search"), data).status_code == 302
    saved = SavedSearch.objects.get()
    html = ada.get(reverse("glance", args=[saved.pk])).content.decode()
    found = re.findall(r'<a href="/d/mixed/(\d+)"([^>]*)><img', html)
    return Shown(
        {int(number) for number, attributes in found if not attributes},
        {int(number) for number, attributes in found if "data-unsafe" in attributes},
    )


def of_chips(ada) -> Shown:
    shown = Shown(set(), set())
    for number in range(ITEMS):
        page = Page(ada.get("/", WITH | {"item": number}))
        (chip,) = [e for _, e in page.elements if e.get("class") == "chip"]
        (shown.veiled if "data-unsafe" in chip else shown.plain).add(number)
    return shown


PAGES = {
    "results": (of_results, "found"),
    "further results": (of_further_results, "found"),
    "item pages": (of_item_pages, "all"),
    "neighbours": (of_neighbours, "found again"),
    "collection": (of_collection, "all"),
    "covers": (of_covers, "found again"),
    "chosen covers": (of_chosen_covers, "found again"),
    "preview": (of_preview, "found"),
    "chips": (of_chips, "all"),
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_blur_what_is_not_known_to_be_safe(ada, mixed, monkeypatch, name):
    interface, extent = PAGES[name]
    monkeypatch.setattr("usercollections.saved_search.new_results.STRIP", ITEMS)
    shown = interface(ada)
    others = {*range(ITEMS)} - mixed.safe
    safe = mixed.safe - ({0} if extent == "found" else set())
    assert shown.plain == safe
    assert shown.veiled == (others if extent == "all" else mixed.unrated)


def test_a_page_without_safe_mode_blurs_what_is_unsafe(ada, mixed):
    shown = of_results(ada, nsfw="any")
    assert shown.plain == mixed.safe - {0} | mixed.unrated
    assert shown.veiled == {*range(ITEMS)} - mixed.safe - mixed.unrated
    rated = of_results(ada, nsfw="rated")
    assert rated == Shown(mixed.safe - {0}, set())


def test_a_page_says_that_it_blurs_and_shows_it_all(ada, mixed):
    told = "Images without a known rating are blurred."
    for path in ("/?dataset=mixed&item=0&dedupe=no", of_members(ada)):
        page = Page(ada.get(path))
        assert told in page.text
        (show,) = {link for link in page.all("a", "href") if "nsfw=any" in link}
        page = Page(ada.get(show))
        assert told not in page.text
        assert mixed.unrated <= of_hits(page).plain
    assert told not in Page(ada.get("/?dataset=mixed&item=0&nsfw=rated")).text


def of_members(ada) -> str:
    return collection(ada.user, *range(ITEMS), dataset="mixed").get_absolute_url()


def test_the_wall_shows_what_is_safe(ada, mixed):
    for _ in range(3):
        page = Page(ada.get("/?dataset=mixed"))
        assert of_hits(page).plain <= mixed.safe and not of_hits(page).veiled
        examples = re.findall(r"caption of number \d+", page.text)
        assert {int(words.split()[-1]) for words in examples} <= mixed.safe


# --- Answers and files, which cannot


def of_api(ada, **filters) -> list[dict]:
    asked = {"dataset": "mixed", "terms": [{"item": 0}], "limit": 100}
    asked["filters"] = {"dedupe": False, **filters}
    answer = ada.post("/api/search/", asked, content_type="application/json")
    assert answer.status_code == 200, answer.content
    return answer.json()["results"]


def ids_of_api(ada, tmp_path) -> set[int]:
    return {hit["id"] for hit in of_api(ada)}


def ids_of_refine(ada, tmp_path) -> set[int]:
    asked = {"dataset": "mixed", "terms": [{"item": 0}], "limit": 100, "good": [0]}
    asked["filters"] = {"dedupe": False}
    answer = ada.post("/api/refine/", asked, content_type="application/json")
    return {hit["id"] for hit in answer.json()["results"]}


def ids_of_clip_retrieval(ada, tmp_path) -> set[int]:
    asked = {"embedding_input": [1.0] * 32, "modality": "image", "num_images": 100}
    asked |= {"indice_name": "mixed", "use_safety_model": True}
    answer = ada.post("/knn-service", asked, content_type="application/json")
    return {row["id"] for row in answer.json()} - {0}


def ids_of_export(ada, tmp_path) -> set[int]:
    from usercollections.export.export_request import of_dataset

    manifest = made(of_dataset(SYSTEM, "mixed", Filters(), "json"), tmp_path, ada.user)
    left_out = manifest["counts"]["left_out"]["nsfw"]
    found = {row["id"] for row in rows(manifest, tmp_path)}
    assert left_out == ITEMS - len(found)
    return found - {0}


def ids_of_search_export(ada, tmp_path) -> set[int]:
    from usercollections.export.export_request import of_search

    query = SearchQuery("mixed", (Term(item=0),), filters=Filters(dedupe=False))
    asked = of_search(query, ada.user, service.unlimited, "json", limit=100)
    manifest = made(asked, tmp_path, ada.user)
    return {row["id"] for row in rows(manifest, tmp_path)}


def ids_of_command(ada, tmp_path) -> set[int]:
    printed = io.StringIO()
    words = ("--dataset", "mixed", "--item", "0", "--no-dedupe", "--json")
    call_command("search", *words, "--limit", "100", stdout=printed)
    return {hit["id"] for hit in json.loads(printed.getvalue())["results"]}


PROGRAMS = [
    ids_of_api,
    ids_of_refine,
    ids_of_clip_retrieval,
    ids_of_export,
    ids_of_search_export,
    ids_of_command,
]


@pytest.mark.parametrize("interface", PROGRAMS)
def test_programs_get_only_what_is_rated_safe(ada, mixed, tmp_path, interface):
    assert interface(ada, tmp_path) == mixed.safe - {0}


def test_each_item_of_the_api_says_whether_it_is_safe(ada, mixed):
    told = {hit["id"]: hit["safe"] for hit in of_api(ada, nsfw="any")}
    told |= {
        number: ada.get(f"/api/datasets/mixed/items/{number}/").json()["safe"]
        for number in range(0, ITEMS, 3)
    }
    assert len(told) == ITEMS
    mine = collection(ada.user, *range(ITEMS), dataset="mixed")
    members = ada.get(f"/api/collections/{mine.pk}/items/?limit=100").json()["results"]
    for shown in (told, {row["id"]: row["safe"] for row in members}):
        assert {number for number, safe in shown.items() if safe} == mixed.safe


# --- Datasets without any rating, or without a known one


@pytest.fixture
def unmarked():
    cache.clear()
    crowd = drawn(200, shards={0: 1.0})
    facts = crowd.facts.drop_columns(["nsfw"])
    facts = facts.append_column("nsfw", pa.array([""] * 200))
    dataset = stored(replace(crowd, facts=facts), "unmarked", build=False)
    yield dataset
    schema.drop(dataset.item_table)


@pytest.mark.parametrize("raw", [False, True])
def test_where_no_rating_is_known_programs_get_nothing(ada, tmp_path, raw):
    cache.clear()
    dataset = stored_as("mixed", drawn_ratings(known=False), raw=raw)
    dataset.shards.update(rows_unknown_rating=0 if raw else ITEMS)
    try:
        assert of_results(ada) == Shown(set(), {*range(1, ITEMS)})
        assert all(interface(ada, tmp_path) == set() for interface in PROGRAMS[:3])
        page = Page(ada.get("/?dataset=mixed"))
        assert of_hits(page).veiled and not of_hits(page).plain
    finally:
        drop_tables(dataset)


def test_a_dataset_without_ratings_is_blurred_on_pages_and_no_empty_answer(
    ada, unmarked
):
    page = Page(ada.get("/?dataset=unmarked&item=0"))
    assert of_hits(page).veiled and not of_hits(page).plain
    asked = {"dataset": "unmarked", "terms": [{"item": 0}]}
    answer = ada.post("/api/search/", asked, content_type="application/json").json()
    assert len(answer["results"]) == 40
    assert not any(hit["safe"] for hit in answer["results"])
    found = searching.rank(SearchQuery("unmarked", (Term(item=0),)), 10)
    assert len(found.ids) == 10


def test_a_dataset_says_of_its_items_how_safe_they_are(postcards_dataset):
    assert has_ratings(postcards_dataset)


def test_a_dataset_without_a_word_on_safety_has_none(unmarked):
    assert not has_ratings(unmarked)
    sql = "ALTER TABLE item_unmarked UPDATE nsfw = 'UNLIKELY' WHERE id = 7"
    engine.command(sql, mutations_sync=1)
    assert not has_ratings(unmarked)  # as it was a moment ago
    cache.clear()
    assert has_ratings(unmarked)


def test_while_the_engine_is_away_less_is_shown(unmarked, monkeypatch):
    def away(*_):
        raise SearchUnavailable("The engine is away.")

    with monkeypatch.context() as patched:
        patched.setattr(queries, "has_ratings", away)
        assert has_ratings(unmarked)
    assert not has_ratings(unmarked)


def test_a_dataset_without_items_has_no_word_on_safety():
    assert not has_ratings(Dataset.objects.create(slug="empty", title="Empty"))


# --- Datasets that are safe or unsafe as a whole

imported = pytest.mark.parametrize("mixed", ["imported"], indirect=True)


def rated_as(safety: str) -> None:
    Dataset.objects.filter(slug="mixed").update(safety=safety)


@imported
@pytest.mark.parametrize(
    "name", ["further results", "neighbours", "collection", "chosen covers", "preview"]
)
def test_pages_show_all_of_a_dataset_that_is_safe(ada, mixed, monkeypatch, name):
    interface, extent = PAGES[name]
    monkeypatch.setattr("usercollections.saved_search.new_results.STRIP", ITEMS)
    rated_as("safe")
    shown = interface(ada)
    assert shown.plain == {*range(ITEMS)} - ({0} if extent == "found" else set())
    assert shown.veiled == set()


@imported
def test_pages_blur_all_of_a_dataset_that_is_unsafe(ada, mixed):
    rated_as("unsafe")
    for interface in (of_item_pages, of_collection, of_chips):
        assert interface(ada) == Shown(set(), {*range(ITEMS)})
    assert of_results(ada, nsfw="any") == Shown(set(), {*range(1, ITEMS)})


@imported
def test_pages_hide_a_dataset_that_is_unsafe_in_safe_mode(ada, mixed):
    rated_as("unsafe")
    assert of_covers(ada) == Shown(set(), set())
    for query in ({}, WITH, WITH | {"nsfw": "rated"}):
        page = Page(ada.get("/", {"dataset": "mixed"} | query))
        assert not [each for _, each in page.elements if "data-item" in each]
    page = Page(ada.get("/", WITH))
    assert "All results are marked NSFW." in page.text


@imported
@pytest.mark.parametrize("safety", ["safe", "unsafe"])
def test_programs_follow_the_safety_of_a_dataset(ada, mixed, tmp_path, safety):
    rated_as(safety)
    wanted = {*range(1, ITEMS)} if safety == "safe" else set()
    for interface in PROGRAMS:
        folder = tmp_path / interface.__name__
        assert interface(ada, folder) == wanted, interface.__name__
    told = {hit["safe"] for hit in of_api(ada, nsfw="any")}
    assert told == {safety == "safe"}


@imported
def test_a_copy_in_a_collection_keeps_the_rating_of_the_item(ada, mixed):
    """So that it is not shown when the dataset is no longer safe as a whole."""
    rated_as("safe")
    items = json.dumps([{"dataset": "mixed", "id": n} for n in range(ITEMS)])
    ada.post("/collections/", {"name": "all", "items": items})
    made = ada.user.collection_set.get()
    assert of_hits(Page(ada.get(made.get_absolute_url()))).veiled == set()
    rated_as("labelled")
    assert of_hits(Page(ada.get(made.get_absolute_url()))).plain == mixed.safe
