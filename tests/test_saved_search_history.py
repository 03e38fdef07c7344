"""The history of a user's searches: private, with an end, and only if it is wanted."""

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from search.models import SYSTEM

pytestmark = pytest.mark.django_db
SCRIPT = {"X-Requested-With": "XMLHttpRequest"}


@pytest.fixture
def ada(client, postcards_dataset):
    user = get_user_model().objects.create_user("ada")
    client.force_login(user)
    return user


@pytest.fixture
def eve():
    return get_user_model().objects.create_user("eve")


def tell(client, words: str):
    """Do what the page's script does when hits are on the screen."""
    return send(client, "search-made", address=f"q={words}&dataset=postcards")


def send(client, view: str, *args, **data):
    return client.post(reverse(view, args=args), data, headers=SCRIPT)


def kept(user) -> list:
    from usercollections.models import HistoryEntry

    return list(HistoryEntry.objects.owned_by(user))


def labels(user) -> list[str]:
    return [entry.label for entry in kept(user)]


def recent(client) -> list[str]:
    groups = client.get(reverse("suggest"), headers=SCRIPT).json()["groups"]
    return [each["label"] for group in groups for each in group["entries"]]


def test_the_latest_search_stands_first_and_once(client, ada):
    for words in ["boat", "cat", "boat"]:
        assert tell(client, words).json()["kept"]
    assert labels(ada) == ["boat", "cat"]
    assert recent(client) == ["boat", "cat"]
    page = client.get("/searches/").content.decode()
    assert page.index(">boat</a>") < page.index(">cat</a>")


def test_a_search_alone_is_not_recorded_by_the_server(client, ada):
    assert client.get("/?q=boat&dataset=postcards").status_code == 200
    assert not kept(ada)


def test_visitors_have_no_history(client, postcards_dataset):
    assert tell(client, "boat").status_code == 403
    assert recent(client) == []


@pytest.mark.parametrize(
    "address",
    ["", "//evil.example", "javascript:alert(1)", "q=boat&dataset=nowhere", "q=%00"],
)
def test_what_is_no_search_of_ours_is_not_recorded(client, ada, address):
    assert 400 <= send(client, "search-made", address=address).status_code < 500
    assert not kept(ada)


def test_it_is_seen_by_its_user_alone(client, ada, eve):
    tell(client, "boat")
    (entry,) = kept(ada)
    undo = send(client, "delete-history", entry.pk).json()["toast"]["undo"]
    tell(client, "boat")
    (entry,) = kept(ada)
    client.force_login(eve)
    assert recent(client) == []
    assert "boat" not in client.get("/searches/").content.decode()
    assert send(client, "delete-history", entry.pk).status_code == 404
    assert client.post(undo["url"], undo["data"], headers=SCRIPT).status_code == 404
    send(client, "clear-history")
    assert labels(ada) == ["boat"]


def test_the_oldest_go(client, ada, monkeypatch):
    from usercollections.saved_search import history

    monkeypatch.setattr(history, "MAX_STORED", 3)
    for words in ["one", "two", "three", "four", "five"]:
        tell(client, words)
    assert labels(ada) == ["five", "four", "three"]


def test_one_is_taken_out_and_brought_back(client, ada):
    for words in ["boat", "cat", "dog"]:
        tell(client, words)
    undo = send(client, "delete-history", kept(ada)[1].pk).json()["toast"]["undo"]
    assert labels(ada) == ["dog", "boat"]
    for _ in range(2):
        assert client.post(undo["url"], undo["data"], headers=SCRIPT).status_code == 200
    assert labels(ada) == ["dog", "cat", "boat"]


def test_it_can_be_cleared(client, ada):
    for words in ["boat", "cat"]:
        tell(client, words)
    page = client.post(reverse("clear-history"), follow=True).content.decode()
    assert "History cleared." in page
    assert not kept(ada) and recent(client) == []


def test_switched_off_nothing_is_recorded_and_the_page_says_so(client, ada):
    tell(client, "boat")
    send(client, "keep-history", keep="no")
    assert tell(client, "cat").json()["kept"] is False
    assert labels(ada) == ["boat"] and recent(client) == []
    assert "new searches are not saved" in client.get("/searches/").content.decode()
    send(client, "keep-history", keep="yes")
    assert tell(client, "cat").json()["kept"] is True


def test_a_long_history_is_shown_in_full_on_request(client, ada):
    from usercollections.saved_search.history import record
    from usercollections.saved_search.saved_query import checked

    for number in range(60):
        record(ada, checked(f"q=boat {number}&dataset=postcards", SYSTEM))
    first = client.get("/searches/").content.decode()
    assert "boat 59" in first and "boat 5<" not in first and "Show all 60" in first
    assert "boat 5<" in client.get("/searches/?all").content.decode()
