"""CSV files for spreadsheets, of values from datasets.

They begin with a byte order mark, without which Excel takes UTF-8 for another encoding,
and no cell is a formula. Programs have JSON and Parquet, and img2dataset its own list.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

BYTE_ORDER_MARK = "\ufeff"
CONTENT_TYPE = "text/csv; charset=utf-8"
# What begins a formula in spreadsheets; some accept the full-width signs, too.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class _EchoBuffer:
    """A file for csv.writer that returns each line instead of storing it."""

    def write(self, line: str) -> str:
        return line


def csv_heading(names: Iterable[str]) -> str:
    """Return the beginning of a file: the line of its columns' names."""
    return BYTE_ORDER_MARK + "".join(csv_lines([names]))


def csv_lines(rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """Yield a line of CSV (RFC 4180) for each row; dictionaries become JSON."""
    write_row = csv.writer(_EchoBuffer()).writerow
    for row in rows:
        yield write_row([_cell(value) for value in row])


def escape_formula(value: Any) -> Any:
    """Return a text that is no formula to a spreadsheet; other values unchanged."""
    is_formula = isinstance(value, str) and value.startswith(FORMULA)
    return f"'{value}" if is_formula else value


def streamed_file(
    pieces: Iterable[str], name: str, content_type: str = CONTENT_TYPE
) -> StreamingHttpResponse:
    """Return a response that is written while it is sent, and saved by this name."""
    return StreamingHttpResponse(
        pieces,
        content_type=content_type,
        headers={"Content-Disposition": content_disposition_header(True, name) or ""},
    )


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return escape_formula(value)
