"""Suggestions, corrections and the notice of weak matches, by datasets' profiles."""

import re

import pytest
from django.core.cache import caches
from django.urls import reverse
from support.search_pages import found

from search.evaluation import profile
from search.models import SYSTEM, Dataset, DatasetProfile
from search.query.model import Term
from search.retrieval import popularity, service, vocabulary
from search.retrieval.vocabulary import Vocabulary
from usercollections.models import Collection, Concept

WORDS = {
    "house": 9,
    "houses": 3,
    "hour": 2,
    "red": 5,
    "дом": 4,
    "собака": 3,
    "horse": 4,
}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("hosue", "house"),  # two letters in turned order
        ("hous", ""),  # the beginning of one
        ("hhouse", "house"),
        ("hoose", "house"),
        ("hause", "house"),
        ("houses", ""),  # known
        ("boats", ""),  # too far from all
        ("redd", ""),  # an ending
        ("собкаа", "собака"),
        ("rde", ""),  # too short
        ("房屋子弟", ""),
    ],
)
def test_a_word_is_corrected_if_one_letter_is_wrong(typed, meant):
    assert Vocabulary(WORDS).correction(typed) == meant


def test_completions_are_the_most_frequent_words():
    words = [Vocabulary(WORDS), Vocabulary({"hour": 20})]
    assert vocabulary.complete(words, "a ho", 2) == ["a hour", "a house"]
    assert vocabulary.complete(words, "a house", 2) == ["a houses"]
    assert vocabulary.complete(words, "a ", 2) == []


def test_only_plain_words_of_a_query_are_corrected():
    words = [Vocabulary(WORDS)]
    text = '-hosue 2:hosue "hosue" width>10 red hosue'
    corrected = '-hosue 2:hosue "hosue" width>10 red house'
    assert vocabulary.corrected(words, text) == corrected
    assert vocabulary.corrected([], "red hosue") == ""


@pytest.fixture
def profiled(client, db, postcards_dataset):
    caches["default"].clear()
    dataset = Dataset.objects.get(slug="postcards")
    DatasetProfile.objects.filter(dataset=dataset).delete()
    assert profile.is_due(dataset)
    assert profile.measure(dataset.pk)
    assert not profile.is_due(dataset)
    return dataset


def test_a_profile_has_the_words_of_the_captions_and_the_noise(client, profiled):
    (words,) = vocabulary.of([profiled])
    item = service.item("postcards", 7, SYSTEM)
    assert all(
        word in words.counts for word in re.findall(r"[a-z]{2,}", item.caption.lower())
    )
    assert all(word == word.casefold() and len(word) > 1 for word in words.counts)
    for field in ("image", "text", "both"):
        noise = vocabulary.noise_of(profiled, field)
        assert -1 < noise["low"] <= noise["middle"] < 1
    profiled.profile.refresh_from_db()
    assert profiled.profile.rows == profiled.item_count()


def test_a_page_says_what_may_be_meant_and_that_nothing_matches_well(client, profiled):
    html = client.get("/?q=red+ballon").content.decode()
    assert 'Did you mean <a href="/?q=red+balloon" dir="auto">red balloon</a>?' in html
    assert "Nothing matches well" not in html
    assert "Did you mean" not in client.get("/?q=red+balloon").content.decode()
    noise = dict.fromkeys(("low", "middle"), 0.99)
    DatasetProfile.objects.update(noise={"image": noise})
    for asked, weak in (("q=red+balloon", True), ("q=balloon&item=7", False)):
        html = client.get(f"/?{asked}").content.decode()
        assert ("Nothing matches well" in html) == weak


def suggested(client, text: str) -> dict[str, list[dict]]:
    answer = client.get(reverse("suggest"), {"q": text, "dataset": "postcards"})
    return {group["title"]: group["entries"] for group in answer.json()["groups"]}


def test_visitors_get_words_and_popular_searches(client, profiled):
    for person in range(5):
        popularity.record("postcards", [7], "a balloon at dawn", "opened", str(person))
    found = suggested(client, "red balloo")
    assert list(found) == ["Words"]
    assert found["Words"][0] == {"label": "red balloon", "words": "red balloon"}
    assert suggested(client, "a ball")["Popular"][0]["words"] == "a balloon at dawn"


def test_users_get_their_own_concepts_and_collections(client, profiled, admin_user):
    other = type(admin_user).objects.create_user("other")
    for owner in (admin_user, other):
        Collection.objects.create(owner=owner, name="Balloons", share_token=owner.pk)
        Concept.objects.create(
            owner=owner, name="My balloon", model="m", vector=b"", share_token=owner.pk
        )
    client.force_login(admin_user)
    found = suggested(client, "red ballo")
    mine = Collection.objects.get(owner=admin_user)
    entry = {"label": "Balloons", "concept": str(mine.pk), "words": "red"}
    assert found["Images like a collection"] == [entry]
    assert [each["label"] for each in found["Concepts"]] == ["My balloon"]


def test_a_hidden_dataset_suggests_nothing(client, profiled):
    profiled.visibility = Dataset.Visibility.CHOSEN
    profiled.save()
    assert suggested(client, "ballo") == {}


def test_items_that_look_like_the_words_are_suggested(client, db, postcards_dataset):
    asked = {"q": "a boat", "dataset": "postcards"}
    entries = client.get(reverse("suggest-items"), asked).json()["entries"]
    wanted = found(Term(text="a boat"))[:4]
    assert [int(each["item"]) for each in entries] == wanted
    assert entries[0]["image"] == f"/t/postcards/{wanted[0]}/160.webp"
    for other in ({"q": "", "dataset": "postcards"}, {"q": "boat", "dataset": "nope"}):
        assert client.get(reverse("suggest-items"), other).json() == {"entries": []}
