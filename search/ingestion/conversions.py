"""Load conversions, the picks after searches, from files such as Unsplash's.

A file, TSV, CSV or Parquet, has a row for each pick, with the columns photo_id and
keyword among others. The same content counts once, however often it is loaded; loading
it again matches the items that were imported meanwhile.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from django.db import transaction

from search.clickhouse import queries
from search.clickhouse.schema import ItemTable
from search.errors import InvalidQuery
from search.models import Conversion, ConversionFile, Dataset
from search.query.words import in_small_letters

from .sources.read_errors import as_shard_unreadable
from .sources.tables import TableFile, roles_of

READ_ROWS = 10_000
MAX_COUNTED = 200_000  # different pairs of an image and a keyword in memory
LOOKUP_IDS = 10_000
WRITE_ROWS = 5_000
MAX_KEYWORD_LENGTH = 200

Counts = Counter[tuple[str, str]]  # by (id of the source, keyword)


def load(
    dataset: Dataset,
    path: Path,
    name: str = "",
    progress: Callable[[int], None] = lambda rows: None,
) -> ConversionFile:
    """Count the conversions of a file, in one transaction.

    `name` is the key of the items' metadata that has the file's ids, if it differs from
    the name of the file's column. `progress` gets the number of rows read since its
    last call. Raises ShardUnreadable for a broken file, InvalidQuery for one without
    the columns, NotFound for a dataset without items, SearchUnavailable.
    """
    with as_shard_unreadable(path.name), path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    table = TableFile(path)
    roles = roles_of({}, table.names, ("id", "keyword"))
    if "id" not in roles or "keyword" not in roles:
        raise InvalidQuery(f"{path.name} lacks a column photo_id, or keyword.")
    items = Items(dataset.item_table, name or roles["id"])
    with transaction.atomic():
        file, _ = ConversionFile.objects.update_or_create(
            dataset=dataset, sha256=sha256, defaults={"name": path.name[-300:]}
        )
        file.conversions.all().delete()
        file.rows = file.rows_matched = 0
        for counts in _count(table, roles["id"], roles["keyword"], progress):
            file.rows += counts.total()
            file.rows_matched += _enter(file, items, counts)
        file.rows_rejected = len(table) - file.rows
        file.save()
    return file


def _count(
    table: TableFile, id_name: str, keyword_name: str, progress: Callable[[int], None]
) -> Iterator[Counts]:
    counts: Counts = Counter()
    names = (id_name, keyword_name)
    for rows in table.read(0, len(table), READ_ROWS, texts=names):
        values, words = (rows.table[name].to_pylist() for name in names)
        counts.update(
            (_text(value), _normalize(word))
            for place, (value, word) in enumerate(zip(values, words, strict=True))
            if place not in rows.rejected
        )
        progress(len(rows.table))
        if len(counts) >= MAX_COUNTED:
            yield counts
            counts = Counter()
    yield counts


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _normalize(keyword: object) -> str:
    """Return a keyword in lower case, with single spaces and without NUL."""
    return " ".join(in_small_letters(_text(keyword).replace("\0", "")).split())[
        :MAX_KEYWORD_LENGTH
    ]


class Items:
    """The items of a dataset by their ids in its source."""

    def __init__(self, table: ItemTable, name: str):
        self.table = table
        self.name = name

    def ids(self, values: set[str]) -> dict[str, list[int]]:
        """Return item ids by source id; a source may have an image several times."""
        found: dict[str, list[int]] = {}
        wanted = sorted(values - {""})
        for first in range(0, len(wanted), LOOKUP_IDS):
            some = wanted[first : first + LOOKUP_IDS]
            for value, item in queries.ids_by_metadata(self.table, self.name, some):
                found.setdefault(value, []).append(item)
        return found


def _enter(file: ConversionFile, items: Items, counts: Counts) -> int:
    """Store counts; return how many conversions are of items of the dataset."""
    ids = items.ids({value for value, _ in counts})
    conversions = (
        Conversion(
            dataset_id=file.dataset_id, file=file, item=item, keyword=word, count=count
        )
        for (value, word), count in counts.items()
        for item in ids.get(value, ())
    )
    while some := list(islice(conversions, WRITE_ROWS)):
        Conversion.objects.bulk_create(some)
    return sum(count for (value, _), count in counts.items() if value in ids)
