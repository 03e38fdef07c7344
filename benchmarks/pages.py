"""The pages on the server: how long each takes, and what of it is the search.

    .venv/bin/python benchmarks/pages.py

Works in a folder of its own, with few postcards, so that what is measured is the pages
around the search more than the search. Each search is one that was not made before.
Times depend on the machine; compare the ratios.
"""

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
FOLDER = tempfile.TemporaryDirectory()
os.environ["VAR_DIR"] = FOLDER.name
os.environ["DJANGO_SETTINGS_MODULE"] = "laionweb.settings"
os.environ["EXAMPLE_POSTCARDS"] = "1500"
os.environ["LIMIT_SEARCH"] = ""  # no limit: all requests come from one visitor
os.environ["LOG_LEVEL"] = "WARNING"
for name in ("DATABASE_URL", "CLICKHOUSE_URL", "CACHE_URL"):
    os.environ.pop(name, None)

import django  # noqa: E402

django.setup()

import numpy as np  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402

from search.retrieval import service  # noqa: E402

ROUNDS = 200
WARMING = 10
HOST = "localhost"
SEARCHES = ("search", "item", "neighbours", "filter_selectivity", "embeddings")
WORDS = ("red", "blue", "boat", "house", "cat", "lake", "night", "snow", "sunset")

Ask = Callable[[Client, int], int]
searching_s = 0.0  # of the request that is measured


def main() -> None:
    call_command("migrate", verbosity=0)
    call_command("load_example", verbosity=0)
    for name in SEARCHES:
        setattr(service, name, timed(getattr(service, name)))
    member = Client()
    member.force_login(get_user_model().objects.create_user("reader"))
    print("page, ms on the server          p50    p95   of it searching, p50")
    for page, client, ask in (
        ("start page", Client(), start_page),
        ("search page, whole", Client(), search_page),
        ("search page, as htmx asks", Client(), results),
        ("search page, signed in", member, search_page),
        ("item page", Client(), item_page),
        ("history POST", member, history),
        ("saved searches", member, saved_searches),
    ):
        print(measured(page, client, ask))


def timed(function: Callable) -> Callable:
    def run(*args, **kwargs):
        global searching_s
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            searching_s += time.perf_counter() - started

    return run


def measured(page: str, client: Client, ask: Ask) -> str:
    global searching_s
    walls, searching = [], []
    for number in range(-WARMING, ROUNDS):
        searching_s, started = 0.0, time.perf_counter()
        status = ask(client, number)
        walls.append((time.perf_counter() - started) * 1000)
        searching.append(searching_s * 1000)
        assert status == 200, f"{page}: status {status}"
    p50, p95 = np.percentile(walls[WARMING:], [50, 95])
    return f"{page:28} {p50:6.1f} {p95:6.1f} {np.median(searching[WARMING:]):10.1f}"


def words(number: int) -> str:
    return " ".join([*random.Random(number).sample(WORDS, 3), str(random.random())])


def start_page(client: Client, _: int) -> int:
    return client.get("/", headers={"host": HOST}).status_code


def search_page(client: Client, number: int, **more: str) -> int:
    parameters = {"q": words(number), "dataset": "postcards"}
    return client.get("/", parameters, headers={"host": HOST, **more}).status_code


def results(client: Client, number: int) -> int:
    return search_page(client, number, **{"HX-Request": "true"})


def item_page(client: Client, number: int) -> int:
    address = f"/d/postcards/{abs(number)}"
    return client.get(address, headers={"host": HOST}).status_code


def history(client: Client, number: int) -> int:
    data = {"address": f"q={words(number)}&dataset=postcards"}
    headers = {"host": HOST, "X-Requested-With": "XMLHttpRequest"}
    return client.post("/searches/history/", data, headers=headers).status_code


def saved_searches(client: Client, _: int) -> int:
    return client.get("/searches/", headers={"host": HOST}).status_code


if __name__ == "__main__":
    main()
