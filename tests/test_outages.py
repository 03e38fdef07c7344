"""Without the database, the engine, the cache or the disk, pages and API say so."""

import errno
import json
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, ProgrammingError
from django.test import Client
from redis import TimeoutError as RedisTimeout
from support.html_page import Page
from support.routes import Route, routes

from search.errors import SearchUnavailable, outage_of
from search.models import Dataset, Shard

pytestmark = pytest.mark.django_db
NOWHERE = "127.0.0.1:1"


@pytest.fixture
def ada() -> User:
    """A member of staff, with a dataset whose items the engine lacks."""
    Dataset.objects.filter(slug="postcards").delete()
    dataset = Dataset.objects.create(
        slug="postcards", title="Postcards", model="local-dir:postcards/model"
    )
    Shard.objects.create(dataset=dataset, number=0, rows_visible=10, state="ingested")
    return User.objects.create_superuser("ada", "ada@example.org", "a long password 1")


@pytest.fixture
def asked(ada) -> list[tuple[Route, str, Client]]:
    """Each route, its address and ada's client; those of the API a visitor's, too."""
    signed_in = Client(raise_request_exception=False)
    signed_in.force_login(ada)
    visitor = Client(raise_request_exception=False)
    return [
        (route, route.address(ada), client)
        for route in routes()
        for client in ((signed_in, visitor) if route.is_api else (signed_in,))
    ]


def check_all(asked: list[tuple[Route, str, Client]]) -> Iterator[str]:
    """Ask for everything; yield the names of the routes that are not available."""
    for route, address, client in asked:
        answer = client.get(address)
        where = f"{address}: {answer.status_code}"
        assert answer.status_code < 500 or answer.status_code == 503, where
        if answer.status_code < 500:
            continue
        assert int(answer["Retry-After"]) > 0, where
        if route.name == "readyz":
            assert answer.json()["ready"] is False
        elif answer["Content-Type"] == "application/json":
            given = answer.json()
            assert (given.get("detail") or given["message"]).endswith("."), where
        elif answer["Content-Type"].startswith("text/plain"):
            assert answer.content.endswith(b"."), where
        else:
            assert not route.is_api, where
            assert "Try again" in Page(answer).text, where
        yield route.name or route.pattern


def test_without_the_database(asked, monkeypatch):
    def refuse(*_arguments: object) -> None:
        raise OperationalError("the connection is lost")

    for name in ("execute", "executemany"):
        monkeypatch.setattr(f"django.db.backends.utils.CursorWrapper.{name}", refuse)
    away = set(check_all(asked))
    assert {"search", "item", "thumbnail", "collections", "api-search"} <= away
    assert {"knn-service", "api-exports", "account", "dataset", "readyz"} - away <= {
        "knn-service"  # for POST alone
    }


def test_without_the_engine(asked, settings):
    settings.CLICKHOUSE_URL = f"clickhouse://{NOWHERE}/default"
    away = set(check_all(asked))
    assert {"item", "thumbnail", "api-search", "api-item", "readyz"} <= away
    assert "account" not in away


def test_without_the_cache(asked, settings):
    redis = "django.core.cache.backends.redis.RedisCache"
    away = {"BACKEND": redis, "LOCATION": f"redis://{NOWHERE}"}
    own = settings.CACHES["own-limits"]
    settings.CACHES = {"default": away, "limits": away, "own-limits": own}
    assert set(check_all(asked)) <= {"readyz", "account_login"}


def test_a_form_without_the_cache_or_on_a_full_disk(asked, client, monkeypatch):
    client.raise_request_exception = False
    full = OSError(errno.ENOSPC, "No space left on device")
    for error in (RedisTimeout(), full, OperationalError("disk I/O error")):

        def refuse(*_arguments: object, error=error, **_options: object) -> None:
            raise error

        monkeypatch.setattr(
            "django.contrib.sessions.backends.db.SessionStore.save", refuse
        )
        answer = client.post(
            "/accounts/login/", {"login": "ada", "password": "a long password 1"}
        )
        assert (answer.status_code, answer["Retry-After"]) == (503, "5")
        assert "Not available right now" in Page(answer).text


def test_what_is_an_outage_and_what_is_a_fault():
    class Undefined(Exception):
        sqlstate = "42P01"

    missing_table = ProgrammingError("relation does not exist")
    missing_table.__cause__ = Undefined()
    assert "is being updated" in outage_of(missing_table).message
    own = SearchUnavailable("The engine is away.")
    assert outage_of(own) is own
    for fault in (ProgrammingError("syntax"), ValueError(), OSError(errno.ENOENT, "")):
        assert outage_of(fault) is None


def test_a_fault_is_told_in_the_format_of_the_request(client, db, monkeypatch):
    client.raise_request_exception = False

    def fail(*_arguments: object, **_options: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr("search.models.Dataset.for_slug", fail)
    answer = client.get("/api/datasets/postcards/")
    assert (answer.status_code, json.loads(answer.content)["code"]) == (500, "error")
