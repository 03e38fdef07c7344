"""Make the cells of a table plain: valid texts, nested values as JSON, no binary.

Every table of a source passes `plain_table` before anything else looks at its cells.
"""

import codecs
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from search.errors import ShardUnreadable

MAX_CELL_BYTES = 2**20
NOT_UTF8 = "Bytes that are not UTF-8 were replaced by U+FFFD (\ufffd)."
SEVERAL = "Of several values of {}, the first is used; all are in the metadata."
TEXTS = ("url", "caption", "nsfw", "license")  # columns that must be texts
JSON_ROWS = 256  # converted to Python at a time: their binary values may be images
CODECS = (  # by byte order mark; that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ENTRIES = pa.list_(pa.struct({"key": pa.string(), "value": pa.string()}))


@dataclass(frozen=True)
class PlainTable:
    """Rows with plain cells, and what was found in them.

    `rejected` has the reasons, by place, of rows that are not to be imported;
    `repaired` says of each row whether it had bytes that are not UTF-8. `several`
    counts by column the rows with more than one text where one is needed. `lines` has
    the numbers of the lines in which rows of delimited text end.
    """

    table: pa.Table
    rejected: Mapping[int, str]
    repaired: np.ndarray
    several: Counter[str] = field(default_factory=Counter)
    lines: Sequence[int] = ()

    @property
    def notes(self) -> dict[str, int]:
        """The notes of a Batch with these rows."""
        count = int(np.count_nonzero(self.repaired))
        notes = {SEVERAL.format(name): rows for name, rows in self.several.items()}
        return {**notes, NOT_UTF8: count} if count else notes


def plain_table(table: pa.Table, texts: Collection[str] = TEXTS) -> PlainTable:
    """Return the rows of a table with plain cells.

    Texts are valid UTF-8, with U+FFFD for bytes that are not. Nested values become
    JSON, binary ones their sizes, except in the columns `texts`, which are decoded.
    There a list of texts becomes its first one, and a column original_… has JSON of
    lists of several. Rows with a longer cell than MAX_CELL_BYTES are rejected. Raises
    ShardUnreadable for other nested values in `texts`.
    """
    repaired = np.zeros(len(table), bool)
    columns: dict[str, pa.Array] = {}
    several: Counter[str] = Counter()
    for name in table.column_names:
        array = _stored(table[name])
        if name in texts and _is_list_of_texts(array.type):
            found = _first_texts(array)
            columns[name], columns[_free_name(name, table)] = found.first, found.all
            several[name] = len(array) - found.all.null_count
            repaired |= found.repaired
            continue
        columns[name], bad = _plain(array, name, name in texts)
        if bad is not None:
            repaired |= bad
    rejected = {
        row: too_long(name)
        for name, array in columns.items()
        for row in _long_cells(array)
    }
    return PlainTable(pa.table(columns), rejected, repaired, +several)


def joined(parts: Sequence[PlainTable]) -> PlainTable:
    """Return the rows of several tables of the same columns."""
    rejected: dict[int, str] = {}
    first = 0
    for part in parts:
        rejected |= {first + place: why for place, why in part.rejected.items()}
        first += len(part.table)
    table = pa.concat_tables(part.table for part in parts)
    repaired = np.concatenate([part.repaired for part in parts])
    several = sum((part.several for part in parts), Counter[str]())
    return PlainTable(table, rejected, repaired, several)


def too_long(name: str) -> str:
    """Return the reason to reject a row for a cell in this column."""
    return f"Its column {name[:100]} has more than {MAX_CELL_BYTES:,} bytes."


def decode(content: bytes) -> str:
    """Return bytes as text, with U+FFFD where they are not UTF-8."""
    return content.decode("utf-8", "replace")


def decode_file(content: bytes) -> tuple[str, bool]:
    """Return the text of a file, and whether some was replaced by U+FFFD.

    It is in UTF-8, or as its byte order mark says.
    """
    codec = codec_of(content)
    try:
        return content.decode(codec), False
    except UnicodeDecodeError:
        return content.decode(codec, "replace"), True


def codec_of(start: bytes) -> str:
    """Return the codec of a file, by its byte order mark, which the codec skips."""
    marked = (codec for mark, codec in CODECS if start.startswith(mark))
    return next(marked, "utf-8")


def fold(name: str) -> str:
    """Return what is compared of the name of a column.

    Case, normal form and white space around it do not matter.
    """
    composed = unicodedata.normalize("NFC", name.strip())
    return unicodedata.normalize("NFC", composed.casefold())


def as_texts(array: pa.Array) -> pa.Array:
    """Return plain cells as texts; null stays null."""
    try:
        return array.cast(pa.string())
    except pa.ArrowNotImplementedError:  # intervals, for example
        return pa.array([None if v is None else str(v) for v in array.to_pylist()])


def first_text(values: Sequence[Any]) -> tuple[str, bool]:
    """Return the first text that is not empty, and whether there are more of them."""
    texts = [value for value in values if isinstance(value, str) and value]
    return (texts[0] if texts else ""), len(texts) > 1


def is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    )


def is_bytes(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def has_bytes(kind: pa.DataType) -> bool:
    """Return whether values of a type contain binary ones."""
    nested = (kind.field(i).type for i in range(kind.num_fields))
    return is_bytes(kind) or any(map(has_bytes, nested))


def _is_list_of_texts(kind: pa.DataType) -> bool:
    return is_list(kind) and (is_text(kind.value_type) or is_bytes(kind.value_type))


def _free_name(name: str, table: pa.Table) -> str:
    """Return the name of a column for what else there is of a column."""
    while name in table.column_names:
        name = f"original_{name}"
    return name


@dataclass(frozen=True)
class FirstTexts:
    """The first texts of lists, JSON of those that have several, and the repaired."""

    first: pa.Array
    all: pa.Array
    repaired: np.ndarray


def _first_texts(array: pa.Array) -> FirstTexts:
    firsts: list[str | None] = []
    lists: list[str | None] = []
    repaired = np.zeros(len(array), bool)
    for row, values in enumerate(array.cast(pa.list_(pa.large_binary())).to_pylist()):
        known = [value for value in values or () if value is not None]
        repaired[row] = not all(map(_is_utf8, known))
        texts = [None if value is None else decode(value) for value in values or ()]
        first, are_more = first_text(texts)
        firsts.append(first or None)
        lists.append(json.dumps(texts, ensure_ascii=False) if are_more else None)
    return FirstTexts(
        pa.array(firsts, pa.string()), pa.array(lists, pa.string()), repaired
    )


def _stored(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return an array without its dictionary or extension type."""
    if isinstance(array, pa.ChunkedArray):
        chunks = array.chunks or [pa.nulls(0, array.type)]
        array = pa.concat_arrays(chunks)
    if isinstance(array, pa.DictionaryArray):
        return _stored(array.dictionary_decode())
    if isinstance(array, pa.ExtensionArray):
        return _stored(array.storage)
    return array


def _plain(
    array: pa.Array, name: str, must_be_text: bool
) -> tuple[pa.Array, np.ndarray | None]:
    """Return an array of plain cells, and which had to be repaired."""
    kind = array.type
    if is_text(kind) or (is_bytes(kind) and must_be_text):
        return _valid_texts(array)
    if is_bytes(kind):
        sizes = pc.binary_length(array.cast(pa.large_binary())).to_pylist()
        return pa.array(map(_size, sizes), pa.string()), None
    if not pa.types.is_nested(kind):
        return as_texts(array) if must_be_text else array, None
    if must_be_text:
        raise ShardUnreadable(f"The column {name} holds {kind}; text is needed.")
    if name == "metadata" and _is_map_of_texts(kind):
        return _valid_map(array)
    return _json_texts(array)


def _valid_texts(array: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    raw = array.cast(pa.large_binary())
    try:
        return raw.cast(pa.string()), None  # this checks that it is UTF-8
    except pa.ArrowInvalid:
        texts, repaired = [], np.zeros(len(raw), bool)
        for row, content in enumerate(raw.to_pylist()):
            texts.append(None if content is None else decode(content))
            repaired[row] = content is not None and not _is_utf8(content)
        return pa.array(texts, pa.string()), repaired


def _is_map_of_texts(kind: pa.DataType) -> bool:
    return pa.types.is_map(kind) and is_text(kind.key_type) and is_text(kind.item_type)


def _valid_map(array: pa.MapArray) -> tuple[pa.Array, np.ndarray | None]:
    """Return a map of texts, such as exports have, with valid ones."""
    lists = array.cast(ENTRIES)
    entries = lists.flatten()
    keys, bad_keys = _valid_texts(entries.field("key"))
    items, bad_items = _valid_texts(entries.field("value"))
    if bad_keys is None and bad_items is None:
        return array, None
    bad = np.zeros(len(keys), bool)
    for mask in (bad_keys, bad_items):
        bad |= False if mask is None else mask
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    repaired = np.zeros(len(array), bool)
    repaired[np.repeat(np.arange(len(array)), lengths)[bad]] = True
    offsets = np.concatenate([[0], lengths.cumsum()]).astype(np.int32)
    return pa.MapArray.from_arrays(pa.array(offsets), keys, items), repaired


def _json_texts(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Return nested values as JSON, with the sizes of binary ones."""
    raw = array.cast(_with_leaves(array.type, _binary_text))
    texts: list[str | None] = []
    repaired = np.zeros(len(array), bool)
    for first in range(0, len(raw), JSON_ROWS):
        for value in _values(raw[first : first + JSON_ROWS]):
            bad: list[bytes] = []
            made = _json_value(value, array.type, bad)
            repaired[len(texts)] = bool(bad)
            texts.append(
                None if value is None else json.dumps(made, ensure_ascii=False)
            )
    return pa.array(texts, pa.string()), repaired


def _values(array: pa.Array) -> list[Any]:
    """Return values as Python has them; as texts the dates that it cannot hold."""
    try:
        return array.to_pylist()
    except (OverflowError, ValueError):
        return array.cast(_with_leaves(array.type, _text_of_date)).to_pylist()


def _binary_text(kind: pa.DataType) -> pa.DataType:
    """Return binary for texts, which may be invalid."""
    return pa.binary() if is_text(kind) else kind


def _text_of_date(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_temporal(kind) else kind


def _with_leaves(
    kind: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]
) -> pa.DataType:
    """Return a nested type with other types of the values in it."""
    if pa.types.is_struct(kind):
        return pa.struct(
            [part.with_type(_with_leaves(part.type, leaf)) for part in _parts(kind)]
        )
    if pa.types.is_map(kind):
        return pa.map_(
            _with_leaves(kind.key_type, leaf), _with_leaves(kind.item_type, leaf)
        )
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_with_leaves(kind.value_type, leaf), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(_with_leaves(kind.value_type, leaf))
    if pa.types.is_list(kind):
        return pa.list_(_with_leaves(kind.value_type, leaf))
    return leaf(kind)


def _parts(kind: pa.DataType) -> list[pa.Field]:
    return [kind.field(i) for i in range(kind.num_fields)]


def _json_value(value: Any, kind: pa.DataType, bad: list[bytes]) -> Any:
    """Return a value as JSON has it; invalid texts are put into `bad` as well."""
    if value is None or pa.types.is_dictionary(kind):
        return value
    if pa.types.is_struct(kind):
        return {
            part.name: _json_value(value[part.name], part.type, bad)
            for part in _parts(kind)
        }
    if pa.types.is_map(kind):
        keys = (str(_json_value(key, kind.key_type, bad)) for key, _ in value)
        items = (_json_value(item, kind.item_type, bad) for _, item in value)
        return dict(zip(keys, items, strict=True))
    if isinstance(value, list):
        return [_json_value(each, kind.value_type, bad) for each in value]
    return _json_scalar(value, kind, bad)


def _json_scalar(value: Any, kind: pa.DataType, bad: list[bytes]) -> Any:
    if is_text(kind) and isinstance(value, bytes):  # a list view has texts
        if not _is_utf8(value):
            bad.append(value)
        return decode(value)
    if isinstance(value, bytes):
        return _size(len(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date | time):
        return value.isoformat()
    return value if isinstance(value, bool | int) else str(value)


def _size(count: int | None) -> str | None:
    return None if count is None else f"{count:,} bytes"


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _long_cells(array: pa.Array) -> list[int]:
    """Return the rows of the texts that are too long."""
    if not pa.types.is_string(array.type):
        return []
    sizes = pc.fill_null(pc.binary_length(array), 0).to_numpy()
    return np.flatnonzero(sizes > MAX_CELL_BYTES).tolist()
