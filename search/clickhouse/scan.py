"""Scan the items of a dataset in the order of their ids.

Results are Arrow tables, because a million vectors must not become Python floats. The
engine uses one thread, which leaves the others for searches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from . import client, cluster
from .filters import HIDING_COLUMNS, NOT_REMOVED, Condition, why_hidden
from .lookup import ITEM_COLUMNS
from .queries import SEARCH_TIMEOUT_S, to_hex
from .schema import VECTOR_COLUMNS, ItemTable
from .writer import SHARD_CONDITION, shard_bounds

SETTINGS = {"max_threads": 1, "max_execution_time": SEARCH_TIMEOUT_S}


@dataclass(frozen=True)
class ScannedRows:
    """Items that pass, by ascending id: a row of each array is an item.

    `hidden` is the reason to hide an item (clickhouse.filters).
    """

    ids: np.ndarray  # uint64
    hidden: np.ndarray  # uint8
    distances: np.ndarray | None  # float32, with a DistanceLimit


@dataclass(frozen=True)
class DistanceLimit:
    """A limit on the distance of an item, which is that of its nearest field.

    `vectors` are float32 of the table's dimension, by field.
    """

    vectors: Mapping[str, np.ndarray]
    max_distance: float


def end_of_shard(table: ItemTable, shard: int) -> int:
    """Return the id after a shard's last row; the shard's first id without rows."""
    first, last = shard_bounds(shard)
    with cluster.on_node(cluster.node_of_partition(first >> table.partition_bits)):
        rows = client.rows(
            f"SELECT count() AS rows, max(id) AS last FROM {table.name} "
            f"WHERE {SHARD_CONDITION}",
            {"first": first, "last": last},
            **SETTINGS,
        )
    return rows[0]["last"] + 1 if rows and rows[0]["rows"] else first


def scan_rows(
    table: ItemTable,
    first: int,
    last: int,
    *,
    condition: Condition,
    nsfw: str,
    limit: DistanceLimit | None = None,
) -> ScannedRows:
    """Return the rows from id `first` to `last`, of one shard, that pass a condition.

    Every row is compared, without a vector index.
    """
    where = condition.and_(SHARD_CONDITION, first=first, last=last)
    columns = f"id, {HIDING_COLUMNS}"
    if limit is not None:
        columns += f", {_distance(table, limit)} AS distance"
        vectors = {f"{field}_vector": to_hex(v) for field, v in limit.vectors.items()}
        near = "distance <= {max_distance:Float64}"
        where = where.and_(near, max_distance=limit.max_distance, **vectors)
    sql = f"SELECT {columns} FROM {table.name} {where.where} ORDER BY id"
    with cluster.on_node(cluster.node_of_partition(first >> table.partition_bits)):
        result = client.arrow(sql, where.parameters, **SETTINGS)
    return ScannedRows(
        ids=result["id"].to_numpy(),
        hidden=why_hidden(result, nsfw),
        distances=result["distance"].to_numpy() if limit is not None else None,
    )


def _distance(table: ItemTable, limit: DistanceLimit) -> str:
    distances = [
        f"{table.metric}({VECTOR_COLUMNS[field]}, "
        f"reinterpret(unhex({{{field}_vector:String}}), 'Array(Float32)'))"
        for field in limit.vectors
    ]
    return distances[0] if len(distances) == 1 else f"least({', '.join(distances)})"


def item_contents(
    table: ItemTable, ids: Sequence[int], fields: Sequence[str] = ()
) -> pa.Table:
    """Return items in the order of `ids`, without removed or missing ones.

    The columns are ITEM_COLUMNS, `metadata` (a map of texts) and, for `fields`,
    VECTOR_COLUMNS as lists of float32 of the table's dimension.
    """
    vectors = [
        f"CAST({VECTOR_COLUMNS[field]} AS Array(Float32)) AS {VECTOR_COLUMNS[field]}"
        for field in fields
    ]
    sql = (
        f"SELECT {', '.join([ITEM_COLUMNS, 'metadata', *vectors])} FROM {table.name} "
        f"WHERE id IN {{ids:Array(UInt64)}} AND {NOT_REMOVED} ORDER BY id"
    )
    wanted = np.asarray(ids, np.uint64)
    per_node = cluster.group_by_node(
        wanted.tolist() or [0],  # an id that does not exist, to get the columns
        table.partition_bits,
        lambda own: client.arrow(sql, {"ids": own}, **SETTINGS),
    )
    return _in_order(pa.concat_tables(per_node), wanted, table.dimension)


def _in_order(items: pa.Table, wanted: np.ndarray, dimension: int) -> pa.Table:
    ids = items["id"].to_numpy()
    order = np.argsort(ids, kind="stable")
    places = np.searchsorted(ids, wanted, sorter=order)
    known = places < len(ids)
    known[known] = ids[order[places[known]]] == wanted[known]
    rows = items.take(pa.array(order[places[known]]))
    columns = {name: _column(rows[name], name, dimension) for name in rows.column_names}
    return pa.table(columns)


def _column(column: pa.ChunkedArray, name: str, dimension: int) -> pa.Array:
    array = column.combine_chunks()
    if name in VECTOR_COLUMNS.values():
        return pa.FixedSizeListArray.from_arrays(array.flatten(), dimension)
    if pa.types.is_map(array.type):
        keys, values = _valid_text(array.keys), _valid_text(array.items)
        return pa.MapArray.from_arrays(array.offsets, keys, values)
    return _valid_text(array)


def _valid_text(values: pa.Array) -> Any:
    """Replace bytes that are not UTF-8, from a damaged source, with “�”."""
    if not pa.types.is_string(values.type):
        return values
    try:
        values.validate(full=True)
        return values
    except pa.ArrowInvalid:
        raw = values.cast(pa.binary()).to_pylist()
        return pa.array([text.decode(errors="replace") for text in raw], pa.string())
