"""The list that img2dataset takes, which fetches the pictures.

It gives the names `key`, `width` and `height` to what it makes itself and refuses
columns of these names for --save_additional_columns: `id` says which item a picture is
of, and the sizes known before have other names. `key` is a row's place in the export.
"""

import json

import pyarrow as pa
import pyarrow.compute as pc

ADDRESS = r"(?i)^https?://[^/\s?#]"
RENAMED = {"width": "published_width", "height": "published_height"}
LEFT_OUT = ("metadata", "note", "position", "added_at")
FIRST = ("url", "caption", "key")
DIGITS = 9


def columns(schema: pa.Schema) -> pa.Schema:
    """Those of the list, made of those of a source of items."""
    kept = [f for f in schema if f.name not in (*FIRST, *LEFT_OUT)]
    others = [f.with_name(RENAMED.get(f.name, f.name)) for f in kept]
    return pa.schema([(name, pa.string()) for name in FIRST] + others)


def rows(table: pa.Table, before: int) -> pa.Table:
    """The rows that have an address on the web; `before` stand before them."""
    table = table.filter(pc.match_substring_regex(table["url"], ADDRESS))
    numbers = range(before, before + len(table))
    table = table.append_column(
        "key", pa.array([f"{number:0{DIGITS}}" for number in numbers], pa.string())
    )
    named = table.rename_columns([RENAMED.get(n, n) for n in table.column_names])
    return named.select(columns(table.drop_columns("key").schema).names)


def command(schema: pa.Schema) -> str:
    """How the tool is started in the folder of such a list."""
    more = json.dumps([name for name in schema.names if name not in FIRST])
    return (
        "img2dataset --url_list . --input_format parquet --url_col url "
        "--caption_col caption --output_format webdataset --output_folder pictures "
        f"--save_additional_columns '{more}'"
    )
