"""The centroids of a dataset's clusters: stored beside its items, loaded once.

A version of them, of one field, is a partition of a table that every node has. Rows of
one table may belong to two versions, while partitions of items are moved from one to
the next.
"""

import threading
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from search.clustering.centroids import Centroids

from . import client, cluster, schema
from .filters import NOT_REMOVED, Condition
from .schema import ItemTable
from .writer import existing_clustered, list_array

CLUSTER_BITS = 24  # of a row's cluster: its number in a version, which is above
MAX_VERSION = 255
METRICS = {"cosineDistance": "cosine", "L2Distance": "L2"}  # of search.clustering
ROWS_AT_ONCE = 16_384  # of centroids that are inserted: 32 MB at 512 dimensions
# Up to so many rows of a table, all are counted that pass a condition.
MAX_COUNTED_ROWS = 2_000_000
# Of a larger one, a sample of blocks of rows. Reading single granules costs more than
# reading all.
SAMPLED_BLOCK = 8_192
LEAST_SAMPLED = 1e-6  # taken to pass of a cluster without rows in the sample


@dataclass(frozen=True, eq=False)
class Passing:
    """The rows of a table that pass a condition, by cluster.

    A cluster with such rows on two nodes is there twice. `counts` are of one block in
    `step`. `visible` are the rows of all blocks that are not removed, either.
    """

    clusters: np.ndarray  # int64, as rows have them
    counts: np.ndarray  # int64
    step: int
    visible: int


@dataclass(frozen=True)
class LiveVersion:
    """The centroids of a version that rows of a table belong to.

    `sizes` are the rows of each cluster on all nodes: int64, shape (clusters,).
    """

    centroids: Centroids
    sizes: np.ndarray

    @property
    def first_cluster(self) -> int:
        """The number in rows of the first cluster; others follow."""
        return self.centroids.version << CLUSTER_BITS

    def route(
        self, vector: np.ndarray, share: float, passing: Passing | None = None
    ) -> np.ndarray:
        """Return the clusters to read, numbered within the version: uint32."""
        if not self.sizes.any():
            # Those to which the first rows move now are not known yet.
            return self.centroids.route(vector, share, np.ones_like(self.sizes))
        if passing is None:
            return self.centroids.route(vector, share, self.sizes)
        counts = _by_cluster(self.centroids, passing.clusters, passing.counts)
        if passing.step > 1:
            # Of the rows that were not counted, some pass: their clusters are read.
            counts = np.maximum(counts, LEAST_SAMPLED)
        return self.centroids.route(vector, share, self.sizes, counts)


def create(table: ItemTable) -> None:
    """Create the dataset's table of centroids on every node."""
    statement = create_statement(table)
    cluster.on_all_nodes(lambda: client.command(statement))


def create_statement(table: ItemTable) -> str:
    return f"""CREATE TABLE IF NOT EXISTS {table.centroids_name}{schema.on_cluster()} (
  field LowCardinality(String),
  version UInt8,
  cluster UInt32,
  parent UInt32,
  centroid Array(Float32) CODEC(NONE),
  bias Float32
) ENGINE = {schema.engine(table)}
PARTITION BY (field, version)
ORDER BY cluster"""


def store(table: ItemTable, field: str, centroids: Centroids) -> None:
    """Store a version of centroids on every node, in place of what it has of it."""
    create(table)
    drop_version(table, field, centroids.version)
    for start in range(0, len(centroids), ROWS_AT_ONCE):
        some = np.arange(start, min(start + ROWS_AT_ONCE, len(centroids)))
        rows = _as_table(field, centroids, some)
        cluster.on_all_nodes(partial(client.insert_arrow, table.centroids_name, rows))


def _as_table(field: str, centroids: Centroids, rows: np.ndarray) -> pa.Table:
    vectors = centroids.vectors[rows].astype(np.float32)
    return pa.table(
        {
            "field": pa.repeat(field, len(rows)),
            "version": pa.repeat(pa.scalar(centroids.version, pa.uint8()), len(rows)),
            "cluster": pa.array(rows.astype(np.uint32)),
            "parent": pa.array(centroids.parents[rows].astype(np.uint32)),
            "centroid": list_array(vectors),
            "bias": pa.array(centroids.bias[rows].astype(np.float32)),
        }
    )


def drop_version(table: ItemTable, field: str, version: int) -> None:
    """Drop a version of a field on every node."""
    statement = (
        f"ALTER TABLE {table.centroids_name} DROP PARTITION ('{field}', {version:d})"
    )
    cluster.on_all_nodes(lambda: client.command(statement))


def drop_unused(table: ItemTable, keep: set[int]) -> None:
    """Drop the versions that no rows belong to, except those to keep."""
    used: dict[str, set[int]] = {}
    for clustered in existing_clustered(table):
        numbers, _ = cluster_sizes(clustered)
        used[str(clustered.field)] = set((numbers >> CLUSTER_BITS).tolist())
    for field, version in _stored(table):
        if version not in keep | used.get(field, set()):
            drop_version(table, field, version)


def _stored(table: ItemTable) -> set[tuple[str, int]]:
    """Return the fields and versions that any node has."""
    sql = f"SELECT DISTINCT field, version FROM {table.centroids_name}"
    per_node = cluster.on_all_nodes(lambda: client.rows(sql))
    return {(row["field"], row["version"]) for rows in per_node for row in rows}


def load(table: ItemTable, field: str) -> dict[int, Centroids]:
    """Return the stored centroids of a field by version."""
    rows = client.arrow(
        f"SELECT version, parent, centroid, bias FROM {table.centroids_name} "
        "WHERE field = {field:String} ORDER BY version, cluster",
        {"field": field},
        max_execution_time=client.LONG_TIMEOUT_S,
    )
    column = {name: rows[name].combine_chunks() for name in rows.column_names}
    versions = column["version"].to_numpy()
    vectors = column["centroid"].flatten().to_numpy().reshape(-1, table.dimension)
    parents, bias = column["parent"].to_numpy(), column["bias"].to_numpy()
    loaded = {}
    for version in np.unique(versions).tolist():
        own = slice(*np.searchsorted(versions, [version, version + 1]))
        loaded[version] = Centroids(
            vectors[own], bias[own], parents[own], METRICS[table.metric], version
        )
    return loaded


# By dataset and field: the revision, and what was loaded then.
_live: dict[tuple[str, str], tuple[int, list[LiveVersion]]] = {}
_loading = threading.Lock()


def live_versions(table: ItemTable, field: str) -> list[LiveVersion]:
    """Return the versions that rows of a field may belong to.

    They are loaded once for each revision of the dataset. Raises NotFound before the
    first ones are stored.
    """
    key = (table.slug, field)
    with _loading:
        revision, versions = _live.get(key, (None, []))
        if revision != table.revision:
            versions = _load_live(table, field)
            _live[key] = (table.revision, versions)
    return versions


def _load_live(table: ItemTable, field: str) -> list[LiveVersion]:
    numbers, rows = cluster_sizes(table.clustered(field))
    live = []
    for centroids in load(table, field).values():
        live.append(LiveVersion(centroids, _by_cluster(centroids, numbers, rows)))
    return live


def _by_cluster(
    centroids: Centroids, clusters: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Return the counts of each cluster of a version: int64."""
    own = clusters >> CLUSTER_BITS == centroids.version
    numbers = clusters[own] - (centroids.version << CLUSTER_BITS)
    return np.bincount(numbers, counts[own], len(centroids)).astype(np.int64)


def row_count(live: list[LiveVersion]) -> int:
    return sum(int(version.sizes.sum()) for version in live)


def route(
    live: list[LiveVersion],
    vector: np.ndarray,
    share: float,
    passing: Passing | None = None,
) -> tuple[np.ndarray | None, int]:
    """Return the clusters to read, None for all, and how many rows they have.

    Rows may belong to the clusters of several versions, while they are moved. In each,
    a share of them is read, and of those passing a condition.
    """
    if share >= 1:
        return None, row_count(live)
    clusters, rows = [], 0
    for version in live:
        routed = version.route(vector, share, passing)
        clusters.append(routed + np.uint32(version.first_cluster))
        rows += int(version.sizes[routed].sum())
    if sum(map(len, clusters)) == sum(len(version.centroids) for version in live):
        return None, rows
    return np.concatenate(clusters), rows


def count_passing(table: ItemTable, condition: Condition, rows: int) -> Passing:
    """Count the rows of a clustered table that pass a condition.

    `rows` is how many it has. MAX_COUNTED_ROWS at most are read, in blocks at equal
    distances.
    """
    step = max(1, -(-rows // MAX_COUNTED_ROWS))
    if step > 1:
        sampled = f"modulo(intDiv(_part_offset, {SAMPLED_BLOCK}), {step}) = 0"
        condition = Condition(sampled).and_(condition.sql, **condition.parameters)
    sql = (
        f"SELECT cluster, count() AS passing, countIf({NOT_REMOVED}) AS visible "
        f"FROM {table.name} {condition.where} GROUP BY cluster"
    )
    per_node = cluster.on_all_nodes(
        lambda: client.exact_arrow(sql, condition.parameters)
    )
    counted = pa.concat_tables(per_node)
    return Passing(
        clusters=counted["cluster"].to_numpy().astype(np.int64),
        counts=counted["passing"].to_numpy().astype(np.int64),
        step=step,
        visible=step * int(counted["visible"].to_numpy().sum()),
    )


def cluster_sizes(table: ItemTable) -> tuple[np.ndarray, np.ndarray]:
    """Return the clusters of a clustered table's rows, and how many rows each has.

    A cluster with rows on two nodes is there twice.
    """
    sql = f"SELECT cluster, count() AS rows FROM {table.name} GROUP BY cluster"
    limit = {"max_execution_time": client.LONG_TIMEOUT_S}
    per_node = schema.read_table(table, lambda: client.arrow(sql, {}, **limit))
    counted = pa.concat_tables(per_node)
    return (
        counted["cluster"].to_numpy().astype(np.int64),
        counted["rows"].to_numpy().astype(np.int64),
    )
