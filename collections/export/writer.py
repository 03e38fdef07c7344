"""An export into a folder: part by part, so that it goes on where it broke off.

A part is written under another name and gets its own when it is whole; progress.json,
replaced as a whole, then says that it is, and where the next one begins. A part that
was broken off is written anew from its start.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from django.utils import timezone
from django.utils.text import slugify

from laionweb.version import VERSION
from search.errors import InvalidQuery
from search.models import Dataset
from search.retrieval.scan import MAX_AT_ONCE, dataset_version, removals_version

from . import formats
from .checkpoint import UNFINISHED, FinishedPart, Progress, Told, read, replace
from .export_request import ExportRequest
from .formats import FORMS
from .sources import Batch, Source, source_of


def datasets(slugs: list[str]) -> list[Told]:
    """The datasets that items are of, as they are now; of one that is no more, nothing.

    `version` is a digest over the ledger, `removals` one over the lists of what must
    not be shown.
    """
    found = Dataset.objects.filter(slug__in=slugs).order_by("slug")
    return [
        {
            "slug": dataset.slug,
            "title": dataset.title,
            "model": dataset.model,
            "weights": dataset.weights,
            "dimension": dataset.dimension,
            "metric": dataset.get_metric_display(),
            "version": dataset_version(dataset),
            "removals": removals_version(dataset),
        }
        for dataset in found
    ]


def manifest(
    asked: ExportRequest,
    finished: FinishedPart,
    after: list[Told],
    schema: pa.Schema,
    now: datetime,
) -> Told:
    """Of an export that is finished; `after` are its datasets at the end."""
    told = {
        "application": {"name": "laionweb", "version": VERSION},
        "name": asked.name,
        "asked": asked.as_json(),
        "started_at": finished.started_at,
        "created_at": now.isoformat(timespec="seconds"),
        "datasets": finished.datasets,
        # Whether shards or removals came or went while it was written.
        "changed_meanwhile": after != finished.datasets,
        "counts": {
            "rows": finished.rows,
            "looked_at": finished.looked_at,
            "left_out": finished.left_out,
        },
        "columns": [{"name": each.name, "type": str(each.type)} for each in schema],
        "files": finished.files,
    }
    if asked.kind == "search":
        told["exact"] = finished.plan["exact"]
    if asked.form == "img2dataset":
        told["command"] = formats.command(schema)
    return told


PART_ROWS = 100_000
MAX_EMBEDDED = 2_000  # rows of a batch with embeddings: 4 kB each, and more than once
# Of a part that gets few rows, so that going on does not look at much again.
PART_LOOKED_AT = 20_000_000
MANIFEST = "manifest.json"
PROGRESS = "progress.json"
MAX_NAME_LENGTH = 60

Tell = Callable[[Progress], None]


def write(asked: ExportRequest, user: Any, folder: Path, tell: Tell) -> Told:
    """Writes the files of an export and returns its manifest, which it writes, too.

    `user` is whose eyes a collection is seen with. It goes on from what lies in the
    folder. `tell` is called for every few thousand rows and may raise to stop it: the
    parts that are finished stay. A folder that is done is left as it is. Raises
    NotFound, SearchUnavailable; InvalidQuery for a folder of another export.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not is_for(asked, folder):
        raise InvalidQuery("This folder holds something else than this export.")
    if done := read(folder / MANIFEST):
        (folder / PROGRESS).unlink(missing_ok=True)
        return done
    return ExportWriter(asked, source_of(asked, user), folder, tell).run()


def is_for(asked: ExportRequest, folder: Path) -> bool:
    """Whether a folder holds this export, finished or not, or nothing at all."""
    there = folder.iterdir() if folder.exists() else ()
    if all(path.name.endswith(UNFINISHED) for path in there):
        return True  # nothing, or what was killed as it began
    told = read(folder / MANIFEST) or read(folder / PROGRESS)
    return told is not None and told["asked"] == asked.as_json()


class ExportWriter:
    """One run of an export."""

    def __init__(self, asked: ExportRequest, source: Source, folder: Path, tell: Tell):
        self.asked, self.source, self.folder, self.tell = asked, source, folder, tell
        self.form = FORMS[asked.form]
        self.schema = self.form.columns(source.schema)
        self.name = slugify(asked.name)[:MAX_NAME_LENGTH].strip("-") or asked.kind
        self.finished = self._resumed() or self._begun()
        self.to_look_at = source.to_look_at(self.finished.plan)

    def run(self) -> Told:
        finished = self.finished
        most = MAX_EMBEDDED if self.asked.with_embeddings else MAX_AT_ONCE
        size = min(most, PART_ROWS)
        with closing(self.source.batches(finished.plan, finished.place, size)) as found:
            batch = next(found, None)
            while batch is not None or not finished.files:
                with PartWriter(self) as part:
                    while batch is not None and part.has_room_for(batch):
                        part.add(batch)
                        batch = next(found, None)
                    part.finish(is_last=batch is None)
        self._tidy()
        after = datasets(self.source.datasets)
        told = manifest(self.asked, finished, after, self.schema, timezone.now())
        replace(self.folder / MANIFEST, told)
        (self.folder / PROGRESS).unlink(missing_ok=True)
        return told

    def path(self, number: int) -> Path:
        return self.folder / f"{self.name}-{number:05}{self.form.suffix}"

    def _begun(self) -> FinishedPart:
        """Decides what is going to be written."""
        begun = FinishedPart(
            asked=self.asked.as_json(),
            plan=self.source.plan(),
            datasets=datasets(self.source.datasets),
            started_at=timezone.now().isoformat(timespec="seconds"),
        )
        replace(self.folder / PROGRESS, asdict(begun))
        return begun

    def _resumed(self) -> FinishedPart | None:
        """None when nothing was written, or what was cannot be gone on with."""
        told = read(self.folder / PROGRESS)
        if told is None or told.keys() != FinishedPart.__dataclass_fields__.keys():
            return None  # another version of this wrote it
        finished = FinishedPart(**told)
        whole = all(
            path.exists() and path.stat().st_size == file["bytes"]
            for file in finished.files
            for path in [self.folder / file["name"]]
        )
        return finished if whole and self.source.holds(finished.plan) else None

    def _tidy(self) -> None:
        """Deletes what runs that were killed, or began anew, have left."""
        kept = {file["name"] for file in self.finished.files}
        parts = f"{self.name}-{5 * '[0-9]'}*{self.form.suffix}*"  # as `path` names them
        for path in self.folder.glob(parts):
            if path.name not in kept:
                path.unlink()


class PartWriter:
    """A file that is being written; one that is not finished goes away again."""

    def __init__(self, writing: ExportWriter):
        self.writing, finished = writing, writing.finished
        self.place, self.looked_at = finished.place, finished.looked_at
        self.left_out = dict(finished.left_out)
        self.before = finished.rows
        self.path = writing.path(len(finished.files))
        self.unfinished = self.path.with_name(self.path.name + UNFINISHED)
        self.file = writing.form.file(self.unfinished, writing.schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # of a full disk, and then that is what is told
            self.file.close()
        self.unfinished.unlink(missing_ok=True)

    def has_room_for(self, batch: Batch) -> bool:
        finished = self.writing.finished
        if self.place == finished.place:
            return True  # what no part has room for would never be written
        looked_at = batch.looked_at - finished.looked_at
        rows = self.file.rows + len(batch.table)
        return rows <= PART_ROWS and looked_at <= PART_LOOKED_AT

    def add(self, batch: Batch) -> None:
        form = self.writing.form
        table = form.rows(batch.table, self.before + self.file.rows)
        self.file.add(table)
        self.place, self.looked_at = batch.place, batch.looked_at
        unfit = {form.left_out: len(batch.table) - len(table)} if form.left_out else {}
        for name, count in [*batch.left_out.items(), *unfit.items()]:
            self.left_out[name] = self.left_out.get(name, 0) + count
        self.writing.tell(self._progress())

    def finish(self, *, is_last: bool) -> None:
        """Puts the file to those that stay; an empty one only if there is no other."""
        self.file.close()
        finished = self.writing.finished
        finished.place, finished.looked_at = self.place, self.looked_at
        finished.left_out = self.left_out
        if self.file.rows or (is_last and not finished.files):
            finished.files.append(self._told())
            os.replace(self.unfinished, self.path)
        replace(self.writing.folder / PROGRESS, asdict(finished))

    def _told(self) -> Told:
        with self.unfinished.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "name": self.path.name,
            "rows": self.file.rows,
            "bytes": self.unfinished.stat().st_size,
            "sha256": digest,
        }

    def _progress(self) -> Progress:
        return Progress(
            looked_at=self.looked_at,
            to_look_at=self.writing.to_look_at,
            rows=self.before + self.file.rows,
            bytes=self.writing.finished.bytes + self.unfinished.stat().st_size,
        )
