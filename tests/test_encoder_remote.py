"""The encoder that asks workers: real Redis, real worker processes, the real model."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import redis
from conftest import ROOT
from django.db import connection
from PIL import Image
from support import python_process
from support.production import TESTS, Redis, wait_until

from postcards.shards import MODEL, jpeg
from search.encoder import local_encoder
from search.encoder.queue import PREFIX, WORKERS
from search.encoder.remote import CeleryEncoder
from search.errors import SearchUnavailable

REMOTE = "search.encoder.remote.CeleryEncoder"
WAIT_S = 3.0  # of tests that wait for it to pass
PATIENCE_S = 30.0  # who is answered in less than half of it, has not waited
pytestmark = pytest.mark.django_db


class Site:
    """Redis and two encode workers, each with one thread that computes."""

    def __init__(self, folder: Path):
        self.folder, self.redis = folder, Redis(folder)
        self.watched = folder / "watched"
        self.workers: dict[int, subprocess.Popen] = {}

    def start_worker(self) -> None:
        database = connection.settings_dict
        place = f"{database['HOST']}:{database['PORT']}/{database['NAME']}"
        environment = os.environ | {
            "CELERY_BROKER_URL": self.redis.url,
            "DATABASE_URL": f"postgres://postgres@{place}",
            "PYTHONPATH": f"{ROOT}:{TESTS}",
            "WATCHED": str(self.watched),
            "OMP_NUM_THREADS": "1",
        }
        command = [
            "-A",
            "support.watched_encoder",
            "worker",
            "-Q",
            "encode",
            "-P",
            "solo",
        ]
        name = ["-n", f"{len(self.workers)}@%h", "--without-mingle"]
        with (self.folder / "workers.log").open("a") as log:
            worker = python_process.Popen(
                ["-m", "celery", *command, *name],
                torch=True,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
            )
        self.workers[worker.pid] = worker

    def have_workers(self, count: int) -> None:
        """Starts those that are missing, and waits until they serve."""
        while len(self.workers) < count:
            self.start_worker()
        wait_until(f"{count} workers live", lambda: self.living() >= count)

    def living(self) -> int:
        with redis.Redis(port=self.redis.port) as client:
            return client.zcount(WORKERS, (time.time() - 1) * 1000, "+inf")

    def kill_worker(self, pid: int) -> None:
        worker = self.workers.pop(pid)
        worker.send_signal(signal.SIGCONT)
        worker.kill()
        worker.wait()

    def passes(self) -> list[tuple[int, list[str]]]:
        """Process and texts of each pass."""
        if not self.watched.exists():
            return []
        return [json.loads(line) for line in self.watched.read_text().splitlines()]

    def computed(self, text: str) -> list[int]:
        """The processes that a text was in the hands of."""
        return [pid for pid, texts in self.passes() if text in texts]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No worker moves; to those who ask one seems to live all the time."""
        for worker in self.workers.values():
            worker.send_signal(signal.SIGSTOP)
        try:
            with redis.Redis(port=self.redis.port) as client:
                client.zadd(WORKERS, {"paused": (time.time() + 3600) * 1000})
                yield
                client.zrem(WORKERS, "paused")
        finally:
            for worker in self.workers.values():
                worker.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def site(postcards_dataset, tmp_path_factory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("encoding"))
    site.redis.start()
    try:
        site.have_workers(2)
        yield site
    finally:
        for pid in list(site.workers):
            site.kill_worker(pid)
        site.redis.kill()


@pytest.fixture
def remote(site, settings) -> CeleryEncoder:
    settings.CELERY_BROKER_URL = site.redis.url
    settings.SEARCH_ENCODER = REMOTE
    settings.ENCODER_WAIT_S = PATIENCE_S
    return CeleryEncoder(MODEL)


def drawn(number: int) -> Image.Image:
    return Image.open(BytesIO(jpeg(number)))


def outcome(ask, *arguments):
    """Return what a call returns or raises, and its seconds."""
    started = time.monotonic()
    try:
        return ask(*arguments), time.monotonic() - started
    except Exception as error:
        return error, time.monotonic() - started


def test_the_answers_are_those_of_the_model_in_this_process(remote):
    texts = ["a red house", "", "🏠 " * 200, "half a pair \ud83c"]
    images = [drawn(1), drawn(2)]
    here = local_encoder(MODEL, "")
    assert remote.dimension == 512
    for vectors, wanted in [
        (remote.encode_texts(texts), here.encode_texts(texts)),
        (remote.encode_images(images), here.encode_images(images)),
    ]:
        assert vectors.dtype == np.float32
        assert np.allclose(vectors, wanted, atol=1e-5)


def test_users_at_once_share_passes_and_get_each_their_own(site, remote):
    texts = [f"a house with {number} windows" for number in range(64)]
    with ThreadPoolExecutor(66) as users:
        for busy in ["take 2 seconds", "take 2.0 seconds"]:  # one for each worker
            users.submit(remote.encode_texts, [busy])
            wait_until("it computes", lambda busy=busy: site.computed(busy))
        answers = list(users.map(lambda text: remote.encode_texts([text])[0], texts))
    wanted = local_encoder(MODEL, "").encode_texts(texts)
    assert np.allclose(answers, wanted, atol=1e-5)
    passes = [shared for _, shared in site.passes() if set(shared) & set(texts)]
    assert sum(map(len, passes)) == 64
    assert len(passes) <= 16


def test_the_log_of_the_worker_names_the_request_of_the_web(site, remote, client):
    """The batch of a damaged text fails, whose request asked for it is told."""
    headers = {"X-Request-ID": "asked-by-a-test"}
    response = client.get("/api/search/?dataset=postcards&q=break", headers=headers)
    assert (response.status_code, response["X-Request-ID"]) == (503, "asked-by-a-test")
    assert "could not encode the words or the image" in response.json()["detail"]
    log = (site.folder / "workers.log").read_text()
    assert "search.encoder.worker asked-by-a-test: A batch of 1 failed" in log
    forged = {"X-Request-ID": "two\tlines"}
    assert client.get("/healthz", headers=forged)["X-Request-ID"].isalnum()


def test_a_long_call_is_answered_in_order(remote):
    texts = [f"{number} boats" for number in range(70)]
    wanted = local_encoder(MODEL, "").encode_texts(texts)
    assert np.allclose(remote.encode_texts(texts), wanted, atol=1e-5)


def test_a_slow_worker_keeps_nobody_longer_than_the_limit(
    site, remote, client, settings
):
    """And what had to wait too long is not computed afterwards."""
    settings.ENCODER_WAIT_S = WAIT_S
    with site.paused(), ThreadPoolExecutor(2) as users:
        asked = [
            users.submit(outcome, remote.encode_texts, [f"waits too long {number}"])
            for number in range(2)
        ]
        response, seconds = outcome(client.get, "/?q=waits+too+long+on+the+page")
        assert WAIT_S - 0.1 < seconds < PATIENCE_S
        assert response.status_code == 503
        assert response["Retry-After"] == "5"
        assert "took too long" in response.content.decode()
        for error, seconds in (job.result() for job in asked):
            assert isinstance(error, SearchUnavailable)
            assert WAIT_S - 0.1 < seconds < PATIENCE_S
    assert remote.encode_texts(["afterwards"]).shape == (1, 512)
    told = [text for _, texts in site.passes() for text in texts]
    assert not [text for text in told if text.startswith("waits too long")]


def test_when_too_much_waits_the_next_is_refused_at_once(site, remote, settings):
    settings.ENCODER_QUEUE = 4
    settings.ENCODER_WAIT_S = 20 * PATIENCE_S
    with ThreadPoolExecutor(4) as users:
        with site.paused():
            full = [users.submit(remote.encode_texts, ["full"]) for _ in range(4)]
            with redis.Redis(port=site.redis.port) as client:
                wait_until("all wait", lambda: client.llen(f"{PREFIX}texts") == 4)
            error, seconds = outcome(remote.encode_texts, ["one more"])
            assert isinstance(error, SearchUnavailable)
            assert "Too many searches" in error.message
            assert seconds < PATIENCE_S / 2
        assert all(job.result().shape == (1, 512) for job in full)


def test_nothing_of_a_query_stays_in_redis(site, remote):
    remote.encode_images([drawn(4)])
    remote.encode_texts(["forgotten"])
    with redis.Redis(port=site.redis.port) as client:

        def left() -> set[bytes]:
            keys = set(client.scan_iter(f"{PREFIX}*"))
            return keys - {WORKERS.encode()}

        # Answers that nobody fetched last for seconds.
        wait_until("Redis is empty", lambda: not left())


def test_items_and_further_pages_need_no_worker(site, remote, client, settings):
    found = client.get("/api/search/?dataset=postcards&q=a+red+house").json()
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    answer, seconds = outcome(client.get, "/?q=words+never+asked+before")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert seconds < PATIENCE_S / 2
    assert "Searches by words or images are unavailable" in answer.content.decode()
    api = client.get("/api/search/?dataset=postcards&q=never+asked+either")
    assert (api.status_code, api.json()["code"]) == (503, "unavailable")
    item = found["results"][0]["id"]
    for address in [
        f"/?item={item}",
        f"/d/postcards/{item}",
        "/?q=a+red+house",  # the words are remembered
        f"/api/search/?dataset=postcards&cursor={found['next']}",
    ]:
        assert client.get(address).status_code == 200, address


def test_a_broker_that_dies_hangs_or_returns_empty(site, remote, settings):
    assert remote.encode_texts(["before"]).shape == (1, 512)
    threads = threading.active_count()
    settings.ENCODER_WAIT_S = WAIT_S
    site.redis.process.send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(8) as users:
            told = list(
                users.map(lambda _: outcome(remote.encode_texts, ["x"]), range(8))
            )
        for error, seconds in told:
            assert isinstance(error, SearchUnavailable)
            assert seconds < PATIENCE_S
    finally:
        site.redis.process.send_signal(signal.SIGCONT)
    site.redis.kill()
    settings.ENCODER_WAIT_S = PATIENCE_S
    for _ in range(20):
        error, seconds = outcome(remote.encode_texts, ["x"])
        assert isinstance(error, SearchUnavailable)
        assert seconds < PATIENCE_S / 2
    site.redis.start()
    site.have_workers(1)

    def is_answered() -> bool:  # once its circuit has rested
        with suppress(SearchUnavailable):
            return remote.encode_texts(["after"]).shape == (1, 512)
        return False

    wait_until("words are encoded again", is_answered)
    assert threading.active_count() == threads
    with redis.Redis(port=site.redis.port) as client:
        # This process's few; each worker's handful.
        assert client.info("clients")["connected_clients"] < 30


def test_without_a_worker_nobody_waits(site, remote):
    with redis.Redis(port=site.redis.port) as client:
        client.delete(WORKERS)
        with site.paused():
            client.delete(WORKERS)
            error, seconds = outcome(remote.encode_texts, ["x"])
    assert isinstance(error, SearchUnavailable)
    assert "no encode worker is running" in error.message
    assert seconds < PATIENCE_S / 2
    site.have_workers(1)


def test_what_a_killed_worker_held_is_computed_by_another(site, remote):
    site.have_workers(2)
    with ThreadPoolExecutor(1) as user:
        asked = user.submit(outcome, remote.encode_texts, ["hang once"])
        (pid,) = wait_until("it hangs", lambda: site.computed("hang once"))
        site.kill_worker(pid)
        vectors, seconds = asked.result()
    assert vectors.shape == (1, 512), vectors
    assert seconds < PATIENCE_S
    first, second = site.computed("hang once")
    assert first != second


def test_a_worker_that_is_stopped_answers_what_it_has_begun(site, remote):
    site.have_workers(1)
    with ThreadPoolExecutor(1) as user:
        asked = user.submit(remote.encode_texts, ["take 0.7 seconds"])
        (pid,) = wait_until("it computes", lambda: site.computed("take 0.7 seconds"))
        site.workers[pid].terminate()
        assert asked.result().shape == (1, 512)
    assert site.workers.pop(pid).wait(20) == 0
    assert site.computed("take 0.7 seconds") == [pid]
