"""The questions asked of an item table, and their SQL.

The texts of the vector queries keep the shape for which the index is used: the distance
alone in ORDER BY, a LIMIT, no condition on the distance. A vector travels as the hex
digits of its float32 bytes, which parse faster than 512 decimal numbers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from search.query.model import MAX_RESULTS

from . import client, cluster
from .filters import NOT_REMOVED, Condition, hidden
from .schema import CODE_BYTES, INDEXES, VECTOR_COLUMNS, ItemTable

# Candidates that HNSW keeps while it searches (ef_search): for the few neighbours of an
# item, and for searches that are paged through. It keeps at least what is asked for.
NARROW_EF = 256
PAGED_EF = 1_000
# Of an exact search, or of the first one by an index that lies on a cold disk: stopped
# before it is loaded, it would be loaded from the start by the next.
SEARCH_TIMEOUT_S = 60
RESCORED = 3  # times as many candidates as asked for are compared anew, if quantized

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
# The index on captions is left to narrow down what is compared.
EXACT_SETTINGS = {
    "ignore_data_skipping_indices": ",".join(INDEXES.values()),
    "max_execution_time": SEARCH_TIMEOUT_S,
}


@dataclass(frozen=True)
class Candidates:
    """Items found, nearest first: a row of each array is an item.

    `hidden` says why an item is not to be shown (clickhouse.filters), `codes` are the
    bytes of image_code.
    """

    ids: np.ndarray  # uint64
    distances: np.ndarray  # float32
    hidden: np.ndarray  # uint8
    url_hashes: np.ndarray  # uint64
    codes: np.ndarray  # uint8, (items, CODE_BYTES)

    def __len__(self) -> int:
        return len(self.ids)

    def taken(self, rows: np.ndarray | slice) -> "Candidates":
        """Some of the items, in the order of these rows."""
        return Candidates(**{name: getattr(self, name)[rows] for name in COLUMNS})


COLUMNS = tuple(Candidates.__dataclass_fields__)


def nearest_of(parts: list[Candidates]) -> Candidates:
    """All items of several lists, nearest first; one found twice stands there twice."""
    joined = Candidates(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in COLUMNS
        }
    )
    return joined.taken(np.argsort(joined.distances, kind="stable"))


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
    """The nearest items for which the condition holds.

    `vector` is float32 of the table's dimension; `count` at most MAX_RESULTS. The
    index does not know the condition: it gives `multiplier` times as many as are
    asked for, MAX_RESULTS at the most, and what is left of them comes back.
    """
    sql = nearest_sql(table, field, condition, nsfw)
    parameters = {"vector": hex_of(vector), "count": count, **condition.parameters}
    settings = EXACT_SETTINGS if exact else index_settings(table, count, multiplier)
    search = client.exact_columns if exact else client.nearest_columns
    found = cluster.on_all_nodes(
        lambda: _candidates(search(sql, parameters, **settings))
    )
    if len(found) == 1:
        return found[0]
    # No item lies on two nodes.
    return nearest_of(found).taken(np.s_[:count])


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
        # What the graph keeps is too coarse to rank by: the table's vectors decide.
        settings["vector_search_with_rescoring"] = 1
        multiplier *= RESCORED
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


def hex_of(vector: np.ndarray) -> str:
    return np.asarray(vector, "<f4").tobytes().hex()


def has_safety(table: ItemTable) -> bool:
    """Whether any row has a word on its safety."""
    sql = f"SELECT 1 FROM {table.name} WHERE nsfw != '' LIMIT 1"
    return any(cluster.on_all_nodes(lambda: client.rows(sql)))


def ids_by_metadata(
    table: ItemTable, name: str, values: list[str]
) -> list[tuple[str, int]]:
    """(value, id) of the items whose metadata has one of the values by this name.

    All rows are read for it: give some thousand values at once.
    """
    sql = (
        f"SELECT metadata[{{name:String}}] AS value, id FROM {table.name} "
        f"WHERE value IN {{values:Array(String)}} AND {NOT_REMOVED}"
    )
    given = {"name": name, "values": values}
    limit = {"max_execution_time": client.LONG_TIMEOUT_S}
    found = cluster.on_all_nodes(lambda: client.columns(sql, given, **limit))
    return [pair for columns in found for pair in zip(*columns, strict=True)]


def index_state(table: ItemTable) -> dict[str, int]:
    """Rows and bytes of the table's parts, and how many parts lack an index."""
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
    """Whether a part's index files are too small to hold the vectors of both graphs.

    The index on captions, of which each part is taken to have its share, is not meant.
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
