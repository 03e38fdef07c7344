"""Refinement rounds: what they make of marks, whose they are, and what they find."""

import uuid
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone
from support import searching

from search.models import SYSTEM
from search.query.filters import MAX_EXCLUDED
from search.query.model import SearchQuery, Term
from search.retrieval import service
from search.retrieval.feedback import tune

pytestmark = pytest.mark.django_db

BOATS = "q=boats&dataset=postcards"


@pytest.fixture(autouse=True)
def dataset(postcards_dataset):
    return postcards_dataset


@pytest.fixture
def ada(client):
    user = get_user_model().objects.create_user("ada", password="x")
    client.force_login(user)
    return user


def ids(query: str, **options) -> list[int]:
    terms = (Term(text=query),)
    return [
        h.id for h in searching.find(SearchQuery("postcards", terms, **options)).hits
    ]


def refine(client, search=BOATS, status=200, **given):
    lists = ("good", "bad", "shown")
    data = {
        name: ",".join(map(str, value)) if name in lists else value
        for name, value in given.items()
    }
    headers = {"X-Requested-With": "XMLHttpRequest"}
    answer = client.post("/refine/", {"search": search, **data}, headers=headers)
    assert answer.status_code == status, answer.content
    return answer.json()


def shown(client, address: str) -> list[int]:
    """The ids on the page at an address, in their order."""
    answer = client.get(address)
    assert answer.status_code == 200
    return [hit.id for hit in answer.context["hits"]]


def history(client, address: str) -> dict:
    query = urlsplit(address).query
    return client.get("/refine/history", {"search": query}).json()


def round_of(answer):
    from usercollections.models import Round

    return Round.objects.get(pk=answer["id"])


def test_a_round_searches_with_the_tuned_vector_and_leaves_out_what_was_seen(client):
    first = ids("boats", limit=12)
    made = refine(client, good=first[:3], bad=first[3:6], shown=first)
    start = searching.embed(SearchQuery("postcards", (Term(text="boats"),)))
    vectors = service.embeddings("postcards", "image", first, SYSTEM)
    marks = np.array([vectors[item] for item in first])
    marks /= np.linalg.norm(marks, axis=1, keepdims=True)
    expected = tune(start, marks[:3], marks[3:6], 1.0)
    assert np.allclose(round_of(made).embedding, expected, atol=1e-6)
    there = shown(client, made["address"])
    assert len(there) == 40 and not set(there) & set(first)
    term = Term(embedding=tuple(expected.tolist()))
    truth = searching.find(SearchQuery("postcards", (term,), limit=60))
    assert there == [hit.id for hit in truth.hits if hit.id not in first][:40]


def test_the_words_leave_the_box_and_the_filters_stay(client):
    search = "q=boats+width>100+-cat&dataset=postcards&min_height=50&nsfw=any"
    made = refine(client, search, good=ids("boats")[:2])
    asked = parse_qs(urlsplit(made["address"]).query)
    assert asked == {
        "q": ["width>100"],
        "concept": [made["id"]],
        "nsfw": ["any"],
        "min_height": ["50"],
        "dataset": ["postcards"],
    }
    page = client.get(made["address"]).content.decode()
    assert "boats, not cat, refined 1×" in page


def test_rounds_go_on_from_each_other(client):
    first = ids("boats", limit=8)
    one = refine(client, good=first[:2], shown=first)
    second = shown(client, one["address"])[:8]
    marks = {"good": [*first[:2], second[0]], "bad": [second[1]]}
    search = urlsplit(one["address"]).query
    two = refine(client, search, shown=second, **marks, strength=2)
    made = round_of(two)
    assert (made.number, made.parent_id) == (2, uuid.UUID(one["id"]))
    assert set(made.seen) == {*first, *second}
    assert made.strength == 2
    third = shown(client, two["address"])
    assert not set(third) & {*first, *second}
    assert made.refinement.rounds.count() == 2


def test_the_history_tells_how_good_the_hits_of_each_round_were(client):
    first = ids("boats", limit=8)
    one = refine(client, good=first[:3], bad=first[3:4], shown=first)
    second = shown(client, one["address"])[:4]
    search = urlsplit(one["address"]).query
    marks = {"good": first[:3], "bad": [*first[3:4], *second]}
    two = refine(client, search, **marks, shown=second)
    told = history(client, two["address"])
    assert [step["name"] for step in told["steps"]] == ["Start", "1", "2"]
    assert [step["marks"] for step in told["steps"]] == [
        {"good": 3, "all": 4},
        {"good": 0, "all": 4},
        None,
    ]
    assert told["current"] == two["id"]
    assert told["back"] == one["address"] == told["steps"][1]["address"]
    assert told["ahead"] == ""
    assert told["good"] == first[:3] and told["bad"] == marks["bad"]
    # From the start, the same steps are ahead.
    told = history(client, told["steps"][0]["address"])
    assert told["current"] == "" and told["ahead"] == one["address"]
    assert len(told["steps"]) == 3


def test_going_back_and_on_in_another_way_is_a_branch(client):
    first = ids("boats", limit=8)
    one = refine(client, good=first[:2])
    other = refine(client, good=first[2:4])
    further = refine(client, urlsplit(other["address"]).query, good=first[4:6])
    told = history(client, further["address"])
    names = {step["name"]: step for step in told["steps"]}
    assert list(names) == ["Start", "1", "1b", "2"]
    assert [names[name]["on_way"] for name in names] == [True, False, True, True]
    assert names["1"]["address"] == one["address"]


def test_the_last_of_two_rounds_submitted_at_once_stands_and_both_are_kept(client):
    """Both come from the same page; the script follows the last that it sent."""
    first = ids("boats", limit=8)
    one, two = refine(client, good=first[:2]), refine(client, good=first[2:3])
    told = history(client, f"/?{BOATS}")
    assert [step["id"] for step in told["steps"]] == ["", one["id"], two["id"]]
    assert told["ahead"] == two["address"]


def test_what_was_seen_can_be_shown_again(client):
    first = ids("boats", limit=8)
    made = refine(client, good=first[:3], shown=first)
    other = history(client, made["address"])["other"]
    assert set(shown(client, other)) & set(first[:3])
    told = history(client, other)
    assert told["with_seen"] and told["other"] == made["address"]
    assert told["current"] == made["id"]
    # A round that goes on from there still leaves it out.
    on = refine(client, urlsplit(other).query, good=first[:3])
    assert not set(shown(client, on["address"])) & set(first)
    assert round_of(on).parent_id == uuid.UUID(made["id"])


def test_whoever_has_its_address_sees_the_same_hits_but_not_the_marks(client, ada):
    first = ids("boats", limit=8)
    made = refine(client, good=first[:3], shown=first)
    stranger = Client()
    assert shown(stranger, made["address"]) == shown(client, made["address"])
    assert history(stranger, made["address"]) == {"steps": []}
    # Going on from it begins a refinement of their own, which leaves out the same.
    search = urlsplit(made["address"]).query
    mine = refine(stranger, search, good=first[:1])
    assert round_of(mine).number == 1
    assert set(first) <= set(round_of(mine).seen)
    assert round_of(mine).refinement.owner is None
    assert round_of(made).refinement.rounds.count() == 1


def test_a_visitor_keeps_the_rounds_when_signing_in(client):
    made = refine(client, good=ids("boats")[:3])
    user = get_user_model().objects.create_user("bea", password="a long password")
    client.force_login(user)
    assert history(client, made["address"])["current"] == made["id"]
    saved = client.post("/concepts/save", {"round": made["id"], "name": "Boats"})
    assert saved.status_code == 302
    on = refine(client, urlsplit(made["address"]).query, good=ids("boats")[:4])
    assert round_of(on).refinement.owner == user
    other = Client()
    other.force_login(get_user_model().objects.create_user("eve"))
    assert history(other, made["address"]) == {"steps": []}
    refused = other.post("/concepts/save", {"round": made["id"], "name": "Mine"})
    assert refused.status_code == 404


def test_captions_are_refined_by_the_vectors_of_captions(client):
    found = ids("boats", field="text")[:4]
    made = refine(client, f"{BOATS}&field=text", good=found[:2], bad=found[2:])
    assert "field=text" in made["address"]
    start = searching.embed(SearchQuery("postcards", (Term(text="boats"),)))
    vectors = service.embeddings("postcards", "text", found, SYSTEM)
    marks = np.array([vectors[item] for item in found])
    marks /= np.linalg.norm(marks, axis=1, keepdims=True)
    expected = tune(start, marks[:2], marks[2:])
    assert np.allclose(round_of(made).embedding, expected, atol=1e-6)


def test_one_mark_of_an_item_counts_and_gone_items_do_no_harm(client):
    first = ids("boats", limit=4)
    made = refine(client, good=[*first[:2], 999_999], bad=[first[0], first[3]])
    assert round_of(made).bad == [first[3]]


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({}, 400, "Mark at least one image"),
        ({"good": ["x"]}, 400, "These are not item IDs"),
        ({"good": [-1]}, 404, "no item -1"),
        ({"good": range(501)}, 400, "up to 500"),
        ({"good": range(300), "bad": range(300, 600)}, 400, "up to 500 marks"),
        ({"good": [1], "strength": "nan"}, 400, "between 0.25 and 4"),
        ({"good": [1], "strength": "9"}, 400, "between 0.25 and 4"),
        ({"good": [1], "search": ""}, 400, "nothing to search for"),
        ({"good": [1], "search": "q=boats&dataset=none"}, 404, "no dataset"),
        (
            {"good": [1], "search": f"concept={uuid.uuid4()}"},
            404,
            "This concept does not exist",
        ),
    ],
)
def test_bad_input_is_refused_with_a_sentence(client, given, status, said):
    assert said in refine(client, status=status, **given)["detail"]


def test_changes_need_a_post(client):
    assert client.get("/refine/").status_code == 405


def test_no_more_is_left_out_than_a_search_can(client, ada):
    first = ids("boats", limit=8)
    one = refine(client, good=first[:2], shown=range(10_000, 10_000 + MAX_EXCLUDED))
    seen = round_of(one).seen
    assert len(seen) == MAX_EXCLUDED and seen[-1] == 10_000 + MAX_EXCLUDED - 1
    assert shown(client, one["address"])


def test_a_round_is_a_term_of_the_api(client):
    first = ids("boats", limit=8)
    made = refine(client, good=first[:3], shown=first)
    body = {"dataset": "postcards", "terms": [{"concept": made["id"]}], "limit": 40}
    found = client.post("/api/search/", body, content_type="application/json").json()
    there = [hit["id"] for hit in found["results"]]
    assert there == shown(client, made["address"])


def test_old_refinements_are_swept_and_concepts_of_them_stay(client, ada):
    from usercollections.concept.tasks import sweep
    from usercollections.models import Concept, Refinement, Round

    old = refine(client, good=ids("boats")[:3])
    new = refine(client, "q=cats&dataset=postcards", good=ids("cats")[:3])
    client.post("/concepts/save", {"round": old["id"], "name": "Boats"})
    Round.objects.filter(pk=old["id"]).update(
        created_at=timezone.now() - timedelta(days=31)
    )
    assert sweep() == 1
    assert [str(each.pk) for each in Round.objects.all()] == [new["id"]]
    assert Refinement.objects.count() == 1 and Concept.objects.count() == 1


def test_rounds_are_limited(client, settings):
    settings.LIMITS = settings.LIMITS | {"refine": "2/min"}
    from django.core.cache import caches

    caches["limits"].clear()
    first = ids("boats", limit=2)
    for _ in range(2):
        refine(client, good=first)
    refused = refine(client, good=first, status=429)["detail"]
    assert "the limit is 2 refinement rounds in a minute" in refused
    caches["limits"].clear()


# --- Visitors without an account


def test_a_visitors_round_keeps_few_ids_that_exist_and_a_day(client, postcards_dataset):
    from django.contrib.sessions.models import Session

    from usercollections.concept.rounds import MAX_SEEN_OF_VISITORS
    from usercollections.concept.tasks import sweep
    from usercollections.models import Round

    made_up = ",".join(str(10**9 + n) for n in range(4_000))
    shown = f"{made_up}," + ",".join(map(str, range(100, 900)))
    given = {"search": "q=a+boat&dataset=postcards", "good": "7", "shown": shown}
    answer = client.post("/refine/", given)
    assert answer.status_code == 303
    made = Round.objects.get()
    assert len(made.seen) <= MAX_SEEN_OF_VISITORS
    assert set(made.seen) == {7, *range(100, 900)}
    Session.objects.update(expire_date=timezone.now() - timedelta(hours=1))
    assert sweep() == 0
    assert not Session.objects.exists()
    Round.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert sweep() == 1
    assert not Round.objects.exists()
