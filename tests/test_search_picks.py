"""The items that users open after a search: counted, and shown without names."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import caches
from django.db import connection
from django.test import Client

from search.models import Conversion, ConversionFile, Dataset, Pick, Picker
from search.query import ratings
from search.retrieval import popularity
from search.retrieval.popularity import published_keywords

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    caches["limits"].clear()


@pytest.fixture
def imported(postcards_dataset) -> None:
    """Conversions of the items 1 and 2."""
    file = ConversionFile.objects.create(
        dataset=postcards_dataset, name="f", sha256="0" * 64
    )
    for item, keyword, count in [(1, "lake", 3), (2, "lake", 1), (2, "moon", 1)]:
        Conversion.objects.create(
            dataset=postcards_dataset,
            file=file,
            item=item,
            keyword=keyword,
            count=count,
        )


def pick(client: Client, item: int, words: str, kind: str = "opened"):
    return client.post(f"/d/postcards/{item}/picked", {"kind": kind, "words": words})


def record(ids, words: str, kind: str, people: int = 1, first: int = 0) -> None:
    for number in range(first, first + people):
        popularity.record("postcards", ids, words, kind, f"user-{number}")


def totals() -> dict[tuple[int, str, str], int]:
    rows = Pick.objects.values_list("item", "keyword", "kind", "count")
    return {tuple(row[:3]): row[3] for row in rows}


# --- What is kept


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Red  House", "a red house"),
        ("red house -car width>512 site:flickr.com nsfw:any", "red house"),
        ("2:boat lake", "boat, lake"),
        ('"golden gate"', "golden gate"),
        ("-car", ""),
        ("item:12", ""),
        ("houses of the 1920s, 1920x1080", "houses of the 1920s, 1920x1080"),
        ("x" * 500, "x" * 200),
        ("日本の家", "日本の家"),
        ("letters to anna@example.org", ""),
        ("boats like https://example.org/a.jpg", "boats like"),
        ("boats (https://example.org/a.jpg)", ""),
        ("see www.example.org", ""),
        ("example.com shop", ""),
        ("call +49 30 1234-567", ""),
        ("passport 1234567", ""),
        ("anna 24.12.1990", ""),
        ('"not closed', ""),
        ("a\0b", "a b"),
    ],
)
def test_of_a_search_only_words_are_kept_and_nothing_personal(text, words):
    assert published_keywords(text) == words


def test_a_pick_is_a_sum_and_hashes_of_people():
    kept = {field.name for field in Pick._meta.get_fields()}
    assert kept == {"id", "dataset", "item", "keyword", "kind", "count", "pickers"}
    kept = {field.name for field in Picker._meta.get_fields()}
    assert kept == {"id", "pick", "person"}


def test_no_name_and_no_address_is_stored(client, postcards_dataset):
    pick(client, 7, "boats")
    record([7], "boats", "saved")
    people = set(Picker.objects.values_list("person", flat=True))
    assert len(people) == 2
    assert all(re.fullmatch(r"[\w-]{22}", person) for person in people)
    assert not any("127" in person or "user" in person for person in people)


def test_people_add_up_by_item_words_and_kind(postcards_dataset):
    record([3, 4, 3], "Red house -car", "saved", 5)
    record([4], "red  house", "saved", 2, first=4)
    record([4], "red house", "exported", 6)
    assert totals() == {
        (3, "red house", "saved"): 5,
        (4, "red house", "saved"): 6,
        (4, "red house", "exported"): 6,
    }
    assert popularity.counts(postcards_dataset, [3, 4, 5]) == {3: 5, 4: 6}


def test_one_person_cannot_push_an_item_or_a_word(client, postcards_dataset):
    """Neither by other words and kinds, nor by new sessions and other items."""
    record([7, 8], "boats", "opened", 5)
    for number in range(30):
        for kind in Pick.Kind.values:
            record([7, 9], f"boats {number}", kind)
        record([20 + number], "boats", "opened")
        browser = Client()
        assert pick(browser, 7, "boats").status_code == 204
    items = range(60)
    assert popularity.counts(postcards_dataset, items) == {7: 6, 8: 5}
    assert popularity.keywords(postcards_dataset, items) == [("boats", 6)]


def test_less_than_five_people_are_not_shown(client, postcards_dataset):
    record([7], "boats", "opened", 4)
    assert popularity.counts(postcards_dataset, [7]) == {}
    assert popularity.keywords(postcards_dataset, [7]) == []
    assert not popularity.is_known(postcards_dataset)
    record([7], "ships", "opened", first=4)
    assert popularity.counts(postcards_dataset, [7]) == {7: 5}
    assert popularity.keywords(postcards_dataset, [7]) == []
    assert popularity.is_known(postcards_dataset, [7])


def test_who_takes_thousands_has_not_picked_them(postcards_dataset):
    record(range(1_001), "red house", "exported")
    popularity.record("nowhere", [1], "red house", "saved", "user-1")
    assert not Pick.objects.exists()
    record(range(1_000), "red house", "exported")
    assert Pick.objects.count() == 1_000


@pytest.mark.django_db(transaction=False)
def test_picks_at_once_are_all_counted(postcards_dataset, django_db_blocker):
    """Pick overlapping items from several threads, each with its own connection."""

    def pick_all(number: int) -> None:
        ids = range(100) if number % 2 else range(99, -1, -1)
        with django_db_blocker.unblock():
            record(ids, "crowded", "saved", first=number)
            connection.close()

    with django_db_blocker.unblock():
        try:
            with ThreadPoolExecutor(6) as pickers:
                list(pickers.map(pick_all, range(12)))
            # Committed by the others; this test's own transaction sees it all the same.
            counts = Pick.objects.filter(keyword="crowded").values_list("count")
            assert set(counts) == {(12,)} and len(counts) == 100
        finally:
            with ThreadPoolExecutor(1) as cleaner:
                cleaner.submit(_forget_crowd).result()


def _forget_crowd() -> None:
    Pick.objects.filter(keyword="crowded").delete()
    connection.close()


# --- Who picks


def test_an_address_and_an_account_count_once(client, postcards_dataset, admin_user):
    for words in ("boats", "boats", "boats at night"):
        assert pick(client, 7, words).status_code == 204
    assert totals() == {(7, "boats", "opened"): 1, (7, "boats at night", "opened"): 1}
    assert pick(Client(REMOTE_ADDR="198.51.100.7"), 7, "boats").status_code == 204
    client.force_login(admin_user)
    for address in ("127.0.0.1", "198.51.100.8"):
        answer = client.post(
            "/d/postcards/7/picked",
            {"kind": "opened", "words": "boats"},
            REMOTE_ADDR=address,
        )
        assert answer.status_code == 204
    assert totals()[7, "boats", "opened"] == 3


def test_a_pick_from_another_site_is_refused(postcards_dataset):
    stranger = Client(enforce_csrf_checks=True)
    assert pick(stranger, 7, "boats").status_code == 403
    assert stranger.get("/d/postcards/7/picked").status_code == 405
    assert not Pick.objects.exists()


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("/d/postcards/7/picked", "stolen", 400),
        ("/d/postcards/999999/picked", "opened", 404),
        ("/d/postcards/99999999999999999999/picked", "opened", 404),
        ("/d/nowhere/7/picked", "opened", 404),
    ],
)
def test_what_cannot_be_picked_is_not(client, postcards_dataset, path, kind, status):
    answer = client.post(path, {"kind": kind, "words": "boats"})
    assert answer.status_code == status and not Pick.objects.exists()


def test_picks_are_limited(client, postcards_dataset, settings):
    settings.LIMITS = dict(settings.LIMITS, pick="2/min")
    statuses = [pick(client, item, "boats").status_code for item in (1, 2, 3)]
    assert statuses == [204, 204, 429]


# --- What is told


def test_own_picks_and_imported_ones_are_one_popularity(postcards_dataset, imported):
    record([2], "moon", "opened", 5)
    record([9], "moon", "opened", 3, first=4)
    assert popularity.counts(postcards_dataset, [1, 2, 9, 10]) == {1: 3, 2: 7}
    assert popularity.keywords(postcards_dataset, [1, 2, 9]) == [
        ("moon", 8),
        ("lake", 4),
    ]


def test_the_panel_tells_of_items_and_words(client, postcards_dataset, imported):
    answer = client.get("/popularity", {"dataset": "postcards", "ids": "2,1,77"})
    told = answer.content.decode()
    assert told.index('data-item="1"') < told.index('data-item="2"')
    assert "Picked 3 times" in told and "Picked 2 times" in told
    assert 'href="/?q=lake' in told and told.index(">lake<") < told.index(">moon<")
    assert "/t/postcards/1/160.webp" in told and 'data-item="77"' not in told


def test_a_hostile_word_is_text(client, postcards_dataset):
    record([1], "<img src=x onerror=alert(1)>", "saved", 5)
    told = client.get("/popularity?dataset=postcards&ids=1").content.decode()
    assert "&lt;img src=x onerror=alert(1)&gt;" in told and "<img src=x" not in told


def test_a_page_asks_for_the_panel_only_where_something_was_picked(
    client, postcards_dataset
):
    def places() -> int:
        page = client.get("/?q=boats&dataset=postcards").content.decode()
        return page.count("data-from=")

    assert places() == 0 and not popularity.is_known(postcards_dataset)
    assert client.get("/api/datasets/").json()[0]["popularity"] is False
    record(range(1_000), "boats", "opened", 5)
    assert places() == 1 and popularity.is_known(postcards_dataset)
    assert client.get("/api/datasets/").json()[0]["popularity"] is True


@pytest.mark.parametrize("ids", ["", "a", "1,,2", "-1", "1" * 5_000, "1," * 100 + "1"])
def test_the_panel_wants_up_to_a_hundred_numbers(client, postcards_dataset, ids):
    answer = client.get("/popularity", {"dataset": "postcards", "ids": ids})
    assert answer.status_code in (400, 404)


def test_what_would_be_veiled_has_no_picture_in_the_panel(
    client, postcards_dataset, imported, monkeypatch
):
    monkeypatch.setattr(ratings, "is_safe", lambda nsfw: False)
    told = client.get("/popularity?dataset=postcards&ids=1,2").content.decode()
    assert "<img" not in told and "Picked 5 times" in told and "lake" in told


def test_hits_are_sorted_by_both(client, postcards_dataset):
    def found(**options) -> list[int]:
        asked = {"dataset": "postcards", "q": "boats", "dedupe": "no", **options}
        return [
            hit["id"] for hit in client.get("/api/search/", asked).json()["results"]
        ]

    nearest = found(limit=10)
    told = {"dataset": postcards_dataset, "sha256": "1" * 64}
    file = ConversionFile.objects.create(name="f", **told)
    file.conversions.create(dataset=postcards_dataset, item=nearest[7], count=3)
    record([nearest[4]], "", "saved", 5)
    expected = [nearest[4], nearest[7], nearest[0]]
    assert found(limit=3, sort="popularity") == expected


def test_a_dataset_takes_its_picks_along(postcards_dataset):
    other = Dataset.objects.create(slug="other", title="Other")
    popularity.record("other", [1], "boats", "saved", "user-1")
    other.delete()
    assert not Pick.objects.exists()
