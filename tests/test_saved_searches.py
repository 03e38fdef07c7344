"""Saved searches: only ours, for their owner alone, with what is new in them."""

import re
from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone
from support.tiny_shards import (
    DIMENSION,
    drop_tables,
    import_all,
    tiny_dataset,
    write_shard,
)

from search.errors import SearchUnavailable
from search.models import Dataset, Shard
from search.query.model import encode_embedding

pytestmark = pytest.mark.django_db
SCRIPT = {"X-Requested-With": "XMLHttpRequest"}


@pytest.fixture
def ada(client):
    user = get_user_model().objects.create_user("ada", password="a secret of Ada")
    client.force_login(user)
    return user


@pytest.fixture
def eve():
    return get_user_model().objects.create_user("eve", password="a secret of Eve")


def saved(user) -> list:
    from usercollections.models import SavedSearch

    return list(SavedSearch.objects.owned_by(user))


def names(user) -> list[str]:
    return [each.name for each in saved(user)]


def save(client, address: str, name: str = "", **headers):
    given = {"address": address, "name": name}
    return client.post(reverse("save-search"), given, headers=headers or SCRIPT)


def keep(client, user, *kept: str):
    """Searches of these names and words; the first one is the first of the list."""
    for name in reversed(kept):
        assert save(client, f"q={name}&dataset=postcards", name).status_code == 200
    by_name = {each.name: each for each in saved(user)}
    return [by_name[name] for name in kept]


def send(client, view: str, search, **data):
    return client.post(reverse(view, args=[search.pk]), data, headers=SCRIPT)


# --- What is kept


def test_a_saved_search_leads_back_to_its_hits(client, ada, postcards_dataset):
    address = "q=boats+at+night&dataset=postcards"
    assert save(client, address).json()["toast"]["text"] == "Saved as “Boats at night”."
    (search,) = saved(ada)
    assert (search.address, search.dataset) == (address, "postcards")
    page = client.get("/searches/").content.decode()
    (link,) = re.findall(r'<h2 dir="auto"><a href="([^"]+)"', page)
    assert link == f"/?{address.replace('&', '&amp;')}"
    found = client.get(link.replace("&amp;", "&"))
    assert found.status_code == 200 and found.context["hits"]


def test_a_search_is_kept_in_one_spelling(client, ada, postcards_dataset):
    """Unknown parameters and defaults are removed."""
    save(client, "?dataset=postcards&evil=1&cursor=abc&q=a+boat&field=image&mode=exact")
    save(client, "mode=exact&q=a%20boat")
    (search,) = saved(ada)
    assert search.address == "q=a+boat&mode=exact&dataset=postcards"


def test_a_picture_keeps_its_embedding(client, ada, postcards_dataset):
    vector = np.random.default_rng(7).standard_normal(postcards_dataset.dimension)
    embedding = encode_embedding(vector)
    save(client, urlencode({"embedding": embedding, "dataset": "postcards"}))
    (search,) = saved(ada)
    assert search.name == "An image"
    assert parse_qs(search.address)["embedding"] == [embedding]
    assert client.get(f"/?{search.address}").status_code == 200


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("", "nothing to search for"),
        ("//evil.example/?q=boat", "nothing to search for"),
        ("https://evil.example/?q=boat", "nothing to search for"),
        ("javascript:alert(1)", "nothing to search for"),
        ("dataset=postcards", "nothing to search for"),
        ("q=boat&dataset=nowhere", "no dataset named"),
        ("q=boat&dataset=../admin", "no dataset"),
        ("q=boat&mode=sudden", "approximate or exact"),
        ("q=widht>10", ""),
        ("q=boat%00", "Null characters"),
        ("embedding=!!!", ""),
        (f"q=boat&x={'x' * 40_000}", "too long"),
    ],
)
def test_what_is_no_search_of_ours_is_not_kept(
    client, ada, postcards_dataset, address, sentence
):
    answer = save(client, address)
    assert 400 <= answer.status_code < 500
    assert sentence in answer.json()["detail"]
    assert not saved(ada)


def test_hostile_words_are_words(client, ada, postcards_dataset):
    hostile = '"><script>alert(1)</script>'
    answer = save(client, urlencode({"q": f"boat {hostile}"}), f"boat {hostile}")
    if answer.status_code == 200:
        page = client.get("/searches/").content.decode()
        assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert save(client, "q=boat", "<b>bold</b>").status_code == 200
    assert "<b>bold" not in client.get("/searches/").content.decode()


def test_saving_again_says_that_it_is_there(client, ada, postcards_dataset):
    save(client, "q=a+boat", "Boats")
    told = save(client, "q=a+boat&dataset=postcards", "Ships").json()
    assert "already saved this search as “Boats”" in told["toast"]["text"]
    assert not told["toast"]["undo"]
    assert names(ada) == ["Boats"]
    page = client.get("/?q=a+boat&dataset=postcards").content.decode()
    assert "Saved as “<span>Boats</span>”" in page


def test_names_have_an_end(client, ada, postcards_dataset):
    assert save(client, "q=boat", "x" * 121).status_code == 400
    assert not saved(ada)
    save(client, "q=" + "boat+" * 60)
    (search,) = saved(ada)
    assert search.name.endswith("…") and len(search.name) <= 60


def test_there_is_an_end_to_how_many_are_kept(
    client, ada, postcards_dataset, monkeypatch
):
    from usercollections.saved_search import services as saving

    monkeypatch.setattr(saving, "MAX_SAVED", 1)
    save(client, "q=boat")
    assert "Delete one" in save(client, "q=cat").json()["detail"]
    assert names(ada) == ["Boat"]


def test_what_many_searches_name_is_looked_up_at_once(
    client, ada, eve, postcards_dataset, django_assert_max_num_queries
):
    from usercollections.models import Collection

    for number in range(30):
        owner = eve if number == 7 else ada
        made = Collection.objects.create(owner=owner, name=f"boats {number}")
        save(client, f"concept={made.pk}&dataset=postcards", f"search {number}")
    with django_assert_max_num_queries(15):
        page = client.get("/searches/").content.decode()
    assert "like “boats 29”" in page and "boats 7" not in page


# --- Whose it is


def test_visitors_are_led_to_the_log_in_and_back(client, postcards_dataset):
    page = client.get("/?q=a+boat&dataset=postcards").content.decode()
    pattern = r'<a href="(/accounts/login/\?next=[^"]+)"[^>]*title="Save search"'
    (link,) = re.findall(pattern, page)
    back = parse_qs(urlsplit(link).query)["next"]
    assert back == ["/?q=a+boat&dataset=postcards"]
    answer = client.get("/searches/")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/?next=/searches/")
    assert save(client, "q=boat").status_code == 403


@pytest.mark.parametrize(
    "view", ["rename-search", "change-search", "move-search", "delete-search"]
)
def test_others_cannot_touch_it(client, ada, eve, postcards_dataset, view):
    (search,) = keep(client, ada, "boat")
    client.force_login(eve)
    data = {"name": "mine", "address": "q=cat", "step": "up"}
    assert send(client, view, search, **data).status_code == 404
    assert names(ada) == ["boat"]


def test_others_see_nothing_of_it(client, ada, eve, postcards_dataset):
    (search,) = keep(client, ada, "boat")
    undo = send(client, "delete-search", search).json()["toast"]["undo"]
    (search,) = keep(client, ada, "boat")
    client.force_login(eve)
    assert client.get(reverse("glance", args=[search.pk])).status_code == 404
    assert "boat" not in client.get("/searches/").content.decode()
    (hers,) = keep(client, eve, "cat")
    assert send(client, "move-search", hers, after=search.pk).status_code == 404
    assert client.post(undo["url"], undo["data"], headers=SCRIPT).status_code == 404
    assert names(eve) == ["cat"]


def test_looking_changes_nothing(client, ada, postcards_dataset):
    (search,) = keep(client, ada, "boat")
    before = search.looked_at
    client.get("/searches/")
    client.get(reverse("glance", args=[search.pk]))
    client.get(f"/?{search.address}")
    search.refresh_from_db()
    assert search.looked_at == before


# --- What can be done with it


def test_rename_and_change_can_be_undone(client, ada, postcards_dataset):
    (search,) = keep(client, ada, "boat")
    undo_name = send(client, "rename-search", search, name=" My  boats ").json()
    undo_change = send(client, "change-search", search, address="q=cat").json()
    search.refresh_from_db()
    assert (search.name, search.address) == ("My boats", "q=cat&dataset=postcards")
    for told in (undo_change, undo_name):
        undo = told["toast"]["undo"]
        assert client.post(undo["url"], undo["data"], headers=SCRIPT).status_code == 200
    search.refresh_from_db()
    assert (search.name, search.address) == ("boat", "q=boat&dataset=postcards")


def test_a_search_is_not_changed_into_what_is_none(client, ada, postcards_dataset):
    (search,) = keep(client, ada, "boat")
    answer = send(client, "change-search", search, address="//evil.example")
    assert answer.status_code == 400
    assert saved(ada)[0].address == "q=boat&dataset=postcards"


def test_undo_brings_it_back_as_it_was(client, ada, postcards_dataset):
    first, second, third = keep(client, ada, "boat", "cat", "dog")
    undo = send(client, "delete-search", second).json()["toast"]["undo"]
    assert names(ada) == ["boat", "dog"]
    for _ in range(2):  # pressed twice, it is there once
        client.post(undo["url"], undo["data"], headers=SCRIPT)
    assert saved(ada) == [first, second, third]
    assert saved(ada)[1].looked_at == second.looked_at
    told = {"token": undo["data"]["token"][:-3] + "xxx"}
    assert client.post(undo["url"], told, headers=SCRIPT).status_code == 400


def test_the_order_is_made_by_hand(client, ada, postcards_dataset):
    boat, cat, dog = keep(client, ada, "boat", "cat", "dog")
    send(client, "move-search", dog, after=boat.pk)
    assert names(ada) == ["boat", "dog", "cat"]
    send(client, "move-search", cat, after="")
    assert names(ada) == ["cat", "boat", "dog"]
    send(client, "move-search", cat, step="down")
    assert names(ada) == ["boat", "cat", "dog"]
    send(client, "move-search", boat, step="up")
    send(client, "move-search", dog, step="down")
    assert names(ada) == ["boat", "cat", "dog"]
    assert send(client, "move-search", dog, after="x").status_code == 404


def test_the_order_holds_where_there_is_no_room_left(client, ada, postcards_dataset):
    boat, cat, dog = keep(client, ada, "boat", "cat", "dog")
    for mover in [dog, cat] * 12:  # halves the gap each time
        send(client, "move-search", mover, after=boat.pk)
    assert names(ada) == ["boat", "cat", "dog"]


def test_forms_work_without_scripts(client, ada, postcards_dataset):
    form = {"address": "q=a+boat", "name": "Boats"}
    page = client.post(reverse("save-search"), form, follow=True)
    assert "Saved as “Boats”." in page.content.decode()
    (search,) = saved(ada)
    page = client.post(reverse("delete-search", args=[search.pk]), follow=True)
    assert "Nothing saved yet" in page.content.decode() and not saved(ada)


# --- What is new in it


@pytest.fixture
def tiny(tmp_path, ada):
    """A dataset whose first shard is in, and a search of it that was saved then."""
    write_shard(tmp_path, 0)
    dataset = tiny_dataset(tmp_path)
    import_all(dataset)
    yield dataset
    drop_tables(dataset)


def keep_tiny(client, user):
    embedding = encode_embedding(np.ones(DIMENSION))
    address = {"embedding": embedding, "nsfw": "any", "dedupe": "no", "dataset": "tiny"}
    assert save(client, urlencode(address), "Ones").status_code == 200
    return saved(user)[0]


def glance(client, search) -> str:
    answer = client.get(reverse("glance", args=[search.pk]))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def come_in(dataset, folder, number: int) -> None:
    """Another shard, and nothing else."""
    from search.ingestion import control, publishing, shard_run

    write_shard(folder, number)
    control.discover_shards(dataset)
    shard = dataset.shards.get(number=number)
    dataset.shards.filter(pk=shard.pk).update(state=Shard.State.QUEUED)
    shard_run.ingest(shard.pk)
    for partition in publishing.due_partitions(dataset):
        publishing.publish(dataset, partition)


def test_what_came_in_since_is_counted(client, ada, tiny, tmp_path):
    search = keep_tiny(client, ada)
    assert "new" not in glance(client, search)
    come_in(tiny, tmp_path, 1)
    assert "<b>40 new</b> in the last hour" in glance(client, search)
    seen = client.post(
        reverse("search-made"), {"address": search.address}, headers=SCRIPT
    )
    assert seen.json()["new_shards"] == [1]
    search.refresh_from_db()
    assert "new" not in glance(client, search)
    again = client.post(
        reverse("search-made"), {"address": search.address}, headers=SCRIPT
    )
    assert again.json()["new_shards"] == []


def test_what_came_in_elsewhere_or_once_more_is_not_new(client, ada, tiny, tmp_path):
    search = keep_tiny(client, ada)
    import_all(tiny)  # the same rows, anew
    assert "new" not in glance(client, search)


def test_only_the_nearest_count(client, ada, tiny, tmp_path, monkeypatch):
    from usercollections.saved_search import new_results

    monkeypatch.setattr(new_results, "EXAMINED", 12)
    search = keep_tiny(client, ada)
    come_in(tiny, tmp_path, 1)  # with the same vectors, so that half of them is new
    assert re.search(r"<b>[1-9]\d? new</b>", glance(client, search))
    assert "<b>40 new</b>" not in glance(client, search)


def test_it_is_told_since_when(client, ada, tiny, tmp_path):
    search = keep_tiny(client, ada)
    come_in(tiny, tmp_path, 1)
    search.looked_at = timezone.now() - timedelta(days=3)
    search.save()
    day = search.looked_at.strftime("%A")
    assert f"new</b> since {day}" in glance(client, search)


def test_nothing_is_searched_twice_for_a_glance(
    client, ada, postcards_dataset, monkeypatch
):
    from search.retrieval import service

    (search,) = keep(client, ada, "boat")
    first = glance(client, search)
    assert first.count("<img") == 6 and "/160.webp" in first
    monkeypatch.setattr(service, "search", None)
    assert glance(client, search) == first


# --- When something is away


def test_a_dataset_that_is_gone_is_told(client, ada, tiny):
    search = keep_tiny(client, ada)
    Dataset.objects.filter(slug="tiny").delete()
    page = client.get("/searches/")
    assert "The dataset tiny no longer exists." in page.content.decode()
    assert "no dataset named" in glance(client, search)
    send(client, "delete-search", search)
    assert not saved(ada)


def test_an_engine_that_is_away_is_told(client, ada, postcards_dataset, monkeypatch):
    from search.retrieval import service

    def away(*_, **__):
        raise SearchUnavailable("The search engine does not answer.")

    (search,) = keep(client, ada, "an engine away")
    monkeypatch.setattr(service, "search", away)
    assert "an engine away" in client.get("/searches/").content.decode()
    assert "The search engine does not answer." in glance(client, search)
