"""A collection by likeness: searched by words, by its mean, by what fits it least."""

import re
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from support import searching
from support.collection_helpers import address, as_items, collection, filled, post

from postcards.scene import Description, Scene
from search.clickhouse import cluster
from search.errors import NotFound
from search.models import SYSTEM
from search.query.model import SearchQuery, Term, decode_embedding
from search.retrieval import item_lookup, service
from search.retrieval.item_lookup import ItemState

pytestmark = pytest.mark.django_db
BOATS = Description(things=({"kind": "boat"},))


@pytest.fixture
def user():
    return get_user_model().objects.create_user("ada")


@pytest.fixture
def ada(client, user):
    client.force_login(user)
    return client


def shown(response) -> list[int]:
    html = response.content.decode()
    return [int(item) for item in re.findall(r'data-item="(\d+)"', html)]


def boats(count: int) -> list[int]:
    """The nearest to a boat that do show one."""
    query = SearchQuery("postcards", (Term(text="a boat"),), limit=100)
    found = [hit.id for hit in searching.find(query).hits if shows_boat(hit.id)]
    assert len(found) >= count
    return found[:count]


def shows_boat(item: int) -> bool:
    scene = service.item("postcards", item, SYSTEM).metadata["scene"]
    return BOATS.fits(Scene.from_json(scene))


def exactly(vector, ids) -> dict[int, float]:
    """Similarities to the vectors as the engine gives them out, one by one."""
    stored = service.embeddings("postcards", "image", ids, SYSTEM)
    return {
        item: float(each @ vector / np.linalg.norm(each))
        for item, each in stored.items()
    }


def test_words_find_the_nearest_members_exactly(ada, user, postcards_dataset):
    ids = list(range(0, 300, 2))
    made = collection(user, *ids)
    vector = searching.embed(SearchQuery("postcards", (Term(text="a windmill"),)))
    truth = exactly(vector, ids)
    nearest = sorted(ids, key=truth.__getitem__, reverse=True)
    first = ada.get(address("", made), {"q": "a windmill"})
    assert shown(first) == nearest[:40]
    more = re.search(r'hx-get="([^"]+)"', first.content.decode())[1]
    more = more.replace("&amp;", "&")
    assert shown(ada.get(more, headers={"HX-Request": "true"})) == nearest[40:80]
    told = re.findall(r'class="similarity"[^>]*>([\d.]+)<', first.content.decode())
    assert float(told[0]) == pytest.approx(truth[nearest[0]], abs=0.01)


def test_what_came_in_since_is_found_too(ada, user, postcards_dataset):
    (boat,) = boats(1)
    made = collection(user, *(item for item in range(1, 30) if item != boat))
    ada.get(address("", made), {"q": "a boat"})
    post(ada, address("add", made), items=as_items(boat))
    assert shown(ada.get(address("", made), {"q": "a boat"}))[0] == boat


def test_members_that_are_gone_are_not_in_the_way(ada, user, postcards_dataset):
    made = collection(user, 1, 2, 3)
    made.items.filter(item=1).update(item=999_999)
    made.items.filter(item=2).update(dataset="nowhere")
    for asked in ({"q": "a boat"}, {"order": "unlike"}):
        assert shown(ada.get(address("", made), asked)) == [3]
    lost = filled(user, 2)
    html = ada.get(address("", lost), {"q": "a boat"}).content.decode()
    assert "None of these images can be compared" in html


def test_the_least_alike_come_first(ada, user, postcards_dataset):
    alike = boats(12)
    strangers = [item for item in range(400, 500) if not shows_boat(item)][:3]
    made = collection(user, *alike[:6], *strangers, *alike[6:])
    order = shown(ada.get(address("", made), {"order": "unlike"}))
    assert set(order[:3]) == set(strangers)
    mean = item_lookup.mean("postcards", [*alike, *strangers], SYSTEM)
    truth = exactly(mean, [*alike, *strangers])
    assert order == sorted(truth, key=truth.__getitem__)


def test_more_like_a_collection_of_boats_are_other_boats(ada, user, postcards_dataset):
    members = boats(10)
    made = collection(user, *members)
    answer = ada.get(address("like-it", made))
    assert answer.status_code == 303
    html = ada.get(answer["Location"]).content.decode()
    found = [int(item) for item in re.findall(r'data-item="(\d+)"', html)]
    assert found and not set(found) & set(members)
    assert sum(map(shows_boat, found[:10])) >= 8
    assert "boats" in html  # the chip has the collection's name


def test_who_came_by_a_link_searches_by_the_mean_itself(ada, user, postcards_dataset):
    made = collection(user, *boats(5))
    post(ada, address("visibility", made), visibility="unlisted")
    made.refresh_from_db()
    where = reverse("collection-like-it", kwargs={"token": made.share_token})
    answer = Client().get(where)
    asked = parse_qs(urlsplit(answer["Location"]).query)
    mean = item_lookup.mean(
        "postcards", list(made.items.values_list("item", flat=True)), SYSTEM
    )
    assert np.allclose(decode_embedding(asked["embedding"][0]), mean, atol=1e-6)
    assert Client().get(answer["Location"]).status_code == 200


def test_a_private_collection_is_no_term_for_others(user, postcards_dataset):
    made = collection(user, 1, 2)
    eve = get_user_model().objects.create_user("eve")
    query = SearchQuery("postcards", (Term(concept=str(made.pk)),))
    assert len(service.embed(query, user, service.unlimited).excluded) == 2
    with pytest.raises(NotFound):
        searching.embed(query, eve)


def test_an_empty_collection_is_like_nothing(ada, user, postcards_dataset):
    made = collection(user)
    assert ada.get(address("like-it", made)).status_code == 404
    lost = filled(user, 2)
    where = address("like-it", lost) + "?dataset=postcards"
    assert ada.get(ada.get(where)["Location"]).status_code == 404


def test_the_mean_is_of_directions_and_in_batches(crowd, db, monkeypatch):
    monkeypatch.setattr(cluster, "MAX_IDS", 70)
    rows = np.flatnonzero(crowd.column("deleted") == 0)[:500]
    ids = [int(item) for item in crowd.ids[rows]]
    vectors = crowd.image[rows].astype(np.float64)
    mean = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).sum(axis=0)
    found = item_lookup.mean("crowd", [*ids, 2**40], SYSTEM)
    assert np.allclose(found, mean / np.linalg.norm(mean), atol=1e-5)
    there, likeness = item_lookup.similarities("crowd", found, [*ids, 2**40], SYSTEM)
    assert sorted(there.tolist()) == sorted(ids)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    truth = dict(zip(ids, unit @ found, strict=True))
    assert np.allclose(likeness, [truth[int(item)] for item in there], atol=1e-3)
    assert item_lookup.mean("crowd", [2**40], SYSTEM) is None


def test_how_items_stand_is_known_of_each(crowd, db):
    deleted = crowd.column("deleted")
    there = int(crowd.ids[np.flatnonzero(deleted == 0)[0]])
    removed = int(crowd.ids[np.flatnonzero(deleted == 1)[0]])
    urls = {there: "", removed: "", 2**40: ""}
    assert item_lookup.states("crowd", urls) == {
        there: ItemState.THERE,
        removed: ItemState.REMOVED,
        2**40: ItemState.GONE,
    }
    assert item_lookup.states("nowhere", {1: ""}) == {1: ItemState.GONE}
