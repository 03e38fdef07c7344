"""One table per dataset: which columns it has, and the statements that make it.

The layout is measured: vectors as uncompressed bfloat16 (half the bytes of float32, at
1 % of recall), granules of 256 rows and payload blocks of 4 KB, so that the ten rows of
an answer are read without their neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from django.conf import settings

from . import client, cluster

Answer = TypeVar("Answer")

VECTOR_COLUMNS = {"image": "image_embedding", "text": "text_embedding"}
INDEXES = {"image": "image_index", "text": "text_index"}
INDEX_LIST = ",".join(INDEXES.values())
INSERTED_COLUMNS = (
    "id",
    "url",
    "caption",
    "nsfw",
    "license",
    "caption_similarity",
    "width",
    "height",
    "metadata",
    "deleted",
    "image_code",
    *VECTOR_COLUMNS.values(),
)
# Of image_code, by which search.retrieval.deduplication finds near-duplicates.
CODE_BYTES = 64
SHARD_BITS = 32  # of an id: the rows of one shard


@dataclass(frozen=True)
class ItemTable:
    """What of a dataset decides its table."""

    slug: str
    dimension: int
    metric: str = "cosineDistance"
    index_connections: int = 32
    index_construction: int = 64
    quantization: str = "bf16"
    shards_per_partition: int = 4  # a power of two; they share a graph
    suffix: str = ""
    # Of a table beside the one searched: it lies on the node of this partition.
    partition: int | None = None

    @property
    def name(self) -> str:
        return f"item_{self.slug}{self.suffix}"

    @property
    def partition_bits(self) -> int:
        return SHARD_BITS + self.shards_per_partition.bit_length() - 1

    def arriving(self, shard: int, epoch: int) -> "ItemTable":
        """Where the rows of a shard gather until all of them are there.

        A slug has no capitals, so that no dataset's own table has such a name.
        """
        partition = shard >> (self.partition_bits - SHARD_BITS)
        suffix = f"_ARRIVING_{shard}_{epoch}"
        return replace(self, suffix=suffix, partition=partition)

    def rebuilt(self, partition: int, attempt: int | str) -> "ItemTable":
        """Where the next state of a partition is made, beside the one searched."""
        suffix = f"_REBUILT_{partition}_{attempt}"
        return replace(self, suffix=suffix, partition=partition)


def read_table(table: ItemTable, ask: Callable[[], Answer]) -> list[Answer]:
    """The answer of a table beside's node; those of all for the one searched."""
    if table.partition is None:
        return cluster.on_all_nodes(ask)
    with cluster.on_node(cluster.node_of_partition(table.partition)):
        return [ask()]


def create(table: ItemTable) -> None:
    """Makes the table if it is not there, and anew if it lacks a column.

    Such a one was made by an earlier version; its rows have to be brought in again.
    """
    read_table(table, lambda: _create(table))
    if settings.CLICKHOUSE_CLUSTER and table.partition is None:
        client.command(distributed(table))


def _create(table: ItemTable) -> None:
    there = client.rows(
        "SELECT name FROM system.columns "
        "WHERE database = currentDatabase() AND table = {table:String}",
        {"table": table.name},
    )
    if there and not {row["name"] for row in there}.issuperset(INSERTED_COLUMNS):
        client.command(dropping(table))
    client.command(creation(table))


def drop(table: ItemTable) -> None:
    if settings.CLICKHOUSE_CLUSTER and table.partition is None:
        client.command(f"DROP TABLE IF EXISTS {all_tables(table)}{on_cluster()} SYNC")
    read_table(table, lambda: client.command(dropping(table)))


def dropping(table: ItemTable) -> str:
    where = on_cluster() if table.partition is None else ""
    return f"DROP TABLE IF EXISTS {table.name}{where} SYNC"


def on_cluster() -> str:
    """Has a statement run on all replicas of all shards, where there is a cluster."""
    cluster = settings.CLICKHOUSE_CLUSTER
    return f" ON CLUSTER `{cluster}`" if cluster else ""


def all_tables(table: ItemTable) -> str:
    """The table through which writers of SQL see the rows of all shards."""
    return f"{table.name}_ALL"


def distributed(table: ItemTable) -> str:
    """Searches do not go through it (see nodes.py)."""
    return (
        f"CREATE TABLE IF NOT EXISTS {all_tables(table)}{on_cluster()} "
        f"AS {table.name} ENGINE = Distributed(`{settings.CLICKHOUSE_CLUSTER}`, "
        f"currentDatabase(), {table.name})"
    )


def creation(table: ItemTable) -> str:
    vectors = ",\n".join(
        f"  {column} Array(BFloat16) CODEC(NONE)" for column in VECTOR_COLUMNS.values()
    )
    indexes = ",\n".join(
        f"  INDEX {INDEXES[field]} {column} TYPE vector_similarity('hnsw', "
        f"'{table.metric}', {table.dimension}, '{table.quantization}', "
        f"{table.index_connections}, {table.index_construction})"
        for field, column in VECTOR_COLUMNS.items()
    )
    # Else merges in the background would build graphs that nobody searches.
    left_out = f",\n  exclude_materialize_skip_indexes_on_merge = '{INDEX_LIST}'"
    lengths = " AND ".join(
        f"length({column}) = {table.dimension}" for column in VECTOR_COLUMNS.values()
    )
    blocks = "SETTINGS (min_compress_block_size=4096, max_compress_block_size=8192)"
    replicated = bool(settings.CLICKHOUSE_CLUSTER) and table.partition is None
    engine = "ReplicatedMergeTree" if replicated else "MergeTree"
    where = on_cluster() if replicated else ""
    return f"""CREATE TABLE IF NOT EXISTS {table.name}{where} (
  id UInt64,
  url String CODEC(LZ4) {blocks},
  caption String CODEC(LZ4) {blocks},
  nsfw LowCardinality(String),
  license LowCardinality(String),
  caption_similarity Float32 {blocks},
  width UInt32 {blocks},
  height UInt32 {blocks},
  metadata Map(LowCardinality(String), String),
  deleted UInt8,
  site String MATERIALIZED domainWithoutWWW(lower(url)) CODEC(LZ4) {blocks},
  url_hash UInt64 MATERIALIZED if(url = '', id, cityHash64(url)) CODEC(NONE) {blocks},
  image_code FixedString({CODE_BYTES}) CODEC(NONE) {blocks},
{vectors},
{indexes},
  INDEX caption_words caption
    TYPE text(tokenizer = splitByNonAlpha, preprocessor = lowerUTF8(caption)),
  CONSTRAINT vector_length CHECK {lengths}
) ENGINE = {engine}
PARTITION BY bitShiftRight(id, {table.partition_bits})
ORDER BY id
SETTINGS index_granularity = 256, default_compression_codec = 'LZ4',
  non_replicated_deduplication_window = 100000{left_out if table.suffix else ""}"""
