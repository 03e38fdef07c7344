"""A watched list: rows that were added at its end."""

from pathlib import Path
from typing import Any

from django.db import transaction

from search.errors import ShardUnreadable
from search.models import Dataset, Shard, SourceFile

from .sources.image_lists import SHARD_ROWS
from .sources.read_errors import as_shard_unreadable
from .sources.tables import TableFile
from .watched_folder import AWAY, Found, News, is_settled, md5_of, queue

CHANGED = (
    "{} has changed before its end, so that its rows have others' numbers. Replace its "
    "shards, then switch watching off and on."
)


def look_at_list(dataset: Dataset) -> News:
    path = Path(dataset.source)
    if not path.is_file():
        raise ShardUnreadable(AWAY.format(path))
    if not dataset.source_files.exists():
        _record_list(dataset, path)
    last = dataset.source_files.order_by("-row")[0]
    with as_shard_unreadable(path.name):
        stat = path.stat()
    file = Found(path.name, path, stat.st_size, stat.st_mtime_ns)
    if (last.size, last.mtime_ns) == (file.size, file.mtime_ns):
        return News()
    if not is_settled(file):
        return News()
    rows, known = len(TableFile(path)), last.row + last.rows
    beginning = md5_of(path, last.size) if last.md5 else ""
    if rows < known or beginning != last.md5:
        raise ShardUnreadable(CHANGED.format(path.name))
    with transaction.atomic():
        seen = {"size": file.size, "mtime_ns": file.mtime_ns, "md5": md5_of(path)}
        dataset.source_files.update(**seen)
        numbers = _add_rows(dataset, path.name, known, rows, seen)
    queue(dataset, numbers)
    return News(new=[file] * (rows - known))


def _record_list(dataset: Dataset, path: Path) -> None:
    """Record the rows of each shard of the import, which had SHARD_ROWS of the list."""
    SourceFile.objects.bulk_create(
        SourceFile(
            dataset=dataset,
            shard=each.number,
            row=each.number * SHARD_ROWS,
            rows=each.rows or 0,
            name=path.name,
        )
        for each in dataset.shards.all()
    )


def _add_rows(
    dataset: Dataset, name: str, first: int, end: int, seen: dict[str, Any]
) -> list[int]:
    """Record new rows of a list, in shards after the others; return their numbers."""
    number, numbers = dataset.shards.order_by("-number")[0].number, []
    for start in range(first, end, SHARD_ROWS):
        number += 1
        SourceFile.objects.create(
            dataset=dataset,
            shard=number,
            row=start,
            rows=min(SHARD_ROWS, end - start),
            name=name,
            **seen,
        )
        Shard.objects.create(dataset=dataset, number=number)
        numbers.append(number)
    return numbers
