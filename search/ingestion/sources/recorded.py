"""Shards of a watched source: each has the files that the ledger recorded for it.

So items keep their ids whatever comes in between: new files are in shards of their own.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from search.errors import NotAnImage, ShardUnreadable
from search.models import Dataset, SourceFile

from .image_files import FilePart, ImageFiles, list_folder, part_in
from .image_lists import ImageList
from .image_set import ImageSet, shown_name
from .protocol import fingerprint
from .samples import Sample

GONE = "The file is not in the source any more."


def recorded_shards(dataset: Dataset) -> Mapping[int, Callable[[], ImageSet]]:
    """Return the shards of a dataset that has recorded files, else none."""
    numbers = dataset.source_files.order_by("shard").values_list("shard", flat=True)
    return {number: partial(_open, dataset, number) for number in numbers.distinct()}


def _open(dataset: Dataset, number: int) -> ImageSet:
    if os.path.isdir(dataset.source):
        return _open_folder(dataset, number)
    if os.path.isfile(dataset.source):
        return _open_rows(dataset, number)
    raise ShardUnreadable(f"There is nothing at “{dataset.source}” on this server.")


def _recorded(dataset: Dataset, number: int) -> list[SourceFile]:
    return list(dataset.source_files.filter(shard=number).order_by("row"))


def _open_folder(dataset: Dataset, number: int) -> ImageFiles:
    """Open a shard of a folder; files that are gone become rejects."""
    folder = Path(dataset.source)
    listed = {shown_name(each.image): each for each in list_folder(folder).samples()}
    recorded = _recorded(dataset, number)
    samples = [
        Sample("") if each.gone else listed.get(each.name, Sample(each.name))
        for each in recorded
    ]
    there = [
        each for each in samples if each.image and os.path.isfile(folder / each.image)
    ]
    files = dict.fromkeys(folder / name for each in there for name in each.names)
    version = fingerprint(*files, read_as=f"{dataset.columns} {samples}")
    size = sum((folder / each.image).stat().st_size for each in there)

    def part_of(name: str) -> FilePart:
        if not name:
            raise NotAnImage(GONE)
        return part_in(folder, name)

    return ImageFiles(samples, part_of, "", dataset.columns, version, size)


def _open_rows(dataset: Dataset, number: int) -> ImageSet:
    """Open a shard of a list."""
    (rows,) = _recorded(dataset, number)
    end = rows.row + rows.rows
    return ImageList(Path(dataset.source), rows.row, dataset.columns, end)
