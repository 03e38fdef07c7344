"""The ways into the engine that benchmarks/ingest.py compares.

Each is run in a process of its own, so that its peak of memory is its own:

    .venv/bin/python benchmarks/ingest_paths.py arriving SOURCE NUMBER

in an environment with VAR_DIR. Prints its steps as JSON.
"""

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "laionweb.settings"

import django  # noqa: E402

django.setup()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from django.core.management import call_command  # noqa: E402

from search.clickhouse import client, schema, writer  # noqa: E402
from search.ingestion import control, publishing, shard_run  # noqa: E402
from search.models import Dataset, Shard  # noqa: E402
from search.query.model import SearchQuery, Term  # noqa: E402
from search.retrieval import service  # noqa: E402

SEARCHES = 200  # and not more than a twentieth of the rows
DOCUMENTS_TABLE = """CREATE TABLE laion (
  id Int64, url String, caption String, NSFW String, similarity Float32,
  image_embedding Array(Float32), text_embedding Array(Float32)
) ENGINE = MergeTree ORDER BY id SETTINGS index_granularity = 8192"""


@dataclass(frozen=True)
class Step:
    """The cost of a step; memory is resident, in megabytes, before and at most."""

    name: str
    rows: int
    wall_s: float
    cpu_s: float
    idle_mb: float
    peak_mb: float


def arriving(source: str, number: str) -> list[Step]:
    """Ingest a shard of a folder, without indexes."""
    dataset = dataset_of(source)
    shard = queued(dataset, int(number))
    step = watched("arriving", lambda: shard_run.ingest(shard.pk))
    shard.refresh_from_db()
    assert shard.state == Shard.State.ARRIVED, shard.error
    return [counted(step, shard.rows_kept)]


def graphs(source: str, number: str) -> list[Step]:
    """Run the steps of publishing one by one for an ingested shard.

    In a table that the next publication drops.
    """
    dataset = dataset_of(source)
    shard = dataset.shards.get(number=number)
    table, partition = dataset.item_table, int(number)
    rebuilt = table.rebuilt(partition, 0)
    schema.create(table)
    arrived = table.arriving(shard.number, shard.epoch)
    writer.assemble(table, partition, rebuilt, [arrived], [])
    statements = {"merge": f"OPTIMIZE TABLE {rebuilt.name} PARTITION {partition} FINAL"}
    for field, index in schema.INDEXES.items():
        statements[f"{field} graph"] = (
            f"ALTER TABLE {rebuilt.name} MATERIALIZE INDEX {index} "
            f"IN PARTITION {partition}"
        )
    steps = [
        watched(name, lambda sql=sql: client.command(sql, mutations_sync=1))
        for name, sql in statements.items()
    ]
    return [counted(step, shard.rows_kept) for step in steps]


def published(source: str, number: str) -> list[Step]:
    """Build both indexes of an ingested shard and move it to where searches look."""
    dataset = dataset_of(source)
    step = watched("publishing", lambda: publishing.publish(dataset, int(number)))
    shard = dataset.shards.get(number=number)
    assert shard.state == Shard.State.INGESTED, shard.error
    return [counted(step, shard.rows_visible)]


def documents(source: str, number: str) -> list[Step]:
    """Ingest as ClickHouse's documentation does: lists, CSV, INSERT … FROM INFILE."""
    client.ping()
    csv = Path(os.environ["VAR_DIR"]) / "laion.csv"

    def both() -> None:
        frame_to_csv(Path(source), number, csv)
        client.command(DOCUMENTS_TABLE)
        client.command(f"INSERT INTO laion FROM INFILE '{csv}' FORMAT CSV")

    step = watched("documents", both)
    return [counted(step, client.rows("SELECT count() AS n FROM laion")[0]["n"])]


def frame_to_csv(source: Path, number: str, csv: Path) -> None:
    frame = pd.read_parquet(
        source / f"metadata_{number}.parquet",
        columns=["url", "caption", "NSFW", "similarity"],
    )
    for field, kind in (("image", "img_emb"), ("text", "text_emb")):
        matrix = np.load(source / f"{kind}_{number}.npy")
        frame[f"{field}_embedding"] = [vector.tolist() for vector in matrix]
    for quote in "'\"":
        frame["caption"] = frame["caption"].str.replace(quote, " ", regex=False)
    frame.to_csv(csv, header=False)


def searches(source: str, number: str, threads: str) -> list[dict]:
    """Measure searches alone, and while `threads` threads build a graph."""
    options = client._engine_options()
    options["max_build_vector_similarity_index_thread_pool_size"] = int(threads)
    client._engine_options = lambda: options
    dataset = dataset_of(source)
    last = dataset.shards.get(number=0).rows_visible
    shard_run.ingest(queued(dataset, int(number)).pk)
    random = np.random.default_rng(0)

    def search() -> float:
        item = SearchQuery("benchmark", (Term(item=int(random.integers(last))),))
        started = time.perf_counter()
        service.search(item, None, service.unlimited)
        return (time.perf_counter() - started) * 1000

    count = min(SEARCHES, last // 20)
    for _ in range(count // 4):  # the first ones load the graph
        search()
    alone = [search() for _ in range(count)]
    building = Thread(target=publishing.publish, args=(dataset, int(number)))
    meanwhile, started = [], time.perf_counter()
    building.start()
    while building.is_alive():
        meanwhile.append(search())
    took = time.perf_counter() - started
    return [
        {"threads": int(threads), "build_s": took, "searches": len(times)}
        | dict(zip(("p50", "p95"), percentiles(times), strict=True))
        for times in (alone, meanwhile)
    ]


def percentiles(times: list[float]) -> tuple[float, float]:
    steps = statistics.quantiles(times, n=20)
    return steps[9], steps[18]


def dataset_of(source: str) -> Dataset:
    """Return the dataset of a folder, one shard per partition, and open the engine."""
    call_command("migrate", verbosity=0)
    dataset, _ = Dataset.objects.get_or_create(
        slug="benchmark",
        title="Benchmark",
        source=source,
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
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    idle, cpu, wall = memory("VmRSS"), cpu_seconds(), time.perf_counter()
    work()
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return Step(name, 0, wall, cpu, idle, memory("VmHWM"))


def counted(step: Step, rows: int) -> Step:
    return Step(**asdict(step) | {"rows": rows})


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, its engine and its child processes."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def memory(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(name)


PATHS = {path.__name__: path for path in (arriving, graphs, published, documents)}


def main(arguments: list[str]) -> None:
    if not arguments:
        return  # make bench runs all modules of this folder
    name, *rest = arguments
    if name == "searches":
        print(json.dumps(searches(*rest)))
    else:
        print(json.dumps([asdict(step) for step in PATHS[name](*rest)]))


if __name__ == "__main__":
    main(sys.argv[1:])
