"""Fill the tables in which the rows of a field lie in the order of their clusters.

They have copies of a main table's rows, and can be made from it again at any time. The
next state of a partition is built in a table beside the one for the main table, from
published rows of shards that have not changed, and from new ones, which are assigned to
clusters here.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from search.clustering.centroids import Centroids
from search.clustering.vectors import from_bfloat16, round_to_bfloat16, unit

from . import client, cluster, schema
from .centroids import CLUSTER_BITS
from .schema import (
    COMPUTED_COLUMNS,
    PAYLOAD_COLUMNS,
    SHARD_BITS,
    WORDS_INDEX,
    ItemTable,
)
from .writer import (
    SHARD_CONDITION,
    attach_partition,
    copy_rows,
    count_by_shard,
    on_its_node,
    partition_condition,
    shard_bounds,
    shards_condition,
)

# Of the vectors that are read at once. More take new pages from the kernel each time,
# which costs more than reading.
BLOCK_NUMBERS = 4 << 20
BLOCK_BYTES = 4 * BLOCK_NUMBERS  # as float32
PART_ROWS = 32_768  # that the engine sorts at once: 45 MB at 512 dimensions
# A part is a block, and merging many hundreds at once would take memory.
MAX_UNMERGED_ROWS = 4_000_000
YIELDED_ROWS = 4_096  # by read_version
# Vectors are of unit length up to the rounding of float16 and bfloat16.
UNIT_TOLERANCE = 1e-3
INSERT_SETTINGS: dict[str, Any] = {
    "max_threads": 1,  # which leaves the others for searches
    "preferred_block_size_bytes": BLOCK_BYTES,
    "insert_allow_materialized_columns": 1,  # which were computed before
    "insert_deduplicate": 0,  # would hash all of the rows; each attempt starts anew
    "exclude_materialize_skip_indexes_on_insert": WORDS_INDEX,  # merging builds it
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
    done. Only ids and vectors leave the engine; rows are copied inside of it.
    """
    done, memory = 0, np.empty(BLOCK_NUMBERS, np.float32)
    with on_its_node(rebuilt):
        for shard in sorted(set().union(*shards.values())):
            used = {
                field: centroids[field]
                for field, wanted in shards.items()
                if shard in wanted
            }
            blocks = (
                _assigned(rebuilt, used, block, memory)
                for block in read_vectors(rebuilt, shard, used)
            )
            for rows in _joined(blocks):
                _insert(rebuilt, used, rows)
                done += len(rows) * len(used)
                report(done)
        client.command(f"DROP TABLE IF EXISTS {rebuilt.assigned_name} SYNC")


def _joined(blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield blocks in groups of PART_ROWS rows, and the rest."""
    some: list[pa.Table] = []
    for block in blocks:
        some.append(block)
        if sum(map(len, some)) >= PART_ROWS:
            yield pa.concat_tables(some)
            some = []
    if some:
        yield pa.concat_tables(some)


def read_vectors(
    table: ItemTable,
    shard: int,
    fields: Iterable[str],
    condition: str = "1",
) -> Iterator[pa.Table]:
    """Yield ids and vectors of one shard of a main table, in bounded blocks.

    Ids ascend. A field's stored vectors are texts of two bytes a number, see
    `vectors_of`.
    """
    vectors = [
        f"reinterpret({table.vector_columns[field]}, 'String') AS {field}"
        for field in fields
    ]
    sql = (
        f"SELECT {', '.join(['id', *vectors])} FROM {table.name} "
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


def vectors_of(
    rows: pa.Table, field: str, table: ItemTable, into: np.ndarray | None = None
) -> np.ndarray:
    """Return the stored vectors of rows that `read_vectors` yields: float32.

    They are written to `into` if it is given, of BLOCK_NUMBERS numbers.
    """
    column = rows[field].combine_chunks()
    size = table.dimension * 2
    start = column.offset * size
    stored = memoryview(column.buffers()[2])[start : start + len(column) * size]
    return from_bfloat16(stored, into).reshape(len(column), table.dimension)


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


def _assigned(
    rebuilt: ItemTable,
    centroids: Mapping[str, Centroids],
    rows: pa.Table,
    memory: np.ndarray,
) -> pa.Table:
    """Return the ids, clusters and vectors of rows that `read_vectors` yields.

    Vectors are empty where they are stored as they are in the main table. `memory` is
    used for arithmetic.
    """
    found = {"id": rows["id"]}
    for field, own in centroids.items():
        mean = rebuilt.mean(field)
        vectors = vectors_of(rows, field, rebuilt, memory)
        vectors += mean
        off = np.zeros(len(rows), bool)
        if own.metric == "cosine":
            lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
            off = np.abs(lengths - 1) > UNIT_TOLERANCE
            vectors[off] = unit(vectors[off])
        numbers = own.assign(vectors) | np.uint32(own.version << CLUSTER_BITS)
        others = round_to_bfloat16(vectors[off], mean).ravel()
        ends = np.cumsum(np.concatenate([[0], off * rebuilt.dimension]))
        found[f"{field}_cluster"] = pa.array(numbers)
        found[f"{field}_vector"] = pa.ListArray.from_arrays(
            pa.array(ends.astype(np.int32)), pa.array(others)
        )
    return pa.table(found)


def _insert(rebuilt: ItemTable, fields: Iterable[str], assigned: pa.Table) -> None:
    """Insert rows into the tables of fields, a part into each."""
    source = rebuilt.assigned_name
    columns = ", ".join(
        f"{field}_cluster UInt32, {field}_vector Array(BFloat16)" for field in fields
    )
    client.command(f"DROP TABLE IF EXISTS {source} SYNC")
    client.command(
        f"CREATE TABLE {source} (id UInt64, {columns}) ENGINE = Join(ANY, LEFT, id)"
    )
    client.insert_arrow(source, assigned)
    copied = ", ".join((*PAYLOAD_COLUMNS, *COMPUTED_COLUMNS))
    first, last = (assigned["id"][place].as_py() for place in (0, -1))
    for field in fields:
        vector = rebuilt.vector_columns[field]
        if pc.any(pc.greater(pc.list_value_length(assigned[f"{field}_vector"]), 0)):
            other = f"joinGet('{source}', '{field}_vector', id)"
            vector = f"if(empty({other}), {vector}, {other})"
        client.command(
            f"INSERT INTO {rebuilt.clustered(field).name} ({copied}, cluster, vector) "
            f"SELECT {copied}, joinGet('{source}', '{field}_cluster', id) AS cluster, "
            f"{vector} FROM {rebuilt.name} WHERE id BETWEEN {first:d} AND {last:d}",
            **INSERT_SETTINGS,
        )


def merge(rebuilt: ItemTable, field: str) -> dict[int, tuple[int, int]]:
    """Merge a filled partition into one part; return its rows and ids by shard."""
    target = rebuilt.clustered(field)
    assert rebuilt.partition is not None
    with on_its_node(rebuilt):
        client.command(
            f"OPTIMIZE TABLE {target.name} PARTITION {rebuilt.partition:d} FINAL"
        )
    return count_by_shard(target)
