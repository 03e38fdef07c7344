"""After an outage nobody waits for the service again, and a search has one deadline."""

import socket
import threading

import pytest
from redis import ConnectionError as RedisConnectionError

from search import cache, circuits, deadlines
from search.checks import check_cache
from search.circuits import REST_S, Circuit
from search.clickhouse import client, cluster
from search.errors import SearchUnavailable


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(circuits, "now", lambda: now[0])
    return now


def fail(circuit: Circuit, error: Exception) -> None:
    with pytest.raises(type(error)), circuit.calling():
        raise error


def test_a_circuit_opens_for_outages_alone_and_lets_one_call_try(clock):
    circuit = Circuit("It is away.", lambda error: isinstance(error, OSError))
    fail(circuit, ValueError("not found"))
    assert not circuit.is_open
    fail(circuit, TimeoutError())
    with pytest.raises(SearchUnavailable, match="It is away"), circuit.calling():
        raise AssertionError("it must not be called")
    clock[0] += REST_S
    refused = pytest.raises(SearchUnavailable)
    with circuit.calling(), refused, circuit.calling():  # one may try, others wait
        raise AssertionError("it must not be called")
    with circuit.calling():
        assert not circuit.is_open


def test_a_probe_decides_whether_a_call_may_try(clock):
    answers = [OSError("still away"), None]

    def probe():
        if answer := answers.pop(0):
            raise answer

    circuit = Circuit("It is away.", lambda error: isinstance(error, OSError), probe)
    fail(circuit, TimeoutError())
    clock[0] += REST_S
    fail_at_once = pytest.raises(SearchUnavailable)
    with fail_at_once, circuit.calling():
        raise AssertionError("it must not be called")
    clock[0] += REST_S
    with circuit.calling():
        pass
    assert (circuit.is_open, answers) == (False, [])


class Silent:
    """A server that takes connections and never says a word."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.taken = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            while True:
                self.taken.append(self.socket.accept())
        except OSError:
            return


@pytest.fixture
def silent():
    server = Silent()
    yield server
    server.socket.close()


def test_an_engine_that_hangs_is_asked_once(silent, settings, monkeypatch):
    settings.CLICKHOUSE_URL = f"clickhouse://127.0.0.1:{silent.port}/default"
    monkeypatch.setattr(client, "CONNECT_TIMEOUT_S", 1)
    with deadlines.within(1), pytest.raises(SearchUnavailable):
        client.rows("SELECT 1")
    asked = len(silent.taken)
    assert asked
    for query in (client.ping, lambda: client.columns("SELECT 1")):
        with pytest.raises(SearchUnavailable, match="does not respond"):
            query()
    assert len(silent.taken) == asked


def test_a_search_has_one_deadline_on_all_nodes(settings):
    settings.CLICKHOUSE_URL = "clickhouse://a:1/b,clickhouse://c:1/d"
    with deadlines.within(5):
        first = deadlines.current()
        with deadlines.within(60):
            assert deadlines.current() == first
        assert cluster.on_all_nodes(deadlines.current) == [first] * 2
        assert 0 < deadlines.seconds_left(2) <= 2
    with deadlines.within(0), pytest.raises(SearchUnavailable, match="too long"):
        deadlines.seconds_left(2)
    assert deadlines.seconds_left(2) == 2


def test_a_cache_that_is_away_is_asked_once():
    asked = []

    def use():
        asked.append(1)
        raise RedisConnectionError

    assert [cache.attempt(use) for _ in range(5)] == [None] * 5
    assert len(asked) == 1
    cache.CIRCUIT.close()
    assert cache.attempt(lambda: 7) == 7


@pytest.mark.parametrize(
    ("cache_url", "broker", "warnings"),
    [
        (None, "memory://", []),
        (None, "redis://a:6379/0", ["search.W001"]),
        ("redis://a:6379/1", "redis://a/0", ["search.W002"]),
        ("redis://b:6379/0", "redis://a:6379/0", []),
        ("redis://a:6380/0", "redis://a:6379/0", []),
    ],
)
def test_the_check_warns_of_a_cache_that_is_not_its_own(
    settings, cache_url, broker, warnings
):
    backend = "django.core.cache.backends."
    default = {"BACKEND": f"{backend}locmem.LocMemCache"}
    if cache_url:
        default = {"BACKEND": f"{backend}redis.RedisCache", "LOCATION": cache_url}
    settings.CACHES = {**settings.CACHES, "default": default}
    settings.CELERY_BROKER_URL = broker
    assert [warning.id for warning in check_cache()] == warnings
