"""Collections and their items, as programs keep them."""

import uuid

import pytest
from support.api_calls import Caller, assert_refuses_all, assert_shaped, caller, walked
from support.collection_helpers import collection, filled, keys, order_of

from search.models import Pick

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


def items(*ids: int, dataset: str = "postcards") -> list[dict]:
    return [{"dataset": dataset, "id": item} for item in ids]


def made(one: Caller, *ids: int, **more) -> dict:
    return one.post("collections/", {"name": "boats", "items": items(*ids), **more})


def path(told: dict, *more: str) -> str:
    return "/".join(["collections", told["id"], *more, ""])


def ids_of(one: Caller, told: dict) -> list[int]:
    return [row["id"] for row in walked(one, path(told, "items"))]


# --- As a whole


def test_a_collection_is_made_with_its_items(ada):
    from usercollections.api.collection_serializers import CollectionSerializer
    from usercollections.models import Collection

    told = made(ada, 7, 3, 7, 10**12, description=" at sea ", words="a boat")
    assert_shaped(CollectionSerializer, told)
    assert (told["name"], told["description"]) == ("boats", "at sea")
    assert (told["size"], told["cover"], told["is_mine"]) == (2, None, True)
    assert (told["visibility"], told["link"], told["share_token"]) == (
        "private",
        None,
        None,
    )
    row = Collection.objects.get(owner=ada.user)
    assert order_of(row) == [7, 3]
    assert told["page"] == f"http://localhost/collections/{row.pk}/"
    assert ada.get(path(told)) == told
    assert set(Pick.objects.values_list("item", "keyword")) == {
        (7, "a boat"),
        (3, "a boat"),
    }


def test_one_that_cannot_be_filled_is_not_made(ada, settings):
    from usercollections.models import Collection

    settings.CLICKHOUSE_URL = "clickhouse://127.0.0.1:9/default"
    body = {"name": "boats", "items": items(7)}
    assert ada.post("collections/", body, 503)["code"] == "unavailable"
    assert not Collection.objects.exists()


def test_it_is_changed_as_a_whole_or_not_at_all(ada):
    told = made(ada, 7, 3)
    cover = {"dataset": "postcards", "id": 3}
    changed = ada.patch(
        path(told), name="ships", description="old", cover=cover, visibility="unlisted"
    )
    assert (changed["name"], changed["description"]) == ("ships", "old")
    assert changed["cover"] == cover
    assert changed["link"].endswith(f"/collections/shared/{changed['share_token']}/")
    refused = ada.patch(
        path(told), 400, name="lost", cover={"dataset": "postcards", "id": 4}
    )
    assert "no longer in the collection" in refused["detail"]
    assert ada.get(path(told)) == changed
    assert ada.patch(path(told), cover=None)["cover"] is None
    assert ada.patch(path(told)) | {"cover": cover} == changed


def test_the_link_is_renewed_and_revoked(ada, eve):
    from usercollections.api.collection_serializers import CollectionSerializer

    told = made(ada, 7, visibility="unlisted")
    first = told["share_token"]
    shared = f"collections/shared/{first}/"
    seen = eve.get(shared)
    assert_shaped(CollectionSerializer, seen)
    assert (seen["name"], seen["is_mine"], seen["link"]) == ("boats", False, None)
    assert (seen["visibility"], seen["share_token"]) == (None, None)
    assert eve.client.get(f"/api/{shared}")["X-Robots-Tag"] == "noindex, nofollow"
    second = ada.patch(path(told), renew_link=True)["share_token"]
    assert second != first
    for nobody in (eve, Caller()):
        nobody.get(shared, 404)
        nobody.get(f"collections/shared/{second}/")
        nobody.get(f"{shared}items/", 404)
    assert ada.patch(path(told), visibility="private")["share_token"] is None
    eve.get(f"collections/shared/{second}/", 404)
    assert "no link" in ada.patch(path(told), 400, renew_link=True)["detail"]


def test_deleting_it_can_be_undone_on_the_page(ada):
    told = made(ada, 7)
    ada.delete(path(told))
    ada.get(path(told), 404)
    ada.delete(path(told), 404)
    assert ada.get("collections/")["results"] == []
    ada.client.force_login(ada.user)
    answer = ada.client.post(f"/collections/{told['id']}/restore")
    assert answer.status_code == 302
    assert ids_of(ada, told) == [7]


def test_mine_are_listed_page_by_page_in_each_order(ada, eve):
    by_size = {}
    for name, count in (("b", 3), ("A", 1), ("c", 2)):
        by_size[count] = made(ada, *range(count), name=name)["id"]
    made(eve, 1, name="of eve")
    for sort, names in (
        ("name", ["A", "b", "c"]),
        ("size", ["b", "c", "A"]),
        ("created", ["c", "A", "b"]),
        ("changed", ["c", "A", "b"]),
    ):
        listed = walked(ada, "collections/", sort=sort, limit=2)
        assert [each["name"] for each in listed] == names
    assert ada.get("collections/", limit=2, sort="size")["next"]
    assert ada.get("collections/", 400, sort="colour")["sort"]
    assert ada.get("collections/", 400, colour="red")["colour"]
    assert ada.get("collections/", 400, limit=0)["limit"]
    assert "next page" in ada.get("collections/", 400, cursor="forged")["detail"]


def test_public_ones_are_for_everyone(ada, eve):
    told = made(ada, 7, visibility="public")
    made(ada, visibility="public", name="empty")
    made(ada, 3, visibility="unlisted", name="hidden")
    for one in (eve, Caller()):
        (listed,) = one.get("collections/", visibility="public")["results"]
        assert listed["id"] == told["id"] and not listed["is_mine"]
        assert listed["visibility"] is None
        assert one.get(path(told)) == listed
        assert ids_of(one, told) == [7]
    (mine,) = ada.get("collections/", visibility="public")["results"]
    assert mine["is_mine"] and mine["link"].endswith(f"/collections/{told['id']}/")
    assert len(ada.get("collections/")["results"]) == 3


# --- Items


def test_items_come_in_the_order_made_by_hand(ada):
    from usercollections.api.collection_serializers import MemberSerializer

    told = made(ada, 9, 3, 7, 5)
    rows = walked(ada, path(told, "items"), limit=3)
    assert [row["id"] for row in rows] == [9, 3, 7, 5]
    assert [row["place"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert_shaped(MemberSerializer, row)
        assert row["standing"] == "there" and row["caption"] and row["note"] == ""
        assert ada.client.get(row["page"]).status_code == 200
        assert ada.client.get(row["thumbnail"])["Content-Type"] == "image/webp"
        one = ada.get(path(told, "items", "postcards", str(row["id"])))
        assert one == row


def test_items_are_added_and_removed(ada):
    told = made(ada, 7)
    body = {"items": items(3, 7, 10**12) + items(1, dataset="nowhere")}
    added = ada.post(path(told, "items"), body, 200)
    assert added == {"new": 1, "there": 1, "unknown": 2, "size": 2}
    assert ids_of(ada, told) == [7, 3]
    gone = ada.post(path(told, "items", "remove"), {"items": items(7, 8)}, 200)
    assert gone == {"removed": 1, "size": 1}
    ada.delete(path(told, "items", "postcards", "3"))
    ada.delete(path(told, "items", "postcards", "3"), 404)
    assert ada.get(path(told))["size"] == 0


def test_a_member_is_noted_and_moved(ada):
    told = made(ada, 1, 2, 3, 4)
    member = path(told, "items", "postcards", "4")
    changed = ada.patch(member, note=" the best ", place=2)
    assert (changed["note"], changed["place"]) == ("the best", 2)
    assert ids_of(ada, told) == [1, 4, 2, 3]
    assert ada.patch(member, place=50)["place"] == 4
    assert ada.patch(member, place=1)["place"] == 1
    assert ids_of(ada, told) == [4, 1, 2, 3]
    assert ada.get(member)["note"] == "the best"
    ada.patch(path(told, "items", "postcards", "9"), 404, note="x")
    assert ada.patch(member, 400, place=0)["place"]
    ada.get(path(told, "items", "postcards", str(2**70)), 404)


def test_notes_are_for_their_owner(ada, eve):
    from usercollections.api.collection_serializers import MemberSerializer

    told = made(ada, 7, visibility="public")
    member = path(told, "items", "postcards", "7")
    ada.patch(member, note="a secret")
    token = ada.get(path(told))["share_token"]
    for where in (path(told, "items"), f"collections/shared/{token}/items/"):
        (row,) = eve.get(where)["results"]
        assert_shaped(MemberSerializer, row)
        assert row["note"] is None and row["caption"]
    assert eve.get(member)["note"] is None
    assert ada.get(f"collections/shared/{token}/items/")["results"][0]["note"] is None


def test_of_removed_and_gone_items_as_much_is_told_as_on_the_page(ada, eve, dataset):
    from search.removals import takedowns
    from usercollections.api.collection_serializers import MemberSerializer
    from usercollections.models import CollectionItem

    told = made(ada, 7, 3, 5, visibility="public")
    for before, item in ((7, 10**12), (5, 10**12 + 1)):
        lost = CollectionItem.objects.filter(item=before)
        lost.update(item=item, caption="a lost boat", url="https://example.org/b")
    takedowns.add("item", [str(10**12)], dataset)
    for one in (ada, eve):
        removed, there, gone = walked(one, path(told, "items"))
        for row in (removed, gone):
            assert_shaped(MemberSerializer, row)
        standings = [each["standing"] for each in (removed, there, gone)]
        assert standings == ["removed", "there", "gone"]
        assert removed["url"] == removed["caption"] == "" and removed["width"] == 0
        assert removed["thumbnail"] is removed["page"] is None
        assert gone["caption"] == "a lost boat" and gone["url"]
        assert gone["thumbnail"] is gone["page"] is None


def test_without_the_engine_items_are_not_told(ada, settings):
    """It knows which of them must not be shown."""
    told = made(ada, 7)
    settings.CLICKHOUSE_URL = "clickhouse://127.0.0.1:9/default"
    assert ada.get(path(told, "items"), 503)["code"] == "unavailable"
    assert ada.get(path(told))["size"] == 1
    assert ada.patch(path(told), name="ships")["name"] == "ships"


# --- Whose it is


def test_visitors_are_asked_to_sign_in(ada):
    told = made(ada, 7, visibility="public")
    visitor = Caller()
    member = path(told, "items", "postcards", "7")
    for method, where in (
        ("get", "collections/"),
        ("post", "collections/"),
        ("patch", path(told)),
        ("delete", path(told)),
        ("post", path(told, "items")),
        ("post", path(told, "items", "remove")),
        ("patch", member),
        ("delete", member),
    ):
        refused = visitor.ask(method, where, {}, 401)
        assert refused["code"] == "not_authenticated"
    visitor.get(path(made(ada, 7)), 404)


def test_what_is_public_is_changed_by_its_owner_alone(ada, eve):
    told = made(ada, 7, visibility="public")
    member = path(told, "items", "postcards", "7")
    for method, where, body in (
        ("patch", path(told), {"name": "mine"}),
        ("delete", path(told), {}),
        ("post", path(told, "items"), {"items": items(3)}),
        ("post", path(told, "items", "remove"), {"items": items(7)}),
        ("patch", member, {"note": "mine"}),
        ("delete", member, {}),
    ):
        refused = eve.ask(method, where, body, 404)
        assert refused == ada.ask(
            method, where.replace(told["id"], NOBODY), body, 404
        )  # the same as for what is not there
    assert ada.get(path(told)) == told and ids_of(ada, told) == [7]


def test_a_session_needs_the_token_of_our_pages(ada):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(ada.user)
    answer = client.post("/api/collections/", {"name": "x"}, "application/json")
    assert answer.status_code == 403
    assert answer.json()["code"] == "permission_denied"
    assert client.get("/api/collections/").json() == {"results": [], "next": None}


# --- How many


def test_there_is_a_most_of_them(ada, monkeypatch):
    """For the API as for the pages, whichever way one more would come."""
    from usercollections import sharing

    monkeypatch.setattr(sharing, "MAX_OWNED", 2)
    first, second = made(ada, 7), made(ada, 3)
    for ask in (
        lambda: ada.post("collections/", {"name": "one too many"}, 400)["detail"],
        lambda: _page_refuses(ada, "/collections/", name="one too many"),
        lambda: _page_refuses(ada, f"/collections/{first['id']}/copy"),
    ):
        assert ask() == (
            "You have 2 collections, which is the maximum. Delete one first."
        )
    ada.delete(path(second))
    made(ada, 5)
    assert "which is the maximum" in _page_refuses(
        ada, f"/collections/{second['id']}/restore"
    )


def _page_refuses(one: Caller, address: str, **form) -> str:
    one.client.force_login(one.user)
    headers = {"X-Requested-With": "XMLHttpRequest"}
    answer = one.client.post(address, form, headers=headers)
    assert answer.status_code == 400, answer.content
    return answer.json()["detail"]


def test_there_is_a_most_of_items(ada, monkeypatch):
    from usercollections.collection import members

    monkeypatch.setattr(members, "MAX_MEMBERS", 2)
    told = made(ada, 1, 2)
    refused = ada.post(path(told, "items"), {"items": items(3)}, 400)
    assert "holds up to 2 images" in refused["detail"]
    body = {"items": items(*range(5_001))}
    assert "5000" in str(ada.post(path(told, "items"), body, 400)["items"])
    body = {"name": "x", "items": items(1, 2, 3)}
    ada.post("collections/", body, 400)
    assert len(ada.get("collections/")["results"]) == 1


def test_a_large_one_is_walked_through_in_order(ada):
    many = filled(ada.user, 250)
    rows = walked(ada, f"collections/{many.pk}/items/", limit=100)
    assert [row["place"] for row in rows] == list(range(1, 251))
    assert [row["id"] for row in rows] == order_of(many)
    assert {row["standing"] for row in rows} == {"gone"}


# --- What is malformed


def test_of_many_keys_that_are_not_known_some_are_named(ada):
    body = {"name": "boats"} | {f"key{number}": number for number in range(1_000)}
    told = ada.post("collections/", body, 400)
    assert list(told) == [f"key{number}" for number in range(20)]


def test_malformed_bodies_are_refused(ada):
    told = made(ada, 7)
    body = {
        "name": "x",
        "description": "y",
        "visibility": "private",
        "items": items(3),
        "words": "a boat",
    }
    assert_refuses_all(ada, "post", "collections/", body)
    body = {
        "name": "x",
        "description": "y",
        "visibility": "public",
        "cover": items(7)[0],
        "renew_link": True,
    }
    assert_refuses_all(ada, "patch", path(told), body)
    for where in (path(told, "items"), path(told, "items", "remove")):
        assert_refuses_all(ada, "post", where, {"items": items(3)})
    member = path(told, "items", "postcards", "7")
    made(ada, 7)
    ada.post(path(told, "items"), {"items": items(7)}, 200)
    assert_refuses_all(ada, "patch", member, {"note": "x", "place": 1})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "required"),
        ({"name": " "}, "blank"),
        ({"name": "x" * 121}, "120"),
        ({"name": "x", "description": "y" * 2_001}, "2000"),
        ({"name": "x", "visibility": "everyone"}, "private, unlisted or public"),
        ({"name": "x", "owner": 1}, "not known"),
        ({"name": "x", "items": [{"dataset": "postcards"}]}, "required"),
        ({"name": "x", "items": [{"dataset": "postcards", "id": -1}]}, "greater"),
        ({"name": "x", "items": [{"dataset": "postcards", "id": 2**53}]}, "less"),
        ({"name": "x", "items": [{"dataset": "postcards", "id": 1.5}]}, "integer"),
        ({"name": "x", "items": ["7"]}, "dictionary"),
        ({"name": "x", "items": "7"}, "list"),
    ],
)
def test_a_refusal_says_what_is_wrong(ada, body, words):
    assert words in str(ada.post("collections/", body, 400))


def test_the_page_and_the_api_see_the_same(ada):
    one = collection(ada.user, 7, 3)
    told = ada.get(f"collections/{one.pk}/")
    assert (told["name"], told["size"]) == (one.name, 2)
    ada.post(f"collections/{one.pk}/items/remove/", {"items": items(7)}, 200)
    one.refresh_from_db()
    assert order_of(one) == [3] and one.size == 1
    assert keys(3)[0].item == 3
