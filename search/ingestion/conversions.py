"""What people picked after which search, from a file of conversions as Unsplash has it.

The file, TSV, CSV or Parquet, has a row for each, with the columns photo_id and keyword
among others. The same content counts once, however often it is loaded; to load it again
matches the items that have come in meanwhile.
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

from .sources.read_errors import as_shard_unreadable
from .sources.tables import TableFile, roles_of

READ_TOGETHER = 10_000
COUNTED_TOGETHER = 200_000  # different pairs of a picture and a keyword, in memory
ASKED_TOGETHER = 10_000
WRITTEN_TOGETHER = 5_000
MAX_KEYWORD_LENGTH = 200

Counts = Counter[tuple[str, str]]  # by (id of the source, keyword)


def load(
    dataset: Dataset,
    path: Path,
    name: str = "",
    done: Callable[[int], None] = lambda rows: None,
) -> ConversionFile:
    """Counts the conversions of a file; all of it counts in the end, or nothing.

    `name` says in which of the items' metadata the file's ids are, unless it is called
    as in the file. `done` hears how many more rows are read. Raises ShardUnreadable for
    a broken file, NotFound for a dataset without items, SearchUnavailable.
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
        for counts in _counted(table, roles["id"], roles["keyword"], done):
            file.rows += counts.total()
            file.rows_matched += _enter(file, items, counts)
        file.save()
    return file


def _counted(
    table: TableFile, id_name: str, keyword_name: str, done: Callable[[int], None]
) -> Iterator[Counts]:
    counts: Counts = Counter()
    for rows in table.read(0, len(table), READ_TOGETHER):
        keywords = map(_tidy, rows[keyword_name].to_pylist())
        counts.update(zip(map(_text, rows[id_name].to_pylist()), keywords, strict=True))
        done(len(rows))
        if len(counts) >= COUNTED_TOGETHER:
            yield counts
            counts = Counter()
    yield counts


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _tidy(keyword: object) -> str:
    """Small letters, single spaces; what no database takes is left out."""
    return " ".join(_text(keyword).replace("\0", "").lower().split())[
        :MAX_KEYWORD_LENGTH
    ]


class Items:
    """The items of a dataset by the ids that its source gives them."""

    def __init__(self, table: ItemTable, name: str):
        self.table = table
        self.name = name

    def ids(self, values: set[str]) -> dict[str, list[int]]:
        """Where a source has a picture twice, it is several items."""
        found: dict[str, list[int]] = {}
        wanted = sorted(values - {""})
        for first in range(0, len(wanted), ASKED_TOGETHER):
            some = wanted[first : first + ASKED_TOGETHER]
            for value, item in queries.ids_by_metadata(self.table, self.name, some):
                found.setdefault(value, []).append(item)
        return found


def _enter(file: ConversionFile, items: Items, counts: Counts) -> int:
    """Returns how many conversions are of an item."""
    ids = items.ids({value for value, _ in counts})
    conversions = (
        Conversion(
            dataset_id=file.dataset_id, file=file, item=item, keyword=word, count=count
        )
        for (value, word), count in counts.items()
        for item in ids.get(value, ())
    )
    while some := list(islice(conversions, WRITTEN_TOGETHER)):
        Conversion.objects.bulk_create(some)
    return sum(count for (value, _), count in counts.items() if value in ids)
