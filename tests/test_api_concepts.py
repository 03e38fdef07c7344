"""Concepts and their versions, as programs keep them."""

import uuid

import numpy as np
import pytest
from support import searching
from support.api_calls import Caller, assert_refuses_all, assert_shaped, caller, walked

from search.query.model import SearchQuery, Term

pytestmark = pytest.mark.django_db
NOBODY = str(uuid.uuid4())


@pytest.fixture(autouse=True)
def dataset(postcards_dataset):
    return postcards_dataset


@pytest.fixture
def ada() -> Caller:
    return caller("ada")


@pytest.fixture
def eve() -> Caller:
    return caller("eve")


def vector(seed: int = 0, dimension: int = 512) -> list[float]:
    return np.random.default_rng(seed).normal(size=dimension).tolist()


def unit(numbers: list[float]) -> np.ndarray:
    return np.array(numbers) / np.linalg.norm(numbers)


def made(one: Caller, seed: int = 0, **more) -> dict:
    body = {"name": "night", "dataset": "postcards", "embedding": vector(seed)}
    return one.post("concepts/", body | more)


def path(told: dict, *more: str) -> str:
    return "/".join(["concepts", told["id"], *more, ""])


def round_of(one: Caller, words: str = "boats") -> str:
    """As the page makes it."""
    query = SearchQuery("postcards", (Term(text=words),))
    good = ",".join(str(hit.id) for hit in searching.find(query).hits[:3])
    one.client.force_login(one.user)
    answer = one.client.post(
        "/refine/",
        {"search": f"q={words}&dataset=postcards", "good": good},
        headers={"X-Requested-With": "XMLHttpRequest"},
    )
    return answer.json()["id"]


# --- As a whole


def test_an_embedding_is_kept_as_a_concept(ada, dataset):
    from usercollections.api.concept_serializers import ConceptSerializer

    told = made(ada, description=" by moonlight ")
    assert_shaped(ConceptSerializer, told)
    assert (told["name"], told["description"]) == ("night", "by moonlight")
    assert (told["model"], told["weights"]) == (dataset.model, "")
    assert (told["dimension"], told["version"]) == (512, 1)
    assert (told["visibility"], told["link"]) == ("private", None)
    assert told["made_of"] == {"dataset": "postcards"}
    np.testing.assert_allclose(told["embedding"], unit(vector()), atol=1e-6)
    assert np.linalg.norm(told["embedding"]) == pytest.approx(1, abs=1e-6)
    assert ada.get(path(told)) == told


def test_it_is_a_term_of_a_search(ada):
    told = made(ada)
    by_concept, by_vector = (
        ada.post("search/", {"dataset": "postcards", "terms": [term]}, 200)["results"]
        for term in ({"concept": told["id"]}, {"embedding": vector()})
    )
    assert [hit["id"] for hit in by_concept] == [hit["id"] for hit in by_vector]


def test_a_round_is_kept_as_a_concept(ada, eve):
    from usercollections.models import Round

    key = round_of(ada)
    told = ada.post("concepts/", {"name": "boats", "round": key})
    row = Round.objects.get()
    np.testing.assert_array_equal(told["embedding"], row.embedding.tolist())
    assert told["made_of"]["words"] == "boats"
    assert told["made_of"]["good"] == row.good and len(row.good) == 3
    for body in ({"name": "mine", "round": key}, {"name": "mine", "round": NOBODY}):
        assert "This round does not exist" in eve.post("concepts/", body, 404)["detail"]
    assert eve.get("concepts/")["results"] == []


def test_what_others_may_know_of_it(ada, eve):
    body = {"name": "boats", "round": round_of(ada), "visibility": "public"}
    told = ada.post("concepts/", body)
    for one in (eve, Caller()):
        seen = one.get(path(told))
        assert seen["made_of"] == {"dataset": "postcards", "rounds": 1, "strength": 1.0}
        assert seen["embedding"] == told["embedding"]
        assert (seen["is_mine"], seen["visibility"], seen["link"]) == (
            False,
            None,
            None,
        )
        assert seen["share_token"] is None
        (version,) = one.get(path(told, "versions"))["results"]
        assert version["made_of"] == seen["made_of"]
        (listed,) = one.get("concepts/", visibility="public")["results"]
        assert listed == {name: seen[name] for name in listed}
    assert ada.get(path(told, "versions"))["results"][0]["made_of"]["good"]


def test_it_is_changed_as_a_whole_or_not_at_all(ada, eve):
    told = made(ada)
    changed = ada.patch(
        path(told), name="dusk", description="late", visibility="unlisted"
    )
    assert (changed["name"], changed["description"]) == ("dusk", "late")
    token = changed["share_token"]
    assert changed["link"].endswith(f"/concepts/shared/{token}/")
    assert eve.get(f"concepts/shared/{token}/")["name"] == "dusk"
    answer = eve.client.get(f"/api/concepts/shared/{token}/")
    assert answer["X-Robots-Tag"] == "noindex, nofollow"
    eve.get(path(told), 404)
    renewed = ada.patch(path(told), renew_link=True)["share_token"]
    assert renewed != token
    eve.get(f"concepts/shared/{token}/", 404)
    assert ada.patch(path(told), visibility="private")["share_token"] is None
    eve.get(f"concepts/shared/{renewed}/", 404)
    refused = ada.patch(path(told), 400, name="lost", renew_link=True)
    assert "no link" in refused["detail"]
    assert ada.get(path(told))["name"] == "dusk"


def test_mine_are_listed_by_name(ada, eve):
    from usercollections.api.concept_serializers import ConceptSummarySerializer

    for seed, name in enumerate(("b", "A", "c")):
        made(ada, seed, name=name)
    made(eve, name="of eve")
    listed = walked(ada, "concepts/", limit=2)
    assert [each["name"] for each in listed] == ["A", "b", "c"]
    for each in listed:
        assert_shaped(ConceptSummarySerializer, each)
    assert ada.get("concepts/", 400, sort="name")["sort"]
    assert ada.get("concepts/", 400, visibility="private")["visibility"]


def test_deleting_it_can_be_undone_on_the_page(ada):
    told = made(ada, visibility="public")
    ada.delete(path(told))
    ada.get(path(told), 404)
    assert ada.get("concepts/")["results"] == []
    assert ada.get("concepts/", visibility="public")["results"] == []
    ada.client.force_login(ada.user)
    assert ada.client.post(f"/concepts/{told['id']}/undelete").status_code == 302
    assert ada.get(path(told))["embedding"] == told["embedding"]


# --- Versions


def test_it_gets_versions_and_goes_back(ada):
    from usercollections.api.concept_serializers import VersionSerializer

    told = made(ada)
    other = vector(1)
    second = ada.post(path(told, "versions"), {"embedding": other})
    assert_shaped(VersionSerializer, second)
    assert (second["number"], second["is_current"]) == (2, True)
    np.testing.assert_allclose(ada.get(path(told))["embedding"], unit(other), atol=1e-6)
    third = ada.post(path(told, "versions"), {"round": round_of(ada)})
    assert third["number"] == 3 and third["made_of"]["words"] == "boats"
    fourth = ada.post(path(told, "versions"), {"restore": 1})
    assert fourth["made_of"] == {"dataset": "postcards", "restored_from": 1}
    now = ada.get(path(told))
    assert (now["version"], now["embedding"]) == (4, told["embedding"])
    versions = walked(ada, path(told, "versions"), limit=3)
    assert [each["number"] for each in versions] == [4, 3, 2, 1]
    assert [each["is_current"] for each in versions] == [True, False, False, False]
    expected = float(unit(other) @ unit(vector()))
    assert versions[2]["likeness"] == pytest.approx(expected, abs=1e-5)
    assert versions[3]["likeness"] == pytest.approx(1, abs=1e-5)
    assert (
        "no version 9"
        in ada.post(path(told, "versions"), {"restore": 9}, 404)["detail"]
    )


def test_a_version_is_as_long_as_the_concept(ada):
    told = made(ada)
    refused = ada.post(path(told, "versions"), {"embedding": [1, 2, 3]}, 400)
    assert "3 numbers" in refused["detail"] and "512" in refused["detail"]
    assert ada.get(path(told))["version"] == 1


def test_there_is_a_most_of_versions(ada, monkeypatch):
    from usercollections.concept import services

    monkeypatch.setattr(services, "MAX_VERSIONS", 2)
    told = made(ada)
    ada.post(path(told, "versions"), {"restore": 1})
    for body in ({"restore": 1}, {"embedding": vector()}, {"round": round_of(ada)}):
        refused = ada.post(path(told, "versions"), body, 400)
        assert "up to 2 versions" in refused["detail"]


# --- Whose it is, and how many


def test_visitors_are_asked_to_sign_in(ada):
    told = made(ada, visibility="public")
    visitor = Caller()
    for method, where in (
        ("get", "concepts/"),
        ("post", "concepts/"),
        ("patch", path(told)),
        ("delete", path(told)),
        ("post", path(told, "versions")),
    ):
        assert visitor.ask(method, where, {}, 401)["code"] == "not_authenticated"
    visitor.get(path(made(ada, 1)), 404)


def test_what_is_public_is_changed_by_its_owner_alone(ada, eve):
    told = made(ada, visibility="public")
    for method, where, body in (
        ("patch", path(told), {"name": "mine"}),
        ("delete", path(told), {}),
        ("post", path(told, "versions"), {"embedding": vector(1)}),
        ("post", path(told, "versions"), {"restore": 1}),
    ):
        refused = eve.ask(method, where, body, 404)
        absent = where.replace(told["id"], NOBODY)
        assert refused == ada.ask(method, absent, body, 404)
    assert ada.get(path(told)) == told


def test_there_is_a_most_of_them(ada, monkeypatch):
    """For the API as for the pages, whichever way one more would come."""
    from usercollections import sharing

    monkeypatch.setattr(sharing, "MAX_OWNED", 1)
    told = made(ada)
    most = "You have 1 concepts, which is the maximum. Delete one first."
    body = {"name": "x", "dataset": "postcards", "embedding": vector()}
    assert ada.post("concepts/", body, 400)["detail"] == most
    key = round_of(ada)
    for address, form in (
        (f"/concepts/{told['id']}/copy", {}),
        ("/concepts/save", {"round": key, "name": "x"}),
    ):
        headers = {"X-Requested-With": "XMLHttpRequest"}
        answer = ada.client.post(address, form, headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (400, most)
    ada.delete(path(told))
    made(ada, 1)
    address = f"/concepts/{told['id']}/undelete"
    answer = ada.client.post(address, headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (400, most)


# --- What is malformed


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "required"),
        ({"name": "x", "dataset": "postcards"}, 400, "required"),
        ({"name": "x", "embedding": [1]}, 400, "required"),
        ({"name": "x", "dataset": "nowhere", "embedding": [1]}, 404, "no dataset"),
        ({"name": "x", "dataset": "postcards", "embedding": [1]}, 400, "1 numbers"),
        ({"name": "x", "dataset": "postcards", "embedding": []}, 400, "1 elements"),
        (
            {"name": "x", "dataset": "postcards", "embedding": [0] * 512},
            400,
            "no direction",
        ),
        (
            {"name": "x", "dataset": "postcards", "embedding": [1e308] * 512},
            400,
            "no direction",
        ),
        (
            {"name": "x", "dataset": "postcards", "embedding": ["nan"] * 512},
            400,
            "valid number",
        ),
        ({"name": "x", "dataset": "postcards", "embedding": "1"}, 400, "list"),
        ({"name": "x", "round": "no uuid"}, 400, "UUID"),
        ({"name": "x", "round": NOBODY, "embedding": [1]}, 400, "not known"),
        ({"name": "x", "round": NOBODY, "dataset": "postcards"}, 400, "not known"),
    ],
)
def test_a_refusal_says_what_is_wrong(ada, body, status, words):
    assert words in str(ada.post("concepts/", body, status))
    assert ada.get("concepts/")["results"] == []


def test_malformed_bodies_are_refused(ada):
    told = made(ada)
    whole = {"name": "x", "description": "y", "visibility": "private"}
    good = whole | {"dataset": "postcards", "embedding": vector()}
    assert_refuses_all(ada, "post", "concepts/", good)
    assert_refuses_all(ada, "post", "concepts/", whole | {"round": NOBODY})
    assert_refuses_all(ada, "patch", path(told), whole | {"renew_link": False})
    for body in ({"embedding": vector()}, {"round": NOBODY}, {"restore": 1}):
        assert_refuses_all(ada, "post", path(told, "versions"), body)
