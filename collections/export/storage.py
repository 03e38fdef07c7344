"""Where the files of exports lie, and how they are given out.

Each export has a folder of its id, and in it each attempt a folder of its number. What
earlier attempts finished is moved on to the latest one, so that a worker that was
thought dead and comes back writes where nobody looks.
"""

import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.http import content_disposition_header

from search.errors import NotFound
from search.models import Dataset
from search.retrieval.scan import removals_version

from ..models import Export

DELETED = "The files of this export are deleted."
TAKEN_DOWN = "Pictures were taken down since it was made: make it again, without them."
MANIFEST = "manifest.json"
KINDS = {
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
}
OTHER_KIND = "application/octet-stream"
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
CHUNK_BYTES = 256 * 1024

logger = logging.getLogger(__name__)


def folder_of(export_id: UUID) -> Path:
    return settings.EXPORT_DIR / str(export_id)


def workspace(export_id: UUID, attempt: int) -> Path:
    """The folder of an attempt, with what the one before it left."""
    above, own = folder_of(export_id), folder_of(export_id) / str(attempt)
    above.mkdir(parents=True, exist_ok=True)
    earlier = [number for number in attempts(export_id) if number < attempt]
    if earlier and not own.exists():
        (above / str(max(earlier))).rename(own)
    own.mkdir(exist_ok=True)
    return own


def attempts(export_id: UUID) -> list[int]:
    """The numbers of those that have a folder."""
    try:
        names = [path.name for path in folder_of(export_id).iterdir()]
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if name.isdecimal())


def remove(export_id: UUID) -> None:
    """Deletes the files of an export; what cannot be is left to the sweeper."""
    _removed(folder_of(export_id))


def remove_other_attempts(export_id: UUID, attempt: int) -> None:
    for number in attempts(export_id):
        if number != attempt:
            _removed(folder_of(export_id) / str(number))


def _removed(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("%s could not be deleted: %s", folder, error)


def listed(export: Export) -> list[dict[str, Any]]:
    """What can be taken of an export, as its manifest tells: name, rows, bytes, …"""
    if export.state != Export.State.DONE:
        return []
    return export.manifest.get("files", [])


def is_outdated(export: Export) -> bool:
    """Whether the removal lists are not those any more that its rows were held to."""
    heeded = {
        told["slug"]: told["removals"]["digest"]
        for told in export.manifest.get("datasets", [])
    }
    return any(
        removals_version(dataset)["digest"] != heeded[dataset.slug]
        for dataset in Dataset.objects.filter(slug__in=heeded)
    )


def withdraw(export: Export) -> None:
    """Deletes the files of an export that is outdated; it can be made again."""
    done = Export.objects.filter(pk=export.pk, state=Export.State.DONE)
    now = timezone.now()
    if done.update(
        state=Export.State.EXPIRED, error=TAKEN_DOWN, expires_at=now, changed_at=now
    ):
        remove(export.pk)


def answer(export: Export, name: str, asked_range: str = "") -> HttpResponseBase:
    """A file of an export, or the part of it that a Range header asks for.

    Raises NotFound for a name that the manifest does not list, or a file that is gone
    or must not be given out any more.
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
    part = _part(asked_range, size)
    response: HttpResponseBase
    if part is None:
        response = FileResponse(file)
        response["Content-Length"] = size
    elif not part:
        file.close()
        response = HttpResponse(status=416)
        response["Content-Range"] = f"bytes */{size}"
    else:
        response = StreamingHttpResponse(_Piece(file, part), status=206)
        response["Content-Range"] = f"bytes {part[0]}-{part[-1]}/{size}"
        response["Content-Length"] = len(part)
    response["Content-Type"] = KINDS.get(path.suffix, OTHER_KIND)
    response["Content-Disposition"] = content_disposition_header(True, name)
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = "private, no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _part(asked: str, size: int) -> range | None:
    """The bytes that are asked for; empty if there are none, None for all of them.

    What is no single range is answered with the whole file, as HTTP has it.
    """
    match = RANGE.fullmatch(asked.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    end = size if not last else min(int(last) + 1, size)
    if last and int(last) < int(first):
        return None
    return range(int(first), max(int(first), end))


class _Piece:
    """Some bytes of a file, which is closed with the answer."""

    def __init__(self, file: Any, part: range):
        self._file, self._part = file, part

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(self._part.start)
        left = len(self._part)
        while left and (chunk := self._file.read(min(left, CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk

    def close(self) -> None:
        self._file.close()


def folders() -> list[UUID]:
    """The exports that have a folder."""
    try:
        names = [path.name for path in settings.EXPORT_DIR.iterdir()]
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            found.append(UUID(name))
        except ValueError:
            continue  # somebody else's
    return found
