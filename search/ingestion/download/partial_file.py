"""Partial files of downloads, which get their names once they are complete and synced.

The bytes of NAME that have arrived are in NAME.part; NAME.part.json has their origin
and how many of them are synced, so that a later run can resume. A finished file has
NAME.json, with its sha256. Each part is locked by one download: another one of the same
file, while the first runs or is presumed dead, uses NAME.2.part.
"""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from search.errors import SearchUnavailable

# Space for the rows of a shard (a million of 2 KB each) and as much for their indexes,
# if the engine stores its data on the same disk.
RESERVE_BYTES = 4 * 2**30
# The free space is checked and the file synced after this number of bytes, about a
# second of a fast connection. A process that dies loses at most these.
SYNC_BYTES = 64 * 2**20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Origin:
    """The URL of a file, and its version."""

    url: str = ""
    validator: str = ""  # a strong ETag or a Last-Modified; empty if there is none
    total: int | None = None  # bytes; None until it is known


@dataclass(frozen=True)
class Finished:
    """A file of an earlier download, unchanged since."""

    origin: Origin
    sha256: str


class PartialFile:
    """A part of a file; raises SearchUnavailable when the disk fails or is full.

    As a context manager it stores an unfinished part for a later run on exit.
    """

    def __init__(self, target: Path):
        self.target = target
        with _disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file, self.path = _first_free(target)
            self.origin, self.done = self._resume()
            self._file.truncate(self.done)
        self._synced = self.done

    def __enter__(self) -> "PartialFile":
        return self

    def __exit__(self, *_: object) -> None:
        # What cannot be stored is fetched again; the reason to exit matters more.
        with self._file, suppress(SearchUnavailable):
            if _is_file_of(self._file, self.path):
                self._store()

    @property
    def is_complete(self) -> bool:
        return self.done == self.origin.total

    def restart(self, origin: Origin) -> None:
        """Discard the bytes; those that follow are of this origin."""
        self.origin, self.done = origin, 0
        with _disk_errors(self.path):
            # The note first: the old one would apply to bytes of the new version.
            self._write_note()
            self._file.truncate(0)

    def write(self, data: bytes) -> None:
        with _disk_errors(self.path):
            remaining = memoryview(data)
            while remaining:
                remaining = remaining[self._file.write(remaining) :]
        self.done += len(data)
        if self.done - self._synced >= SYNC_BYTES:
            check_room(self.path.parent)
            self._sync()

    def read(self, size: int) -> Iterator[bytes]:
        """Yield the bytes that have arrived, in pieces."""
        with _disk_errors(self.path):
            self._file.seek(0)
            while data := self._file.read(size):
                yield data

    def finish(self, sha256: str) -> None:
        """Give the file its name, atomically."""
        with _disk_errors(self.target):
            os.fsync(self._file.fileno())
            changed = os.fstat(self._file.fileno()).st_mtime_ns
            self._write_note(sha256=sha256, mtime_ns=changed)
            os.replace(_note_path(self.path), _note_path(self.target))
            os.replace(self.path, self.target)
            _sync_folder(self.target.parent)

    def _store(self) -> None:
        if self.done:
            self._sync()
        else:
            _remove(self.path)

    def _sync(self) -> None:
        with _disk_errors(self.path):
            os.fsync(self._file.fileno())
            self._write_note()

    def _write_note(self, **more: str | int) -> None:
        """Record the bytes that have arrived, which are synced."""
        new = _new_note_path(self.path)
        new.write_text(json.dumps(asdict(self.origin) | {"done": self.done} | more))
        os.replace(new, _note_path(self.path))
        self._synced = self.done

    def _resume(self) -> tuple[Origin, int]:
        """Return the origin of a part, and how many of its bytes are valid."""
        note = _read_note(self.path)
        if note is None:
            return Origin(), 0
        size = os.fstat(self._file.fileno()).st_size
        return _origin(note), min(note["done"], size)


def finished(target: Path) -> Finished | None:
    """Return what is known of a file, None if it is missing or was changed."""
    note = _read_note(target)
    if note is None or not target.is_file():
        return None
    stat = target.stat()
    if (stat.st_size, stat.st_mtime_ns) != (note["total"], note["mtime_ns"]):
        return None
    return Finished(_origin(note), note["sha256"])


def discard(target: Path) -> None:
    """Delete a file and its parts, except parts that a download has locked."""
    with _disk_errors(target):
        for path in target.parent.glob(f"{target.name}.*part"):
            with suppress(FileNotFoundError), path.open("r+b") as file:
                if _lock(file):
                    _remove(path)
        _remove(target)


def check_room(folder: Path, needed: int = 0) -> None:
    """Raise SearchUnavailable unless `needed` bytes fit, and the reserve stays free."""
    with _disk_errors(folder):
        free = shutil.disk_usage(folder).free
    if free < needed + RESERVE_BYTES:
        raise SearchUnavailable(
            f"The disk of {folder} has {_gb(free)} free; {_gb(needed)} are needed, and "
            f"{_gb(RESERVE_BYTES)} stay free for the engine."
        )


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"


def _first_free(target: Path) -> tuple[BinaryIO, Path]:
    """Open and lock the first part that no other download has locked."""
    number = 1
    while True:
        middle = "" if number == 1 else f".{number}"
        path = target.with_name(f"{target.name}{middle}.part")
        file = path.open("a+b", buffering=0)
        if not _lock(file):
            number += 1
        elif _is_file_of(file, path):
            return file, path
        # Its last owner has just renamed or deleted it.
        file.close()


def _lock(file: BinaryIO) -> bool:
    """Lock a file until it is closed; return False if another process has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file_of(file: BinaryIO, path: Path) -> bool:
    """Return whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    for name in (path, _note_path(path), _new_note_path(path)):
        name.unlink(missing_ok=True)


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _new_note_path(path: Path) -> Path:
    """Return the path of a note being written, which a full disk may leave."""
    return path.with_name(f"{path.name}.json.new")


def _origin(note: dict) -> Origin:
    return Origin(note["url"], note["validator"], note["total"])


def _read_note(path: Path) -> dict | None:
    """Return a note, None if it is missing or truncated: the file is fetched again."""
    with suppress(FileNotFoundError, ValueError):
        return json.loads(_note_path(path).read_text())
    return None


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that a new name survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Raise SearchUnavailable for errors of the disk."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            reason = "the disk is full"
        else:
            reason = error.strerror or str(error)
        raise SearchUnavailable(f"{path} cannot be written: {reason}.") from error
