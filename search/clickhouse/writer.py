"""Rows on their way in, and the vector indexes over them.

A batch carries a token, so that sending it again after a lost answer inserts nothing.
The indexes are left out on insert and built once a partition is whole: a graph is made
anew at each merge, which would cost several times as much.
"""

from typing import Any

from . import client
from .schema import INDEXES, PARTITION_BITS, SHARD_BITS, ItemTable

INDEX_LIST = ",".join(INDEXES.values())
LEFT_OUT_ON_MERGE = "exclude_materialize_skip_indexes_on_merge"
OF_SHARD = "WHERE id BETWEEN {first:UInt64} AND {last:UInt64}"


def insert(table: ItemTable, batch: Any, token: str) -> None:
    """Inserts a pyarrow.Table; the same token twice inserts once."""
    client.insert_arrow(
        table.name,
        batch,
        insert_deduplication_token=token,
        exclude_materialize_skip_indexes_on_insert=INDEX_LIST,
    )


def delete_shard(table: ItemTable, number: int) -> None:
    client.command(
        f"DELETE FROM {table.name} {OF_SHARD}", bounds(number), mutations_sync=1
    )


def count_shard(table: ItemTable, number: int) -> int:
    counted = client.rows(
        f"SELECT count() AS n FROM {table.name} {OF_SHARD}", bounds(number)
    )
    return counted[0]["n"]


def build_indexes(table: ItemTable, partition: int) -> None:
    """Merges a partition into one part and builds the graphs over it.

    Searches go on meanwhile, exactly over what has no graph yet.
    """
    alter = f"ALTER TABLE {table.name}"
    client.command(f"{alter} MODIFY SETTING {LEFT_OUT_ON_MERGE}='{INDEX_LIST}'")
    try:
        client.command(f"OPTIMIZE TABLE {table.name} PARTITION {partition:d} FINAL")
    finally:
        # A merge later on must carry the indexes along, or they are silently lost.
        client.command(f"{alter} RESET SETTING {LEFT_OUT_ON_MERGE}")
    # Together: a part that got one index and not the other would look like indexed.
    both = ", ".join(
        f"MATERIALIZE INDEX {index} IN PARTITION {partition:d}"
        for index in INDEXES.values()
    )
    client.command(f"{alter} {both}", mutations_sync=1)


def bounds(number: int) -> dict[str, int]:
    """The first and the last id that a shard can have, as OF_SHARD takes them."""
    return {"first": number << SHARD_BITS, "last": ((number + 1) << SHARD_BITS) - 1}


def partition_of(number: int) -> int:
    return number >> (PARTITION_BITS - SHARD_BITS)


def shards_of(partition: int) -> tuple[int, int]:
    """The first and the last number of the shards in a partition."""
    count = 1 << (PARTITION_BITS - SHARD_BITS)
    return partition * count, (partition + 1) * count - 1
