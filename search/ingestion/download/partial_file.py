"""A file on its way to its name, which it gets when it is whole and on the disk.

What has arrived of NAME lies in NAME.part; NAME.part.json says where it comes from and
how many of its bytes the disk surely has, so that a later run can go on. Beside a
finished file, NAME.json says the same and its sha256. A part belongs to the one that
has locked it: a second download of the same file, while the first goes on or is thought
dead, has NAME.2.part to itself.
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

# Room for the rows of the shard (2 KB each, a million of them) and as much for their
# indexes, should the engine keep its data on the same disk.
RESERVE_BYTES = 4 * 2**30
# After so many bytes the disk is asked for room and told to keep them: about a second
# of a fast line, which is what a dead process loses.
KEEP_BYTES = 64 * 2**20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Origin:
    """Where a file comes from, and which version of it."""

    url: str = ""
    validator: str = ""  # a strong ETag or a Last-Modified; empty: versions look alike
    total: int | None = None  # bytes; None until the server says it, or the end comes


@dataclass(frozen=True)
class Finished:
    """A file that arrived earlier and has not been touched since."""

    origin: Origin
    sha256: str


class PartialFile:
    """What of a file has arrived; raises SearchUnavailable when the disk is full.

    A context: leaving it unfinished keeps what is there for a later run.
    """

    def __init__(self, target: Path):
        self.target = target
        with _disk(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file, self.path = _first_free(target)
            self.origin, self.done = self._noted()
            self._file.truncate(self.done)
        self._kept = self.done

    def __enter__(self) -> "PartialFile":
        return self

    def __exit__(self, *_: object) -> None:
        # What cannot be kept is fetched anew; the reason for leaving matters more.
        with self._file, suppress(SearchUnavailable):
            if _has_name(self._file, self.path):
                self._leave()

    @property
    def whole(self) -> bool:
        return self.done == self.origin.total

    def restart(self, origin: Origin) -> None:
        """Forgets what has arrived; what comes now is of this origin."""
        self.origin, self.done = origin, 0
        with _disk(self.path):
            # First the note: the old one would vouch for the new version's bytes.
            self._note()
            self._file.truncate(0)

    def write(self, data: bytes) -> None:
        with _disk(self.path):
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) :]
        self.done += len(data)
        if self.done - self._kept >= KEEP_BYTES:
            check_room(self.path.parent)
            self._keep()

    def read(self, size: int) -> Iterator[bytes]:
        """What has arrived, in pieces."""
        with _disk(self.path):
            self._file.seek(0)
            while data := self._file.read(size):
                yield data

    def finish(self, sha256: str) -> None:
        """Gives the file its name, in one step."""
        with _disk(self.target):
            os.fsync(self._file.fileno())
            changed = os.fstat(self._file.fileno()).st_mtime_ns
            self._note(sha256=sha256, mtime_ns=changed)
            os.replace(_note_path(self.path), _note_path(self.target))
            os.replace(self.path, self.target)
            _sync_folder(self.target.parent)

    def _leave(self) -> None:
        if self.done:
            self._keep()
        else:
            _remove(self.path)

    def _keep(self) -> None:
        with _disk(self.path):
            os.fsync(self._file.fileno())
            self._note()

    def _note(self, **more: str | int) -> None:
        """Vouches for what has arrived: sync it before."""
        fresh = _fresh_note_path(self.path)
        fresh.write_text(json.dumps(asdict(self.origin) | {"done": self.done} | more))
        os.replace(fresh, _note_path(self.path))
        self._kept = self.done

    def _noted(self) -> tuple[Origin, int]:
        noted = _read_note(self.path)
        if noted is None:
            return Origin(), 0
        there = os.fstat(self._file.fileno()).st_size
        return _origin(noted), min(noted["done"], there)


def finished(target: Path) -> Finished | None:
    noted = _read_note(target)
    if noted is None or not target.is_file():
        return None
    stat = target.stat()
    if (stat.st_size, stat.st_mtime_ns) != (noted["total"], noted["mtime_ns"]):
        return None
    return Finished(_origin(noted), noted["sha256"])


def discard(target: Path) -> None:
    """Deletes a file and all there is of it, but for parts that a download holds."""
    with _disk(target):
        for path in target.parent.glob(f"{target.name}.*part"):
            with suppress(FileNotFoundError), path.open("r+b") as file:
                if _lock(file):
                    _remove(path)
        _remove(target)


def check_room(folder: Path, needed: int = 0) -> None:
    """Raises SearchUnavailable unless `needed` bytes fit beside the reserve."""
    with _disk(folder):
        free = shutil.disk_usage(folder).free
    if free < needed + RESERVE_BYTES:
        raise SearchUnavailable(
            f"The disk of {folder} has {_gb(free)} free; {_gb(needed)} are needed, and "
            f"{_gb(RESERVE_BYTES)} stay free for the engine."
        )


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"


def _first_free(target: Path) -> tuple[BinaryIO, Path]:
    """The first part that no other download holds, locked."""
    number = 1
    while True:
        middle = "" if number == 1 else f".{number}"
        path = target.with_name(f"{target.name}{middle}.part")
        file = path.open("a+b", buffering=0)
        if not _lock(file):
            number += 1
        elif _has_name(file, path):
            return file, path
        # Its last holder has just finished or deleted it: that is no part any more.
        file.close()


def _lock(file: BinaryIO) -> bool:
    """Holds until the file is closed, or its process dies."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _has_name(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    for name in (path, _note_path(path), _fresh_note_path(path)):
        name.unlink(missing_ok=True)


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _fresh_note_path(path: Path) -> Path:
    """Of a note that is being written, which a full disk leaves behind."""
    return path.with_name(f"{path.name}.json.new")


def _origin(noted: dict) -> Origin:
    return Origin(noted["url"], noted["validator"], noted["total"])


def _read_note(path: Path) -> dict | None:
    """None where there is none or a crash has cut it: the file is fetched anew."""
    with suppress(FileNotFoundError, ValueError):
        return json.loads(_note_path(path).read_text())
    return None


def _sync_folder(folder: Path) -> None:
    """So that a new name outlives a power cut, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            reason = "the disk is full"
        else:
            reason = error.strerror or str(error)
        raise SearchUnavailable(f"{path} cannot be written: {reason}.") from error
