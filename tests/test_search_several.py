"""Searches of several datasets at once, compared with what arithmetic finds."""

from collections import Counter
from dataclasses import replace
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pytest
from support.crowd import Crowd, bfloat16, stored, unit
from support.export_helpers import made, rows
from support.html_page import HTMX, Page
from support.tiny_shards import drop_tables

from search.errors import InvalidQuery
from search.models import SYSTEM, Dataset
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.retrieval import service
from usercollections.models import SavedSearch

pytestmark = pytest.mark.django_db
DIMENSION = 32
SIZES = {"one": 50, "two": 30, "three": 20}
SHARED = 8  # the first images of "two" are also images of "one"
SLUGS = ("one", "two")
BOTH = ",".join(SLUGS)


def crowd_of(slug: str, image: np.ndarray) -> Crowd:
    count = len(image)
    random = np.random.default_rng(len(slug))
    return Crowd(
        ids=np.arange(count, dtype=np.uint64),
        image=image,
        text=image,
        facts=pa.table(
            {
                "url": [f"https://{slug}.example/{n}.jpg" for n in range(count)],
                "caption": [
                    f"{slug} {'even' if n % 2 else 'odd'}" for n in range(count)
                ],
                "nsfw": ["UNLIKELY"] * count,
                "width": random.permutation(count).astype(np.uint32) + 1,
                "height": np.full(count, 7, np.uint32),
                "deleted": np.zeros(count, np.uint8),
            }
        ),
    )


@pytest.fixture
def crowds():
    random = np.random.default_rng(17)
    images = {
        slug: bfloat16(unit(random.standard_normal((count, DIMENSION))))
        for slug, count in SIZES.items()
    }
    images["two"][:SHARED] = images["one"][:SHARED]
    found = {slug: crowd_of(slug, image) for slug, image in images.items()}
    datasets = [stored(each, slug, build=False) for slug, each in found.items()]
    Dataset.objects.filter(slug="three").update(model="another")
    yield found
    for dataset in datasets:
        drop_tables(dataset)


@pytest.fixture
def vector() -> list[float]:
    return unit(np.random.default_rng(18).standard_normal(DIMENSION)).tolist()


@pytest.fixture
def ada(client, django_user_model):
    client.user = django_user_model.objects.create_user("ada")
    client.force_login(client.user)
    return client


Found = tuple[str, int]


def nearest(crowds, vector, slugs=SLUGS, passes=lambda crowd, row: True) -> list[Found]:
    """The items of all datasets by decreasing similarity, the shared ones twice."""
    every = [
        (-float(crowd.image[row] @ np.array(vector)), slug, row)
        for slug, crowd in crowds.items()
        if slug in slugs
        for row in range(len(crowd))
        if passes(crowd, row)
    ]
    return [(slug, row) for _, slug, row in sorted(every)]


def asked(vector, **more) -> dict:
    body = {"dataset": [*SLUGS], "terms": [{"embedding": vector}], "limit": 7}
    return body | {"filters": {"dedupe": False}} | more


def post(client, body: dict) -> dict:
    answer = client.post("/api/search/", body, content_type="application/json")
    assert answer.status_code == 200, answer.content
    return answer.json()


def pages(client, body: dict) -> list[list[Found]]:
    """All pages of a search, with the similarities in order."""
    found = []
    while True:
        answer = post(client, body)
        found.append([(hit["dataset"], hit["id"]) for hit in answer["results"]])
        similarities = [hit["similarity"] for hit in answer["results"]]
        assert similarities == sorted(similarities, reverse=True)
        if not answer["next"]:
            return found
        body = {"dataset": body["dataset"], "cursor": answer["next"]}
        body["limit"] = len(found[0])


def test_pages_are_merged_by_similarity_without_repeats_or_holes(
    client, crowds, vector
):
    found = pages(client, asked(vector))
    assert {len(page) for page in found[:-1]} == {7}
    assert Counter(sum(found, [])) == Counter(nearest(crowds, vector))
    similar = {
        (slug, row): crowds[slug].image[row] @ np.array(vector)
        for slug, row in sum(found, [])
    }
    values = [similar[each] for each in sum(found, [])]
    assert np.all(np.diff(values) < 1e-3)


def test_an_image_of_both_datasets_is_found_once(client, crowds, vector):
    found = sum(pages(client, asked(vector, filters={})), [])
    both = [item for _, item in found if item < SHARED]
    assert len(found) == SIZES["one"] + SIZES["two"] - SHARED
    assert sorted(both) == [*range(SHARED)]
    # Also on a page after that which shows it.
    assert len(set(found)) == len(found)


def test_filters_hold_for_each_and_facets_count_each(client, crowds, vector):
    answer = post(client, asked(vector, filters={"dedupe": False, "caption": "even"}))
    assert answer["matching"] == {"items": 40, "estimated": False}
    assert answer["datasets"] == [
        {"dataset": "one", "items": 25, "estimated": False},
        {"dataset": "two", "items": 15, "estimated": False},
    ]
    assert all(hit["id"] % 2 for hit in answer["results"])
    everything = post(client, asked(vector))
    assert [each["items"] for each in everything["datasets"]] == [50, 30]
    assert everything["matching"] is None
    alone = post(client, asked(vector, dataset="two"))
    assert alone["datasets"] == []


def test_they_are_sorted_together(client, crowds, vector):
    body = asked(vector, sort="size", limit=100)
    widths = [hit["width"] for hit in post(client, body)["results"]]
    assert len(widths) == 80
    assert widths == sorted(widths, reverse=True)


def test_an_address_finds_what_a_body_finds(client, crowds, vector):
    from search.query.model import encode_embedding

    query = {"dataset": BOTH, "embedding": encode_embedding(vector), "limit": 9}
    query |= {"include": "embedding"}
    answer = client.get("/api/search/", query).json()
    body = asked(vector, filters={}, limit=9)
    found = [(hit["dataset"], hit["id"]) for hit in answer["results"]]
    wanted = [(hit["dataset"], hit["id"]) for hit in post(client, body)["results"]]
    assert found == wanted
    for hit in answer["results"]:
        stored_vector = crowds[hit["dataset"]].image[hit["id"]]
        assert np.allclose(hit["embedding"], stored_vector, atol=1e-2)
        assert hit["page"].endswith(f"/d/{hit['dataset']}/{hit['id']}")


def test_what_cannot_be_searched_together_is_refused_in_one_sentence(
    client, crowds, vector
):
    for body, sentence in (
        (asked(vector, dataset=["one", "three"]), "not of the same model"),
        (asked(vector) | {"terms": [{"item": 3}]}, "search in that alone"),
        (asked(vector, filters={"exclude": [3]}), "search in that alone"),
    ):
        answer = client.post("/api/search/", body, content_type="application/json")
        assert (answer.status_code, sentence in answer.json()["detail"]) == (400, True)
    unknown = asked(vector, dataset="one,nowhere")
    answer = client.post("/api/search/", unknown, content_type="application/json")
    assert answer.status_code == 404
    Dataset.objects.filter(slug="two").update(visibility="chosen", slug="nowhere")
    hidden = client.post("/api/search/", unknown, content_type="application/json")
    assert (hidden.status_code, hidden.content) == (404, answer.content)
    refine = asked(vector) | {"dataset": BOTH, "good": [1]}
    answer = client.post("/api/refine/", refine, content_type="application/json")
    assert answer.status_code == 404


def test_a_cursor_belongs_to_its_datasets(client, crowds, vector):
    cursor = post(client, asked(vector))["next"]
    for dataset in ("one", "two", "two,one"):
        answer = client.get("/api/search/", {"dataset": dataset, "cursor": cursor})
        assert answer.status_code == 400


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_an_export_has_the_same_results_in_the_same_order(
    ada, crowds, vector, tmp_path, monkeypatch, form
):
    from usercollections.export import writer
    from usercollections.export.export_request import of_search

    monkeypatch.setattr(writer, "MAX_AT_ONCE", 11)
    term = Term(embedding=tuple(vector))
    query = SearchQuery(BOTH, (term,), filters=Filters())
    asking = of_search(query, ada.user, service.unlimited, form, limit=60)
    manifest = made(asking, tmp_path, ada.user)
    found = [(row["dataset"], row["id"]) for row in rows(manifest, tmp_path)]
    body = asked(vector, filters={}, limit=60)
    wanted = [(hit["dataset"], hit["id"]) for hit in post(ada, body)["results"]]
    assert found == wanted
    assert [each["slug"] for each in manifest["datasets"]] == ["one", "two"]


def test_a_search_of_several_is_saved_and_run(ada, crowds, vector):
    from search.query.model import shorten_embedding

    query = urlencode({"dataset": BOTH, "embedding": shorten_embedding(vector)})
    answer = ada.post("/api/searches/", {"search": query}, "application/json")
    assert answer.status_code == 201, answer.content
    saved = SavedSearch.objects.get()
    assert saved.dataset == BOTH
    answer = ada.get(f"/api/searches/{saved.pk}/results/?limit=9").json()
    found = {(hit["dataset"], hit["id"]) for hit in answer["results"]}
    assert {slug for slug, _ in found} == {*SLUGS}
    assert "one and two" in Page(ada.get("/searches/")).text
    glance = ada.get(f"/searches/{saved.pk}/glance").content.decode()
    assert "/d/one/" in glance or "/d/two/" in glance
    refused = {"search": urlencode({"dataset": "one,three", "q": "a boat"})}
    answer = ada.post("/api/searches/", refused, "application/json")
    assert answer.status_code == 400


def test_the_page_shows_each_result_with_its_dataset(ada, crowds, vector):
    from search.query.model import shorten_embedding

    query = {"dataset": BOTH, "embedding": shorten_embedding(vector), "dedupe": "no"}
    page = Page(ada.get("/", query))
    shown = [tuple(address.split("/")[2:]) for address in page.pictures]
    assert [(slug, int(item)) for slug, item in shown[:10]] == [
        (hit["dataset"], hit["id"])
        for hit in post(ada, asked(vector, limit=10))["results"]
    ]
    assert "Top matches from 80 images" in page.text
    links = page.all("a", "href", title="Search in this dataset alone")
    assert [link.partition("dataset=")[2] for link in links] == ["one", "two"]
    chosen = [each["value"] for _, each in page.elements if "selected" in each]
    assert BOTH in chosen
    more = Page(ada.get(page.more, headers=HTMX))
    assert not {*more.pictures} & {*page.pictures}
    assert len(page.pictures) + len(more.pictures) == 80
    item = Page(ada.get(page.pictures[0], query))
    assert any("dataset=one%2Ctwo" in link for link in item.all("a", "href"))
    alone = Page(ada.get("/", query | {"dataset": "one"}))
    assert {address.split("/")[2] for address in alone.pictures} == {"one"}


def test_pages_of_several_without_a_search_and_with_what_is_not_possible(ada, crowds):
    page = Page(ada.get("/", {"dataset": BOTH}))
    assert {address.split("/")[2] for address in page.pictures} == {*SLUGS}
    assert "80 images in one and two" in page.text
    twice = Page(ada.get("/?dataset=one&dataset=two"))
    assert {address.split("/")[2] for address in twice.pictures} == {*SLUGS}
    answer = ada.get("/", {"dataset": "one,three", "q": "x"})
    assert answer.status_code == 400
    assert "not of the same model" in Page(answer).text
    assert ada.get("/", {"dataset": "one,nowhere", "q": "x"}).status_code == 404
    data = {"search": f"dataset={BOTH}&q=boat", "good": "1"}
    answer = ada.post("/refine/", data, headers={"X-Requested-With": "XMLHttpRequest"})
    assert "Refining works in one dataset" in answer.content.decode()


def test_a_ranking_is_that_of_the_pages(crowds, vector):
    term = Term(embedding=tuple(vector))
    query = SearchQuery(BOTH, (term,), filters=Filters(dedupe=False), mode="exact")
    ranked = service.rank(query, SYSTEM, service.unlimited, 80)
    found = list(zip(ranked.datasets, ranked.ids.tolist(), strict=True))
    page = service.search(replace(query, limit=80), SYSTEM, service.unlimited)
    assert found == [hit.key for hit in page.hits]
    assert Counter(found) == Counter(nearest(crowds, vector))
    assert page.exact and ranked.exact
    with pytest.raises(InvalidQuery):
        SearchQuery(",".join(f"d{n}" for n in range(17)), (term,))


def test_a_collection_takes_items_of_several(ada, crowds, vector):
    hits = post(ada, asked(vector, limit=10))["results"]
    items = [{"dataset": hit["dataset"], "id": hit["id"]} for hit in hits]
    body = {"name": "both", "items": items}
    answer = ada.post("/api/collections/", body, "application/json")
    assert answer.json()["size"] == 10
    listed = ada.get(f"/api/collections/{answer.json()['id']}/items/").json()
    keys = [
        {"dataset": each["dataset"], "id": each["id"]} for each in listed["results"]
    ]
    assert keys == items
