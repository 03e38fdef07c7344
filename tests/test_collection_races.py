"""Several at once on one collection: the database decides, and nothing is doubled."""

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from support.api_calls import Caller
from support.collection_helpers import collection, filled, keys, order_of

from search.errors import NotFound
from search.models import SYSTEM

JSON = "application/json"


@pytest.fixture
def user(postcards_dataset, django_db_blocker) -> Iterator:
    """Committed, so that all threads see it, and away again after the test."""
    with django_db_blocker.unblock():
        user = get_user_model().objects.create_user("racer")
        yield user
        user.delete()


def at_once(*works: Callable[[], object]) -> list[object]:
    """Return what each call returned or raised, all started together."""
    barrier, results = threading.Barrier(len(works)), [None] * len(works)

    def run(place: int, work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            results[place] = work()
        except Exception as error:
            results[place] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_an_item_added_twice_at_once_is_one_member(user):
    from usercollections.collection.members import add

    made = collection(user)
    added = at_once(*[lambda: add(user, made.pk, keys(*range(50)))] * 6)
    assert sorted(len(each.new) for each in added) == [0] * 5 + [50]
    assert order_of(made) == list(range(50))
    made.refresh_from_db()
    assert made.size == 50


def test_adding_while_deleting_is_refused_or_comes_first(user):
    from django.test import RequestFactory

    from usercollections.collection.members import add
    from usercollections.models import Collection
    from usercollections.sharing_views import delete

    for _ in range(5):
        made = collection(user)
        request = RequestFactory().post(
            "/", headers={"X-Requested-With": "XMLHttpRequest"}
        )
        request.user = user
        added, deleted = at_once(
            lambda made=made: add(user, made.pk, keys(1, 2)),
            lambda request=request, made=made: delete(request, made.pk, Collection),
        )
        assert deleted.status_code == 200
        found = Collection.objects.get(pk=made.pk)
        assert found.deleted_at is not None
        if isinstance(added, NotFound):
            assert found.size == found.items.count() == 0
        else:
            assert found.size == found.items.count() == 2


def test_moves_at_once_lose_nobody(user):
    from django.db import transaction

    from usercollections.collection import members
    from usercollections.models import Collection
    from usercollections.sharing import lock_owned

    made = filled(user, 30)

    def shuffle(item: int) -> None:
        for _ in range(4):
            with transaction.atomic():
                mine = lock_owned(Collection, user, made.pk)
                members.move(mine, keys(item, dataset="nowhere"), "first")
                members.move(mine, keys(item, dataset="nowhere"), "place", 15)

    assert at_once(*[lambda item=item: shuffle(item) for item in (3, 20, 28)]) == (
        [None] * 3
    )
    assert sorted(order_of(made)) == list(range(1, 31))


def test_two_merges_into_each_other_do_not_lock_up(user):
    from usercollections.collection.services import merge

    one, other = filled(user, 300, "one"), filled(user, 200, "other")
    results = at_once(
        lambda: merge(user, one.pk, other.pk), lambda: merge(user, other.pk, one.pk)
    )
    assert sum(isinstance(each, NotFound) for each in results) == 1
    assert sum(isinstance(each, tuple) for each in results) == 1


def test_a_search_saved_twice_at_once_is_saved_once(user):
    from usercollections.models import SavedSearch
    from usercollections.saved_search import services
    from usercollections.saved_search.saved_query import checked

    asking = checked("q=boats&dataset=postcards", SYSTEM)
    done = at_once(*[lambda: services.save(user, asking, "")] * 6)
    assert sorted(is_new for _, is_new in done) == [False] * 5 + [True]
    assert SavedSearch.objects.get(owner=user).name == "Boats"


def test_those_made_at_once_are_no_more_than_there_may_be(user, monkeypatch):
    from search.errors import InvalidQuery
    from usercollections import sharing
    from usercollections.collection.services import create
    from usercollections.models import Collection

    monkeypatch.setattr(sharing, "MAX_OWNED", 3)
    made = at_once(*[lambda: create(user, Collection(name="one more"), keys(7))] * 6)
    assert sum(isinstance(each, Collection) for each in made) == 3
    assert sum(isinstance(each, InvalidQuery) for each in made) == 3
    assert Collection.objects.filter(owner=user).count() == 3


def test_a_search_changed_while_it_is_deleted_is_changed_first_or_not_there(user):
    from usercollections.models import SavedSearch

    one = Caller(user)
    for _ in range(5):
        made = one.post("searches/", {"search": "dataset=postcards&q=boats"})
        path = f"/api/searches/{made['id']}/"
        given = {"data": {"name": "Ships", "place": 1}}
        change = partial(one.client.patch, path, **given, content_type=JSON)
        *changed, deleted = at_once(*[change] * 3, partial(one.client.delete, path))
        assert deleted.status_code == 204
        assert {answer.status_code for answer in changed} <= {200, 404}
    assert not SavedSearch.objects.filter(owner=user).exists()
