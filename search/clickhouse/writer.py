"""Rows on their way in, and the vector indexes over them.

A shard gathers in a table of its own. Once it is whole, the partition that it belongs
to is put together anew beside the one that is searched, gets its indexes, and takes the
other's place in one step: no search sees half a shard, or a part without its index.
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from . import client, cluster, schema
from .schema import INDEX_LIST, INDEXES, SHARD_BITS, ItemTable

LEFT_OUT_ON_INSERT: dict[str, Any] = {
    "exclude_materialize_skip_indexes_on_insert": INDEX_LIST
}
OF_SHARD = "id BETWEEN {first:UInt64} AND {last:UInt64}"


def insert(table: ItemTable, batch: Any, token: str) -> None:
    """Inserts a pyarrow.Table; the same token twice inserts once."""
    with _at_its_node(table):
        client.insert_arrow(
            table.name, batch, insert_deduplication_token=token, **LEFT_OUT_ON_INSERT
        )


def _at_its_node(table: ItemTable) -> AbstractContextManager[None]:
    """Where a table beside the one searched lies."""
    assert table.partition is not None
    return cluster.on_node(cluster.node_of_partition(table.partition))


def count(table: ItemTable) -> tuple[int, int]:
    """Rows, and how many different ids they have."""
    sql = f"SELECT count() AS rows, uniqExact(id) AS ids FROM {table.name}"
    counted = schema.read_table(table, lambda: client.rows(sql)[0])
    return sum(row["rows"] for row in counted), sum(row["ids"] for row in counted)


def count_by_shard(table: ItemTable) -> dict[int, tuple[int, int]]:
    """The same for each shard that has rows in the table."""
    sql = (
        f"SELECT bitShiftRight(id, {SHARD_BITS}) AS shard, count() AS rows, "
        f"uniqExact(id) AS ids FROM {table.name} GROUP BY shard"
    )
    counted = schema.read_table(table, lambda: client.rows(sql))
    return {row["shard"]: (row["rows"], row["ids"]) for rows in counted for row in rows}


def count_between(table: ItemTable, first: int, last: int) -> int:
    """How many rows of a table have ids from `first` to `last`, of one shard."""
    with cluster.on_node(cluster.node_of_partition(first >> table.partition_bits)):
        counted = client.rows(
            f"SELECT count() AS n FROM {table.name} WHERE {OF_SHARD}",
            {"first": first, "last": last},
        )
    return counted[0]["n"]


def assemble(
    table: ItemTable,
    partition: int,
    rebuilt: ItemTable,
    arriving: Sequence[ItemTable],
    without: Collection[int],
) -> None:
    """Makes the next state of a partition in a table of its own, without indexes yet.

    It has the rows that are there now, but of the shards in `without`, and the rows of
    the `arriving` tables. What other attempts at it have made is dropped.
    """
    for name in tables_beside(table):
        if name.startswith(table.rebuilt(partition, "").name):
            drop_named(name)
    schema.create(rebuilt)
    left_out = [shard for shard in without if count_between(table, *bounds(shard))]
    with _at_its_node(rebuilt):
        if left_out:
            _copy_without(table, rebuilt, partition, left_out)
        else:
            _attach(rebuilt, partition, table)
        for shard in arriving:
            _attach(rebuilt, partition, shard)


def _attach(target: ItemTable, partition: int, source: ItemTable) -> None:
    """The same files under another name: nothing is copied."""
    client.command(
        f"ALTER TABLE {target.name} ATTACH PARTITION {partition:d} FROM {source.name}"
    )


def _copy_without(
    source: ItemTable, target: ItemTable, partition: int, shards: Sequence[int]
) -> None:
    tests = [
        f"id NOT BETWEEN {first:d} AND {last:d}"
        for first, last in (bounds(shard) for shard in shards)
    ]
    columns = ", ".join(schema.INSERTED_COLUMNS)
    client.command(
        f"INSERT INTO {target.name} ({columns}) SELECT {columns} FROM {source.name} "
        f"WHERE {' AND '.join([*tests, in_partition(source, partition)])}",
        **LEFT_OUT_ON_INSERT,
    )


def build_indexes(rebuilt: ItemTable, partition: int) -> None:
    """Merges a rebuilt partition into one part and builds the graphs over it."""
    # Together: a part that got one index and not the other would look like indexed.
    both = ", ".join(
        f"MATERIALIZE INDEX {index} IN PARTITION {partition:d}"
        for index in INDEXES.values()
    )
    with cluster.on_node(cluster.node_of_partition(partition)):
        client.command(f"OPTIMIZE TABLE {rebuilt.name} PARTITION {partition:d} FINAL")
        client.command(f"ALTER TABLE {rebuilt.name} {both}", mutations_sync=1)


def vectors_indexed() -> int:
    """How many vectors the engines have put into graphs since they started."""
    sql = "SELECT value FROM system.events WHERE event = 'USearchAddCount'"
    found = cluster.on_all_nodes(lambda: client.rows(sql))
    return sum(rows[0]["value"] for rows in found if rows)


def publish(table: ItemTable, partition: int, rebuilt: ItemTable) -> None:
    """Puts a rebuilt partition in the place of the one searched, in one step."""
    with _at_its_node(rebuilt):
        client.command(
            f"ALTER TABLE {table.name} "
            f"REPLACE PARTITION {partition:d} FROM {rebuilt.name}"
        )


def drop_partition(table: ItemTable, partition: int) -> None:
    with cluster.on_node(cluster.node_of_partition(partition)):
        client.command(f"ALTER TABLE {table.name} DROP PARTITION {partition:d}")


def hide(table: ItemTable, sql: str, parameters: dict[str, Any]) -> None:
    """Hides the rows that pass a condition; they keep their place in the graphs."""
    statement = (
        f"ALTER TABLE {table.name} UPDATE deleted = 1 WHERE deleted = 0 AND ({sql})"
    )
    schema.read_table(
        table, lambda: client.command(statement, parameters, mutations_sync=1)
    )


def tables_beside(table: ItemTable | None = None) -> list[str]:
    """The names of the tables in which shards arrive and partitions are rebuilt.

    Of one dataset or, without its table, of all and of those that were dropped.
    """
    name = table.name if table else "item_[a-z0-9_]+"
    sql = (
        "SELECT name FROM system.tables WHERE database = currentDatabase() "
        "AND match(name, concat('^', {name:String}, '_(ARRIVING|REBUILT)_'))"
    )
    found = cluster.on_all_nodes(lambda: client.rows(sql, {"name": name}))
    return [row["name"] for rows in found for row in rows]


def drop_named(name: str) -> None:
    """Drops one of tables_beside."""
    cluster.on_all_nodes(lambda: client.command(f"DROP TABLE IF EXISTS {name} SYNC"))


def bounds(shard: int) -> tuple[int, int]:
    """The first and the last id that a shard can have."""
    return shard << SHARD_BITS, ((shard + 1) << SHARD_BITS) - 1


def of_shards(numbers: Iterable[int]) -> str:
    """A condition for the rows of some shards."""
    tests = (
        f"id BETWEEN {first:d} AND {last:d}" for first, last in map(bounds, numbers)
    )
    return " OR ".join(tests)


def in_partition(table: ItemTable, partition: int) -> str:
    bits = table.partition_bits
    return f"id BETWEEN {partition << bits:d} AND {((partition + 1) << bits) - 1:d}"
