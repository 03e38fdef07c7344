"""Visibility of collections, and what others may do with shared ones."""

import csv
import json
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from support.collection_helpers import address, as_items, collection, filled, post

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return get_user_model().objects.create_user("ada")


@pytest.fixture
def ada(client, user):
    client.force_login(user)
    return client


@pytest.fixture
def eve():
    other = Client()
    other.force_login(get_user_model().objects.create_user("eve"))
    return other


@pytest.fixture
def visitor():
    return Client()


def token_of(made) -> str:
    made.refresh_from_db()
    return made.share_token


def by_link(token: str, name: str = "collection") -> str:
    return reverse(name, kwargs={"token": token})


CHANGES = (
    *("edit", "delete", "restore", "visibility", "renew-link", "cover", "merge"),
    *("add", "remove", "move", "undo", "note"),
)


@pytest.mark.parametrize("visibility", ["private", "unlisted", "public"])
def test_nobody_else_changes_a_collection(
    user, eve, visitor, postcards_dataset, visibility
):
    made = collection(user, 1, 2, visibility=visibility)
    before = list(made.items.values()), made.name
    for name in CHANGES:
        for other in (eve, visitor):
            answer = post(
                other,
                address(name, made),
                name="hers",
                items=as_items(1),
                to="last",
                visibility="public",
                note="x",
                owner=made.owner_id,
            )
            assert answer.status_code == 404, name
            assert "detail" in answer.json()
    made.refresh_from_db()
    assert (list(made.items.values()), made.name) == before


def test_a_private_one_is_seen_by_its_owner_alone(ada, eve, visitor, user):
    made = filled(user, 1)
    for name in ("", "json", "csv", "like-it"):
        for other in (eve, visitor):
            assert other.get(address(name, made)).status_code == 404
    assert eve.post(address("copy", made)).status_code == 404
    assert ada.get(address("", made)).status_code == 200


def test_an_unlisted_one_is_seen_by_its_link_until_that_is_renewed(
    ada, user, visitor, postcards_dataset
):
    made = collection(user, 1, 2)
    post(ada, address("note", made), items=as_items(1), note="my secret note")
    assert token_of(made) is None
    post(ada, address("visibility", made), visibility="unlisted")
    token = token_of(made)
    assert len(token) == 22  # 128 bits
    assert visitor.get(address("", made)).status_code == 404
    seen = visitor.get(by_link(token))
    html = seen.content.decode()
    assert seen.status_code == 200
    assert "noindex" in seen["X-Robots-Tag"] and 'name="robots"' in html
    assert "my secret note" not in html and "Add a note" not in html
    assert address("", made) not in html  # no way to it but by the link
    exported = visitor.get(by_link(token, "collection-json"))
    assert "my secret note" not in b"".join(exported.streaming_content).decode()
    post(ada, address("renew-link", made))
    assert visitor.get(by_link(token)).status_code == 404
    assert visitor.get(by_link(token_of(made))).status_code == 200


def test_a_link_leads_nowhere_once_the_collection_is_private_or_deleted(
    ada, user, visitor
):
    made = filled(user, 1)
    post(ada, address("visibility", made), visibility="unlisted")
    token = token_of(made)
    post(ada, address("delete", made))
    assert visitor.get(by_link(token)).status_code == 404
    post(ada, address("restore", made))
    assert visitor.get(by_link(token)).status_code == 200
    post(ada, address("visibility", made), visibility="private")
    assert visitor.get(by_link(token)).status_code == 404
    post(ada, address("visibility", made), visibility="unlisted")
    assert visitor.get(by_link(token)).status_code == 404
    answer = post(ada, address("visibility", made), visibility="everyone!")
    assert answer.json() == {"detail": "Choose who can view the collection."}


def test_a_public_one_is_listed_and_copied_without_notes(ada, user, eve, visitor):
    made = filled(user, 2, "for all")
    made.items.update(note="my secret note")
    hidden = filled(user, 2, "not for all")
    post(ada, address("visibility", made), visibility="public")
    post(ada, address("visibility", hidden), visibility="unlisted")
    listed = visitor.get(reverse("collections-public")).content.decode()
    assert "for all" in listed and "not for all" not in listed
    html = visitor.get(address("", made)).content.decode()
    assert "my secret note" not in html and "Copy to my collections" in html
    copied = eve.post(address("copy", made), follow=True)
    assert copied.status_code == 200
    assert "for all (copy)" in copied.content.decode()
    assert "my secret note" not in copied.content.decode()
    asked = visitor.post(address("copy", made))
    assert asked.status_code == 302 and "/accounts/login/" in asked["Location"]


# --- Files


def test_files_have_all_members_and_no_formulas(ada, user, postcards_dataset):
    made = collection(user, 3, 1, name="My boats!")
    evil = ['=HYPERLINK("x")', "+1", "-1", "@a", "\tx", "\rx"]
    for start, text in enumerate(evil):
        member = made.items.get(item=3)
        member.pk, member.item, member.caption = None, 1_000_000 + start, text
        member.position = 5_000 + start
        member.save()
    made.items.filter(item=3).update(note="=note")
    answer = ada.get(address("csv", made))
    assert answer["Content-Disposition"] == 'attachment; filename="my-boats.csv"'
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    rows = list(csv.DictReader(StringIO(text, newline="")))
    assert [row["id"] for row in rows][:2] == ["3", "1"]
    assert [row["caption"] for row in rows[2:]] == [f"'{each}" for each in evil]
    assert rows[0]["note"] == "'=note"
    told = json.loads(b"".join(ada.post(address("json", made)).streaming_content))
    assert told["name"] == "My boats!"
    assert [each["caption"] for each in told["items"][2:]] == evil
    assert list(told["items"][0]) == list(rows[0])
    assert told["items"][0] | {"position": 1024.0} == told["items"][0]


def test_a_file_is_written_while_it_is_read(user, monkeypatch):
    """However many members: no more than a few at a time are in memory."""
    from usercollections.collection import rows
    from usercollections.collection.download_views import write

    monkeypatch.setattr(rows, "BATCH_ROWS", 50)
    made = filled(user, 220)
    pieces = write(made, user, "json", with_notes=True)
    lengths = [piece.count('"dataset"') for piece in pieces]
    assert max(lengths) == 50 and sum(lengths) == 220
    empty = "".join(write(filled(user, 0), user, "json", with_notes=False))
    assert json.loads(empty)["items"] == []
