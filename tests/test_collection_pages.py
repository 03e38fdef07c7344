"""The pages of collections: lists, one of them, and what its owner changes in it."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone
from support.collection_helpers import (
    address,
    as_items,
    collection,
    filled,
    order_of,
    post,
    undone,
)

from search.errors import SearchUnavailable

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return get_user_model().objects.create_user("ada")


@pytest.fixture
def ada(client, user):
    client.force_login(user)
    return client


def shown(response) -> list[int]:
    """The items on a page, in their order."""
    html = response.content.decode()
    return [int(item) for item in re.findall(r'data-(?:item|gone)="(\d+)"', html)]


def next_page(response) -> str:
    found = re.search(r'hx-get="([^"]+)"', response.content.decode())
    return found[1].replace("&amp;", "&") if found else ""


# --- Lists


def test_a_collection_is_made_by_a_form_and_found_in_the_list(ada):
    made = ada.post("/collections/", {"name": " Boats <b> ", "description": "d"})
    assert ada.get(made["Location"]).status_code == 200
    html = ada.get("/collections/").content.decode()
    assert "Boats &lt;b&gt;" in html and "0 images" in html


def test_a_name_is_asked_for_and_nothing_typed_is_lost(ada):
    answer = ada.post("/collections/", {"name": "  ", "description": "kept text"})
    html = answer.content.decode()
    assert answer.status_code == 400
    assert "Give the collection a name." in html and "kept text" in html
    answer = post(ada, "/collections/", name="x" * 121)
    assert answer.json() == {"detail": "Use up to 120 characters for the name."}


def test_the_list_is_sorted_and_goes_on(ada, user, monkeypatch):
    monkeypatch.setattr("usercollections.collection.views.COLLECTIONS_PER_PAGE", 2)
    for name, size in (("b", 1), ("C", 3), ("a", 2)):
        filled(user, size, name)
    names = re.compile(r'<span class="name" dir="auto">(.*?)</span>')
    for sort, wanted in (("name", "abC"), ("size", "Cab"), ("changed", "aCb")):
        first = ada.get("/collections/", {"sort": sort}).content.decode()
        more = re.search(r'href="(\?sort=[^"]+)"', first)[1].replace("&amp;", "&")
        second = ada.get(f"/collections/{more}").content.decode()
        found = names.findall(first) + names.findall(second)
        assert "".join(found) == wanted
        assert "cursor=" not in second


def test_covers_show_the_chosen_picture_or_the_first_safe_ones(
    ada, user, postcards_dataset
):
    made = collection(user, 1, 2, 3, 4, 5)
    made.items.filter(item=2).update(nsfw="UNSURE")
    tiles = re.compile(r"/t/postcards/(\d+)/")
    html = ada.get("/collections/").content.decode()
    assert tiles.findall(html) == ["1", "3", "4", "5"]
    post(ada, address("cover", made), items=as_items(4))
    assert tiles.findall(ada.get("/collections/").content.decode()) == ["4"]
    answer = post(ada, address("remove", made), items=as_items(4))
    html = ada.get("/collections/").content.decode()
    assert tiles.findall(html) == ["1", "3", "5"]
    undone(ada, answer)
    assert tiles.findall(ada.get("/collections/").content.decode()) == ["4"]


def test_visitors_are_asked_to_sign_in_and_led_back(client):
    answer = client.get("/collections/")
    assert answer.status_code == 302
    assert answer["Location"].endswith("?next=/collections/")


# --- One of them


def test_the_page_shows_members_in_every_order_and_goes_on(
    ada, user, postcards_dataset, monkeypatch
):
    monkeypatch.setattr("usercollections.collection.views.ITEMS_PER_PAGE", 3)
    ids = [5, 3, 9, 1, 7, 2, 8]
    made = collection(user, *ids)
    post(ada, address("move", made), items=as_items(8), to="first")
    captions = {row.item: row.caption.lower()[:100] for row in made.items.all()}
    for order, wanted in {
        "hand": [8, *ids[:-1]],
        "newest": ids[::-1],
        "caption": None,
        "dataset": sorted(ids),
    }.items():
        response = ada.get(address("", made), {"order": order})
        seen = shown(response)
        while more := next_page(response):
            response = ada.get(more, headers={"HX-Request": "true"})
            assert "<html" not in response.content.decode()
            seen += shown(response)
        assert sorted(seen) == sorted(ids)
        if wanted:
            assert seen == wanted
        else:
            assert [captions[item] for item in seen] == sorted(captions.values())


def test_a_forged_cursor_is_refused_with_a_sentence(ada, user, postcards_dataset):
    made = collection(user, 1)
    for cursor in ("x", "WzFd:1:2"):
        answer = ada.get(address("", made), {"cursor": cursor})
        assert answer.status_code == 400
        assert "link to the next page is not valid" in answer.content.decode()


def test_what_the_dataset_lost_is_marked_and_keeps_its_caption(
    ada, user, postcards_dataset
):
    made = collection(user, 1, 2)
    gone = made.items.get(item=2)
    gone.item, gone.caption, gone.url = 999_999, "lost one", "https://a.example/p.jpg"
    gone.save()
    html = ada.get(address("", made)).content.decode()
    assert "No longer in the dataset" in html and "lost one" in html
    assert 'href="https://a.example/p.jpg"' in html
    assert "/t/postcards/999999/" not in html
    gone.url = "javascript:alert(1)"
    gone.save()
    assert "javascript:" not in ada.get(address("", made)).content.decode()


@pytest.mark.parametrize("kind", ["item", "url"])
def test_what_must_not_be_shown_is_a_tombstone_and_leaves_exports(
    ada, user, postcards_dataset, kind
):
    """It is on a list, and its dataset was brought in anew without it."""
    from search.removals import takedowns

    made = collection(user, 1, 2)
    member = made.items.get(item=2)
    member.item, member.url, member.caption = 999_999, "https://a.example/p", "secret"
    member.save()
    value = "999999" if kind == "item" else "https://a.example/p"
    takedowns.add(kind, [value], postcards_dataset if kind == "item" else None)
    html = ada.get(address("", made)).content.decode()
    assert "Removed: this image may no longer be shown" in html
    assert "secret" not in html and "a.example" not in html
    exported = b"".join(ada.get(address("json", made)).streaming_content).decode()
    assert "secret" not in exported and '"id": 1' in exported


def test_the_page_is_there_while_the_engine_is_away(
    ada, user, postcards_dataset, monkeypatch
):
    def away(*_):
        raise SearchUnavailable("The search engine did not answer as it should.")

    made = collection(user, 1, 2)
    monkeypatch.setattr("search.retrieval.item_lookup.states", away)
    assert shown(ada.get(address("", made))) == [1, 2]


def test_captions_notes_and_names_are_shown_as_text(ada, user):
    evil = "<img src=x onerror=alert(1)>"
    made = filled(user, 1, evil)
    made.items.update(caption=evil, note=evil)
    html = ada.get(address("", made)).content.decode()
    assert "<img src=x" not in html and "&lt;img src=x" in html


# --- Changes by the owner


def test_name_and_description_are_changed(ada, user):
    made = filled(user, 1)
    answer = ada.post(address("edit", made), {"name": "new", "description": "why"})
    assert answer["Location"] == address("", made)
    made.refresh_from_db()
    assert (made.name, made.description) == ("new", "why")
    assert ada.post(address("edit", made), {"name": ""}).status_code == 400


def test_what_is_deleted_can_be_put_back_for_thirty_days(ada, user):
    from usercollections.collection.tasks import sweep
    from usercollections.models import Collection, CollectionItem

    made = filled(user, 3, "gone soon")
    answer = post(ada, address("delete", made))
    assert answer.json()["to"] == "/collections/"
    assert ada.get(address("", made)).status_code == 404
    assert "Recently deleted (1)" in ada.get("/collections/").content.decode()
    assert sweep() == 0
    undone(ada, answer)
    assert ada.get(address("", made)).status_code == 200
    post(ada, address("delete", made))
    Collection.objects.update(deleted_at=timezone.now() - timedelta(days=31))
    assert post(ada, address("restore", made)).status_code == 404
    assert "Recently deleted" not in ada.get("/collections/").content.decode()
    assert sweep() == 1
    assert not Collection.objects.exists() and not CollectionItem.objects.exists()


def test_merging_joins_two_and_can_be_undone(ada, user, postcards_dataset):
    target, source = collection(user, 1, 2), collection(user, 2, 3, name="others")
    post(ada, address("note", source), items=as_items(3), note="mine")
    answer = post(ada, address("merge", target), source=source.pk)
    assert answer.json()["toast"]["text"] == (
        "Merged “others” into this collection: added 1 image."
    )
    assert order_of(target) == [1, 2, 3]
    assert target.items.get(item=3).note == "mine"
    assert ada.get(address("", source)).status_code == 404
    undone(ada, answer)
    assert (order_of(target), order_of(source)) == ([1, 2], [2, 3])
    assert ada.get(address("", source)).status_code == 200
    target.refresh_from_db()
    assert target.size == 2


@pytest.mark.parametrize("source", ["", "x", "itself"])
def test_a_merge_with_nothing_is_refused(ada, user, source):
    made = filled(user, 2)
    source = made.pk if source == "itself" else source
    assert post(ada, address("merge", made), source=source).status_code == 400


def test_a_copy_is_private_and_in_the_same_order(ada, user, postcards_dataset):
    made = collection(user, 3, 1, 2, visibility="public")
    post(ada, address("move", made), items=as_items(2), to="first")
    post(ada, address("note", made), items=as_items(2), note="mine")
    answer = ada.post(address("copy", made))
    html = ada.get(answer["Location"]).content.decode()
    assert "boats (copy)" in html and "Only you" in html and "mine" in html
    assert shown(ada.get(answer["Location"])) == [2, 3, 1]


def test_without_scripts_forms_lead_on_and_say_what_was_done(ada, user):
    made = filled(user, 1)
    answer = ada.post(address("delete", made), follow=True)
    assert answer.redirect_chain == [("/collections/", 302)]
    assert "Deleted “many”." in answer.content.decode()
    answer = ada.post(address("restore", made), follow=True)
    assert answer.redirect_chain == [(address("", made), 302)]


def test_no_get_changes_anything(ada, user):
    made = filled(user, 1)
    for name in ("edit", "delete", "restore", "visibility", "cover", "merge", "add"):
        assert ada.get(address(name, made)).status_code == 405
    assert ada.get(reverse("collections-choose")).status_code == 405
