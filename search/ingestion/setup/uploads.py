"""Files that staff uploads: received in chunks, resumed, and used as a source.

An upload is a folder UPLOAD_DIR/USER/KEY. A file that is not complete is in it under
the hidden name .SIZE-VERSION.NAME; its length says how much of it has arrived. So a
reader of the folder finds complete files only, and no table has to agree with the disk.
Nothing of it is served. An upload that is the source of no dataset is deleted a day
after its last change.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from django.conf import settings

from search.errors import Conflict, ImageTooLarge, InvalidQuery, NotFound
from search.ingestion.download.partial_file import DISK_FULL, RESERVE_BYTES
from search.ingestion.sources.archives import ARCHIVE
from search.ingestion.sources.tables import TABLE
from search.models import Dataset

CHUNK_BYTES = 8 * 2**20  # that clients send; a request has up to 16 MB
MAX_FILES = 10_000  # of an upload: each is a request at least
MAX_FILE_BYTES = 100 * 10**9
MAX_NAME_BYTES = 180  # so that the name of a part is not too long
MAX_DEPTH = 8  # of folders
KEEP_S = 24 * 3600
KEY = re.compile(r"[0-9a-f]{32}")
VERSION = re.compile(r"\w{0,40}", re.ASCII)
PART = re.compile(r"\.(\d{1,15})-(\w{0,40})\.(.+)", re.DOTALL | re.ASCII)

UserId = int | None  # as the stubs of Django have it; None of nobody stored

UNKNOWN = "There is no such upload; it may have been deleted after a day."
NO_FILES = "No file of this upload is complete yet."
ANOTHER_FILE = "This upload has another file named “{}”."
WRONG_OFFSET = "{:,} bytes of “{}” are here: continue from there."
TOO_MANY_FILES = f"An upload has up to {MAX_FILES:,} files: put them into a zip file."
TOO_LARGE = f"A file has up to {MAX_FILE_BYTES // 10**9} GB."
NO_ROOM = "The server's disk has no room for these files: {} GB are left for them."
BAD_NAME = "“{}” is no name that a file can have here."


@dataclass(frozen=True)
class UploadedFile:
    """A file by its path in the upload; `offset` of its bytes are here."""

    name: str
    size: int
    offset: int
    version: str = ""

    @property
    def is_complete(self) -> bool:
        return self.offset == self.size


@dataclass(frozen=True)
class Chunk:
    """Some bytes of a file of `size` bytes, from `offset` on.

    `version`: what differs if the file was changed, such as its time of modification.
    """

    name: str
    size: int
    offset: int
    content: bytes
    version: str = ""


@dataclass(frozen=True)
class Upload:
    """The folder of an upload."""

    folder: Path

    @property
    def key(self) -> str:
        return self.folder.name

    @cached_property
    def files(self) -> list[UploadedFile]:
        """The files, sorted by their names."""
        found = (self._file(path) for path in _files_below(self.folder))
        return sorted(filter(None, found), key=lambda file: file.name)

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def bytes_done(self) -> int:
        return sum(file.offset for file in self.files)

    @property
    def is_complete(self) -> bool:
        return all(file.is_complete for file in self.files)

    @property
    def has_source(self) -> bool:
        return any(file.is_complete for file in self.files)

    @property
    def source(self) -> str:
        """The source of a dataset of the complete files: a folder, or the one file.

        Raises InvalidQuery without any.
        """
        names = [file.name for file in self.files if file.is_complete]
        if not names:
            raise InvalidQuery(NO_FILES)
        base = names[0].rpartition("/")[2]
        if len(names) == 1 and (ARCHIVE.fullmatch(base) or TABLE.fullmatch(base)):
            return str(self.folder / names[0])
        tops = {name.partition("/")[0] for name in names if "/" in name}
        is_one = len(tops) == 1 and all("/" in name for name in names)
        return str(self.folder / tops.pop()) if is_one else str(self.folder)

    def receive(self, chunk: Chunk) -> UploadedFile:
        """Append a chunk to its file.

        Raises Conflict if the file does not end where the chunk begins, InvalidQuery,
        or ImageTooLarge where there is no room.
        """
        name = clean_name(chunk.name)
        _check_chunk(chunk)
        path = self.folder / name
        with _disk_errors(chunk.name):
            if path.is_file():
                if path.stat().st_size != chunk.size:
                    raise Conflict(ANOTHER_FILE.format(name))
                return UploadedFile(name, chunk.size, chunk.size)
            if path.is_dir():
                raise Conflict(ANOTHER_FILE.format(name))
            part = path.with_name(f".{chunk.size}-{chunk.version}.{path.name}")
            if not chunk.offset and not part.exists():
                self._check_count()
                check_room(chunk.size)
                path.parent.mkdir(parents=True, exist_ok=True)
            check_room(len(chunk.content))
            os.utime(self.folder)
            done = _append(part, path, name, chunk)
        return UploadedFile(name, chunk.size, done, chunk.version)

    def delete(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # there are other uploads in it
            self.folder.parent.rmdir()

    def _file(self, path: Path) -> UploadedFile | None:
        place = path.relative_to(self.folder)
        with suppress(FileNotFoundError):  # it was completed or deleted meanwhile
            size = path.stat().st_size
            if match := PART.fullmatch(path.name):
                name = str(place.with_name(match[3]))
                return UploadedFile(name, int(match[1]), size, match[2])
            if not path.name.startswith("."):
                return UploadedFile(str(place), size, size)
        return None

    def _check_count(self) -> None:
        if sum(1 for _ in _files_below(self.folder)) >= MAX_FILES:
            raise ImageTooLarge(TOO_MANY_FILES)


def create(user_id: UserId, files: int = 0, size: int = 0) -> Upload:
    """Create an upload of so many files and bytes. Raises ImageTooLarge."""
    if files > MAX_FILES:
        raise ImageTooLarge(TOO_MANY_FILES)
    folder = settings.UPLOAD_DIR / str(user_id) / secrets.token_hex(16)
    with _disk_errors(""):
        settings.UPLOAD_DIR.mkdir(parents=True, exist_ok=True)
        check_room(size)
        folder.mkdir(parents=True)
    return Upload(folder)


def find(user_id: UserId, key: str) -> Upload:
    """Return an upload of a user. Raises NotFound."""
    upload = Upload(settings.UPLOAD_DIR / str(user_id) / key)
    if not KEY.fullmatch(key) or not upload.folder.is_dir():
        raise NotFound(UNKNOWN)
    return upload


def discard(user_id: UserId, key: str) -> None:
    """Delete an upload of a user. Raises NotFound, or Conflict if a dataset uses it."""
    upload = find(user_id, key)
    if _is_used(upload):
        raise Conflict("A dataset uses these files: they are deleted with it.")
    upload.delete()


def unused(user_id: UserId) -> list[Upload]:
    """Return the uploads of a user that no dataset has as its source, newest first."""
    found = [each for each in _all() if each.folder.parent.name == str(user_id)]
    found = [each for each in found if not _is_used(each)]
    return sorted(found, key=lambda each: -_changed(each))


def is_upload(path: Path) -> bool:
    """Return whether a path without links is an upload, or in one."""
    if not path.is_relative_to(settings.UPLOAD_DIR):
        return False
    _, *below = path.relative_to(settings.UPLOAD_DIR).parts or ("",)
    hidden = any(part.startswith(".") for part in below)
    return bool(below) and bool(KEY.fullmatch(below[0])) and not hidden


def name_of(source: str) -> str:
    """Return the name of a source that was uploaded, "" for another one."""
    path = Path(source)
    if not source or not is_upload(path):
        return ""
    return "Uploaded files" if KEY.fullmatch(path.name) else path.name


def sweep() -> int:
    """Delete uploads that nobody uses; return how many."""
    old = [each for each in _all() if _changed(each) < time.time() - KEEP_S]
    unwanted = [each for each in old if not _is_used(each)]
    for upload in unwanted:
        upload.delete()
    return len(unwanted)


def clean_name(name: str) -> str:
    """Return the path of a file in its upload: relative, printable, not hidden.

    Raises InvalidQuery for a name that has nothing left, or is too long.
    """
    composed = unicodedata.normalize("NFC", name).replace("\\", "/")
    parts = [_clean_part(part) for part in composed.split("/")]
    parts = [part for part in parts if part]
    longest = max((len(part.encode()) for part in parts), default=0)
    if not 0 < longest <= MAX_NAME_BYTES or len(parts) > MAX_DEPTH:
        raise InvalidQuery(BAD_NAME.format(name[:80]))
    return "/".join(parts)


def check_room(size: int) -> None:
    """Raise ImageTooLarge unless so many bytes fit, and the engine's reserve."""
    room = shutil.disk_usage(settings.UPLOAD_DIR).free - RESERVE_BYTES
    if size > room:
        raise ImageTooLarge(NO_ROOM.format(f"{max(room, 0) / 1e9:,.1f}"))


def _clean_part(part: str) -> str:
    shown = "".join(char for char in part if char.isprintable())
    return shown.strip().lstrip(". ")


def _check_chunk(chunk: Chunk) -> None:
    if chunk.size > MAX_FILE_BYTES:
        raise ImageTooLarge(TOO_LARGE)
    if chunk.offset + len(chunk.content) > chunk.size:
        raise InvalidQuery("The chunk ends after the end of its file.")
    if not chunk.content and chunk.size:
        raise InvalidQuery("The chunk is empty.")
    if not VERSION.fullmatch(chunk.version):
        raise InvalidQuery("A version has up to 40 letters, digits and _.")


def _append(part: Path, path: Path, name: str, chunk: Chunk) -> int:
    """Append a chunk to a part, which gets its name when it is complete."""
    with part.open("ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = file.seek(0, os.SEEK_END)
        is_renamed = not part.exists()  # by another request, meanwhile
        if is_renamed or done != chunk.offset:
            raise Conflict(WRONG_OFFSET.format(done, name))
        _write(file, chunk.content)
        done += len(chunk.content)
        if done == chunk.size:
            os.fsync(file.fileno())
            os.replace(part, path)
    return done


def _write(file: BinaryIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _files_below(folder: Path) -> Iterator[Path]:
    for path, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".")]
        yield from (Path(path) / name for name in names)


def _all() -> Iterator[Upload]:
    for folder in settings.UPLOAD_DIR.glob("*/*"):
        if KEY.fullmatch(folder.name) and folder.is_dir():
            yield Upload(folder)


def _changed(upload: Upload) -> float:
    try:
        return upload.folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _is_used(upload: Upload) -> bool:
    # Also one that is deleted, and may be restored.
    sources = Dataset.everything.filter(source__startswith=str(upload.folder))
    return sources.exists()


@contextmanager
def _disk_errors(name: str) -> Iterator[None]:
    """Raise ImageTooLarge for a full disk, InvalidQuery for a name that is in use."""
    try:
        yield
    except (NotADirectoryError, FileExistsError, IsADirectoryError) as error:
        raise Conflict(ANOTHER_FILE.format(PurePosixPath(name).name)) from error
    except OSError as error:
        if error.errno in DISK_FULL:
            raise ImageTooLarge(NO_ROOM.format("0")) from error
        if error.errno == errno.ENOENT:
            raise NotFound(UNKNOWN) from error
        raise
