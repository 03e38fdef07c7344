"""What is asked of items by their ids: each node is asked for those that it has."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import client, cluster
from .filters import NOT_REMOVED
from .queries import hex_of
from .schema import VECTOR_COLUMNS, ItemTable

LOOKED_FOR_S = 3  # an item, by its URL
FACT_COLUMNS = "id, url, caption, nsfw, license, caption_similarity, width, height"


def facts(table: ItemTable, ids: list[int]) -> dict[int, dict[str, Any]]:
    """What is shown of items, by id; an id that is not there is left out."""
    sql = (
        f"SELECT {FACT_COLUMNS} FROM {table.name} "
        f"WHERE id IN {{ids:Array(UInt64)}} AND {NOT_REMOVED}"
    )
    found = cluster.group_by_node(
        ids,
        table.partition_bits,
        lambda own: client.rows(sql, {"ids": own}, max_threads=1),
    )
    return {row["id"]: row for rows in found for row in rows}


def item(table: ItemTable, item_id: int) -> dict[str, Any] | None:
    """All that is known of one item but its vectors; None if it is not there."""
    with cluster.on_node(cluster.node_of_partition(item_id >> table.partition_bits)):
        found = client.rows(
            f"SELECT {FACT_COLUMNS}, metadata FROM {table.name} "
            f"WHERE id = {{id:UInt64}} AND {NOT_REMOVED}",
            {"id": item_id},
        )
    return found[0] if found else None


def image_facts(table: ItemTable, item_id: int) -> dict[str, Any] | None:
    """url, MD5 in small letters ('' if not known) and `deleted` of an item, or None.

    What has been removed is found, too.
    """
    with cluster.on_node(cluster.node_of_partition(item_id >> table.partition_bits)):
        found = client.rows(
            "SELECT url, lower(metadata['md5']) AS md5, deleted "
            f"FROM {table.name} WHERE id = {{id:UInt64}}",
            {"id": item_id},
            max_threads=1,
        )
    return found[0] if found else None


def id_by_url(table: ItemTable, url: str) -> int | None:
    """The first item of this URL that is not removed; None if there is none.

    Of all rows it reads the hash of the URL, eight bytes each. What is not found within
    LOOKED_FOR_S, among billions, counts as not there.
    """
    sql = (
        f"SELECT id FROM {table.name} PREWHERE url_hash = cityHash64({{url:String}}) "
        f"WHERE url = {{url:String}} AND {NOT_REMOVED} ORDER BY id LIMIT 1"
    )
    limit = {"max_execution_time": LOOKED_FOR_S, "timeout_overflow_mode": "break"}
    found = cluster.on_all_nodes(lambda: client.rows(sql, {"url": url}, **limit))
    return min((row["id"] for rows in found for row in rows), default=None)


def pixels(table: ItemTable, ids: list[int]) -> dict[int, int]:
    """Width times height of items, by id; 0 where they are not known."""
    sql = (
        f"SELECT id, toUInt64(width) * height FROM {table.name} "
        "WHERE id IN {ids:Array(UInt64)}"
    )
    return dict(_by_id(table, sql, ids))


def deleted(table: ItemTable, ids: list[int]) -> dict[int, int]:
    """Whether items are removed (1) or not (0), by id; one not there is left out."""
    sql = f"SELECT id, deleted FROM {table.name} WHERE id IN {{ids:Array(UInt64)}}"
    return dict(_by_id(table, sql, ids, max_threads=1))


def embeddings(table: ItemTable, field: str, ids: list[int]) -> dict[int, np.ndarray]:
    """The stored vectors of items, float32, by id; those not there are left out."""
    sql = (
        f"SELECT id, CAST({VECTOR_COLUMNS[field]} AS Array(Float32)) "
        f"FROM {table.name} WHERE id IN {{ids:Array(UInt64)}} AND {NOT_REMOVED}"
    )
    return {
        item_id: np.asarray(vector, np.float32)
        for item_id, vector in _by_id(table, sql, ids, max_threads=1)
    }


def distances(
    table: ItemTable, field: str, vector: np.ndarray, ids: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The ids (uint64) of these items that are there, and how far off (float32)."""
    sql = (
        f"SELECT id, {table.metric}({VECTOR_COLUMNS[field]}, "
        "reinterpret(unhex({vector:String}), 'Array(Float32)')) "
        f"FROM {table.name} WHERE id IN {{ids:Array(UInt64)}} AND {NOT_REMOVED}"
    )
    found = dict(_by_id(table, sql, ids, {"vector": hex_of(vector)}))
    return (
        np.fromiter(found.keys(), np.uint64, len(found)),
        np.fromiter(found.values(), np.float32, len(found)),
    )


def sum_of_directions(table: ItemTable, field: str, ids: list[int]) -> np.ndarray:
    """The sum of the unit vectors of items, float64; zeros when none is there."""
    sql = (
        f"WITH CAST({VECTOR_COLUMNS[field]} AS Array(Float32)) AS vector, "
        "L2Norm(vector) AS length "
        "SELECT sumForEach(arrayMap(x -> toFloat64(x / length), vector)) "
        f"FROM {table.name} "
        f"WHERE id IN {{ids:Array(UInt64)}} AND {NOT_REMOVED} AND length > 0"
    )
    found = cluster.group_by_node(
        ids, table.partition_bits, lambda own: client.columns(sql, {"ids": own})
    )
    total = np.zeros(table.dimension)
    for ((vector,),) in found:
        total += vector or 0.0
    return total


def _by_id(
    table: ItemTable,
    sql: str,
    ids: list[int],
    parameters: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[tuple[int, Any]]:
    """(id, value), the two columns of a statement about {ids}."""
    found = cluster.group_by_node(
        ids,
        table.partition_bits,
        lambda own: client.columns(sql, {**(parameters or {}), "ids": own}, **settings),
    )
    for columns in found:
        yield from zip(*columns, strict=True)
