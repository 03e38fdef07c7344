"""Look up items by id, on the nodes that have them, or by URL."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import numpy as np

from search.errors import NotFound

from . import client, cluster, schema
from .filters import NOT_REMOVED
from .queries import to_hex
from .schema import VECTOR_COLUMNS, ItemTable

URL_TIMEOUT_S = 3
# Earlier versions stored texts as they were; the client shows invalid ones as hex.
ITEM_COLUMNS = (
    "id, toValidUTF8(url) AS url, toValidUTF8(caption) AS caption, "
    "toValidUTF8(nsfw) AS nsfw, toValidUTF8(license) AS license, caption_similarity, "
    "width, height"
)
VALID_METADATA = (
    "mapApply((name, value) -> (toValidUTF8(name), toValidUTF8(value)), metadata) "
    "AS metadata"
)


def items(table: ItemTable, ids: list[int]) -> dict[int, dict[str, Any]]:
    """Return ITEM_COLUMNS of items, by id, without removed or missing ones."""
    sql = (
        f"SELECT {ITEM_COLUMNS} FROM {table.name} "
        f"WHERE id IN {{ids:Array(UInt64)}} AND {NOT_REMOVED}"
    )
    per_node = cluster.group_by_node(
        ids,
        table.partition_bits,
        lambda own: client.rows(sql, {"ids": own}, max_threads=1),
    )
    return {row["id"]: row for rows in per_node for row in rows}


def item(table: ItemTable, item_id: int) -> dict[str, Any] | None:
    """Return ITEM_COLUMNS and metadata of an item; None if it is removed or missing."""
    with cluster.on_node(cluster.node_of_partition(item_id >> table.partition_bits)):
        rows = client.rows(
            f"SELECT {ITEM_COLUMNS}, {VALID_METADATA} FROM {table.name} "
            f"WHERE id = {{id:UInt64}} AND {NOT_REMOVED}",
            {"id": item_id},
        )
    return rows[0] if rows else None


def image_source(table: ItemTable, item_id: int) -> dict[str, Any] | None:
    """Return url, md5, file and deleted of an item, or None.

    md5 is in lower case; it and file are '' if unknown. Removed items are included.
    """
    with cluster.on_node(cluster.node_of_partition(item_id >> table.partition_bits)):
        rows = client.rows(
            "SELECT url, lower(metadata['md5']) AS md5, metadata['file'] AS file, "
            f"deleted FROM {table.name} WHERE id = {{id:UInt64}}",
            {"id": item_id},
            max_threads=1,
        )
    return rows[0] if rows else None


def image_sources(table: ItemTable, after: int, count: int) -> list[dict[str, Any]]:
    """Return id, url, md5 and file of the first `count` items behind an id.

    None if there is no table. Items that are removed are included.
    """
    sql = (
        "SELECT id, url, lower(metadata['md5']) AS md5, metadata['file'] AS file "
        f"FROM {table.name} WHERE id > {{after:Int64}} ORDER BY id LIMIT {count:d}"
    )
    try:
        found = schema.read_table(table, lambda: client.rows(sql, {"after": after}))
    except NotFound:
        return []
    rows = sorted((row for rows in found for row in rows), key=itemgetter("id"))
    return rows[:count]


def rows_where(
    table: ItemTable, condition: str, parameters: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return id, url, md5, file and deleted of the rows that pass a condition.

    Raises NotFound without a table.
    """
    sql = (
        "SELECT id, toValidUTF8(url) AS url, lower(metadata['md5']) AS md5, "
        "metadata['file'] AS file, deleted "
        f"FROM {table.name} WHERE {condition}"
    )
    found = schema.read_table(table, lambda: client.rows(sql, parameters))
    return [row for rows in found for row in rows]


def id_by_url(table: ItemTable, urls: list[str]) -> int | None:
    """Return the first item with one of these URLs that is not removed, or None.

    This scans the hash of the URL of all rows, eight bytes each; an item that is not
    found within URL_TIMEOUT_S counts as missing.
    """
    sql = (
        f"SELECT id FROM {table.name} PREWHERE "
        "url_hash IN arrayMap(url -> cityHash64(url), {urls:Array(String)}) "
        f"WHERE url IN {{urls:Array(String)}} AND {NOT_REMOVED} ORDER BY id LIMIT 1"
    )
    limit = {"max_execution_time": URL_TIMEOUT_S, "timeout_overflow_mode": "break"}
    per_node = cluster.on_all_nodes(lambda: client.rows(sql, {"urls": urls}, **limit))
    return min((row["id"] for rows in per_node for row in rows), default=None)


def pixel_counts(table: ItemTable, ids: list[int]) -> dict[int, int]:
    """Return width times height of items, by id; 0 where unknown."""
    sql = (
        f"SELECT id, toUInt64(width) * height FROM {table.name} "
        "WHERE id IN {ids:Array(UInt64)}"
    )
    return dict(_by_id(table, sql, ids))


def deletion_flags(table: ItemTable, ids: list[int]) -> dict[int, int]:
    """Return whether items are removed (1 or 0), by id, without missing ones."""
    sql = f"SELECT id, deleted FROM {table.name} WHERE id IN {{ids:Array(UInt64)}}"
    return dict(_by_id(table, sql, ids, max_threads=1))


def embedded(table: ItemTable, ids: list[int]) -> dict[int, dict[str, Any]]:
    """Return md5, caption and both vectors of items, by id, also of hidden ones."""
    vectors = ", ".join(
        f"CAST({name} AS Array(Float32)) AS {name}" for name in VECTOR_COLUMNS.values()
    )
    sql = (
        "SELECT id, lower(metadata['md5']) AS md5, caption, "
        f"{vectors} FROM {table.name} WHERE id IN {{ids:Array(UInt64)}}"
    )
    found = schema.read_table(table, lambda: client.rows(sql, {"ids": ids}))
    return {row["id"]: row for rows in found for row in rows}


def embeddings(table: ItemTable, field: str, ids: list[int]) -> dict[int, np.ndarray]:
    """Return the stored vectors of items, float32, by id, without missing ones."""
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
    """Return the ids (uint64) of the items found, and their distances (float32)."""
    sql = (
        f"SELECT id, {table.metric}({VECTOR_COLUMNS[field]}, "
        "reinterpret(unhex({vector:String}), 'Array(Float32)')) "
        f"FROM {table.name} WHERE id IN {{ids:Array(UInt64)}} AND {NOT_REMOVED}"
    )
    by_id = dict(_by_id(table, sql, ids, {"vector": to_hex(vector)}))
    return (
        np.fromiter(by_id.keys(), np.uint64, len(by_id)),
        np.fromiter(by_id.values(), np.float32, len(by_id)),
    )


def sum_of_unit_vectors(table: ItemTable, field: str, ids: list[int]) -> np.ndarray:
    """Return the sum of the items' unit vectors, float64; zeros without items."""
    sql = (
        f"WITH CAST({VECTOR_COLUMNS[field]} AS Array(Float32)) AS vector, "
        "L2Norm(vector) AS length "
        "SELECT sumForEach(arrayMap(x -> toFloat64(x / length), vector)) "
        f"FROM {table.name} "
        f"WHERE id IN {{ids:Array(UInt64)}} AND {NOT_REMOVED} AND length > 0"
    )
    per_node = cluster.group_by_node(
        ids, table.partition_bits, lambda own: client.columns(sql, {"ids": own})
    )
    total = np.zeros(table.dimension)
    for ((vector,),) in per_node:
        total += vector or 0.0
    return total


def _by_id(
    table: ItemTable,
    sql: str,
    ids: list[int],
    parameters: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[tuple[int, Any]]:
    """Yield (id, value), the two columns of a statement with the parameter `ids`."""
    per_node = cluster.group_by_node(
        ids,
        table.partition_bits,
        lambda own: client.columns(sql, {**(parameters or {}), "ids": own}, **settings),
    )
    for columns in per_node:
        yield from zip(*columns, strict=True)
