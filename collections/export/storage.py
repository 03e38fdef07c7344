"""The files of exports: storing, deleting and serving them.

Each export has a folder named by its id, and each attempt a folder in it named by its
number. An attempt takes over the files of the one before, so that a worker that was
presumed dead and returns writes into a folder that nobody reads.
"""

import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.conf import settings
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.http import content_disposition_header

from search import csv_output
from search.errors import NotFound
from search.models import Dataset
from search.retrieval.scan import removals_version

from ..models import Export

DELETED = "The files of this export were deleted."
TAKEN_DOWN = "Images have been removed since this export. Export again without them."
MANIFEST = "manifest.json"
CONTENT_TYPES = {
    ".json": "application/json",
    ".csv": csv_output.CONTENT_TYPE,
    ".parquet": "application/vnd.apache.parquet",
}
OTHER_TYPE = "application/octet-stream"
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
CHUNK_BYTES = 256 * 1024

logger = logging.getLogger(__name__)


def folder_of(export_id: UUID) -> Path:
    return settings.EXPORT_DIR / str(export_id)


def workspace(export_id: UUID, attempt: int) -> Path:
    """Return the folder of an attempt, with the files of the one before."""
    parent, own = folder_of(export_id), folder_of(export_id) / str(attempt)
    parent.mkdir(parents=True, exist_ok=True)
    earlier = [number for number in attempts(export_id) if number < attempt]
    if earlier and not own.exists():
        (parent / str(max(earlier))).rename(own)
    own.mkdir(exist_ok=True)
    return own


def attempts(export_id: UUID) -> list[int]:
    """Return the numbers of the attempts that have a folder."""
    try:
        names = [path.name for path in folder_of(export_id).iterdir()]
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if name.isdecimal())


def remove(export_id: UUID) -> None:
    """Delete the files of an export; the sweeper tries again where that fails."""
    _delete(folder_of(export_id))


def remove_other_attempts(export_id: UUID, attempt: int) -> None:
    for number in attempts(export_id):
        if number != attempt:
            _delete(folder_of(export_id) / str(number))


def _delete(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("%s could not be deleted: %s", folder, error)


def manifest_of(export: Export) -> dict[str, Any] | None:
    """Return the manifest of an export that its owner may download.

    None before it is done, and of datasets that the owner must not see any more, or
    that are deleted.
    """
    if export.state != Export.State.DONE:
        return None
    slugs = {dataset["slug"] for dataset in export.manifest.get("datasets", [])}
    visible = Dataset.objects.visible_to(export.owner).filter(slug__in=slugs)
    return export.manifest if visible.count() == len(slugs) else None


def listed(export: Export) -> list[dict[str, Any]]:
    """Return the files of an export as in its manifest: name, rows, bytes."""
    return (manifest_of(export) or {}).get("files", [])


def is_outdated(export: Export) -> bool:
    """Return whether removal lists have changed since the export was written."""
    digests = {
        dataset["slug"]: dataset["removals"]["digest"]
        for dataset in export.manifest.get("datasets", [])
    }
    return any(
        removals_version(dataset)["digest"] != digests[dataset.slug]
        for dataset in Dataset.objects.filter(slug__in=digests)
    )


def withdraw(export: Export) -> None:
    """Delete the files of an outdated export, which can be restarted."""
    done = Export.objects.filter(pk=export.pk, state=Export.State.DONE)
    now = timezone.now()
    if done.update(
        state=Export.State.EXPIRED, error=TAKEN_DOWN, expires_at=now, changed_at=now
    ):
        remove(export.pk)


def serve(export: Export, name: str, range_header: str = "") -> HttpResponseBase:
    """Return a response with a file of an export, or with a range of its bytes.

    Raises NotFound for a name that the manifest does not list, and for a file that was
    deleted or must not be served any more.
    """
    names = {file["name"] for file in listed(export)}
    if names:
        names.add(MANIFEST)
    if name not in names:
        raise NotFound("This export has no such file.")
    if export.expires_at is not None and export.expires_at <= timezone.now():
        raise NotFound(DELETED)
    if is_outdated(export):
        withdraw(export)
        raise NotFound(TAKEN_DOWN)
    path = folder_of(export.pk) / str(export.attempts) / name
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise NotFound(DELETED) from error
    size = path.stat().st_size
    bytes_range = _parse_range(range_header, size)
    response: HttpResponseBase
    if settings.EXPORT_ACCEL:  # the proxy sends the file, or a range of it
        file.close()
        response = HttpResponse()
        inner = path.relative_to(settings.EXPORT_DIR)
        response["X-Accel-Redirect"] = f"{settings.EXPORT_ACCEL}{quote(str(inner))}"
    elif bytes_range is None:
        response = FileResponse(file)
        response["Content-Length"] = size
    elif not bytes_range:
        file.close()
        response = HttpResponse(status=416)
        response["Content-Range"] = f"bytes */{size}"
    else:
        response = StreamingHttpResponse(_FileRange(file, bytes_range), status=206)
        first, last = bytes_range[0], bytes_range[-1]
        response["Content-Range"] = f"bytes {first}-{last}/{size}"
        response["Content-Length"] = len(bytes_range)
    response["Content-Type"] = CONTENT_TYPES.get(path.suffix, OTHER_TYPE)
    response["Content-Disposition"] = content_disposition_header(True, name)
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = "private, no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _parse_range(header: str, size: int) -> range | None:
    """Return the bytes of a Range header: empty if none are there, None for all.

    An invalid header, or one of several ranges, is ignored (RFC 9110, 14.2).
    """
    match = RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    end = size if not last else min(int(last) + 1, size)
    if last and int(last) < int(first):
        return None
    return range(int(first), max(int(first), end))


class _FileRange:
    """Some bytes of a file, which is closed with the response."""

    def __init__(self, file: Any, bytes_range: range):
        self._file, self._range = file, bytes_range

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(self._range.start)
        remaining = len(self._range)
        while remaining and (chunk := self._file.read(min(remaining, CHUNK_BYTES))):
            remaining -= len(chunk)
            yield chunk

    def close(self) -> None:
        self._file.close()


def folders() -> list[UUID]:
    """Return the ids of exports that have a folder."""
    try:
        names = [path.name for path in settings.EXPORT_DIR.iterdir()]
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            found.append(UUID(name))
        except ValueError:
            continue  # not a folder of an export
    return found
