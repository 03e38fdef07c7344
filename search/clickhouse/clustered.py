"""Fill the tables in which the rows of a field lie in the order of their clusters.

They have copies of a main table's rows, and can be made from it again at any time. The
next state of a partition is built in a table beside the one for the main table, from
published rows of shards that have not changed, and from new ones, which are assigned to
clusters here.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from search.clustering.centroids import Centroids
from search.clustering.vectors import centre, from_bfloat16, round_to_bfloat16, unit

from . import client, cluster, schema
from .centroids import CLUSTER_BITS
from .schema import PAYLOAD_COLUMNS, SHARD_BITS, WORDS_INDEX, ItemTable
from .writer import (
    SHARD_CONDITION,
    attach_partition,
    copy_rows,
    count_by_shard,
    list_array,
    on_its_node,
    partition_condition,
    shard_bounds,
    shards_condition,
)

BLOCK_BYTES = 64 << 20  # of the vectors that are read at once, as float32
# A part is a block, and merging many hundreds at once would take memory.
MAX_UNMERGED_ROWS = 4_000_000
YIELDED_ROWS = 4_096  # by read_version
# Vectors are of unit length up to the rounding of float16 and bfloat16.
UNIT_TOLERANCE = 1e-3
NO_WORDS_INDEX = {  # merging builds it
    "exclude_materialize_skip_indexes_on_insert": WORDS_INDEX
}
READ_SETTINGS = {
    "max_execution_time": client.LONG_TIMEOUT_S,
    "max_threads": 1,  # which leaves the others for searches
    "output_format_arrow_compression_method": "none",  # vectors do not get smaller
}


def start(
    table: ItemTable,
    rebuilt: ItemTable,
    field: str,
    version: int,
    rows: Mapping[int, int],
    changed: Collection[int],
) -> list[int]:
    """Create the table for the next state of a field, with the rows that stay.

    `rows` are those to be there in the end, by shard. Rows stay that are assigned to
    clusters of the version, complete, and not of a shard in `changed`. Return the
    shards that are still to be filled.
    """
    published, target = table.clustered(field), rebuilt.clustered(field)
    schema.create(published)
    schema.create(target)
    if sum(rows.values()) <= MAX_UNMERGED_ROWS:
        _merge_only_on_demand(target)
    found = _rows_by_shard(published, rebuilt, version)
    stay = [
        shard
        for shard, expected in rows.items()
        if found.get(shard) == (expected,) * 3 and shard not in changed
    ]
    assert rebuilt.partition is not None
    with on_its_node(rebuilt):
        if stay and len(stay) == len(found):
            attach_partition(target, rebuilt.partition, published)
        elif stay:
            copy_rows(published, target, shards_condition(stay))
    return [shard for shard in rows if shard not in stay]


def _merge_only_on_demand(target: ItemTable) -> None:
    """Keep background merges from writing rows anew that `merge` merges in the end."""
    with on_its_node(target):
        client.command(
            f"ALTER TABLE {target.name} "
            "MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1"
        )


def _rows_by_shard(
    published: ItemTable, rebuilt: ItemTable, version: int
) -> dict[int, tuple[int, int, int]]:
    """Return the rows, distinct ids and rows of a version, by shard of a partition."""
    assert rebuilt.partition is not None
    sql = (
        f"SELECT bitShiftRight(id, {SHARD_BITS}) AS shard, count() AS rows, "
        f"uniqExact(id) AS ids, "
        f"countIf(bitShiftRight(cluster, {CLUSTER_BITS}) = {version:d}) AS assigned "
        f"FROM {published.name} "
        f"WHERE {partition_condition(published, rebuilt.partition)} GROUP BY shard"
    )
    with on_its_node(rebuilt):
        counted = client.rows(sql, max_execution_time=client.LONG_TIMEOUT_S)
    return {row["shard"]: (row["rows"], row["ids"], row["assigned"]) for row in counted}


def fill(
    rebuilt: ItemTable,
    centroids: Mapping[str, Centroids],
    shards: Mapping[str, Collection[int]],
    report: Callable[[int], None],
) -> None:
    """Insert the rows of shards into the tables of their fields.

    `centroids` and `shards` are by field. `report` gets the number of vectors that are
    done.
    """
    done = 0
    with on_its_node(rebuilt):
        for shard in sorted(set().union(*shards.values())):
            fields = [field for field, wanted in shards.items() if shard in wanted]
            for rows in read_vectors(rebuilt, shard, fields, PAYLOAD_COLUMNS):
                for field in fields:
                    _insert(rebuilt, field, centroids[field], rows)
                done += len(rows) * len(fields)
                report(done)


def read_vectors(
    table: ItemTable,
    shard: int,
    fields: Iterable[str],
    columns: Iterable[str] = ("id",),
    condition: str = "1",
) -> Iterator[pa.Table]:
    """Yield rows of one shard of a main table, by ascending id, in bounded blocks.

    A field's stored vectors are texts of two bytes a number, see `vectors_of`.
    """
    vectors = [
        f"reinterpret({table.vector_columns[field]}, 'String') AS {field}"
        for field in fields
    ]
    sql = (
        f"SELECT {', '.join([*columns, *vectors])} FROM {table.name} "
        f"WHERE {SHARD_CONDITION} AND {condition} ORDER BY id LIMIT {{limit:UInt64}}"
    )
    first, last = shard_bounds(shard)
    limit = max(1, BLOCK_BYTES // (4 * table.dimension * max(len(vectors), 1)))
    while True:
        parameters = {"first": first, "last": last, "limit": limit}
        rows = client.arrow(sql, parameters, **READ_SETTINGS)
        if len(rows):
            yield rows.combine_chunks()
        if len(rows) < limit:
            return
        first = rows["id"][-1].as_py() + 1


def vectors_of(rows: pa.Table, field: str, table: ItemTable) -> np.ndarray:
    """Return the stored vectors of rows that `read_vectors` yields: float32."""
    column = rows[field].combine_chunks()
    size = table.dimension * 2
    start = column.offset * size
    stored = memoryview(column.buffers()[2])[start : start + len(column) * size]
    return from_bfloat16(stored).reshape(len(column), table.dimension)


def read_version(
    table: ItemTable, field: str, version: int, condition: str = "1"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the vectors of a version's rows and their clusters, in bounded blocks.

    Vectors are float32, and the mean is added. The clusters are numbered within the
    version, and come in their order from each node.
    """
    for url in cluster.urls():
        for rows in _rows_in_order(url, table, field, version, condition):
            numbers = rows["cluster"].to_numpy().astype(np.int64)
            vectors = vectors_of(rows, field, table)
            for start in range(0, len(rows), YIELDED_ROWS):
                some = slice(start, start + YIELDED_ROWS)
                yield (
                    vectors[some] + table.mean(field),
                    numbers[some] - (version << CLUSTER_BITS),
                )


def _rows_in_order(
    url: str, table: ItemTable, field: str, version: int, condition: str
) -> Iterator[pa.Table]:
    """Yield blocks of a node's rows of a version, by cluster and id."""
    sql = (
        f"SELECT cluster, id, reinterpret(vector, 'String') AS {field} "
        f"FROM {table.clustered(field).name} "
        "WHERE cluster BETWEEN {first:UInt32} AND {last:UInt32} "
        "AND (cluster > {first:UInt32} OR id >= {id:UInt64}) "
        f"AND ({condition}) ORDER BY cluster, id LIMIT {{limit:UInt64}}"
    )
    limit = max(1, BLOCK_BYTES // (4 * table.dimension))
    first, item = version << CLUSTER_BITS, 0
    last = first + (1 << CLUSTER_BITS) - 1
    while True:
        parameters = {"first": first, "last": last, "id": item, "limit": limit}
        with cluster.on_node(url):
            rows = client.arrow(sql, parameters, **READ_SETTINGS)
        if len(rows):
            yield rows.combine_chunks()
        if len(rows) < limit:
            return
        first, item = rows["cluster"][-1].as_py(), rows["id"][-1].as_py() + 1


def _insert(
    rebuilt: ItemTable, field: str, centroids: Centroids, rows: pa.Table
) -> None:
    """Insert a block of rows, sorted by their clusters."""
    mean = rebuilt.mean(field)
    stored = vectors_of(rows, field, rebuilt)
    vectors = stored + mean
    if centroids.metric == "cosine":
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        off = np.abs(lengths - 1) > UNIT_TOLERANCE
        vectors[off] = unit(vectors[off])
        stored[off] = round_to_bfloat16(centre(vectors[off], mean))
    clusters = centroids.assign(vectors)
    order = np.argsort(clusters, kind="stable")
    numbers = clusters[order] | np.uint32(centroids.version << CLUSTER_BITS)
    payload = rows.select(PAYLOAD_COLUMNS).take(pa.array(order))
    sorted_rows = payload.append_column("cluster", pa.array(numbers)).append_column(
        "vector", list_array(stored[order])
    )
    client.insert_arrow(rebuilt.clustered(field).name, sorted_rows, **NO_WORDS_INDEX)


def merge(rebuilt: ItemTable, field: str) -> dict[int, tuple[int, int]]:
    """Merge a filled partition into one part; return its rows and ids by shard."""
    target = rebuilt.clustered(field)
    assert rebuilt.partition is not None
    with on_its_node(rebuilt):
        client.command(
            f"OPTIMIZE TABLE {target.name} PARTITION {rebuilt.partition:d} FINAL"
        )
    return count_by_shard(target)
