"""The queue of the encode workers, against a real Redis, without workers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from support.production import Redis, wait_until

from search.encoder.queue import (
    LOST,
    MAX_IMAGES,
    PREFIX,
    Liveness,
    QueueClient,
    QueueServer,
    Request,
    new_call,
)
from search.errors import SearchUnavailable

LIMITS = {"t": 64, "p": 64}
LIVENESS = Liveness(dead_after_ms=100)  # else the tests wait longer for deaths


@pytest.fixture(scope="module")
def server(processes, tmp_path_factory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("queue"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def serving(server):
    """Returns a factory of workers that have given a heartbeat."""
    server.flush()

    def make(name: str) -> QueueServer:
        worker = QueueServer(server.url, name, LIVENESS)
        worker.heartbeat()
        return worker

    return make


@pytest.fixture
def client(server) -> QueueClient:
    return QueueClient(server.url, LIVENESS)


def call(count: int = 1, kind: str = "t") -> list[Request]:
    name = new_call()
    return [
        Request(name, number, kind, "model", "weights", b"content %d" % number)
        for number in range(count)
    ]


def wait_for_death(client: QueueClient) -> None:
    """Waits until the last heartbeat of every worker is too old."""
    wait_until("they are dead", lambda: client.status()[1] == 0)


def taken(worker: QueueServer, count: int, kinds: str = "tp") -> list[Request]:
    """Waits until so many have come."""
    got: list[Request] = []
    wait_until("they came", lambda: got.extend(worker.take(kinds, LIMITS)[0]) or got)
    return got if len(got) == count else got + taken(worker, count - len(got), kinds)


def test_answers_come_back_in_order_whatever_order_they_are_given_in(client, serving):
    worker, requests = serving("one"), call(3)
    with ThreadPoolExecutor(1) as user:
        asked = user.submit(client.encode, requests, 64, 3)
        got = taken(worker, 3)
        assert got == requests
        worker.answer([(request, request.content[::-1]) for request in reversed(got)])
        assert asked.result() == [request.content[::-1] for request in requests]


def test_a_refusal_reaches_the_one_whose_it_is(client, serving):
    worker, good, bad = serving("one"), call(kind="p"), call(kind="p")
    with ThreadPoolExecutor(2) as users:
        answers = [users.submit(client.encode, each, 64, 3) for each in (good, bad)]
        told = [
            (got, SearchUnavailable("It broke.") if got == bad[0] else b"vector")
            for got in taken(worker, 2)
        ]
        worker.answer(told)
        assert answers[0].result() == [b"vector"]
        with pytest.raises(SearchUnavailable, match="It broke"):
            answers[1].result()


def test_requests_lost_twice_are_given_up(client, serving):
    workers = [serving("one")]
    with ThreadPoolExecutor(1) as user:
        asked = user.submit(client.encode, call(), 64, 4)
        taken(workers[0], 1)
        wait_for_death(client)
        workers.append(serving("two"))  # its heartbeat requeues what "one" held
        taken(workers[1], 1)
        wait_for_death(client)
        workers.append(serving("three"))
        assert workers[2].take("tp", LIMITS) == ([], 0)
        with pytest.raises(SearchUnavailable, match=LOST):
            asked.result()


def test_what_was_answered_is_not_handed_on(client, serving):
    worker = serving("one")
    with ThreadPoolExecutor(1) as user:
        asked = user.submit(client.encode, call(), 64, 3)
        worker.answer([(got, b"vector") for got in taken(worker, 1)])
        worker.release()
        assert asked.result() == [b"vector"]
    wait_for_death(client)
    assert serving("two").take("tp", LIMITS) == ([], 0)


def test_what_has_expired_is_not_handed_out(client, serving, server):
    worker = serving("one")
    for kind in "tp":
        with pytest.raises(SearchUnavailable, match="too long"):
            client.encode(call(2, kind), 64, 0.1)
    assert worker.take("t", LIMITS) == ([], 2)
    assert worker.take("p", LIMITS) == ([], 2)
    with redis.Redis(port=server.port) as client:
        assert not list(client.scan_iter(f"{PREFIX}picture:*"))


def test_texts_are_let_in_where_pictures_no_longer_are(client, serving):
    worker = serving("one")
    with ThreadPoolExecutor(2) as users:
        full = users.submit(client.encode, call(MAX_IMAGES, "p"), 256, 1)
        wait_until("they wait", lambda: client.status()[0]["p"] == MAX_IMAGES)
        with pytest.raises(SearchUnavailable, match="Too many"):
            client.encode(call(kind="p"), 256, 1)
        text = users.submit(client.encode, call(), 256, 1)
        worker.answer([(got, b"vector") for got in taken(worker, 1, "t")])
        assert text.result() == [b"vector"]
        with pytest.raises(SearchUnavailable, match="too long"):
            full.result()


def test_no_more_is_handed_out_than_asked_for_and_one_kind_at_a_time(client, serving):
    worker = serving("one")
    with ThreadPoolExecutor(2) as users:
        calls = [users.submit(client.encode, call(5, kind), 64, 0.5) for kind in "tp"]
        wait_until("all wait", lambda: client.status()[0] == {"t": 5, "p": 5})
        assert [got.kind for got in worker.take("pt", {"t": 3, "p": 2})[0]] == ["p"] * 2
        assert [got.kind for got in worker.take("tp", {"t": 3, "p": 2})[0]] == ["t"] * 3
        for each in calls:
            assert isinstance(each.exception(), SearchUnavailable)


def test_what_has_expired_leaves_its_place_to_others(client, serving):
    worker = serving("one")
    with pytest.raises(SearchUnavailable, match="too long"):
        client.encode(call(4), 4, 0.1)
    with ThreadPoolExecutor(1) as user:
        asked = user.submit(client.encode, call(4), 4, 2)
        got = taken(worker, 4)
        worker.answer([(request, b"vector") for request in got])
        assert asked.result() == [b"vector"] * 4
