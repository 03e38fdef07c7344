"""A collection as a file: JSON or CSV, written while it is read."""

import csv
import json
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import chain
from typing import Any

from search.csv_output import harmless

from ..models import Collection
from .rows import COLUMNS, Row, batches

FORMS = {"json": "application/json", "csv": "text/csv; charset=utf-8"}


def written(collection: Collection, form: str, *, with_notes: bool) -> Iterator[str]:
    """The file, piece by piece; the first is there when this returns.

    Raises SearchUnavailable; once begun, a file that cannot be completed breaks off.
    """
    found = batches(collection, with_notes=with_notes)
    found = chain([next(found, [])], found)
    write = _json if form == "json" else _csv
    return write(collection, found, with_notes)


def _json(
    collection: Collection, found: Iterable[list[Row]], with_notes: bool
) -> Iterator[str]:
    about = {"name": collection.name, "description": collection.description}
    yield json.dumps(about, ensure_ascii=False)[:-1] + ', "items": ['
    before = "\n"
    for rows in found:
        pieces = (json.dumps(row, ensure_ascii=False) for row in rows)
        if rows:
            yield before + ",\n".join(pieces)
            before = ",\n"
    yield "\n]}\n"


def _csv(
    collection: Collection, found: Iterable[list[Row]], with_notes: bool
) -> Iterator[str]:
    names = [name for name in COLUMNS if with_notes or name != "note"]
    yield _lines([names])
    for rows in found:
        yield _lines([harmless(row[name]) for name in names] for row in rows)


def _lines(rows: Iterable[list[Any]]) -> str:
    text = StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
