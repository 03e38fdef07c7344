"""Shards of a few rows and eight dimensions, written as LAION-400M publishes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from search.clickhouse import client, queries, schema, writer
from search.ingestion import control, publishing, shard_run
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
# Which rows, and what they hold; two of the same would take each other out of a XOR.
TOLD = """
SELECT count() AS visible, uniqExact(id) AS ids,
  groupBitXor(cityHash64(id, url, caption, toString(metadata))) AS facts,
  groupBitXor(cityHash64(id, arrayMap(x -> toFloat32(x), image_embedding))) AS images,
  groupBitXor(cityHash64(id, arrayMap(x -> toFloat32(x), text_embedding))) AS texts
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
    """A dataset whose shards are in `folder`; tidied_up takes its tables away."""
    return Dataset.objects.create(
        **{"slug": "tiny", "title": "Tiny", "dimension": DIMENSION}
        | {"source": str(folder), "without_removal_list": True}
        | fields
    )


def tidied_up(dataset: Dataset) -> None:
    table = dataset.item_table
    for name in [table.name, *writer.tables_beside(table)]:
        writer.drop_named(name)


def queue(dataset: Dataset) -> list[int]:
    """Finds the dataset's shards and queues all of them; their keys by number."""
    control.discover_shards(dataset)
    control.queue(dataset, dataset.shards.all(), "again")
    return list(dataset.shards.values_list("pk", flat=True))


def publish(dataset: Dataset) -> list[int]:
    """Publishes what is due, as the tasks do; returns the partitions."""
    due = publishing.due_partitions(dataset)
    assert all(publishing.publish(dataset, number) for number in due)
    return due


def bring_in(dataset: Dataset) -> list[Shard]:
    """All shards of a dataset, from its source to the searches."""
    for key in queue(dataset):
        shard_run.ingest(key)
    publish(dataset)
    return list(dataset.shards.all())


def rows_of(dataset: Dataset, table: schema.ItemTable | None = None) -> list[dict]:
    """The rows that searches may find, or those of a table beside."""
    name = (table or dataset.item_table).name
    return client.rows(f"SELECT * FROM {name} WHERE deleted = 0 ORDER BY id")


def ids_of(dataset: Dataset, table: schema.ItemTable | None = None) -> list[int]:
    return [row["id"] for row in rows_of(dataset, table)]


def arriving(shard: Shard) -> schema.ItemTable:
    shard.refresh_from_db()
    return shard.dataset.item_table.arriving(shard.number, shard.epoch)


def told(dataset: Dataset) -> dict[str, Any]:
    """What must be the same however often the import broke off."""
    table = dataset.item_table
    (sums,) = client.rows(TOLD.format(name=table.name))
    state = queries.index_state(table)
    state.pop("bytes")  # of files that are written at random
    return sums | state | {"beside": writer.tables_beside(table)}
