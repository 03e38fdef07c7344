"""Items come into collections, are moved, noted, taken out, and come back."""

import json

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from support.collection_helpers import (
    address,
    as_items,
    collection,
    filled,
    keys,
    order_of,
    post,
    undone,
)

from search.models import SYSTEM
from search.retrieval import service

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return get_user_model().objects.create_user("ada")


@pytest.fixture
def ada(client, user):
    client.force_login(user)
    return client


# --- Adding


def test_an_added_item_keeps_what_the_engine_knows_of_it(ada, user, postcards_dataset):
    made = collection(user)
    items = json.dumps(
        [{"dataset": "postcards", "id": 7, "caption": "mine", "url": "x"}]
    )
    answer = post(ada, address("add", made), items=items).json()
    assert answer["new"] == 1
    assert answer["toast"]["text"] == "Added 1 image to “boats”."
    member, truth = made.items.get(), service.item("postcards", 7, SYSTEM)
    assert (member.caption, member.url) == (truth.caption, truth.url)
    assert (member.width, member.height) == (truth.width, truth.height)
    made.refresh_from_db()
    assert made.size == 1


def test_what_is_not_there_is_told_and_what_is_in_it_stays_one(
    ada, user, postcards_dataset
):
    made = collection(user, 7)
    items = json.dumps(
        [{"dataset": "postcards", "id": item} for item in (7, 8, 99_999_999)]
        + [{"dataset": "nowhere", "id": 1}]
    )
    answer = post(ada, address("add", made), items=items).json()
    assert (answer["new"], answer["there"], answer["unknown"]) == (1, 1, 2)
    assert answer["toast"]["text"] == (
        "Added 1 image to “boats”. 1 was already in it. 2 are no longer in the dataset."
    )
    assert order_of(made) == [7, 8]


def test_adding_can_be_undone_and_takes_back_only_what_it_brought(
    ada, user, postcards_dataset
):
    made = collection(user, 7)
    answer = post(ada, address("add", made), items=as_items(7, 8, 9))
    assert undone(ada, answer).json()["toast"]["text"].startswith("Removed 2 images")
    assert order_of(made) == [7]
    made.refresh_from_db()
    assert made.size == 1


@pytest.mark.parametrize(
    "items",
    ["", "[]", "{}", "[1]", '[{"dataset": 5, "id": 1}]', '[{"dataset": "a"}]', "\x00"]
    + ['[{"dataset": "a", "id": -1}]', '[{"dataset": "a", "id": 1e99}]', "[" * 9_000]
    + ['[{"dataset": "a", "id": Infinity}]'],
)
def test_what_names_no_items_is_refused_with_a_sentence(ada, user, items):
    answer = post(ada, address("add", collection(user)), items=items)
    assert answer.status_code == 400
    assert answer.json()["detail"].endswith((".", "first."))


def test_five_thousand_go_in_at_once_and_no_more(ada, user):
    made = collection(user)
    answer = post(ada, address("add", made), items=as_items(*range(5_001)))
    assert answer.status_code == 400
    assert "Up to 5,000 images at a time" in answer.json()["detail"]


def test_a_full_collection_says_so(ada, user, postcards_dataset, monkeypatch):
    monkeypatch.setattr("usercollections.collection.members.MAX_MEMBERS", 2)
    made = collection(user, 1, 2)
    answer = post(ada, address("add", made), items=as_items(3))
    assert answer.status_code == 400
    assert "“boats” has 2 already" in answer.json()["detail"]
    assert post(ada, address("add", made), items=as_items(1)).status_code == 200


def test_adding_to_what_was_deleted_meanwhile_is_told(ada, user, postcards_dataset):
    made = collection(user)
    post(ada, address("delete", made))
    answer = post(ada, address("add", made), items=as_items(1))
    assert answer.status_code == 404
    assert "no such collection" in answer.json()["detail"]


def test_the_dialog_lists_my_collections_and_which_have_it(
    ada, user, postcards_dataset
):
    other = get_user_model().objects.create_user("eve")
    collection(other, 1, name="hers")
    collection(user, 1, 2, name="both")
    collection(user, 2, name="one <b>")
    answer = post(ada, "/collections/choose", items=as_items(1, 2)).json()
    told = [(each["name"], each["has"], each["size"]) for each in answer["collections"]]
    assert told == [("one <b>", 1, "1 image"), ("both", 2, "2 images")]


def test_a_new_collection_can_be_made_with_items_and_undone(
    ada, user, postcards_dataset
):
    answer = post(ada, "/collections/", name="new", items=as_items(1, 2))
    assert answer.json()["toast"]["text"] == "Created “new” with 2 images."
    assert undone(ada, answer).status_code == 200
    assert ada.get(answer.json()["to"]).status_code == 404


def test_what_is_kept_and_exported_counts_as_picked(ada, user, postcards_dataset):
    from search.models import Pick

    def picks() -> set[tuple[int, str, int]]:
        return set(Pick.objects.values_list("item", "kind", "count"))

    made = collection(user)
    post(ada, address("add", made), items=as_items(7, 8), words="a boat")
    post(ada, address("add", made), items=as_items(7), words="a boat")
    saved = {(7, "saved", 1), (8, "saved", 1)}
    assert picks() == saved
    b"".join(ada.get(address("json", made)).streaming_content)
    assert picks() == saved
    for _ in range(2):
        b"".join(ada.post(address("json", made)).streaming_content)
    exported = {(7, "exported", 1), (8, "exported", 1)}
    assert picks() == saved | exported


def test_a_change_of_the_name_leaves_what_came_in_meanwhile(
    ada, user, postcards_dataset, monkeypatch
):
    from usercollections import sharing_views
    from usercollections.collection import members

    made = collection(user, 1)
    check = sharing_views.check_form

    def check_slowly(form):
        check(form)
        members.add(user, made.pk, keys(2))

    monkeypatch.setattr(sharing_views, "check_form", check_slowly)
    post(ada, address("edit", made), name="new")
    made.refresh_from_db()
    assert (made.name, made.size) == ("new", 2)


# --- Taking out, and notes


def test_what_is_taken_out_comes_back_as_it_was(ada, user, postcards_dataset):
    made = collection(user, 1, 2, 3, 4)
    post(ada, address("note", made), items=as_items(2), note="for the calendar")
    before = list(made.items.order_by("pk").values())
    answer = post(ada, address("remove", made), items=as_items(2, 3, 77))
    assert answer.json()["toast"]["text"] == "Removed 2 images from “boats”."
    assert order_of(made) == [1, 4]
    assert undone(ada, answer).status_code == 200
    assert list(made.items.order_by("pk").values()) == before


def test_an_undo_of_another_collection_does_nothing(ada, user, postcards_dataset):
    made, other = collection(user, 1, 2), collection(user, 3)
    undo = post(ada, address("remove", made), items=as_items(2)).json()["toast"]["undo"]
    answer = post(ada, address("undo", other), **undo["data"])
    assert answer.status_code == 400
    assert answer.json()["detail"] == "This can no longer be undone."
    assert (order_of(made), order_of(other)) == ([1], [3])


def test_a_note_is_kept_and_a_long_one_refused(ada, user, postcards_dataset):
    made = collection(user, 1)
    where = address("note", made)
    assert post(ada, where, items=as_items(1), note=" one\ntwo ").status_code == 200
    assert made.items.get().note == "one\ntwo"
    answer = post(ada, where, items=as_items(1), note="x" * 2_001)
    assert answer.json()["detail"] == "Use up to 2,000 characters for the note."
    assert post(ada, where, items=as_items(5), note="x").status_code == 400
    assert made.items.get().note == "one\ntwo"


# --- The order made by hand


@pytest.mark.parametrize(
    ("moved", "asked", "order"),
    [
        ([4], {"to": "first"}, [4, 1, 2, 3, 5]),
        ([2, 1], {"to": "last"}, [3, 4, 5, 1, 2]),
        ([5], {"to": "before", "anchor": as_items(2)}, [1, 5, 2, 3, 4]),
        ([1], {"to": "after", "anchor": as_items(4)}, [2, 3, 4, 1, 5]),
        ([1, 5], {"to": "place", "place": "2"}, [2, 1, 5, 3, 4]),
        ([2], {"to": "place", "place": "999"}, [1, 3, 4, 5, 2]),
        ([2], {"to": "place", "place": "5"}, [1, 3, 4, 5, 2]),
        ([3], {"to": "place", "place": "1"}, [3, 1, 2, 4, 5]),
    ],
)
def test_members_are_moved_and_back(ada, user, postcards_dataset, moved, asked, order):
    made = collection(user, 1, 2, 3, 4, 5)
    answer = post(ada, address("move", made), items=as_items(*moved), **asked)
    assert answer.status_code == 200, answer.content
    assert order_of(made) == order
    undone(ada, answer)
    assert order_of(made) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"to": "up"},
        {"to": "before"},
        {"to": "before", "anchor": as_items(9)},
        {"to": "place", "place": "-1"},
        {"to": "place", "place": "²"},
    ],
)
def test_a_move_to_nowhere_is_refused(ada, user, postcards_dataset, asked):
    made = collection(user, 1, 2)
    answer = post(ada, address("move", made), items=as_items(1), **asked)
    assert answer.status_code == 400
    assert order_of(made) == [1, 2]


def test_gaps_that_run_out_are_made_anew(user):
    """Always into the same gap: after some fifty moves floats have no room left."""
    from usercollections.collection import members

    made = filled(user, 8)
    expected = order_of(made)
    for step in range(70):
        moved = expected[-1] if step % 2 else expected[2]
        anchor = expected[1]
        members.move(
            made,
            keys(moved, dataset="nowhere"),
            "before",
            keys(anchor, dataset="nowhere")[0],
        )
        expected.remove(moved)
        expected.insert(expected.index(anchor), moved)
        assert order_of(made) == expected
    positions = list(made.items.order_by("position").values_list("position", flat=True))
    assert len(set(positions)) == 8


# --- Many, and at once


@pytest.mark.parametrize("name", ["hand", "newest", "caption", "dataset"])
def test_pages_are_found_by_an_index_however_far_one_has_come(user, name):
    from usercollections.pagination import ORDERS, paginate, with_sorted_caption

    made, order = filled(user, 2_000), ORDERS[name]
    filled(user, 2_000, name="another")
    sql("ANALYZE collections_collectionitem")
    rows = made.items.all()
    if name == "caption":
        rows = with_sorted_caption(rows)
    seen, place = [], ""
    while len(seen) < 2_000:
        with CaptureQueriesContext(connection) as asked:
            page = paginate(rows, order, place, 40)
        (query,) = asked
        assert "OFFSET" not in query["sql"]
        # Of the last few hundred any way is as good.
        if len(seen) < 1_500:
            plan = sql(f"EXPLAIN {query['sql']}")
            assert "Index Scan" in plan and "Seq Scan" not in plan, plan
            assert "Sort" not in plan.replace("Incremental Sort", ""), plan
        assert page.start == len(seen)
        seen += [member.pk for member in page.rows]
        place = page.next
    assert not place
    assert seen == [member.pk for member in order.sorted(rows)]


def sql(statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall() if cursor.description else []
    return "\n".join(line for (line,) in rows)


def test_a_page_asks_as_much_of_a_large_collection_as_of_a_small_one(ada, user):
    counts = []
    for count in (100, 2_000):
        made = filled(user, count)
        for more in ("", "?order=newest"):
            with CaptureQueriesContext(connection) as asked:
                assert ada.get(address("", made) + more).status_code == 200
            counts.append(len(asked))
    assert len(set(counts)) == 1
    assert counts[0] < 20
