"""Items of a dataset one after the other, by their ids, with all that is known of them.

What comes back is Arrow's: a vector of a million rows must not become Python's floats.
One thread of the engine does it, so that searches go on beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from . import client, cluster
from .filters import NOT_REMOVED, Condition, hidden
from .lookup import FACT_COLUMNS
from .queries import SEARCH_TIMEOUT_S, hex_of
from .schema import VECTOR_COLUMNS, ItemTable
from .writer import OF_SHARD, bounds

SETTINGS = {"max_threads": 1, "max_execution_time": SEARCH_TIMEOUT_S}


@dataclass(frozen=True)
class Passing:
    """Rows that a scan stops at, by rising ids: a row of each array is an item.

    `hidden` says why an item is not to be shown (clickhouse.filters).
    """

    ids: np.ndarray  # uint64
    hidden: np.ndarray  # uint8
    distances: np.ndarray | None  # float32, if there is a vector to compare with


@dataclass(frozen=True)
class Near:
    """Items that are no further off than `farthest` by the nearest of their fields.

    `vectors` are float32 of the table's dimension, by field.
    """

    vectors: Mapping[str, np.ndarray]
    farthest: float


def end_of(table: ItemTable, shard: int) -> int:
    """The id after a shard's last row; the shard's first id if it has no rows."""
    first, last = bounds(shard)
    with cluster.on_node(cluster.node_of_partition(first >> table.partition_bits)):
        found = client.rows(
            f"SELECT count() AS rows, max(id) AS last FROM {table.name} "
            f"WHERE {OF_SHARD}",
            {"first": first, "last": last},
            **SETTINGS,
        )
    return found[0]["last"] + 1 if found and found[0]["rows"] else first


def passing(
    table: ItemTable,
    first: int,
    last: int,
    *,
    condition: Condition,
    nsfw: str,
    near: Near | None = None,
) -> Passing:
    """The rows with ids from `first` to `last`, of one shard, that pass a condition.

    Every row is compared; no index of vectors takes part.
    """
    asked = condition.and_(OF_SHARD, first=first, last=last)
    columns = f"id, {hidden(nsfw)} AS hidden"
    if near is not None:
        columns += f", {_distance(table, near)} AS distance"
        vectors = {f"{field}_vector": hex_of(v) for field, v in near.vectors.items()}
        farthest = "distance <= {farthest:Float64}"
        asked = asked.and_(farthest, farthest=near.farthest, **vectors)
    sql = f"SELECT {columns} FROM {table.name} {asked.where} ORDER BY id"
    with cluster.on_node(cluster.node_of_partition(first >> table.partition_bits)):
        found = client.arrow(sql, asked.parameters, **SETTINGS)
    return Passing(
        ids=found["id"].to_numpy(),
        hidden=found["hidden"].to_numpy(),
        distances=found["distance"].to_numpy() if near is not None else None,
    )


def _distance(table: ItemTable, near: Near) -> str:
    distances = [
        f"{table.metric}({VECTOR_COLUMNS[field]}, "
        f"reinterpret(unhex({{{field}_vector:String}}), 'Array(Float32)'))"
        for field in near.vectors
    ]
    return distances[0] if len(distances) == 1 else f"least({', '.join(distances)})"


def contents(
    table: ItemTable, ids: Sequence[int], fields: Sequence[str] = ()
) -> pa.Table:
    """What is known of items, in the order of `ids`; what is not there is left out.

    It has FACT_COLUMNS, `metadata` (a map of texts) and, of the `fields` asked for,
    VECTOR_COLUMNS as lists of float32 of the table's dimension.
    """
    vectors = [
        f"CAST({VECTOR_COLUMNS[field]} AS Array(Float32)) AS {VECTOR_COLUMNS[field]}"
        for field in fields
    ]
    sql = (
        f"SELECT {', '.join([FACT_COLUMNS, 'metadata', *vectors])} FROM {table.name} "
        f"WHERE id IN {{ids:Array(UInt64)}} AND {NOT_REMOVED} ORDER BY id"
    )
    wanted = np.asarray(ids, np.uint64)
    found = cluster.group_by_node(
        wanted.tolist() or [0],  # so that there are columns
        table.partition_bits,
        lambda own: client.arrow(sql, {"ids": own}, **SETTINGS),
    )
    return _as_asked(pa.concat_tables(found), wanted, table.dimension)


def _as_asked(found: pa.Table, wanted: np.ndarray, dimension: int) -> pa.Table:
    there = found["id"].to_numpy()
    order = np.argsort(there, kind="stable")
    places = np.searchsorted(there, wanted, sorter=order)
    known = places < len(there)
    known[known] = there[order[places[known]]] == wanted[known]
    rows = found.take(pa.array(order[places[known]]))
    columns = {name: _column(rows[name], name, dimension) for name in rows.column_names}
    return pa.table(columns)


def _column(column: pa.ChunkedArray, name: str, dimension: int) -> pa.Array:
    whole = column.combine_chunks()
    if name in VECTOR_COLUMNS.values():
        return pa.FixedSizeListArray.from_arrays(whole.flatten(), dimension)
    if pa.types.is_map(whole.type):
        keys, values = _readable(whole.keys), _readable(whole.items)
        return pa.MapArray.from_arrays(whole.offsets, keys, values)
    return _readable(whole)


def _readable(values: pa.Array) -> Any:
    """The same; bytes that are no UTF-8, of a damaged source, become “�”."""
    if not pa.types.is_string(values.type):
        return values
    try:
        values.validate(full=True)
        return values
    except pa.ArrowInvalid:
        raw = values.cast(pa.binary()).to_pylist()
        return pa.array([text.decode(errors="replace") for text in raw], pa.string())
