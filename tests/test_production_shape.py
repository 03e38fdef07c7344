"""The production deployment: each part in processes of its own.

PostgreSQL, Redis, gunicorn with two workers, a Celery worker with two processes, and
beat. The engine is the embedded one behind the HTTP endpoint of clickhouse_http.py, so
that the client's HTTP code, several web processes and separate workers meet a true
engine; a ClickHouse server it is not.
"""

import hashlib
import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode

import numpy as np
import pytest
from support import production
from support.production import Production, wait_until
from support.tiny_shards import vectors, write_shard

ROWS, SHARDS, DIMENSION, SLUG = 500, 6, 512, "shaped"
ASKERS = 8
PREFORK = ("--pool", "prefork", "--concurrency", "2")


@pytest.fixture(scope="module")
def embeddings() -> list[np.ndarray]:
    return [vectors(ROWS, 10 + number, DIMENSION) for number in range(SHARDS)]


@pytest.fixture(scope="module")
def site(
    processes, embeddings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    source = tmp_path_factory.mktemp("shards")
    for number, image in enumerate(embeddings):
        facts = {
            "url": [f"http://example.org/{number}/{i}.jpg" for i in range(ROWS)],
            "caption": [f"picture {i} of {number}" for i in range(ROWS)],
        }
        write_shard(source, number, ROWS, image=image, text=image, metadata=facts)
    folder = tmp_path_factory.mktemp("production")
    with production.started(folder, "support.fast_polling") as site:
        site.start_server()
        site.make_datasets([SLUG], source, DIMENSION)
        site.start_worker(*PREFORK)
        site.start_beat()
        site.start_web(workers=2)
        site.queue(SLUG)
        wait_until("all is ingested", lambda: site.ingested(SLUG))
        assert "Traceback" not in site.log()
        yield site


def ask(site: Production, vector: np.ndarray, **options) -> dict:
    term = {"embedding": vector.astype(float).tolist()}
    body = {"dataset": SLUG, "terms": [term], "limit": 5, **options}
    request = urllib.request.Request(
        f"{site.web_url}/api/search/",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except HTTPError as error:
        raise AssertionError(error.read().decode()) from error


def similarities(embeddings: list[np.ndarray], vector: np.ndarray) -> np.ndarray:
    """Return the similarities of all items, in the order of their ids."""
    rows = np.concatenate(embeddings).astype(np.float32)
    return rows @ vector / np.linalg.norm(rows, axis=1) / np.linalg.norm(vector)


def truth(embeddings: list[np.ndarray], vector: np.ndarray, count: int) -> list[int]:
    """Return the ids of the most similar items."""
    nearest = np.argsort(-similarities(embeddings, vector))[:count]
    return [int(place // ROWS << 32 | place % ROWS) for place in nearest]


def test_what_many_ask_at_once_is_answered_with_the_nearest(site, embeddings):
    asked = [embeddings[n % SHARDS][n].astype(np.float32) for n in range(3 * ASKERS)]
    asked = [vector / np.linalg.norm(vector) for vector in asked]
    with ThreadPoolExecutor(ASKERS) as askers:
        answers = list(askers.map(lambda vector: ask(site, vector), asked))
    for vector, answer in zip(asked, answers, strict=True):
        found = [hit["id"] for hit in answer["results"]]
        assert found[0] == truth(embeddings, vector, 1)[0]
        assert len(set(found) & set(truth(embeddings, vector, 5))) >= 4


def test_a_next_page_is_answered_by_whichever_process_is_asked(site, embeddings):
    vector = embeddings[0][0].astype(np.float32)
    first = ask(site, vector, mode="exact", limit=20)
    ids = [hit["id"] for hit in first["results"]]
    for _ in range(4):
        page = ask(site, vector, cursor=first["next"], limit=20)
        following = [hit["id"] for hit in page["results"]]
        assert len(following) == 20 and not set(ids) & set(following)
    # Vectors are rounded to bfloat16: items as near as these may change places.
    true = np.sort(similarities(embeddings, vector))[::-1][:40]
    shown = [hit["similarity"] for hit in first["results"] + page["results"]]
    assert np.allclose(shown, true, rtol=0, atol=1e-3)
    own = [(each >> 32) * ROWS + (each & 0xFFFF) for each in ids + following]
    assert np.allclose(similarities(embeddings, vector)[own], true, rtol=0, atol=1e-3)


def test_filters_and_words_with_quotes_travel_as_parameters(site, embeddings):
    vector = embeddings[2][7].astype(np.float32)
    found = ask(site, vector, filters={"caption": "7 2", "site": "example.org"})
    assert [hit["caption"] for hit in found["results"]] == ["picture 7 of 2"]
    hostile = 'it\'s \\ "so" {x:String}'
    assert ask(site, vector, filters={"caption": hostile})["results"] == []


def test_an_engine_that_is_away_is_told_at_once_and_comes_back(site, embeddings):
    site.stop_server()
    started = time.monotonic()
    away = "The search engine does not respond"
    with pytest.raises(AssertionError, match=away):
        ask(site, embeddings[0][1].astype(np.float32))
    assert time.monotonic() - started < 30  # CONNECT_TIMEOUT_S, and slack
    site.start_server()

    def answer() -> dict | None:
        """Return what is found, or None while a process does not try yet."""
        try:
            return ask(site, embeddings[0][1].astype(np.float32))
        except AssertionError as error:
            assert re.search(away, str(error))
            return None

    assert wait_until("it is searched again", answer)["results"][0]["id"] == 1


class Visitor:
    """A client that fills in the site's forms."""

    def __init__(self, site: Production):
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        self.url, self.browser = site.web_url, urllib.request.build_opener(cookies)

    def get(self, path: str) -> bytes:
        with self.browser.open(f"{self.url}{path}", timeout=60) as answer:
            return answer.read()

    def send(self, path: str, to: str = "", **given: str) -> bytes:
        """Submit the form of a page."""
        page = self.get(path).decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
        body = urlencode({**given, "csrfmiddlewaretoken": token}).encode()
        with self.browser.open(f"{self.url}{to or path}", body, timeout=60) as answer:
            return answer.read()

    def export(self) -> dict:
        """Return the latest export."""
        return json.loads(self.get("/api/exports/"))["results"][0]


def kill_all_of(site: Production) -> None:
    """Kill the worker and its pool by SIGKILL."""
    pid = site.worker.pid
    pool = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (pid, *map(int, pool)):
        os.kill(each, signal.SIGKILL)
    site.worker.wait()


def test_an_export_whose_worker_is_killed_is_completed_by_the_next(site):
    ada = Visitor(site)
    account = {"username": "ada", "email": "ada@example.org"}
    ada.send("/accounts/signup/", **account, password1="a long password 1")
    of_all = {"dataset": SLUG, "form": "csv"}
    ada.send(f"/exports/new?dataset={SLUG}", "/exports/new", **of_all)
    assert ada.export()["state"] in ("queued", "running")
    wait_until("a part is written", lambda: ada.export()["progress"]["rows"] > 700)
    kill_all_of(site)
    killed = ada.export()
    assert (killed["state"], killed["files"]) == ("running", [])
    site.start_worker(*PREFORK)
    wait_until("it is done", lambda: ada.export()["state"] == "done")
    done = ada.export()
    assert [file["rows"] for file in done["files"]] == [ROWS] * SHARDS
    rows: list[bytes] = []
    for file in done["files"]:
        content = ada.get(file["url"].removeprefix(site.web_url))
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
        rows += content.splitlines()[1:]
    assert len(set(rows)) == len(rows) == ROWS * SHARDS
