"""The vector queries of a dataset's tables.

What is searched depends on the dataset's `index`. With CLUSTERS it is a field's table
in the order of clusters, of which the nearest to the query are read. With GRAPH it is
the main table with its vector index: there queries keep the shape for which the engine
uses the index, which is only the distance in ORDER BY, a LIMIT, and no condition on the
distance. A vector is sent as the hex digits of its bytes, which parse faster than 512
decimal numbers.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from search.clustering.vectors import from_bfloat16, round_to_bfloat16
from search.query.model import MAX_RESULTS

from . import centroids, client, cluster
from .filters import HIDING_COLUMNS, NOT_REMOVED, Condition, why_hidden
from .schema import CLUSTERS, CODE_BYTES, INDEXES, VECTOR_COLUMNS, ItemTable

# HNSW's ef_search: for the few neighbours of an item, and for searches with pages. The
# engine uses at least the LIMIT.
NARROW_EF = 256
PAGED_EF = 1_000
# For exact searches, and for the first one that loads an index from disk: if stopped
# earlier, the next one would start to load from the beginning.
SEARCH_TIMEOUT_S = 60
RESCORE_FACTOR = 3  # candidates to rescore per result, if the index is quantized
NARROW_ROWS = 200_000  # of clusters: a search of fewer takes one thread, and no slot
UNCALIBRATED_ROWS = 1_000_000  # are read of clusters before their recall is measured

FROM_PARTS = (
    "FROM system.parts "
    "WHERE active AND database = currentDatabase() AND table = {table:String}"
)
BYTES_PER_NUMBER = {"bf16": 2, "i8": 1}  # of a vector in a graph
# Of an item as it is shown, besides its id and its rating.
SHOWN_COLUMNS = "url, caption, license, caption_similarity, width, height"
SHOWN_NAMES = SHOWN_COLUMNS.split(", ")
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
CLUSTER_SETTINGS = {
    "query_plan_max_limit_for_lazy_materialization": MAX_RESULTS,
    "min_bytes_to_use_mmap_io": 1,
    "max_execution_time": SEARCH_TIMEOUT_S,
}


@dataclass(frozen=True)
class Candidates:
    """Items, nearest first: a row of each array is an item.

    `hidden` is the reason to hide an item (clickhouse.filters), `codes` are the bytes
    of image_code. `exact` if every item that passes was compared. If asked for, `rows`
    are the columns that are shown, by id, and `vectors` those of the images, float32,
    unless the table has none.
    """

    ids: np.ndarray  # uint64
    distances: np.ndarray  # float32
    hidden: np.ndarray  # uint8
    url_hashes: np.ndarray  # uint64
    codes: np.ndarray  # uint8, (items, CODE_BYTES)
    exact: bool = False
    rows: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    vectors: Mapping[int, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray | slice) -> "Candidates":
        """Return the items of these rows, in their order."""
        return replace(self, **{name: getattr(self, name)[rows] for name in ARRAYS})


ARRAYS = ("ids", "distances", "hidden", "url_hashes", "codes")


def merge_nearest(parts: list[Candidates]) -> Candidates:
    """Merge lists of items, nearest first, of equally near ones by id.

    Duplicates stay.
    """
    if len(parts) == 1:
        return parts[0]
    joined = Candidates(
        **{name: np.concatenate([getattr(p, name) for p in parts]) for name in ARRAYS},
        exact=all(part.exact for part in parts),
        rows={key: row for part in parts for key, row in part.rows.items()},
        vectors={key: each for part in parts for key, each in part.vectors.items()},
    )
    return joined.take(np.lexsort((joined.ids, joined.distances)))


@dataclass(frozen=True)
class Reading:
    """The parts of the statement that searches one field.

    `run` is a function of the client. `image` is the expression of the images' vectors,
    relative to `mean`; "" where the table has none.
    """

    source: str
    distance: str
    order: str
    parameters: dict[str, Any]
    settings: dict[str, Any]
    run: Callable[..., pa.Table]
    exact: bool
    where: str = ""
    image: str = ""
    mean: np.ndarray | None = None

    def sql(
        self, condition: Condition, whole: bool = False, vectors: bool = False
    ) -> str:
        """Return the statement; its result is read by `candidates`."""
        columns = ["id", f"{self.distance} AS distance", HIDING_COLUMNS]
        columns += ["url_hash", "image_code"]
        if whole:
            columns.append(SHOWN_COLUMNS)
        if vectors and self.image:
            columns.append(f"reinterpret({self.image}, 'String') AS image")
        if self.where:
            condition = condition.and_(self.where)
        return (
            f"SELECT {', '.join(columns)} FROM {self.source} {condition.where} "
            f"ORDER BY {self.order} LIMIT {{count:UInt32}}"
        )

    def candidates(self, found: pa.Table, nsfw: str) -> Candidates:
        """Read the result of the statement."""
        ids = found["id"].to_numpy()
        codes = np.frombuffer(b"".join(found["image_code"].to_pylist()), np.uint8)
        vectors: dict[int, np.ndarray] = {}
        if "image" in found.column_names and len(found):
            stored = b"".join(found["image"].cast(pa.binary()).to_pylist())
            matrix = from_bfloat16(stored).reshape(len(ids), -1)
            if self.mean is not None:
                matrix = matrix + self.mean
            vectors = dict(zip(ids.tolist(), matrix, strict=True))
        return Candidates(
            ids=ids,
            distances=found["distance"].to_numpy().astype(np.float32),
            hidden=why_hidden(found, nsfw),
            url_hashes=found["url_hash"].to_numpy(),
            codes=codes.reshape(-1, CODE_BYTES),
            exact=self.exact,
            rows=shown_rows(found) if "url" in found.column_names else {},
            vectors=vectors,
        )


def shown_rows(found: pa.Table) -> dict[int, dict[str, Any]]:
    """Return the columns of items that are shown, by id."""
    names = ["id", "nsfw", *SHOWN_NAMES]
    columns = [client.texts(found[name]) for name in names]
    rows = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    return {row["id"]: row for row in rows}


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
    share: float | None = None,
    passing: centroids.Passing | None = None,
    whole: bool = False,
    vectors: bool = False,
    wide: bool = False,
) -> Candidates:
    """Return the nearest `count` items that pass a condition, or fewer.

    `vector` is float32 of the table's dimension; `count` at most MAX_RESULTS. A search
    that is not exact reads the clusters that hold a `share` of the rows; without one,
    UNCALIBRATED_ROWS; `passing` are those that pass the condition. A graph does not
    know the condition: it returns `multiplier` times `count` candidates, at most
    MAX_RESULTS, of which those that pass remain. `whole` and `vectors` ask for the
    `rows` and the `vectors` of the candidates. `wide` searches a graph as for many
    candidates.
    """
    if table.index == CLUSTERS:
        reading = read_clusters(table, field, vector, 1.0 if exact else share, passing)
    else:
        reading = read_graph(table, field, vector, count, exact, multiplier, wide)
    sql = reading.sql(condition, whole, vectors)
    parameters = {**reading.parameters, **condition.parameters, "count": count}
    per_node = cluster.on_all_nodes(
        lambda: reading.candidates(
            reading.run(sql, parameters, **reading.settings), nsfw
        )
    )
    # No item is on two nodes.
    return merge_nearest(per_node).take(np.s_[:count])


def read_clusters(
    table: ItemTable,
    field: str,
    vector: np.ndarray,
    share: float | None,
    passing: centroids.Passing | None = None,
) -> Reading:
    """Read the clusters nearest to a vector that centroids.route() returns.

    The tables' vectors are relative to the mean, and of unit length before if the
    metric is the cosine, which then is the inner product.
    """
    clustered, mean = table.clustered(field), table.mean(field)
    live = centroids.live_versions(table, field)
    if share is None:
        share = UNCALIBRATED_ROWS / max(centroids.row_count(live), 1)
    clusters, rows = centroids.route(live, vector, share, passing)
    parameters: dict[str, Any] = {}
    if table.metric == "L2Distance":
        distance, query = f"L2Distance(vector, {QUERY})", vector - mean
    else:
        offset = float(np.dot(vector.astype(np.float64), mean))
        distance, query = f"{{one:Float64}} - dotProduct(vector, {QUERY})", vector
        parameters["one"] = 1 - offset
    words = round_to_bfloat16(query).view(np.uint32) >> 16
    parameters["vector"] = client.Plain(words.astype("<u2").tobytes().hex())
    where = ""
    if clusters is not None:
        where = "cluster IN {clusters:Array(UInt32)}"
        numbers = ",".join(map(str, clusters.tolist()))
        parameters["clusters"] = client.Plain(f"[{numbers}]")
    is_narrow = rows <= NARROW_ROWS
    threads = 1 if is_narrow else os.cpu_count() or 1
    return Reading(
        source=clustered.name,
        distance=distance,
        order="distance, id",
        parameters=parameters,
        settings={"max_threads": threads, **CLUSTER_SETTINGS},
        run=client.arrow if is_narrow else client.exact_arrow,
        exact=clusters is None,
        where=where,
        image="vector" if field == "image" else "",
        mean=mean,
    )


def read_graph(
    table: ItemTable,
    field: str,
    vector: np.ndarray,
    count: int,
    exact: bool,
    multiplier: float = 1.0,
    wide: bool = False,
) -> Reading:
    """Read the main table by its vector index, or all of it."""
    by_index = index_settings(table, count, multiplier, wide)
    return Reading(
        source=table.name,
        distance=f"{table.metric}({VECTOR_COLUMNS[field]}, {VECTOR})",
        order="distance",
        parameters={"vector": client.Plain(to_hex(vector))},
        settings=EXACT_SETTINGS if exact else by_index,
        run=client.exact_arrow if exact else client.nearest_arrow,
        exact=exact,
        # Read beside the index on it, a vector would be compared once more.
        image=VECTOR_COLUMNS["image"] if field == "text" else "",
    )


VECTOR = "reinterpret(unhex({vector:String}), 'Array(Float32)')"
QUERY = "reinterpret(unhex({vector:String}), 'Array(BFloat16)')"


def index_settings(
    table: ItemTable, count: int, multiplier: float = 1.0, wide: bool = False
) -> dict[str, Any]:
    wide |= count > NARROW_EF
    settings: dict[str, Any] = {
        **INDEX_SETTINGS,
        "hnsw_candidate_list_size_for_search": (
            max(PAGED_EF, count) if wide else NARROW_EF
        ),
    }
    if table.quantization != "bf16":
        # Quantized vectors are too coarse to rank by; rescore with those of the table.
        settings["vector_search_with_rescoring"] = 1
        multiplier *= RESCORE_FACTOR
    if multiplier > 1:
        settings["vector_search_index_fetch_multiplier"] = multiplier
    return settings


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
    """Return parts and rows of the table, those without an index, and bytes.

    The bytes are those of all tables of the dataset's items.
    """
    of_table = "table = {table:String}"
    without = f"{of_table} AND {_without_index(table)}"
    sql = (
        f"SELECT countIf({of_table}) AS parts, sumIf(parts.rows, {of_table}) AS rows, "
        "sum(bytes_on_disk) AS bytes, "
        f"countIf({without}) AS parts_without_index, "
        f"sumIf(parts.rows, {without}) AS rows_without_index "
        "FROM system.parts WHERE active AND database = currentDatabase() "
        "AND table IN {tables:Array(String)}"
    )
    tables = [each.name for each in (table, *table.all_clustered)]
    parameters = {"table": table.name, "tables": tables}
    states = cluster.on_all_nodes(lambda: client.rows(sql, parameters)[0])
    return {name: sum(state[name] for state in states) for name in states[0]}


def _without_index(table: ItemTable) -> str:
    """Return a condition for parts whose index files cannot hold both graphs.

    The size of the index on captions is subtracted, in proportion to a part's rows.
    """
    if table.index == CLUSTERS:
        return "0"
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
