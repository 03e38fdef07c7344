"""Shards of a few rows and eight dimensions, in the format of LAION-400M."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from search.clickhouse import client, queries, schema, writer
from search.ingestion import control, deletion, publishing, shard_run
from search.models import Dataset, Shard

DIMENSION = 8
HOSTILE = [
    'it\'s "quoted", with\ttabs\nand lines\\n',
    "<img src=x onerror=alert(1)> {{7*7}}",
    "\u202eright to left, 日本語, 🏠",
    "'); DROP TABLE item_tiny --",
    "",
    "NULL",
    "\\N",
    "a" * 100_000,
]
# Digests of the visible rows; duplicates would cancel out in a XOR, hence the counts.
SUMMARY = """
SELECT count() AS visible, uniqExact(id) AS ids,
  groupBitXor(cityHash64(id, url, caption, toString(metadata))) AS facts,
  groupBitXor(cityHash64(id, arrayMap(x -> toFloat32(x), image_embedding))) AS images,
  groupBitXor(cityHash64(id, arrayMap(x -> toFloat32(x), text_embedding))) AS texts
FROM {name} WHERE deleted = 0"""
CLUSTERED_SUMMARY = """
SELECT count() AS visible, uniqExact(id) AS ids, uniqExact(_part) AS parts,
  groupBitXor(cityHash64(id, url, caption, toString(metadata))) AS facts,
  groupBitXor(cityHash64(id, arrayMap(x -> toFloat32(x), vector))) AS vectors
FROM {name} WHERE deleted = 0"""


def vectors(rows: int, seed: int, dimension: int = DIMENSION) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((rows, dimension))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def metadata(rows: int) -> dict[str, list]:
    return {
        "url": [f"http://example.org/{i}.jpg" for i in range(rows)],
        "caption": [HOSTILE[i % len(HOSTILE)] for i in range(rows)],
        "NSFW": ["UNLIKELY", None, "NSFW", "UNSURE"] * (rows // 4)
        + [None] * (rows % 4),
        "similarity": [i / rows for i in range(rows)],
        "LICENSE": ["?"] * rows,
        "width": [float(i) for i in range(rows)],
        "height": [None] * rows,
        "key": [i for i in range(rows)],
        "exif": [None if i % 2 else '{"a": 1}' for i in range(rows)],
    }


def write_shard(folder: Path, number: int, rows: int = 40, **replaced) -> None:
    np.save(folder / f"img_emb_{number}.npy", replaced.get("image", vectors(rows, 1)))
    np.save(folder / f"text_emb_{number}.npy", replaced.get("text", vectors(rows, 2)))
    table = pa.table(replaced.get("metadata", metadata(rows)))
    pq.write_table(table, folder / f"metadata_{number}.parquet", row_group_size=16)


def tiny_dataset(folder: Path, **fields) -> Dataset:
    """Create a dataset whose shards are in `folder`; drop its tables afterwards."""
    return Dataset.objects.create(
        **{"slug": "tiny", "title": "Tiny", "dimension": DIMENSION}
        | {"source": str(folder), "without_removal_list": True}
        | fields
    )


def drop_tables(dataset: Dataset) -> None:
    table = dataset.item_table
    schema.drop(table)
    for name in writer.side_tables(table):
        writer.drop_side_table(name)


def drop_for_good(dataset: Dataset) -> None:
    """Delete a dataset, and drop it as the sweeper does a day later."""
    deletion.delete(dataset)
    deletion.purge(deletion.find_deleted(dataset.pk))


def queue(dataset: Dataset) -> list[int]:
    """Queue all shards of a dataset's source; return their keys by number."""
    control.discover_shards(dataset)
    control.queue(dataset, dataset.shards.all(), "again")
    return list(dataset.shards.values_list("pk", flat=True))


def publish(dataset: Dataset) -> list[int]:
    """Publish due partitions, as the tasks do; return their numbers."""
    due = publishing.due_partitions(dataset)
    assert all(publishing.publish(dataset, number) for number in due)
    return due


def import_all(dataset: Dataset) -> list[Shard]:
    """Import and publish all shards of a dataset."""
    for key in queue(dataset):
        shard_run.ingest(key)
    publish(dataset)
    return list(dataset.shards.all())


def rows_of(dataset: Dataset, table: schema.ItemTable | None = None) -> list[dict]:
    """Return the visible rows, or those of another table."""
    name = (table or dataset.item_table).name
    sql = f"SELECT * FROM {name} WHERE deleted = 0 ORDER BY id"
    return client.rows(sql, asterisk_include_alias_columns=1)


def ids_of(dataset: Dataset, table: schema.ItemTable | None = None) -> list[int]:
    return [row["id"] for row in rows_of(dataset, table)]


def arriving_table(shard: Shard) -> schema.ItemTable:
    shard.refresh_from_db()
    return shard.dataset.item_table.arriving(shard.number, shard.epoch)


def by_clusters(dimension: int) -> dict[str, str]:
    """Return fields of a dataset whose vectors do not depend on what comes first."""
    mean = np.full(dimension, 1 / 64, "<f4").tobytes().hex()
    return {"index": "clusters", "image_mean": mean, "text_mean": mean}


def summary(dataset: Dataset) -> dict[str, Any]:
    """Return what must be the same however often an import broke off."""
    table = dataset.item_table
    (sums,) = client.rows(SUMMARY.format(name=table.name))
    state = queries.index_state(table)
    state.pop("bytes")  # of files that are written at random
    clustered = {
        each.name.removeprefix(table.name): client.rows(
            CLUSTERED_SUMMARY.format(name=each.name)
        )
        for each in writer.existing_clustered(table)
    }
    return sums | state | clustered | {"beside": writer.side_tables(table)}
