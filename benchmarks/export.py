"""A dataset into files: how quick that is, and how much memory it takes.

    .venv/bin/python benchmarks/export.py [--rows 100000] [--rounds 3]

Rows are drawn with LAION's columns and two vectors of 512 numbers each, and are brought
in without their indexes, which an export does not ask. "pandas" is what one would write
at first: SELECT everything into a frame, and the frame into a Parquet file. Each run is
a process of its own; the one with the least CPU time counts, since other work on the
machine only ever adds to it, and the median of the peaks of memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from search.models import SYSTEM

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))
SET_ELSEWHERE = ("DATABASE_URL", "CLICKHOUSE_URL", "CELERY_BROKER_URL", "CACHE_URL")
# What is written: in which form, and whether with embeddings.
EXPORTS = {
    "JSON": ("json", False),
    "CSV": ("csv", False),
    "Parquet": ("parquet", False),
    "Parquet with embeddings": ("parquet", True),
    "list for img2dataset": ("img2dataset", False),
}
PEERS = ("pandas", "pandas with embeddings")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures exports.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", nargs="+", default=[*EXPORTS, *PEERS])
    parser.add_argument("--step", help="in this process, of the dataset in VAR_DIR")
    options = parser.parse_args()
    if options.step:
        print(json.dumps(STEPS.get(options.step, exported)(options.step)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder, options.rows)
        print(
            f"{options.rows:,} rows.\n\n| | s | CPU s | rows/s | idle MB | peak MB |",
            end="",
        )
        print(" more MB | files MB |\n|---|---|---|---|---|---|---|---|")
        for step in options.steps:
            show(step, [run(folder, step) for _ in range(options.rounds)])


def draw(folder: Path, rows: int) -> None:
    from laion_like import write_shard

    write_shard(folder / "shard", 0, rows)
    run(folder, "bring in")


def run(folder: Path, step: str) -> dict:
    """Return what a step prints in a process of its own, with VAR_DIR in `folder`."""
    environment = {
        name: os.environ[name] for name in os.environ if name not in SET_ELSEWHERE
    }
    done = subprocess.run(
        [sys.executable, HERE, "--step", step],
        env=environment | {"VAR_DIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def show(name: str, steps: list[dict]) -> None:
    best = min(steps, key=lambda step: step["cpu_s"])
    peak = statistics.median(step["peak_mb"] for step in steps)
    print(
        f"| {name} | {best['wall_s']:.1f} | {best['cpu_s']:.1f} "
        f"| {best['rows'] / best['wall_s']:,.0f} | {best['idle_mb']:.0f} | {peak:.0f} "
        f"| {peak - best['idle_mb']:.0f} | {best['file_mb']:.1f} |",
        flush=True,
    )


def bring_in(_: str) -> dict:
    """Write the rows to where exports read them, without indexes."""
    from ingest_paths import dataset_of, queued

    from search.clickhouse import schema, writer
    from search.ingestion import shard_run
    from search.models import Shard

    dataset = dataset_of(str(Path(os.environ["VAR_DIR"]) / "shard"))
    shard = queued(dataset, 0)
    shard_run.ingest(shard.pk)
    shard.refresh_from_db()
    assert shard.state == Shard.State.ARRIVED, shard.error
    table = dataset.item_table
    rebuilt, arrived = table.rebuilt(0, 0), table.arriving(0, shard.epoch)
    schema.create(table)
    writer.assemble(table, 0, rebuilt, [arrived], [])
    writer.publish(table, 0, rebuilt)
    dataset.shards.update(state=Shard.State.INGESTED, rows_visible=shard.rows_kept)
    return {}


def exported(step: str) -> dict:
    from ingest_paths import counted, watched

    from search.clickhouse import client
    from search.query.filters import Filters
    from usercollections.export import export_request, writer

    form, with_embeddings = EXPORTS[step]
    wanted = export_request.of_dataset(
        SYSTEM, "benchmark", Filters(nsfw="any"), form, with_embeddings
    )
    client.ping()
    with tempfile.TemporaryDirectory() as name:
        folder, manifests = Path(name), []

        def write() -> None:
            manifests.append(writer.write(wanted, None, folder, lambda _: None))

        done = watched(step, write)
        files = manifests[0]["files"]
    rows = manifests[0]["counts"]["rows"]
    size = sum(file["bytes"] for file in files)
    return asdict(counted(done, rows)) | {"file_mb": size / 1e6}


def naive(step: str) -> dict:
    """Export with the engine's client and pandas, the obvious way by hand."""
    from ingest_paths import counted, watched

    from search.clickhouse import client

    client.ping()
    hidden = "" if step == PEERS[1] else "EXCEPT (image_embedding, text_embedding)"
    sql = f"SELECT * {hidden} FROM item_benchmark WHERE deleted = 0"
    rows = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "all.parquet"

        def write() -> None:
            frame = client._client(client.LONG_TIMEOUT_S).query_df(sql)
            rows.append(len(frame))
            # The codes of pictures are bytes, maps are dictionaries.
            frame.drop(columns=["image_code"]).to_parquet(path)

        done = watched(step, write)
        size = path.stat().st_size
    return asdict(counted(done, rows[0])) | {"file_mb": size / 1e6}


STEPS = {"bring in": bring_in, **dict.fromkeys(PEERS, naive)}

if __name__ == "__main__":
    main()
