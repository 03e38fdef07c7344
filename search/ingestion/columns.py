"""Convert batches of a shard to columns of the item table.

Only the words of captions need a loop over rows.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from search.clickhouse.schema import CLUSTERS, SHARD_BITS, ItemTable
from search.clickhouse.words_column import words_of
from search.clickhouse.writer import list_array
from search.clustering.vectors import round_to_bfloat16, unit
from search.links import WHITE_SPACE
from search.query.ratings import DEFAULT_RULES, UNRATED, RatingRules
from search.retrieval import deduplication

from .sources.cells import ENTRIES, as_texts, fold
from .sources.protocol import Batch
from .sources.tables import column_named

# LAION's name (in any case), ours, and the type; missing values are empty or zero.
FIELDS = (
    ("url", "url", pa.string()),
    ("caption", "caption", pa.string()),
    ("license", "license", pa.string()),
    ("similarity", "caption_similarity", pa.float32()),
    ("width", "width", pa.uint32()),
    ("height", "height", pa.uint32()),
)
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
NSFW, ORIGINAL_NSFW = "nsfw", "original_nsfw"
METADATA = "metadata"
MAP = pa.map_(pa.string(), pa.string())
PLAIN = ItemTable("", 0)  # a table that takes vectors as they are
EMPTY = {pa.string(): "", pa.float32(): float("nan"), pa.uint32(): 0}


def item_columns(
    batch: Batch,
    shard: int,
    rules: RatingRules = DEFAULT_RULES,
    target: ItemTable = PLAIN,
) -> pa.Table:
    """Return the rows of a batch, of plain cells, as an item table takes them.

    What is no number is unknown in a column of numbers. A rating is stored as one of
    search.query.ratings; where the dataset has another value, that goes into the
    metadata.
    """
    table, names = batch.table, list(batch.table.column_names)
    ids = (shard << SHARD_BITS) + batch.rows
    columns = {"id": pa.array(ids.astype(np.uint64))}
    for theirs, ours, kind in FIELDS:
        name = column_named(theirs, names)
        columns[ours] = _field(table, name, kind)
        names = [other for other in names if other != name]
    columns["url"] = pc.utf8_trim(columns["url"], WHITE_SPACE)
    columns["words"] = words_of(columns["caption"])
    rating = column_named(NSFW, names)
    rated = _rate(table, rating, rules)
    columns[NSFW] = rated.stored
    names = [other for other in names if other != rating]
    if column_named(ORIGINAL_NSFW, names) is None:
        names.append(ORIGINAL_NSFW)
        table = table.append_column(ORIGINAL_NSFW, rated.original)
    columns["metadata"] = _metadata(table, names)
    columns["image_code"] = _codes(batch.image)
    for field, vectors in (("image", batch.image), ("text", batch.text)):
        columns[target.vector_columns[field]] = _vectors(vectors, field, target)
    return pa.table(columns)


@dataclass(frozen=True)
class Rated:
    """The ratings of some rows, and the values that they stand for, if others."""

    stored: pa.Array
    original: pa.Array
    unknown: Counter[str]


def unknown_ratings(table: pa.Table, rules: RatingRules) -> Counter[str]:
    """Count the values of the rating of a batch's table that are not known."""
    return _rate(table, column_named(NSFW, table.column_names), rules).unknown


def _rate(table: pa.Table, name: str | None, rules: RatingRules) -> Rated:
    values = pa.nulls(len(table), pa.string())
    if name is not None:
        values = as_texts(table[name].combine_chunks())
    encoded = values.dictionary_encode()
    known = {value: rules.rate(value) for value in encoded.dictionary.to_pylist()}
    stored = [rating or UNRATED for rating in known.values()]
    others = [
        None if value == known[value] or not value.strip() else value for value in known
    ]
    counts = zip(*encoded.value_counts().flatten(), strict=True)
    return Rated(
        pc.fill_null(pa.array(stored, pa.string()).take(encoded.indices), UNRATED),
        pa.array(others, pa.string()).take(encoded.indices),
        Counter(
            {
                value.as_py(): count.as_py()
                for value, count in counts
                if value.is_valid and known[value.as_py()] is None
            }
        ),
    )


def _field(table: pa.Table, name: str | None, kind: pa.DataType) -> pa.Array:
    if name is None:
        return pa.repeat(pa.scalar(EMPTY[kind], kind), len(table))
    column = table[name].combine_chunks()
    if kind == pa.string():
        return pc.fill_null(as_texts(column), EMPTY[kind])
    numbers = _numbers(column)
    if kind == pa.uint32():  # sources have sizes of 640.0, NaN or -1
        numbers = pc.round(numbers)
        usable = pc.and_(pc.greater_equal(numbers, 0), pc.less(numbers, 2**32))
        numbers = pc.if_else(usable, numbers, None)
    return pc.fill_null(numbers.cast(kind, safe=False), EMPTY[kind])


def _numbers(column: pa.Array) -> pa.Array:
    """Return values as numbers; null for those that are none."""
    if pa.types.is_string(column.type):
        texts = pc.utf8_trim_whitespace(column)
        is_number = pc.match_substring_regex(texts, NUMBER)
        column = pc.if_else(is_number, texts, None)
    try:
        return column.cast(pa.float64(), safe=False)
    except pa.ArrowNotImplementedError:  # dates, for example
        return pa.nulls(len(column), pa.float64())


def _metadata(table: pa.Table, names: list[str]) -> pa.Array:
    """Return all other columns as a map from name to text, without nulls.

    The entries of a map of texts named metadata, which exports have, come first.
    """
    maps = [name for name in names if fold(name) == METADATA and _is_map(table[name])]
    others = _as_map(table, [name for name in names if name not in maps])
    return _merge(table[maps[0]], others) if maps else others


def _is_map(column: pa.ChunkedArray) -> bool:
    kind = column.type
    texts = (pa.string(), pa.large_string())
    return pa.types.is_map(kind) and {kind.key_type, kind.item_type} <= set(texts)


def _merge(first: pa.ChunkedArray, second: pa.Array) -> pa.Array:
    """Merge two maps row by row; the first value of a name wins."""
    maps = [first.combine_chunks().cast(ENTRIES), second.cast(ENTRIES)]
    entries = pa.concat_arrays([each.flatten() for each in maps])
    rows = np.concatenate([pc.list_parent_indices(each).to_numpy() for each in maps])
    names, values = entries.field("key"), entries.field("value")
    code = names.dictionary_encode().indices.to_numpy()
    valid = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
    _, earliest = np.unique(np.array([rows, code])[:, valid], axis=1, return_index=True)
    stay = valid[np.sort(earliest)]
    stay = pa.array(stay[np.argsort(rows[stay], kind="stable")])
    counts = np.bincount(rows[stay], minlength=len(second))
    offsets = np.concatenate([[0], counts.cumsum()]).astype(np.int32)
    return pa.MapArray.from_arrays(
        pa.array(offsets), names.take(stay), values.take(stay)
    )


def _as_map(table: pa.Table, names: list[str]) -> pa.Array:
    count = len(names)
    texts = [as_texts(table[name].combine_chunks()) for name in names]
    if not texts:
        return pa.array([[]] * len(table), MAP)
    # From column by column to row by row.
    by_row = np.arange(count * len(table)).reshape(count, -1).T.ravel()
    values = pa.concat_arrays(texts).take(pa.array(by_row))
    keys = pa.array(np.tile(np.array(names, object), len(table)), pa.string())
    valid = values.is_valid()
    counts = valid.to_numpy(zero_copy_only=False).reshape(-1, count).sum(axis=1)
    offsets = np.concatenate([[0], counts.cumsum()]).astype(np.int32)
    return pa.MapArray.from_arrays(
        pa.array(offsets), keys.filter(valid), values.filter(valid)
    )


def _codes(matrix: np.ndarray) -> pa.FixedSizeBinaryArray:
    codes = deduplication.lsh_codes(matrix)
    data = pa.py_buffer(np.ascontiguousarray(codes))
    kind = pa.binary(codes.shape[1])
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(codes), [None, data])


def means_of(batch: Batch, metric: str) -> dict[str, str]:
    """Return the mean of a batch's vectors by field, in hex digits of float32.

    For the cosine the mean of unit vectors, which is what is compared.
    """
    means = {}
    for field, matrix in (("image", batch.image), ("text", batch.text)):
        vectors = matrix if metric == "L2Distance" else unit(matrix)
        mean = vectors.mean(axis=0, dtype=np.float64)
        means[field] = mean.astype("<f4").tobytes().hex()
    return means


def _vectors(matrix: np.ndarray, field: str, table: ItemTable) -> pa.ListArray:
    """Return lists of float16 or float32, which ClickHouse converts to bfloat16.

    It cuts off bits, so vectors for clusters are rounded here.
    """
    if table.index == CLUSTERS:
        matrix = round_to_bfloat16(matrix, table.mean(field))
    return list_array(matrix)
