"""The tables of a dataset's items: names, columns, indexes, and their creation.

The layout follows measurements: vectors as uncompressed bfloat16, half the size of
float32; granules of 256 rows and blocks of 4 KB, so that few neighbours are read with
ten results.

A dataset is searched by graphs in its main table, or by clusters. Then a field has a
table of its own: copies of the rows in the order of their clusters (`clustered`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
from django.conf import settings

from search.errors import SearchUnavailable

from . import client, cluster

Result = TypeVar("Result")

GRAPH, CLUSTERS = "graph", "clusters"  # what a dataset is searched by
VECTOR_COLUMNS = {"image": "image_embedding", "text": "text_embedding"}
# Of a table whose vectors are relative to a mean: bfloat16 has few bits, which then
# tell vectors apart. VECTOR_COLUMNS are computed there.
CENTRED_COLUMNS = {"image": "image_vector", "text": "text_vector"}
INDEXES = {"image": "image_index", "text": "text_index"}
WORDS_INDEX = "words_index"
# On captions as they are, of tables from before the words were normalized.
CAPTION_INDEX = "caption_words"
INDEX_LIST = ",".join(INDEXES.values())
PAYLOAD_COLUMNS = (
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
)
COMPUTED_COLUMNS = ("site", "url_hash")  # by the engine when it inserts rows
# Of image_code, by which search.retrieval.deduplication finds near-duplicates.
CODE_BYTES = 64
BLOCKS = "SETTINGS (min_compress_block_size=4096, max_compress_block_size=8192)"
WORDS_COLUMN = f"words String CODEC(LZ4) {BLOCKS} AFTER caption"
# The words are letters and digits between single spaces.
WORDS_INDEX_DEFINITION = (
    f"INDEX {WORDS_INDEX} words TYPE text(tokenizer = splitByNonAlpha)"
)
SHARD_BITS = 32  # of an id: the rows of one shard
HYPHEN = "X"  # of a slug, in the names of its tables


@dataclass(frozen=True)
class ItemTable:
    """A table of items, with the properties of its dataset that determine it."""

    slug: str  # the `table_slug` of the dataset
    dimension: int
    metric: str = "cosineDistance"
    index_connections: int = 32
    index_construction: int = 64
    quantization: str = "bf16"
    shards_per_partition: int = 4  # a power of two; a partition has one graph
    words_indexed: bool = True  # of all rows; otherwise CAPTION_INDEX is used
    index: str = GRAPH
    # Hex digits of float32 that are subtracted from stored vectors; "" for none, and
    # None until the first rows have come.
    image_mean: str | None = ""
    text_mean: str | None = ""
    revision: int = 0  # changes with the centroids and what is assigned to them
    suffix: str = ""
    # For `arriving` and `rebuilt`, which exist on the node of this partition only.
    partition: int | None = None
    field: str | None = None  # of a table in the order of clusters

    @property
    def name(self) -> str:
        field = f"_{self.field.upper()}" if self.field else ""
        return f"{self._base_name}{self.suffix}{field}"

    @property
    def _base_name(self) -> str:
        """The name without suffixes, which begin with _ and a capital.

        Names stand in SQL without quotation marks, so a hyphen becomes HYPHEN. Slugs
        have no capitals: each gets a name of its own.
        """
        return f"item_{self.slug.replace('-', HYPHEN)}"

    @property
    def main(self) -> "ItemTable":
        """The table with the vectors of both fields, in the order of ids."""
        return replace(self, field=None)

    @property
    def all_clustered(self) -> tuple["ItemTable", ...]:
        """The tables in the order of clusters, of both fields."""
        return tuple(map(self.clustered, VECTOR_COLUMNS))

    def clustered(self, field: str) -> "ItemTable":
        """Return the table with a field's vectors, in the order of their clusters.

        It has the columns of the main table, except for its vectors, and `cluster` and
        `vector`: relative to the mean, and of unit length before if the metric is the
        cosine.
        """
        return replace(self, field=field)

    @property
    def centroids_name(self) -> str:
        """The name of the dataset's table of centroids, which every node has."""
        return f"{self._base_name}_CENTROIDS"

    def mean(self, field: str) -> np.ndarray:
        """Return the mean that a field's stored vectors are relative to: float32."""
        digits = {"image": self.image_mean, "text": self.text_mean}[field]
        if not digits:
            return np.zeros(self.dimension, np.float32)
        return np.frombuffer(bytes.fromhex(digits), "<f4")

    @property
    def is_centred(self) -> bool:
        return self.image_mean != ""

    @property
    def vector_columns(self) -> dict[str, str]:
        """The columns that the vectors of each field are stored in."""
        if self.field:
            return {self.field: "vector"}
        return CENTRED_COLUMNS if self.is_centred else VECTOR_COLUMNS

    @property
    def inserted_columns(self) -> tuple[str, ...]:
        clusters = ("cluster",) if self.field else ()
        return (*clusters, *PAYLOAD_COLUMNS, *self.vector_columns.values())

    @property
    def words_name(self) -> str:
        """The name of the table from which a rebuilt one gets missing words."""
        return f"{self.name}_WORDS"

    @property
    def assigned_name(self) -> str:
        """The name of the table that brings the engine the clusters of rows."""
        return f"{self.name}_ASSIGNED"

    @property
    def partition_bits(self) -> int:
        return SHARD_BITS + self.shards_per_partition.bit_length() - 1

    def partition_of(self, shard: int) -> int:
        return shard >> (self.partition_bits - SHARD_BITS)

    def arriving(self, shard: int, epoch: int) -> "ItemTable":
        """Return the table that collects a shard's rows during its import.

        Slugs have no capitals, so this cannot be another dataset's table.
        """
        suffix = f"_ARRIVING_{shard}_{epoch}"
        return replace(self, suffix=suffix, partition=self.partition_of(shard))

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
    if settings.CLICKHOUSE_CLUSTER and table.partition is None and not table.field:
        client.command(distributed_statement(table))
        added = [WORDS_COLUMN, *_alias_definitions(table)]
        changes = ", ".join(f"ADD COLUMN IF NOT EXISTS {each}" for each in added)
        client.command(f"ALTER TABLE {distributed_name(table)}{on_cluster()} {changes}")


def _create(table: ItemTable) -> None:
    if not (columns := _columns_of(table)):
        client.command(create_statement(table))
        return
    if missing := set(table.inserted_columns) - {*columns, "words"}:
        raise SearchUnavailable(
            f"The table {table.name} of an earlier version lacks the columns "
            f"{', '.join(sorted(missing))}: drop its dataset, and import it again."
        )
    indexes = _indexes_of(table)
    _check_means(table, columns)
    # Missing in a table that was made before there were rows.
    changes = [
        f"ADD COLUMN IF NOT EXISTS {each}"
        for each in _alias_definitions(table)
        if each.partition(" ")[0] not in columns
    ]
    if "words" not in columns:
        changes.append(f"ADD COLUMN IF NOT EXISTS {WORDS_COLUMN}")
    if WORDS_INDEX not in indexes:
        changes.append(f"ADD {WORDS_INDEX_DEFINITION}")
    unused = [CAPTION_INDEX] if table.words_indexed else []
    if table.index == CLUSTERS:
        unused += INDEXES.values()
    changes += [f"DROP INDEX IF EXISTS {name}" for name in unused if name in indexes]
    if changes:
        where = on_cluster() if table.partition is None else ""
        client.command(f"ALTER TABLE {table.name}{where} {', '.join(changes)}")


def _check_means(table: ItemTable, columns: dict[str, str]) -> None:
    """Raise SearchUnavailable for a table with other means.

    It is left from a dataset of this name that was dropped.
    """
    for column, expression in _computed_columns(table).items():
        if columns.get(column, expression) != expression:
            raise SearchUnavailable(
                f"The table {table.name} is of another dataset of the same name: drop "
                "this dataset, and import it again."
            )


def _columns_of(table: ItemTable) -> dict[str, str]:
    """Return the expressions of a table's columns by name; "" for stored ones."""
    rows = client.rows(
        "SELECT name, default_expression AS expression FROM system.columns "
        "WHERE database = currentDatabase() AND table = {table:String}",
        {"table": table.name},
    )
    return {row["name"]: row["expression"] for row in rows}


def _indexes_of(table: ItemTable) -> set[str]:
    rows = client.rows(
        "SELECT name FROM system.data_skipping_indices "
        "WHERE database = currentDatabase() AND table = {table:String}",
        {"table": table.name},
    )
    return {row["name"] for row in rows}


def exists(table: ItemTable) -> bool:
    """Return whether a node has the table. Raises SearchUnavailable."""
    return any(read_table(table, lambda: _columns_of(table)))


def drop(table: ItemTable) -> None:
    """Drop a table and, with a main table, those that are made from it."""
    names = [table.name]
    if not table.field:
        names += [clustered.name for clustered in table.all_clustered]
    if not table.suffix:
        names.append(table.centroids_name)
        if settings.CLICKHOUSE_CLUSTER:
            names.insert(0, distributed_name(table))
    for name in names:
        read_table(table, partial(client.command, drop_statement(table, name)))


def drop_statement(table: ItemTable, name: str = "") -> str:
    """Return the statement that drops a table, or another one beside it."""
    where = on_cluster() if table.partition is None else ""
    return f"DROP TABLE IF EXISTS {name or table.name}{where} SYNC"


def engine(table: ItemTable) -> str:
    """Return the engine of a table: replicated where a cluster is configured."""
    replicated = settings.CLICKHOUSE_CLUSTER and table.partition is None
    return "ReplicatedMergeTree" if replicated else "MergeTree"


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
    where = on_cluster() if table.partition is None else ""
    order, granularity = ("(cluster, id)", 64) if table.field else ("id", 256)
    columns = ",\n".join(
        f"  {line}" for line in (*_columns(table), *_indexes(table), _lengths(table))
    )
    return f"""CREATE TABLE IF NOT EXISTS {table.name}{where} (
{columns}
) ENGINE = {engine(table)}
PARTITION BY bitShiftRight(id, {table.partition_bits})
ORDER BY {order}
SETTINGS index_granularity = {granularity}, default_compression_codec = 'LZ4',
  non_replicated_deduplication_window = 100000{_merging(table)}"""


# The host of a URL, without www; domain() does not know names that end in a dot, and
# dots of other scripts.
ODD_HOST = (
    "domain(replaceRegexpOne(replaceRegexpAll(lower(url), '[。．｡]', '.'), "
    r"'^([^/]*//[^/?#]*?)\\.+([/?#:]|$)', '\\1\\2'))"
)
SITE = (
    "if(isValidASCII(url) AND domain(url) != '', domainWithoutWWW(lower(url)), "
    f"replaceRegexpOne(lowerUTF8(normalizeUTF8NFKC(toValidUTF8({ODD_HOST}))), "
    r"'^www\\.', ''))"
)


def _columns(table: ItemTable) -> Iterator[str]:
    if table.field:
        yield "cluster UInt32"
    yield from (
        "id UInt64",
        f"url String CODEC(LZ4) {BLOCKS}",
        f"caption String CODEC(LZ4) {BLOCKS}",
        f"words String CODEC(LZ4) {BLOCKS}",
        "nsfw LowCardinality(String)",
        "license LowCardinality(String)",
        f"caption_similarity Float32 {BLOCKS}",
        f"width UInt32 {BLOCKS}",
        f"height UInt32 {BLOCKS}",
        "metadata Map(LowCardinality(String), String)",
        "deleted UInt8",
        f"site String MATERIALIZED {SITE} CODEC(LZ4) {BLOCKS}",
        "url_hash UInt64 MATERIALIZED if(url = '', id, cityHash64(url)) "
        f"CODEC(NONE) {BLOCKS}",
        f"image_code FixedString({CODE_BYTES}) CODEC(NONE) {BLOCKS}",
    )
    for column in table.vector_columns.values():
        yield f"{column} Array(BFloat16) CODEC(NONE)"
    yield from _alias_definitions(table)


def _alias_definitions(table: ItemTable) -> list[str]:
    return [
        f"{column} Array(Float32) ALIAS {expression}"
        for column, expression in _computed_columns(table).items()
    ]


def _computed_columns(table: ItemTable) -> dict[str, str]:
    """Return the expressions of the embeddings, before their mean was subtracted.

    Tables beside the main one do without: the engine moves rows between tables whose
    stored columns are the same.
    """
    means = {"image": table.image_mean, "text": table.text_mean}
    if not all(means.values()) or table.suffix or table.field:
        return {}
    return {
        VECTOR_COLUMNS[field]: f"{CENTRED_COLUMNS[field]} + "
        f"reinterpret(unhex('{mean}'), 'Array(Float32)')"
        for field, mean in means.items()
    }


def _indexes(table: ItemTable) -> Iterator[str]:
    if table.index == GRAPH and not table.field:
        for field, column in VECTOR_COLUMNS.items():
            yield (
                f"INDEX {INDEXES[field]} {column} TYPE vector_similarity('hnsw', "
                f"'{table.metric}', {table.dimension}, '{table.quantization}', "
                f"{table.index_connections}, {table.index_construction})"
            )
    yield WORDS_INDEX_DEFINITION
    # Until all rows have words. ALTER refuses to move rows between tables whose indexes
    # differ.
    if not table.words_indexed and not table.field:
        yield (
            f"INDEX {CAPTION_INDEX} caption "
            "TYPE text(tokenizer = splitByNonAlpha, preprocessor = lowerUTF8(caption))"
        )


def _lengths(table: ItemTable) -> str:
    tests = (
        f"length({column}) = {table.dimension}"
        for column in table.vector_columns.values()
    )
    return f"CONSTRAINT vector_length CHECK {' AND '.join(tests)}"


def _merging(table: ItemTable) -> str:
    """Return the settings of merges in a table that is published by its partition."""
    if not table.suffix:
        return ""
    # Column by column, which takes less time and memory than row by row.
    settings = (
        ",\n  vertical_merge_algorithm_min_rows_to_activate = 1"
        ",\n  vertical_merge_algorithm_min_columns_to_activate = 1"
    )
    if table.index == GRAPH and not table.field:
        # Merges in the background would build graphs that are never searched.
        settings += f",\n  exclude_materialize_skip_indexes_on_merge = '{INDEX_LIST}'"
    return settings
