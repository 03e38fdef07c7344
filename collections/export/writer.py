"""Write an export into a folder, part by part, so that it can be resumed.

A part is written under a temporary name and renamed when it is complete; the checkpoint
in progress.json is then replaced and says where the next part begins. An unfinished
part is written again from its start.
"""

import hashlib
import os
from collections import Counter
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
from .checkpoint import UNFINISHED, Checkpoint, JsonObject, Progress, read, replace
from .export_request import ExportRequest
from .formats import FORMATS
from .sources import Batch, Source, source_of

PART_ROWS = 100_000
MAX_EMBEDDED = 2_000  # rows of a batch with embeddings: 4 kB each, in several copies
# Limits the items that are scanned again when a part with few rows is resumed.
PART_SCANNED = 20_000_000
MANIFEST = "manifest.json"
PROGRESS = "progress.json"
MAX_NAME_LENGTH = 60

Report = Callable[[Progress], None]


def describe_datasets(slugs: list[str]) -> list[JsonObject]:
    """Return the current state of datasets for the manifest, of those that exist.

    `version` is a digest over the ledger, `removals` one over the removal lists.
    """
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
        for dataset in Dataset.objects.filter(slug__in=slugs).order_by("slug")
    ]


def manifest(
    request: ExportRequest,
    finished: Checkpoint,
    datasets_after: list[JsonObject],
    schema: pa.Schema,
    now: datetime,
) -> JsonObject:
    """Return the manifest of a finished export."""
    content = {
        "application": {"name": "laionweb", "version": VERSION},
        "name": request.name,
        "asked": request.to_dict(),
        "started_at": finished.started_at,
        "created_at": now.isoformat(timespec="seconds"),
        "datasets": finished.datasets,
        # Whether shards or removal lists changed while it was written.
        "changed_meanwhile": datasets_after != finished.datasets,
        "counts": {
            "rows": finished.rows,
            "looked_at": finished.looked_at,
            "left_out": finished.left_out,
        },
        "columns": [{"name": each.name, "type": str(each.type)} for each in schema],
        "files": finished.files,
    }
    if request.kind == "search":
        content["exact"] = finished.plan["exact"]
    if request.form == "img2dataset":
        content["command"] = formats.command(schema)
    return content


def write(
    request: ExportRequest, user: Any, folder: Path, report: Report
) -> JsonObject:
    """Write the files of an export, with its manifest, and return the manifest.

    `user` decides which collections are readable. Finished parts in the folder are
    reused, and a finished export is not changed. `report` is called every few thousand
    rows and may raise to stop. Raises NotFound, SearchUnavailable; InvalidQuery for a
    folder of something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not is_for(request, folder):
        raise InvalidQuery("This folder holds something else than this export.")
    if done := read(folder / MANIFEST):
        (folder / PROGRESS).unlink(missing_ok=True)
        return done
    return ExportWriter(request, source_of(request, user), folder, report).run()


def is_for(request: ExportRequest, folder: Path) -> bool:
    """Return whether a folder has this export, finished or not, or is empty."""
    paths = folder.iterdir() if folder.exists() else ()
    if all(path.name.endswith(UNFINISHED) for path in paths):
        return True  # empty, or killed at the start
    content = read(folder / MANIFEST) or read(folder / PROGRESS)
    return content is not None and content["asked"] == request.to_dict()


class ExportWriter:
    """One run of an export."""

    def __init__(
        self, request: ExportRequest, source: Source, folder: Path, report: Report
    ):
        self.request, self.source = request, source
        self.folder, self.report = folder, report
        self.format = FORMATS[request.form]
        self.schema = self.format.columns(source.schema)
        self.name = slugify(request.name)[:MAX_NAME_LENGTH].strip("-") or request.kind
        self.finished = self._resume() or self._start()
        self.to_scan = source.to_scan(self.finished.plan)

    def run(self) -> JsonObject:
        finished = self.finished
        max_rows = MAX_EMBEDDED if self.request.with_embeddings else MAX_AT_ONCE
        size = min(max_rows, PART_ROWS)
        with closing(self.source.batches(finished.plan, finished.place, size)) as rows:
            batch = next(rows, None)
            while batch is not None or not finished.files:
                with PartWriter(self) as part:
                    while batch is not None and part.has_room_for(batch):
                        part.add(batch)
                        batch = next(rows, None)
                    part.finish(is_last=batch is None)
        self._delete_leftovers()
        after = describe_datasets(self.source.datasets)
        content = manifest(self.request, finished, after, self.schema, timezone.now())
        replace(self.folder / MANIFEST, content)
        (self.folder / PROGRESS).unlink(missing_ok=True)
        return content

    def path(self, number: int) -> Path:
        return self.folder / f"{self.name}-{number:05}{self.format.suffix}"

    def _start(self) -> Checkpoint:
        """Plan the export, and store the plan."""
        start = Checkpoint(
            asked=self.request.to_dict(),
            plan=self.source.plan(),
            datasets=describe_datasets(self.source.datasets),
            started_at=timezone.now().isoformat(timespec="seconds"),
        )
        replace(self.folder / PROGRESS, asdict(start))
        return start

    def _resume(self) -> Checkpoint | None:
        """Return the checkpoint of an earlier run, None if there is no usable one."""
        content = read(self.folder / PROGRESS)
        if content is None or content.keys() != Checkpoint.__dataclass_fields__.keys():
            return None  # another version of this module wrote it
        finished = Checkpoint(**content)
        complete = all(
            path.exists() and path.stat().st_size == file["bytes"]
            for file in finished.files
            for path in [self.folder / file["name"]]
        )
        return finished if complete and self.source.is_current(finished.plan) else None

    def _delete_leftovers(self) -> None:
        """Delete the parts of runs that were killed or started over."""
        wanted = {file["name"] for file in self.finished.files}
        parts = (
            f"{self.name}-{5 * '[0-9]'}*{self.format.suffix}*"  # as `path` names them
        )
        for path in self.folder.glob(parts):
            if path.name not in wanted:
                path.unlink()


class PartWriter:
    """A part that is being written; leaving the context deletes an unfinished one."""

    def __init__(self, export: ExportWriter):
        self.export, finished = export, export.finished
        self.place, self.looked_at = finished.place, finished.looked_at
        self.left_out = dict(finished.left_out)
        self.before = finished.rows
        self.path = export.path(len(finished.files))
        self.unfinished = self.path.with_name(self.path.name + UNFINISHED)
        self.file = export.format.file(self.unfinished, export.schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # on a full disk, which is the error to raise
            self.file.close()
        self.unfinished.unlink(missing_ok=True)

    def has_room_for(self, batch: Batch) -> bool:
        finished = self.export.finished
        if self.place == finished.place:
            return True  # a batch may be larger than a part
        looked_at = batch.looked_at - finished.looked_at
        rows = self.file.rows + len(batch.table)
        return rows <= PART_ROWS and looked_at <= PART_SCANNED

    def add(self, batch: Batch) -> None:
        format_ = self.export.format
        table = format_.rows(batch.table, self.before + self.file.rows)
        self.file.add(table)
        self.place, self.looked_at = batch.place, batch.looked_at
        left_out = Counter(batch.left_out)
        if format_.left_out:
            left_out[format_.left_out] += len(batch.table) - len(table)
        for reason, count in left_out.items():
            self.left_out[reason] = self.left_out.get(reason, 0) + count
        self.export.report(self._progress())

    def finish(self, *, is_last: bool) -> None:
        """Store the part, if it has rows or is the only one, and the checkpoint."""
        self.file.close()
        finished = self.export.finished
        finished.place, finished.looked_at = self.place, self.looked_at
        finished.left_out = self.left_out
        if self.file.rows or (is_last and not finished.files):
            finished.files.append(self._describe())
            os.replace(self.unfinished, self.path)
        replace(self.export.folder / PROGRESS, asdict(finished))

    def _describe(self) -> JsonObject:
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
            to_look_at=self.export.to_scan,
            rows=self.before + self.file.rows,
            bytes=self.export.finished.bytes + self.unfinished.stat().st_size,
        )
