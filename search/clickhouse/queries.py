"""Queries for an item table.

Vector queries keep the shape for which the engine uses the index: only the distance in
ORDER BY, a LIMIT, no condition on the distance. A vector is sent as the hex digits of
its float32 bytes, which parse faster than 512 decimal numbers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from search.query.model import MAX_RESULTS

from . import client, cluster
from .filters import NOT_REMOVED, Condition, hidden
from .schema import CODE_BYTES, INDEXES, VECTOR_COLUMNS, ItemTable

# HNSW's ef_search: for the few neighbours of an item, and for searches with pages. The
# engine uses at least the LIMIT.
NARROW_EF = 256
PAGED_EF = 1_000
# For exact searches, and for the first one that loads an index from disk: if stopped
# earlier, the next one would start to load from the beginning.
SEARCH_TIMEOUT_S = 60
RESCORE_FACTOR = 3  # candidates to rescore per result, if the index is quantized

FROM_PARTS = (
    "FROM system.parts "
    "WHERE active AND database = currentDatabase() AND table = {table:String}"
)
BYTES_PER_NUMBER = {"bf16": 2, "i8": 1}  # of a vector in a graph
INDEX_SETTINGS = {
    "max_threads": 1,
    "query_plan_optimize_lazy_materialization": 0,
    "max_limit_for_vector_search_queries": MAX_RESULTS,
    "max_execution_time": SEARCH_TIMEOUT_S,
}
# The index on captions stays, to narrow down the rows to compare.
EXACT_SETTINGS = {
    "ignore_data_skipping_indices": ",".join(INDEXES.values()),
    "max_execution_time": SEARCH_TIMEOUT_S,
}


@dataclass(frozen=True)
class Candidates:
    """Items, nearest first: a row of each array is an item.

    `hidden` is the reason to hide an item (clickhouse.filters), `codes` are the bytes
    of image_code.
    """

    ids: np.ndarray  # uint64
    distances: np.ndarray  # float32
    hidden: np.ndarray  # uint8
    url_hashes: np.ndarray  # uint64
    codes: np.ndarray  # uint8, (items, CODE_BYTES)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray | slice) -> "Candidates":
        """Return the items of these rows, in their order."""
        return Candidates(**{name: getattr(self, name)[rows] for name in COLUMNS})


COLUMNS = tuple(Candidates.__dataclass_fields__)


def merge_nearest(parts: list[Candidates]) -> Candidates:
    """Merge lists of items, nearest first; duplicates stay."""
    joined = Candidates(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in COLUMNS
        }
    )
    return joined.take(np.argsort(joined.distances, kind="stable"))


def nearest(
    table: ItemTable,
    field: str,
    vector: np.ndarray,
    count: int,
    *,
    condition: Condition,
    nsfw: str,
    exact: bool,
    multiplier: float = 1.0,
) -> Candidates:
    """Return the nearest `count` items that pass a condition, or fewer.

    `vector` is float32 of the table's dimension; `count` at most MAX_RESULTS. The index
    does not know the condition: it returns `multiplier` times `count` candidates, at
    most MAX_RESULTS, of which those that pass remain.
    """
    sql = nearest_sql(table, field, condition, nsfw)
    parameters = {"vector": to_hex(vector), "count": count, **condition.parameters}
    settings = EXACT_SETTINGS if exact else index_settings(table, count, multiplier)
    search = client.exact_columns if exact else client.nearest_columns
    per_node = cluster.on_all_nodes(
        lambda: _candidates(search(sql, parameters, **settings))
    )
    if len(per_node) == 1:
        return per_node[0]
    # No item is on two nodes.
    return merge_nearest(per_node).take(np.s_[:count])


def nearest_sql(
    table: ItemTable, field: str, condition: Condition, nsfw: str = "safe"
) -> str:
    return (
        f"SELECT id, {table.metric}({VECTOR_COLUMNS[field]}, "
        "reinterpret(unhex({vector:String}), 'Array(Float32)')) AS distance, "
        f"{hidden(nsfw)} AS hidden, url_hash, image_code "
        f"FROM {table.name} {condition.where} "
        "ORDER BY distance LIMIT {count:UInt32}"
    )


def index_settings(
    table: ItemTable, count: int, multiplier: float = 1.0
) -> dict[str, Any]:
    settings: dict[str, Any] = {
        **INDEX_SETTINGS,
        "hnsw_candidate_list_size_for_search": (
            NARROW_EF if count <= NARROW_EF else max(PAGED_EF, count)
        ),
    }
    if table.quantization != "bf16":
        # Quantized vectors are too coarse to rank by; rescore with those of the table.
        settings["vector_search_with_rescoring"] = 1
        multiplier *= RESCORE_FACTOR
    if multiplier > 1:
        settings["vector_search_index_fetch_multiplier"] = multiplier
    return settings


def _candidates(columns: list[Any]) -> Candidates:
    ids, distances, hidden_by, url_hashes, codes = columns or ([], [], [], [], [])
    code_bytes = np.frombuffer(b"".join(codes), np.uint8)
    return Candidates(
        ids=np.asarray(ids, np.uint64),
        distances=np.asarray(distances, np.float32),
        hidden=np.asarray(hidden_by, np.uint8),
        url_hashes=np.asarray(url_hashes, np.uint64),
        codes=code_bytes.reshape(-1, CODE_BYTES),
    )


def to_hex(vector: np.ndarray) -> str:
    return np.asarray(vector, "<f4").tobytes().hex()


def has_ratings(table: ItemTable) -> bool:
    """Return whether any row has a value in `nsfw`."""
    sql = f"SELECT 1 FROM {table.name} WHERE nsfw != '' LIMIT 1"
    return any(cluster.on_all_nodes(lambda: client.rows(sql)))


def ids_by_metadata(
    table: ItemTable, name: str, values: list[str]
) -> list[tuple[str, int]]:
    """Return (value, id) of the items that have one of these values in their metadata.

    This scans all rows, so pass thousands of values at once.
    """
    sql = (
        f"SELECT metadata[{{name:String}}] AS value, id FROM {table.name} "
        f"WHERE value IN {{values:Array(String)}} AND {NOT_REMOVED}"
    )
    parameters = {"name": name, "values": values}
    limit = {"max_execution_time": client.LONG_TIMEOUT_S}
    per_node = cluster.on_all_nodes(lambda: client.columns(sql, parameters, **limit))
    return [pair for columns in per_node for pair in zip(*columns, strict=True)]


def index_state(table: ItemTable) -> dict[str, int]:
    """Return parts, rows and bytes of the table, and those without an index."""
    sql = (
        "SELECT count() AS parts, sum(parts.rows) AS rows, "
        "sum(bytes_on_disk) AS bytes, "
        f"countIf({_without_index(table)}) AS parts_without_index, "
        f"sumIf(parts.rows, {_without_index(table)}) AS rows_without_index "
        f"{FROM_PARTS}"
    )
    states = cluster.on_all_nodes(lambda: client.rows(sql, {"table": table.name})[0])
    return {name: sum(state[name] for state in states) for name in states[0]}


def _without_index(table: ItemTable) -> str:
    """Return a condition for parts whose index files cannot hold both graphs.

    The size of the index on captions is subtracted, in proportion to a part's rows.
    """
    row = len(INDEXES) * table.dimension * BYTES_PER_NUMBER[table.quantization]
    captions = (
        "(SELECT sum(data_uncompressed_bytes) FROM system.data_skipping_indices "
        "WHERE database = currentDatabase() AND table = {table:String} "
        "AND type = 'text')"
    )
    share = "parts.rows / (SELECT sum(rows) " + FROM_PARTS + ")"
    return (
        f"secondary_indices_uncompressed_bytes - {captions} * {share} "
        f"< parts.rows * {row}"
    )
