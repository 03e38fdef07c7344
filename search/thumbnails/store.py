"""Thumbnails on disk: many threads and processes use one folder, up to a limit.

A file is written beside its place and moved there whole. Its time of change is the last
time somebody looked at it; what nobody has looked at for longest goes first. Of a
picture that cannot be had, the reason is kept instead, until it is to be tried again.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

from django.conf import settings

from . import SIZES

TOUCHED_S = 3600  # how exactly it is known when a file was looked at
SWEPT_TO = 0.85  # of the limit
SWEPT_AFTER = 0.02  # of the limit, written by this process
LEFTOVER_S = 3600
POLL_S = 0.05
BLOCK = 512  # bytes, of st_blocks
REASON, PICTURE, ARRIVING = ".why", ".webp", ".part"


class Store:
    """A folder and the most bytes it may take; for one process."""

    def __init__(self, folder: Path, limit: int):
        self.folder = folder
        self.limit = limit
        self._written = limit  # so that the first write looks what is there
        self._sweeper: threading.Thread | None = None
        self._counting = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        # Closing any other handle of this file would give up all locks on it.
        self._locks = (folder / "locks").open("a+b")

    def get(self, key: str, size: int) -> bytes | None:
        path = self._path(key, size)
        try:
            with path.open("rb") as file:
                content = file.read()
                if time.time() - os.fstat(file.fileno()).st_mtime > TOUCHED_S:
                    os.utime(file.fileno())
        except FileNotFoundError:
            return None
        if not _is_whole(content):  # after the machine lost its power, say
            path.unlink(missing_ok=True)
            return None
        return content

    def all(self, key: str) -> dict[int, bytes] | None:
        """Every size of a picture, or None if one is not there."""
        contents = {size: self.get(key, size) for size in SIZES}
        found = {size: content for size, content in contents.items() if content}
        return found if len(found) == len(contents) else None

    def put(self, key: str, pictures: Mapping[int, bytes]) -> None:
        """Raises OSError, when the disk is full for example."""
        first: dict[int, Path] = {}
        for size, content in pictures.items():
            path, same = self._path(key, size), first.get(id(content))
            if same is None or not self._linked(same, path):
                self._write(path, content)
                first[id(content)] = path
        self._path(key, REASON).unlink(missing_ok=True)
        self._count(sum({id(each): len(each) for each in pictures.values()}.values()))

    def keep_reason(self, key: str, reason: str, seconds: int) -> None:
        """Why there is no picture, for so many seconds."""
        path = self._path(key, REASON)
        self._write(path, reason.encode())
        until = time.time() + seconds
        os.utime(path, (until, until))
        self._count(len(reason))

    def reason(self, key: str) -> tuple[str, int] | None:
        """Why there is no picture, and for how many seconds to come."""
        path = self._path(key, REASON)
        try:
            left = path.stat().st_mtime - time.time()
            return (path.read_text(), int(left)) if left >= 1 else None
        except FileNotFoundError:
            return None

    def forget(self, key: str) -> None:
        for kind in (*SIZES, REASON):
            self._path(key, kind).unlink(missing_ok=True)

    @contextmanager
    def alone(self, key: str, seconds: float) -> Iterator[None]:
        """Waits, for so many seconds at the most, until no other process has the key.

        Threads are not told apart.
        """
        place = int(key[:15], 16)  # each key is a byte of the file that locks it
        deadline = time.monotonic() + seconds
        while not (locked := self._lock(place)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        try:
            yield
        finally:
            if locked:
                fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, place)

    def sweep(self) -> None:
        """Takes away what was not looked at for longest, if the folder is too large.

        Another process that sweeps already is let do it.
        """
        with (self.folder / "sweep").open("a+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            files = sorted(self._files())
            excess = sum(size for _, size, _ in files) - self.limit * SWEPT_TO
            for _, size, path in files:
                if excess <= 0:
                    return
                Path(path).unlink(missing_ok=True)
                excess -= size

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """(time looked at, bytes on disk, path); what is out of date goes at once."""
        now = time.time()
        for folder in [entry for entry in os.scandir(self.folder) if entry.is_dir()]:
            for entry in os.scandir(folder):
                with suppress(FileNotFoundError):
                    told = entry.stat()
                    leftover = ARRIVING in entry.name
                    lasts = LEFTOVER_S if leftover else 0
                    if not entry.name.endswith(PICTURE) and told.st_mtime + lasts < now:
                        os.unlink(entry.path)
                        continue
                    taken = max(told.st_blocks * BLOCK, told.st_size) // told.st_nlink
                    yield min(told.st_mtime, now), taken, entry.path

    def _count(self, written: int) -> None:
        with self._counting:
            self._written += written
            sweeps = self._sweeper is not None and self._sweeper.is_alive()
            if sweeps or self._written < self.limit * SWEPT_AFTER:
                return
            self._written = 0
            self._sweeper = threading.Thread(target=self.sweep, daemon=True)
            self._sweeper.start()

    def _path(self, key: str, kind: int | str) -> Path:
        name = key[2:] + (kind if isinstance(kind, str) else f"-{kind}{PICTURE}")
        return self.folder / key[:2] / name

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        with NamedTemporaryFile(
            dir=path.parent, prefix=ARRIVING, delete=False
        ) as arriving:
            try:
                arriving.write(content)
                arriving.flush()
                os.replace(arriving.name, path)
            except BaseException:
                os.unlink(arriving.name)
                raise

    def _linked(self, there: Path, path: Path) -> bool:
        """Two sizes with the same picture in one file, where the disk can do that."""
        arriving = path.with_name(f"{ARRIVING}{path.name}-{threading.get_ident()}")
        try:
            os.link(there, arriving)
            os.replace(arriving, path)
            # Two names of one file already: then the move does nothing.
            arriving.unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def _lock(self, place: int) -> bool:
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):
            return False
        return True


_opening = threading.Lock()


def store() -> Store:
    """This process's own, as the settings say."""
    limit = settings.THUMBNAIL_CACHE_MB * 2**20
    with _opening:
        return _opened(settings.VAR_DIR / "thumbnails", limit, os.getpid())


@cache
def _opened(folder: Path, limit: int, _process: int) -> Store:
    return Store(folder, limit)


def _is_whole(content: bytes) -> bool:
    """By the length that the file itself tells."""
    told = int.from_bytes(content[4:8], "little") + 8
    return content[:4] == b"RIFF" and told == len(content)
