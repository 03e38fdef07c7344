"""The tables of a dataset's items: names, columns, indexes, and their creation.

The layout follows measurements: vectors as uncompressed bfloat16 (half the size of
float32, for 1 % of recall), granules of 256 rows and blocks of 4 KB, so that few
neighbours are read with ten results.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from django.conf import settings

from search.errors import SearchUnavailable

from . import client, cluster

Result = TypeVar("Result")

VECTOR_COLUMNS = {"image": "image_embedding", "text": "text_embedding"}
INDEXES = {"image": "image_index", "text": "text_index"}
WORDS_INDEX = "words_index"
# On captions as they are, of tables from before the words were normalized.
CAPTION_INDEX = "caption_words"
INDEX_LIST = ",".join(INDEXES.values())
INSERTED_COLUMNS = (
    "id",
    "url",
    "caption",
    "words",  # of the caption, as search.query.words indexes them
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
BLOCKS = "SETTINGS (min_compress_block_size=4096, max_compress_block_size=8192)"
WORDS_COLUMN = f"words String CODEC(LZ4) {BLOCKS} AFTER caption"
# The words are letters and digits between single spaces.
WORDS_INDEX_DEFINITION = (
    f"INDEX {WORDS_INDEX} words TYPE text(tokenizer = splitByNonAlpha)"
)
SHARD_BITS = 32  # of an id: the rows of one shard


@dataclass(frozen=True)
class ItemTable:
    """A table of items, with the properties of its dataset that determine it."""

    slug: str
    dimension: int
    metric: str = "cosineDistance"
    index_connections: int = 32
    index_construction: int = 64
    quantization: str = "bf16"
    shards_per_partition: int = 4  # a power of two; a partition has one graph
    words_indexed: bool = True  # of all rows; otherwise CAPTION_INDEX is used
    suffix: str = ""
    # For `arriving` and `rebuilt`, which exist on the node of this partition only.
    partition: int | None = None

    @property
    def name(self) -> str:
        return f"item_{self.slug}{self.suffix}"

    @property
    def words_name(self) -> str:
        """The name of the table from which a rebuilt one gets missing words."""
        return f"{self.name}_WORDS"

    @property
    def partition_bits(self) -> int:
        return SHARD_BITS + self.shards_per_partition.bit_length() - 1

    def arriving(self, shard: int, epoch: int) -> "ItemTable":
        """Return the table that collects a shard's rows during its import.

        Slugs have no capitals, so this cannot be another dataset's table.
        """
        partition = shard >> (self.partition_bits - SHARD_BITS)
        suffix = f"_ARRIVING_{shard}_{epoch}"
        return replace(self, suffix=suffix, partition=partition)

    def rebuilt(self, partition: int, attempt: int | str) -> "ItemTable":
        """Return the table in which the next state of a partition is built."""
        suffix = f"_REBUILT_{partition}_{attempt}"
        return replace(self, suffix=suffix, partition=partition)


def read_table(table: ItemTable, query: Callable[[], Result]) -> list[Result]:
    """Run a query on the nodes that have the table; return the result of each."""
    if table.partition is None:
        return cluster.on_all_nodes(query)
    with cluster.on_node(cluster.node_of_partition(table.partition)):
        return [query()]


def create(table: ItemTable) -> None:
    """Create the table, or bring that of an earlier version to this one's structure.

    The column of words is added empty: publishing fills it. Raises SearchUnavailable
    for a table that lacks another column.
    """
    read_table(table, lambda: _create(table))
    if settings.CLICKHOUSE_CLUSTER and table.partition is None:
        client.command(distributed_statement(table))
        client.command(
            f"ALTER TABLE {distributed_name(table)}{on_cluster()} "
            f"ADD COLUMN IF NOT EXISTS {WORDS_COLUMN}"
        )


def _create(table: ItemTable) -> None:
    if not (columns := _names("columns", table)):
        client.command(create_statement(table))
        return
    if missing := set(INSERTED_COLUMNS) - columns - {"words"}:
        raise SearchUnavailable(
            f"The table {table.name} of an earlier version lacks the columns "
            f"{', '.join(sorted(missing))}: drop its dataset, and import it again."
        )
    indexes = _names("data_skipping_indices", table)
    changes = []
    if "words" not in columns:
        changes.append(f"ADD COLUMN IF NOT EXISTS {WORDS_COLUMN}")
    if WORDS_INDEX not in indexes:
        changes.append(f"ADD {WORDS_INDEX_DEFINITION}")
    if table.words_indexed and CAPTION_INDEX in indexes:
        changes.append(f"DROP INDEX IF EXISTS {CAPTION_INDEX}")
    if changes:
        where = on_cluster() if table.partition is None else ""
        client.command(f"ALTER TABLE {table.name}{where} {', '.join(changes)}")


def _names(kind: str, table: ItemTable) -> set[str]:
    """Return the names of a table's "columns" or "data_skipping_indices"."""
    rows = client.rows(
        f"SELECT name FROM system.{kind} "
        "WHERE database = currentDatabase() AND table = {table:String}",
        {"table": table.name},
    )
    return {row["name"] for row in rows}


def drop(table: ItemTable) -> None:
    if settings.CLICKHOUSE_CLUSTER and table.partition is None:
        client.command(
            f"DROP TABLE IF EXISTS {distributed_name(table)}{on_cluster()} SYNC"
        )
    read_table(table, lambda: client.command(drop_statement(table)))


def drop_statement(table: ItemTable) -> str:
    where = on_cluster() if table.partition is None else ""
    return f"DROP TABLE IF EXISTS {table.name}{where} SYNC"


def on_cluster() -> str:
    """Return the clause that runs a statement on all nodes of CLICKHOUSE_CLUSTER."""
    cluster = settings.CLICKHOUSE_CLUSTER
    return f" ON CLUSTER `{cluster}`" if cluster else ""


def distributed_name(table: ItemTable) -> str:
    """Return the name of the table that shows authors of SQL the rows of all nodes."""
    return f"{table.name}_ALL"


def distributed_statement(table: ItemTable) -> str:
    """Return the statement for that table. Searches do not use it (see cluster.py)."""
    return (
        f"CREATE TABLE IF NOT EXISTS {distributed_name(table)}{on_cluster()} "
        f"AS {table.name} ENGINE = Distributed(`{settings.CLICKHOUSE_CLUSTER}`, "
        f"currentDatabase(), {table.name})"
    )


def create_statement(table: ItemTable) -> str:
    vectors = ",\n".join(
        f"  {column} Array(BFloat16) CODEC(NONE)" for column in VECTOR_COLUMNS.values()
    )
    indexes = ",\n".join(
        f"  INDEX {INDEXES[field]} {column} TYPE vector_similarity('hnsw', "
        f"'{table.metric}', {table.dimension}, '{table.quantization}', "
        f"{table.index_connections}, {table.index_construction})"
        for field, column in VECTOR_COLUMNS.items()
    )
    # Otherwise background merges would build graphs that are never searched.
    no_index = f",\n  exclude_materialize_skip_indexes_on_merge = '{INDEX_LIST}'"
    lengths = " AND ".join(
        f"length({column}) = {table.dimension}" for column in VECTOR_COLUMNS.values()
    )
    # Until all rows have words. ALTER refuses to move rows between tables whose indexes
    # differ.
    caption_index = (
        ""
        if table.words_indexed
        else f"""
  INDEX {CAPTION_INDEX} caption
    TYPE text(tokenizer = splitByNonAlpha, preprocessor = lowerUTF8(caption)),"""
    )
    replicated = bool(settings.CLICKHOUSE_CLUSTER) and table.partition is None
    engine = "ReplicatedMergeTree" if replicated else "MergeTree"
    where = on_cluster() if replicated else ""
    return f"""CREATE TABLE IF NOT EXISTS {table.name}{where} (
  id UInt64,
  url String CODEC(LZ4) {BLOCKS},
  caption String CODEC(LZ4) {BLOCKS},
  words String CODEC(LZ4) {BLOCKS},
  nsfw LowCardinality(String),
  license LowCardinality(String),
  caption_similarity Float32 {BLOCKS},
  width UInt32 {BLOCKS},
  height UInt32 {BLOCKS},
  metadata Map(LowCardinality(String), String),
  deleted UInt8,
  site String MATERIALIZED domainWithoutWWW(lower(url)) CODEC(LZ4) {BLOCKS},
  url_hash UInt64 MATERIALIZED if(url = '', id, cityHash64(url)) CODEC(NONE) {BLOCKS},
  image_code FixedString({CODE_BYTES}) CODEC(NONE) {BLOCKS},
{vectors},
{indexes},
  {WORDS_INDEX_DEFINITION},{caption_index}
  CONSTRAINT vector_length CHECK {lengths}
) ENGINE = {engine}
PARTITION BY bitShiftRight(id, {table.partition_bits})
ORDER BY id
SETTINGS index_granularity = 256, default_compression_codec = 'LZ4',
  non_replicated_deduplication_window = 100000{no_index if table.suffix else ""}"""
