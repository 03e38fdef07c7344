"""The ways into the engine that benchmarks/ingest.py compares.

Each is run in a process of its own, so that its peak of memory is its own:

    .venv/bin/python benchmarks/ingest_paths.py arriving SOURCE

in an environment with VAR_DIR. Prints its steps as JSON.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Thread

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "laionweb.settings"

import django  # noqa: E402

django.setup()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from costs import Watch, anonymous_mb, timed  # noqa: E402
from django.core.management import call_command  # noqa: E402

from search.clickhouse import client  # noqa: E402
from search.clickhouse.schema import CLUSTERS, GRAPH  # noqa: E402
from search.ingestion import clusters as ingestion_clusters  # noqa: E402
from search.ingestion import control, publishing, shard_run  # noqa: E402
from search.models import SYSTEM, Dataset, Shard  # noqa: E402
from search.query.model import SearchQuery, Term  # noqa: E402
from search.retrieval import service  # noqa: E402

SEARCHES = 200  # and not more than a twentieth of the rows
DOCUMENTS_TABLE = """CREATE TABLE laion (
  id Int64, url String, caption String, NSFW String, similarity Float32,
  image_embedding Array(Float32), text_embedding Array(Float32)
) ENGINE = MergeTree ORDER BY id SETTINGS index_granularity = 8192"""


@dataclass(frozen=True)
class Step:
    """The cost of a step; memory is the process's own, in MB, before and at most."""

    name: str
    rows: int
    wall_s: float
    cpu_s: float
    idle_mb: float
    peak_mb: float


def arriving(source: str) -> list[Step]:
    """Ingest a shard of a folder, without an index."""
    return [arrived(dataset_of(source))]


def clusters(source: str) -> list[Step]:
    """Publish an ingested shard to be searched by clusters, as is the default."""
    return published(dataset_of(source), "published, clusters")


def graph(source: str) -> list[Step]:
    """Ingest a shard, and publish it to be searched by graphs."""
    dataset = dataset_of(source, GRAPH)
    arrived(dataset)
    return published(dataset, "published, graphs")


def arrived(dataset: Dataset) -> Step:
    shard = queued(dataset, 0)
    step = watched("arriving", lambda: shard_run.ingest(shard.pk))
    shard.refresh_from_db()
    assert shard.state == Shard.State.ARRIVED, shard.error
    return replace(step, rows=shard.rows_kept)


def published(dataset: Dataset, name: str) -> list[Step]:
    """Move the ingested shard to where searches look, with what they search by."""
    training = timed(ingestion_clusters, "_train")
    step = watched(name, lambda: publishing.publish(dataset, 0))
    shard = dataset.shards.get(number=0)
    assert shard.state == Shard.State.INGESTED, shard.error
    trained = replace(step, name="of which training", cpu_s=training(), wall_s=0.0)
    steps = [step, trained] if dataset.index == CLUSTERS else [step]
    return [replace(each, rows=shard.rows_visible) for each in steps]


def documents(source: str) -> list[Step]:
    """Ingest as ClickHouse's documentation does: lists, CSV, INSERT … FROM INFILE."""
    client.ping()
    csv = Path(os.environ["VAR_DIR"]) / "laion.csv"

    def both() -> None:
        frame_to_csv(Path(source), csv)
        client.command(DOCUMENTS_TABLE)
        client.command(f"INSERT INTO laion FROM INFILE '{csv}' FORMAT CSV")

    step = watched("documents", both)
    rows = client.rows("SELECT count() AS n FROM laion")[0]["n"]
    return [replace(step, rows=rows)]


def frame_to_csv(source: Path, csv: Path) -> None:
    frame = pd.read_parquet(
        source / "metadata_0.parquet",
        columns=["url", "caption", "NSFW", "similarity"],
    )
    for field, kind in (("image", "img_emb"), ("text", "text_emb")):
        matrix = np.load(source / f"{kind}_0.npy")
        frame[f"{field}_embedding"] = [vector.tolist() for vector in matrix]
    for quote in "'\"":
        frame["caption"] = frame["caption"].str.replace(quote, " ", regex=False)
    frame.to_csv(csv, header=False)


def searches(source: str) -> list[dict]:
    """Measure searches of a published shard alone, and while another is published."""
    dataset = dataset_of(source)
    last = dataset.shards.get(number=0).rows_visible
    shard_run.ingest(queued(dataset, 1).pk)
    random = np.random.default_rng(0)

    def search() -> float:
        item = SearchQuery(dataset.slug, (Term(item=int(random.integers(last))),))
        started = time.perf_counter()
        service.search(item, SYSTEM, service.unlimited)
        return (time.perf_counter() - started) * 1000

    count = min(SEARCHES, last // 20)
    for _ in range(count // 4):  # the first ones load the centroids
        search()
    alone = [search() for _ in range(count)]
    publishing_it = Thread(target=publishing.publish, args=(dataset, 1))
    meanwhile = []
    publishing_it.start()
    while publishing_it.is_alive():
        meanwhile.append(search())
    return [
        {"searches": len(times)}
        | dict(zip(("p50", "p95"), percentiles(times), strict=True))
        for times in (alone, meanwhile)
    ]


def percentiles(times: list[float]) -> tuple[float, float]:
    steps = statistics.quantiles(times, n=20)
    return steps[9], steps[18]


def dataset_of(source: str, index: str = CLUSTERS) -> Dataset:
    """Return the dataset of a folder, one shard per partition, and open the engine."""
    call_command("migrate", verbosity=0)
    dataset, _ = Dataset.objects.get_or_create(
        slug=f"by_{index}",
        title=index,
        source=source,
        index=index,
        shards_per_partition=1,
        without_removal_list=True,
    )
    control.discover_shards(dataset)
    client.ping()
    return dataset


def queued(dataset: Dataset, number: int) -> Shard:
    shards = dataset.shards.filter(number=number)
    control.queue(dataset, shards)
    return shards.get()


def watched(name: str, work: Callable[[], object]) -> Step:
    idle = anonymous_mb()
    with Watch() as watch:
        work()
    return Step(name, 0, watch.wall_s, watch.cpu_s, idle, watch.peak_mb)


PATHS = {path.__name__: path for path in (arriving, clusters, graph, documents)}


def main(arguments: list[str]) -> None:
    if not arguments:
        return  # make bench runs all modules of this folder
    name, source = arguments
    if name == "searches":
        print(json.dumps(searches(source)))
    else:
        print(json.dumps([asdict(step) for step in PATHS[name](source)]))


if __name__ == "__main__":
    main(sys.argv[1:])
