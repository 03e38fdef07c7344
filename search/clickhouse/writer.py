"""Write rows and build the vector indexes.

A shard is collected in a table of its own. Once it is complete, its partition is built
again in another table, indexed, and then replaces the searched partition in one step:
no search sees an incomplete shard or a part without its index.
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from . import client, cluster, schema
from .schema import GRAPH, INDEX_LIST, INDEXES, SHARD_BITS, ItemTable

NO_INDEX_ON_INSERT: dict[str, Any] = {
    "exclude_materialize_skip_indexes_on_insert": INDEX_LIST
}
SHARD_CONDITION = "id BETWEEN {first:UInt64} AND {last:UInt64}"


# Of the column `deleted`, where it is not 0: by removal lists or with their shard, or
# since their file is not in the watched source any more.
REMOVED, FILE_GONE = 1, 2


def insert(table: ItemTable, batch: Any, token: str) -> None:
    """Insert a pyarrow.Table; inserts with the same token count once."""
    with on_its_node(table):
        client.insert_arrow(
            table.name, batch, insert_deduplication_token=token, **NO_INDEX_ON_INSERT
        )


def list_array(matrix: np.ndarray) -> pa.ListArray:
    """Return the rows of a matrix as lists, as tables take vectors."""
    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(np.ascontiguousarray(matrix).ravel())
    )


def on_its_node(table: ItemTable) -> AbstractContextManager[None]:
    """Run statements on the node of an `arriving` or `rebuilt` table."""
    assert table.partition is not None
    return cluster.on_node(cluster.node_of_partition(table.partition))


def count(table: ItemTable) -> tuple[int, int]:
    """Return the number of rows and of distinct ids."""
    sql = f"SELECT count() AS rows, uniqExact(id) AS ids FROM {table.name}"
    counted = schema.read_table(table, lambda: client.rows(sql)[0])
    return sum(row["rows"] for row in counted), sum(row["ids"] for row in counted)


def count_by_partition() -> dict[str, dict[int, int]]:
    """Return the rows of each partition of all tables, by name, from their parts."""
    sql = (
        "SELECT table, toUInt64(partition) AS number, sum(rows) AS count "
        "FROM system.parts WHERE active AND database = currentDatabase() "
        "AND startsWith(table, 'item_') AND match(partition, '^[0-9]+$') "
        "GROUP BY table, number"
    )
    counts: dict[str, dict[int, int]] = {}
    for found in cluster.on_all_nodes(lambda: client.rows(sql)):
        for row in found:
            of_table = counts.setdefault(row["table"], {})
            of_table[row["number"]] = of_table.get(row["number"], 0) + row["count"]
    return counts


def count_by_shard(table: ItemTable) -> dict[int, tuple[int, int]]:
    """Return the number of rows and of distinct ids of each shard."""
    sql = (
        f"SELECT bitShiftRight(id, {SHARD_BITS}) AS shard, count() AS rows, "
        f"uniqExact(id) AS ids FROM {table.name} GROUP BY shard"
    )
    counted = schema.read_table(table, lambda: client.rows(sql))
    return {row["shard"]: (row["rows"], row["ids"]) for rows in counted for row in rows}


def count_between(table: ItemTable, first: int, last: int) -> int:
    """Return the number of rows with ids from `first` to `last`, of one shard."""
    with cluster.on_node(cluster.node_of_partition(first >> table.partition_bits)):
        counted = client.rows(
            f"SELECT count() AS n FROM {table.name} WHERE {SHARD_CONDITION}",
            {"first": first, "last": last},
        )
    return counted[0]["n"]


def ids_between(table: ItemTable, first: int, last: int) -> list[int]:
    """Return the ids from `first` to `last`, of one shard."""
    with cluster.on_node(cluster.node_of_partition(first >> table.partition_bits)):
        found = client.rows(
            f"SELECT DISTINCT id FROM {table.name} WHERE {SHARD_CONDITION}",
            {"first": first, "last": last},
        )
    return [row["id"] for row in found]


def assemble(
    table: ItemTable,
    partition: int,
    rebuilt: ItemTable,
    arriving: Sequence[ItemTable],
    without: Collection[int],
) -> None:
    """Build the next state of a partition in the table `rebuilt`, without indexes.

    It consists of the partition's rows, except those of the shards in `without`, and
    the rows of the `arriving` tables. Tables of earlier attempts are dropped.
    """
    for name in side_tables(table):
        if name.startswith(table.rebuilt(partition, "").name):
            drop_side_table(name)
    schema.create(rebuilt)
    excluded = [
        shard for shard in without if count_between(table, *shard_bounds(shard))
    ]
    with on_its_node(rebuilt):
        if excluded:
            others = f"NOT ({shards_condition(excluded)})"
            there = partition_condition(table, partition)
            copy_rows(table, rebuilt, f"{others} AND {there}")
        else:
            attach_partition(rebuilt, partition, table)
        for shard in arriving:
            attach_partition(rebuilt, partition, shard)


def attach_partition(target: ItemTable, partition: int, source: ItemTable) -> None:
    """Link a partition's files into another table, without copying them."""
    client.command(
        f"ALTER TABLE {target.name} ATTACH PARTITION {partition:d} FROM {source.name}"
    )


def copy_rows(source: ItemTable, target: ItemTable, condition: str) -> None:
    """Copy rows between tables of the same columns, without their graphs."""
    columns = ", ".join(target.inserted_columns)
    client.command(
        f"INSERT INTO {target.name} ({columns}) "
        f"SELECT {columns} FROM {source.name} WHERE {condition}",
        **NO_INDEX_ON_INSERT,
    )


def build_indexes(rebuilt: ItemTable, partition: int) -> None:
    """Merge a rebuilt partition into one part, and build its graphs if it has any."""
    # In one statement: index_state cannot tell a part that has only one of them.
    both = ", ".join(
        f"MATERIALIZE INDEX {index} IN PARTITION {partition:d}"
        for index in INDEXES.values()
    )
    with cluster.on_node(cluster.node_of_partition(partition)):
        client.command(f"OPTIMIZE TABLE {rebuilt.name} PARTITION {partition:d} FINAL")
        if rebuilt.index == GRAPH:
            client.command(f"ALTER TABLE {rebuilt.name} {both}", mutations_sync=1)


def vectors_indexed() -> int:
    """Return the number of vectors added to graphs since the engines started."""
    sql = "SELECT value FROM system.events WHERE event = 'USearchAddCount'"
    per_node = cluster.on_all_nodes(lambda: client.rows(sql))
    return sum(rows[0]["value"] for rows in per_node if rows)


def publish(
    table: ItemTable, partition: int, rebuilt: ItemTable, fields: Collection[str] = ()
) -> None:
    """Replace the searched partition with the rebuilt one, in one step per table.

    `fields` are those whose clustered tables were rebuilt, too; others have no rows.
    """
    pairs = [(table, rebuilt)]
    pairs += [(table.clustered(field), rebuilt.clustered(field)) for field in fields]
    with on_its_node(rebuilt):
        for published, source in pairs:
            client.command(
                f"ALTER TABLE {published.name} "
                f"REPLACE PARTITION {partition:d} FROM {source.name}"
            )
    _drop_clustered(table, partition, fields)


def drop_partition(table: ItemTable, partition: int) -> None:
    """Drop a partition: first where searches find its rows."""
    _drop_clustered(table, partition)
    _drop_partition(table, partition)


def _drop_clustered(
    table: ItemTable, partition: int, but: Collection[str] = ()
) -> None:
    for clustered in existing_clustered(table):
        if clustered.field not in but:
            _drop_partition(clustered, partition)


def _drop_partition(table: ItemTable, partition: int) -> None:
    with cluster.on_node(cluster.node_of_partition(partition)):
        client.command(f"ALTER TABLE {table.name} DROP PARTITION {partition:d}")


def hide(table: ItemTable, sql: str, parameters: dict[str, Any]) -> None:
    """Mark the rows that pass a condition as removed; they stay in the index.

    First where searches find them. Raises NotFound if there is no such table.
    """
    for each in (*existing_clustered(table), table):
        statement = (
            f"ALTER TABLE {each.name} UPDATE deleted = 1 WHERE deleted = 0 AND ({sql})"
        )
        schema.read_table(each, partial(client.mutate, statement, parameters))


def show(table: ItemTable, ids: list[int], was: int = REMOVED) -> None:
    """Show rows again that were hidden as REMOVED or FILE_GONE."""
    _update(table, ids, "deleted = 0", f"deleted = {was:d}", {})


def hide_gone(table: ItemTable, ids: list[int]) -> None:
    """Hide rows whose files are gone from a watched source."""
    _update(table, ids, f"deleted = {FILE_GONE:d}", "deleted = 0", {})


def rename_file(table: ItemTable, item_id: int, name: str) -> None:
    """Note another name of an item's file."""
    change = (
        "metadata = mapUpdate(metadata, CAST(map('file', {name:String}) AS "
        "Map(LowCardinality(String), String)))"
    )
    _update(table, [item_id], change, "1", {"name": name})


def _update(
    table: ItemTable,
    ids: list[int],
    change: str,
    condition: str,
    parameters: dict[str, Any],
) -> None:
    parameters = {**parameters, "ids": ids}
    for each in (*existing_clustered(table), table):
        statement = (
            f"ALTER TABLE {each.name} UPDATE {change} "
            f"WHERE {condition} AND id IN {{ids:Array(UInt64)}}"
        )
        schema.read_table(each, partial(client.mutate, statement, parameters))


def existing_clustered(table: ItemTable) -> list[ItemTable]:
    """Return the clustered tables of a main table that there are."""
    sql = (
        "SELECT name FROM system.tables WHERE database = currentDatabase() "
        "AND name IN {names:Array(String)}"
    )
    names = [each.name for each in table.all_clustered]
    per_node = schema.read_table(table, lambda: client.rows(sql, {"names": names}))
    found = {row["name"] for rows in per_node for row in rows}
    return [each for each in table.all_clustered if each.name in found]


def side_tables(table: ItemTable | None = None) -> list[str]:
    """Return the names of `arriving` and `rebuilt` tables.

    Those of one dataset or, without its table, of all, including deleted ones.
    """
    name = table.name if table else f"item_[a-z0-9_{schema.HYPHEN}]+"
    sql = (
        "SELECT name FROM system.tables WHERE database = currentDatabase() "
        "AND match(name, concat('^', {name:String}, '_(ARRIVING|REBUILT)_'))"
    )
    per_node = cluster.on_all_nodes(lambda: client.rows(sql, {"name": name}))
    return [row["name"] for rows in per_node for row in rows]


def drop_side_table(name: str) -> None:
    """Drop one of side_tables."""
    cluster.on_all_nodes(lambda: client.command(f"DROP TABLE IF EXISTS {name} SYNC"))


def shard_bounds(shard: int) -> tuple[int, int]:
    """Return the first and the last id that a shard can have."""
    return shard << SHARD_BITS, ((shard + 1) << SHARD_BITS) - 1


def shards_condition(numbers: Iterable[int]) -> str:
    """Return a condition for the rows of some shards."""
    tests = (
        f"id BETWEEN {first:d} AND {last:d}"
        for first, last in map(shard_bounds, numbers)
    )
    return " OR ".join(tests)


def partition_condition(table: ItemTable, partition: int) -> str:
    bits = table.partition_bits
    return f"id BETWEEN {partition << bits:d} AND {((partition + 1) << bits) - 1:d}"
