"""A watched folder: new, removed, changed, renamed and returned files.

The ledger records which file each row of each shard is. New files get shards of their
own, small ones together, and items of removed files are hidden.
"""

import hashlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from django.db import transaction

from search.clickhouse import lookup, writer
from search.clickhouse.schema import SHARD_BITS
from search.errors import NotFound, ShardUnreadable
from search.images.formats import IMAGE_SUFFIXES
from search.models import Dataset, Reject, Shard, SourceFile

from . import control, tasks
from .sources.image_files import files_below, list_folder
from .sources.image_lists import SHARD_ROWS
from .sources.image_set import shown_name
from .sources.places import open_file
from .sources.read_errors import as_shard_unreadable
from .sources.samples import ending_of

SETTLED_S = 5  # for which a file did not change: it may still be written
JOINED_ROWS = 1_000  # a shard of new files with fewer gets the next ones, too
BLOCK_BYTES = 2**20
AT_ONCE = 10_000  # rows that are read from the engine, or changed in it
AWAY = "{} is not there, or empty. A disk may not be mounted; nothing is removed."


@dataclass
class News:
    """The result of a look at a source."""

    new: list["Found"] = field(default_factory=list)
    removed: list[SourceFile] = field(default_factory=list)
    back: list[SourceFile] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """A file of the source, by the name that items have of it."""

    name: str
    path: Path
    size: int
    mtime_ns: int


def look_at_folder(dataset: Dataset) -> News:
    found = _files(Path(dataset.source))
    if not dataset.source_files.exists():
        _record_folder(dataset, found)
    recorded = list(dataset.source_files.all())
    there = [each for each in recorded if not each.gone]
    if there and not any(each.name in found for each in there):
        raise ShardUnreadable(AWAY.format(dataset.source))
    news = _compare(dataset, recorded, found)
    _follow_renames(dataset, news)
    if news.removed:
        _hide(dataset, news.removed)
    if news.back:
        _show(dataset, news.back)
    if news.new:
        _take_in(dataset, news.new)
    return news


def _files(folder: Path) -> dict[str, Found]:
    """Return the images of a folder. Raises ShardUnreadable."""
    if not folder.is_dir():
        raise ShardUnreadable(AWAY.format(folder))
    images = set(list_folder(folder).images)
    found = {}
    for name, entry in files_below(folder):
        if name in images:
            try:
                stat = entry.stat()
            except OSError:  # gone since it was listed
                continue
            shown = shown_name(name)
            found[shown] = Found(shown, folder / name, stat.st_size, stat.st_mtime_ns)
    return found


def _record_folder(dataset: Dataset, found: Mapping[str, Found]) -> None:
    """Record which file each row is, by the items and the rejects of the import."""
    rows: dict[tuple[int, int], str] = {}
    for item in _items(dataset):
        rows[divmod(item["id"], 1 << SHARD_BITS)] = item["file"]
    rejects = Reject.objects.filter(shard__dataset=dataset)
    for shard, row, name in rejects.values_list("shard__number", "row", "file"):
        if name in found or f".{ending_of(name)}" in IMAGE_SUFFIXES:
            rows[shard, row] = name
    started = dict(dataset.shards.values_list("number", "started_at"))
    files = []
    for (shard, row), name in rows.items():
        file, at = found.get(name), started.get(shard)
        # One that has changed since then has another size than any.
        is_same = file and at and file.mtime_ns < at.timestamp() * 1e9
        files.append(
            SourceFile(
                dataset=dataset,
                shard=shard,
                row=row,
                name=name,
                size=file.size if file and is_same else 0,
                mtime_ns=file.mtime_ns if file and is_same else 1,
            )
        )
    files += _gaps(dataset, rows)
    SourceFile.objects.bulk_create(files, AT_ONCE // 10)


def _gaps(
    dataset: Dataset, rows: Mapping[tuple[int, int], str]
) -> Iterator[SourceFile]:
    """Yield rows of which nothing is known, so that those after keep their numbers."""
    lasts: dict[int, int] = {}
    for shard, row in rows:
        lasts[shard] = max(row, lasts.get(shard, -1))
    for shard, last in lasts.items():
        for row in range(last):
            if (shard, row) not in rows:
                yield SourceFile(
                    dataset=dataset, shard=shard, row=row, name="", gone=True
                )


def _items(dataset: Dataset) -> Iterator[dict]:
    """Yield the items of a dataset, hidden or not, by id."""
    after = -1
    while rows := lookup.image_sources(dataset.item_table, after, AT_ONCE):
        yield from rows
        after = rows[-1]["id"]


def _compare(
    dataset: Dataset, recorded: Sequence[SourceFile], found: Mapping[str, Found]
) -> News:
    """Compare files by size and time, then by content."""
    news, latest = News(), {each.name: each for each in recorded}
    touched = []
    for file in filter(is_settled, found.values()):
        known = latest.get(file.name)
        if known is None or (known.gone and known.size != file.size):
            news.new.append(file)
        elif known.gone or (known.size, known.mtime_ns) != (file.size, file.mtime_ns):
            touched.append((known, file))
    _compare_contents(dataset, touched, news)
    news.removed += [
        each for each in latest.values() if not each.gone and each.name not in found
    ]
    return news


def _compare_contents(
    dataset: Dataset, touched: Sequence[tuple[SourceFile, Found]], news: News
) -> None:
    """Tell files that were written again from those with other contents."""
    md5s = _md5s(dataset, [known for known, _ in touched])
    for known, file in touched:
        if md5s.get(_id(known)) == md5_of(file.path):
            known.size, known.mtime_ns = file.size, file.mtime_ns
            known.save(update_fields=["size", "mtime_ns"])
            if known.gone:
                news.back.append(known)
            continue
        news.new.append(file)
        if not known.gone:
            news.removed.append(known)


def is_settled(file: Found) -> bool:
    """Return whether a file is not being written; one from the future is taken."""
    return not 0 <= time.time() - file.mtime_ns / 1e9 < SETTLED_S


def _follow_renames(dataset: Dataset, news: News) -> None:
    """Give items the new names of their files, instead of embedding them again."""
    sizes = {each.size for each in news.removed}
    candidates = [file for file in news.new if file.size in sizes]
    if not candidates:
        return
    md5s = _md5s(dataset, news.removed)
    by_md5 = {md5s[_id(each)]: each for each in news.removed if _id(each) in md5s}
    for file in candidates:
        known = by_md5.pop(md5_of(file.path), None)
        if known is None or known.name == file.name:
            continue
        writer.rename_file(dataset.item_table, _id(known), file.name)
        known.name, known.mtime_ns = file.name, file.mtime_ns
        known.save(update_fields=["name", "mtime_ns"])
        news.new.remove(file)
        news.removed.remove(known)


def _hide(dataset: Dataset, files: Sequence[SourceFile]) -> None:
    ids = list(map(_id, files))
    for start in range(0, len(ids), AT_ONCE):
        writer.hide_gone(dataset.item_table, ids[start : start + AT_ONCE])
    _set_gone(files, True)


def _show(dataset: Dataset, files: Sequence[SourceFile]) -> None:
    """Show the items of files that are back, except for those on removal lists."""
    ids = list(map(_id, files))
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        writer.show(dataset.item_table, some, was=writer.FILE_GONE)
    _set_gone(files, False)
    started = min(
        (at for at in dataset.shards.values_list("started_at", flat=True) if at),
        default=dataset.created_at,
    )
    tasks.schedule_hiding(dataset, started)


def _set_gone(files: Sequence[SourceFile], gone: bool) -> None:
    keys = [each.pk for each in files]
    for start in range(0, len(keys), 500):  # SQLite takes 999 parameters
        SourceFile.objects.filter(pk__in=keys[start : start + 500]).update(gone=gone)


def _take_in(dataset: Dataset, files: Sequence[Found]) -> None:
    """Record new files in a shard after the others, or in the last one, and queue it.

    The first shards have the files of the import, and are not added to.
    """
    last = dataset.shards.order_by("-number")[0]
    rows = dataset.source_files.filter(shard=last.number).count()
    number, row = last.number, rows
    if rows + len(files) > JOINED_ROWS or not last.reuses_vectors:
        number, row = last.number + 1, 0
    numbers = []
    with transaction.atomic():
        for start in range(0, len(files), SHARD_ROWS):
            some = files[start : start + SHARD_ROWS]
            SourceFile.objects.bulk_create(
                [
                    SourceFile(
                        dataset=dataset,
                        shard=number,
                        row=row + place,
                        name=file.name,
                        size=file.size,
                        mtime_ns=file.mtime_ns,
                    )
                    for place, file in enumerate(some)
                ],
                AT_ONCE // 10,
            )
            Shard.objects.update_or_create(
                dataset=dataset, number=number, defaults={"reuses_vectors": True}
            )
            numbers.append(number)
            number, row = number + 1, 0
    queue(dataset, numbers)


def queue(dataset: Dataset, numbers: Sequence[int]) -> None:
    control.queue(dataset, dataset.shards.filter(number__in=numbers), "again")


def _md5s(dataset: Dataset, files: Sequence[SourceFile]) -> dict[int, str]:
    """Return the MD5 sums of items, by id."""
    ids, found = list(map(_id, files)), {}
    for start in range(0, len(ids), AT_ONCE):
        values = {"values": ids[start : start + AT_ONCE]}
        try:
            rows = lookup.rows_where(
                dataset.item_table, "id IN {values:Array(UInt64)}", values
            )
        except NotFound:
            return {}
        found.update({row["id"]: row["md5"] for row in rows})
    return found


def md5_of(path: Path, size: int = sys.maxsize) -> str:
    """Return the MD5 sum of a file, or of its first bytes. Raises ShardUnreadable."""
    digest = hashlib.md5(usedforsecurity=False)
    with as_shard_unreadable(path.name), open_file(path) as file:
        while size > 0 and (block := file.read(min(size, BLOCK_BYTES))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


def _id(file: SourceFile) -> int:
    return (file.shard << SHARD_BITS) + file.row
