"""The questions asked of an item table, and their SQL.

The texts of the vector queries keep the shape for which the index is used: the distance
alone in ORDER BY, a LIMIT, no condition on the distance. A vector travels as the hex
digits of its float32 bytes, which parse faster than 512 decimal numbers.
"""

from typing import Any

import numpy as np

from . import client
from .schema import VECTOR_COLUMNS, ItemTable

MOST_RESULTS = 10_000
SEARCH_WIDTH = 256  # candidates HNSW keeps while it searches (ef_search)
DEEP_SEARCH_WIDTH = 512  # for the many results that paging goes through
EXACT_TIMEOUT_S = 60

FACT_COLUMNS = "id, url, caption, nsfw, license, caption_similarity, width, height"
FROM_PARTS = (
    "FROM system.parts "
    "WHERE active AND database = currentDatabase() AND table = {table:String}"
)
WITHOUT_INDEX = "secondary_indices_compressed_bytes = 0"
INDEX_SETTINGS = {
    "max_threads": 1,
    "query_plan_optimize_lazy_materialization": 0,
    "max_limit_for_vector_search_queries": MOST_RESULTS,
}
EXACT_SETTINGS = {"use_skip_indexes": 0, "max_execution_time": EXACT_TIMEOUT_S}


def nearest(
    table: ItemTable, field: str, vector: np.ndarray, count: int, exact: bool
) -> list[tuple[int, float]]:
    """Ids and distances of the nearest items, nearest first.

    `vector` is float32 of the table's dimension; `count` at most MOST_RESULTS.
    """
    sql = nearest_sql(table, field)
    parameters = {"vector": hex_of(vector), "count": count}
    if exact:
        found = client.rows(sql, parameters, **EXACT_SETTINGS)
    else:
        width = SEARCH_WIDTH if count <= SEARCH_WIDTH // 2 else DEEP_SEARCH_WIDTH
        found = client.nearest_rows(
            sql,
            parameters,
            hnsw_candidate_list_size_for_search=width,
            **INDEX_SETTINGS,
        )
    return [(row["id"], row["distance"]) for row in found]


def nearest_sql(table: ItemTable, field: str) -> str:
    return (
        f"SELECT id, {table.metric}({VECTOR_COLUMNS[field]}, "
        "reinterpret(unhex({vector:String}), 'Array(Float32)')) AS distance "
        f"FROM {table.name} ORDER BY distance LIMIT {{count:UInt32}}"
    )


def hex_of(vector: np.ndarray) -> str:
    return np.asarray(vector, "<f4").tobytes().hex()


def facts(table: ItemTable, ids: list[int]) -> dict[int, dict[str, Any]]:
    """What is shown of items, by id; an id that is not there is left out."""
    found = client.rows(
        f"SELECT {FACT_COLUMNS} FROM {table.name} WHERE id IN {{ids:Array(UInt64)}}",
        {"ids": ids},
    )
    return {row["id"]: row for row in found}


def item(table: ItemTable, item_id: int) -> dict[str, Any] | None:
    """All that is known of one item but its vectors; None if it is not there."""
    found = client.rows(
        f"SELECT {FACT_COLUMNS}, metadata FROM {table.name} WHERE id = {{id:UInt64}}",
        {"id": item_id},
    )
    return found[0] if found else None


def embedding(table: ItemTable, field: str, item_id: int) -> np.ndarray | None:
    """The stored vector of an item, float32; None if it is not there."""
    found = client.rows(
        f"SELECT arrayMap(x -> toFloat32(x), {VECTOR_COLUMNS[field]}) AS vector "
        f"FROM {table.name} WHERE id = {{id:UInt64}}",
        {"id": item_id},
    )
    return np.asarray(found[0]["vector"], np.float32) if found else None


def partitions_without_index(table: ItemTable) -> list[int]:
    """Partitions with a part that is searched row by row for want of an index."""
    found = client.rows(
        f"SELECT DISTINCT toUInt64(partition) AS partition {FROM_PARTS} "
        f"AND {WITHOUT_INDEX} ORDER BY partition",
        {"table": table.name},
    )
    return [row["partition"] for row in found]


def index_state(table: ItemTable) -> dict[str, int]:
    """Rows and bytes of the table's parts, and how many parts lack an index."""
    found = client.rows(
        "SELECT count() AS parts, sum(rows) AS rows, sum(bytes_on_disk) AS bytes, "
        f"countIf({WITHOUT_INDEX}) AS parts_without_index {FROM_PARTS}",
        {"table": table.name},
    )
    return found[0]
