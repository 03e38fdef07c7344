"""The example dataset from drawing to search, on this machine.

    .venv/bin/python benchmarks/postcards.py [--index graph]

Works in a folder of its own. So few rows are one cluster, of which all is read. Times
depend on the machine; compare the ratios.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
FOLDER = tempfile.TemporaryDirectory()
os.environ["VAR_DIR"] = FOLDER.name
os.environ["DJANGO_SETTINGS_MODULE"] = "laionweb.settings"
for name in ("DATABASE_URL", "CLICKHOUSE_URL", "CACHE_URL"):
    os.environ.pop(name, None)

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402

from postcards.shards import MODEL, write_shard  # noqa: E402
from search.clickhouse import queries  # noqa: E402
from search.clickhouse.filters import Condition  # noqa: E402
from search.clickhouse.schema import CLUSTERS  # noqa: E402
from search.encoder import local_encoder  # noqa: E402
from search.ingestion import control, publishing, shard_run  # noqa: E402
from search.models import SYSTEM, Dataset, Shard  # noqa: E402
from search.query.model import SearchQuery, Term  # noqa: E402
from search.retrieval import service  # noqa: E402

ROWS = 10_000
ROUNDS = 200


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--index", choices=Dataset.Index.values, default=CLUSTERS)
    index = parser.parse_args().index
    call_command("migrate", verbosity=0)
    shards = Path(FOLDER.name) / "shards"
    local_encoder(MODEL, "").encode_texts(["loaded beforehand"])
    print(rate("draw and embed", lambda: write_shard(shards, 0, ROWS, lambda _: None)))
    dataset = Dataset.objects.create(
        slug="postcards",
        title="Postcards",
        model=MODEL,
        weights="",
        source=str(shards),
        index=index,
    )
    control.discover_shards(dataset)
    dataset.shards.update(state=Shard.State.QUEUED)
    key = dataset.shards.get().pk
    print(rate("bring in, no index yet", lambda: shard_run.ingest(key)))
    print(rate(f"publish, {index}", lambda: publishing.publish(dataset, 0)))
    print(f"{'of ' + format(ROUNDS) + ' searches':34} {'p50 ms':>8} {'p95 ms':>8}")
    for name, search in searches(dataset).items():
        print(latency(name, search))


def searches(dataset: Dataset) -> dict[str, Callable[[], object]]:
    table = dataset.item_table
    words = SearchQuery("postcards", (Term(text="a red house by a lake at night"),))
    item = SearchQuery("postcards", (Term(item=7),))
    exact = SearchQuery("postcards", (Term(item=7),), mode="exact")
    vector = service.embed(words, SYSTEM, service.unlimited).vector
    unfiltered = {"condition": Condition(), "nsfw": "any", "exact": False}
    client = Client(headers={"host": "localhost"})
    return {
        "index alone, 40 ids": lambda: queries.nearest(
            table, "image", vector, 40, **unfiltered
        ),
        "index alone, 1,000 ids": lambda: queries.nearest(
            table, "image", vector, 1000, **unfiltered
        ),
        "words into a vector": lambda: local_encoder(MODEL, "").encode_texts(
            [words.terms[0].text]
        ),
        "find by item": lambda: service.search(item, SYSTEM, service.unlimited),
        "find by item, exact": lambda: service.search(exact, SYSTEM, service.unlimited),
        "find by words": lambda: service.search(words, SYSTEM, service.unlimited),
        "API request by words": lambda: client.get(
            "/api/search/?dataset=postcards&q=a+red+house+by+a+lake+at+night"
        ),
        "page by words": lambda: client.get("/?q=a+red+house+by+a+lake+at+night"),
    }


def rate(name: str, work: Callable[[], object]) -> str:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return f"{name:34} {ROWS / wall:8,.0f} rows/s {ROWS / cpu:8,.0f} rows/CPU-s"


def latency(name: str, search: Callable[[], object]) -> str:
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        search()
        times.append((time.perf_counter() - started) * 1000)
    steps = statistics.quantiles(times, n=20)
    return f"{name:34} {steps[9]:8.1f} {steps[18]:8.1f}"


if __name__ == "__main__":
    main()
