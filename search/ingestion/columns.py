"""A batch of a shard as the columns of the item table, without a loop over rows."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from search.clickhouse.schema import SHARD_BITS
from search.errors import ShardUnreadable
from search.retrieval import deduplication

from .sources.protocol import Batch

# LAION's name (any case), ours, and the type; what is missing is empty or zero.
FACTS = (
    ("url", "url", pa.string()),
    ("caption", "caption", pa.string()),
    ("nsfw", "nsfw", pa.string()),
    ("license", "license", pa.string()),
    ("similarity", "caption_similarity", pa.float32()),
    ("width", "width", pa.uint32()),
    ("height", "height", pa.uint32()),
)
METADATA = "metadata"
MAP = pa.map_(pa.string(), pa.string())
ENTRIES = pa.list_(pa.struct({"key": pa.string(), "value": pa.string()}))
EMPTY = {pa.string(): "", pa.float32(): float("nan"), pa.uint32(): 0}


def item_columns(batch: Batch, shard: int) -> pa.Table:
    """The rows of a batch, ready to be inserted into an item table."""
    table = batch.table
    if len(set(table.column_names)) < len(table.column_names):
        raise ShardUnreadable("The metadata has two columns of the same name.")
    ids = (shard << SHARD_BITS) + batch.rows
    named = {name.lower(): name for name in table.column_names}
    columns = {"id": pa.array(ids.astype(np.uint64))}
    for theirs, ours, kind in FACTS:
        columns[ours] = _fact(table, named.pop(theirs, None), kind)
    columns["metadata"] = _metadata(table, list(named.values()))
    columns["image_code"] = _codes(batch.image)
    columns["image_embedding"] = _vectors(batch.image)
    columns["text_embedding"] = _vectors(batch.text)
    return pa.table(columns)


def _fact(table: pa.Table, name: str | None, kind: pa.DataType) -> pa.ChunkedArray:
    if name is None or pa.types.is_null(table[name].type):
        return pa.chunked_array([pa.repeat(pa.scalar(EMPTY[kind], kind), len(table))])
    column = table[name]
    try:
        if kind == pa.uint32():
            column = _sizes(column)
        return pc.fill_null(column.cast(kind), EMPTY[kind])
    except pa.ArrowException as error:
        raise ShardUnreadable(
            f"The column {name} holds what is no {kind}: {error}"
        ) from error


def _sizes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Sizes come as floats and texts, too, and unknown ones as NaN, -1 or worse."""
    numbers = pc.round(column.cast(pa.float64()))
    usable = pc.and_(pc.greater_equal(numbers, 0), pc.less(numbers, 2**32))
    return pc.if_else(usable, numbers, 0)


def _metadata(table: pa.Table, names: list[str]) -> pa.Array:
    """All other columns as a map from name to text; nulls are left out.

    A map of texts named metadata, which exports have, is kept as it is; the others
    come behind what is in it.
    """
    known = [
        name for name in names if name.lower() == METADATA and _is_map(table[name])
    ]
    told = _as_map(table, [name for name in names if name not in known])
    return _joined(table[known[0]], told) if known else told


def _is_map(column: pa.ChunkedArray) -> bool:
    kind = column.type
    texts = (pa.string(), pa.large_string())
    return pa.types.is_map(kind) and {kind.key_type, kind.item_type} <= set(texts)


def _joined(first: pa.ChunkedArray, second: pa.Array) -> pa.Array:
    """Two maps row by row; of entries of the same name the earlier one stays."""
    maps = [first.combine_chunks().cast(ENTRIES), second.cast(ENTRIES)]
    entries = pa.concat_arrays([each.flatten() for each in maps])
    rows = np.concatenate([pc.list_parent_indices(each).to_numpy() for each in maps])
    names, values = entries.field("key"), entries.field("value")
    code = names.dictionary_encode().indices.to_numpy()
    there = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
    _, earliest = np.unique(np.array([rows, code])[:, there], axis=1, return_index=True)
    stay = there[np.sort(earliest)]
    stay = pa.array(stay[np.argsort(rows[stay], kind="stable")])
    counts = np.bincount(rows[stay], minlength=len(second))
    offsets = np.concatenate([[0], counts.cumsum()]).astype(np.int32)
    return pa.MapArray.from_arrays(
        pa.array(offsets), names.take(stay), values.take(stay)
    )


def _as_map(table: pa.Table, names: list[str]) -> pa.Array:
    count = len(names)
    texts = [_text(table[name]) for name in names]
    if not texts:
        return pa.array([[]] * len(table), MAP)
    # One column after the other, brought into the order of rows.
    by_row = np.arange(count * len(table)).reshape(count, -1).T.ravel()
    values = pa.concat_arrays(texts).take(pa.array(by_row))
    keys = pa.array(np.tile(np.array(names, object), len(table)), pa.string())
    there = values.is_valid()
    present = there.to_numpy(zero_copy_only=False).reshape(-1, count)
    offsets = np.concatenate([[0], present.sum(axis=1).cumsum()]).astype(np.int32)
    return pa.MapArray.from_arrays(
        pa.array(offsets), keys.filter(there), values.filter(there)
    )


def _text(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    if pa.types.is_nested(whole.type) or _is_bytes(whole.type):
        return pa.array([None if v is None else str(v) for v in whole.to_pylist()])
    return whole.cast(pa.string())


def _is_bytes(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_fixed_size_binary,
    )
    return any(test(kind) for test in tests)


def _codes(matrix: np.ndarray) -> pa.FixedSizeBinaryArray:
    codes = deduplication.lsh_codes(matrix)
    data = pa.py_buffer(np.ascontiguousarray(codes))
    kind = pa.binary(codes.shape[1])
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(codes), [None, data])


def _vectors(matrix: np.ndarray) -> pa.ListArray:
    """Lists of float16 or float32; ClickHouse turns them into its own bfloat16."""
    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(np.ascontiguousarray(matrix).ravel())
    )
