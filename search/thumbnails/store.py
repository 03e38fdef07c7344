"""The cache of thumbnails on disk, which many threads and processes use.

A file is written under another name and then moved, so it is never incomplete. Its
modification time is the time of the last access; the least recently used files are
deleted first. For an image that cannot be fetched, the error is stored until the next
attempt.
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

ACCESS_PRECISION_S = 3600  # of the time of the last access
SWEEP_TARGET = 0.85  # of the limit
SWEEP_AFTER = 0.02  # of the limit has been written by this process
LEFTOVER_S = 3600
POLL_S = 0.05
BLOCK = 512  # bytes, of st_blocks
ERROR, IMAGE, PARTIAL = ".why", ".webp", ".part"


class Store:
    """A folder with a limit in bytes; one object per process."""

    def __init__(self, folder: Path, limit: int):
        self.folder = folder
        self.limit = limit
        self._written = limit  # so that the first write sweeps
        self._sweeper: threading.Thread | None = None
        self._counting = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        # Kept open: closing any handle of the file releases all POSIX locks on it.
        self._locks = (folder / "locks").open("a+b")

    def get(self, key: str, size: int) -> bytes | None:
        path = self._path(key, size)
        try:
            with path.open("rb") as file:
                content = file.read()
                if time.time() - os.fstat(file.fileno()).st_mtime > ACCESS_PRECISION_S:
                    os.utime(file.fileno())
        except FileNotFoundError:
            return None
        if not _is_complete(content):  # after a power failure, for example
            path.unlink(missing_ok=True)
            return None
        return content

    def all(self, key: str) -> dict[int, bytes] | None:
        """Return all sizes of an image, or None if one is missing."""
        contents = {size: self.get(key, size) for size in SIZES}
        cached = {size: content for size, content in contents.items() if content}
        return cached if len(cached) == len(contents) else None

    def put(self, key: str, images: Mapping[int, bytes]) -> None:
        """Store all sizes of an image; raises OSError, for example on a full disk."""
        first: dict[int, Path] = {}
        for size, content in images.items():
            path, same = self._path(key, size), first.get(id(content))
            if same is None or not self._link(same, path):
                self._write(path, content)
                first[id(content)] = path
        self._path(key, ERROR).unlink(missing_ok=True)
        self._count(sum({id(each): len(each) for each in images.values()}.values()))

    def put_error(self, key: str, message: str, seconds: int) -> None:
        """Store for some seconds why there is no image; raises OSError."""
        path = self._path(key, ERROR)
        self._write(path, message.encode())
        until = time.time() + seconds
        os.utime(path, (until, until))
        self._count(len(message))

    def error(self, key: str) -> tuple[str, int] | None:
        """Return why there is no image, and for how many more seconds."""
        path = self._path(key, ERROR)
        try:
            left = path.stat().st_mtime - time.time()
            return (path.read_text(), int(left)) if left >= 1 else None
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        for kind in (*SIZES, ERROR):
            self._path(key, kind).unlink(missing_ok=True)

    @contextmanager
    def lock(self, key: str, timeout_s: float) -> Iterator[None]:
        """Hold a key's lock against other processes; continue without after a timeout.

        The lock does not exclude other threads.
        """
        place = int(key[:15], 16)  # of the byte in the lock file that stands for it
        deadline = time.monotonic() + timeout_s
        while not (locked := self._try_lock(place)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        try:
            yield
        finally:
            if locked:
                fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, place)

    def sweep(self) -> None:
        """Delete the least recently used files if the folder is too large.

        Does nothing while another process sweeps.
        """
        with (self.folder / "sweep").open("a+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            files = sorted(self._files())
            excess = sum(size for _, size, _ in files) - self.limit * SWEEP_TARGET
            for _, size, path in files:
                if excess <= 0:
                    return
                Path(path).unlink(missing_ok=True)
                excess -= size

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """Yield (time of access, bytes on disk, path), and delete expired files."""
        now = time.time()
        for folder in [entry for entry in os.scandir(self.folder) if entry.is_dir()]:
            for entry in os.scandir(folder):
                with suppress(FileNotFoundError):
                    stat = entry.stat()
                    expires = stat.st_mtime + (PARTIAL in entry.name) * LEFTOVER_S
                    if not entry.name.endswith(IMAGE) and expires < now:
                        os.unlink(entry.path)
                        continue
                    size = max(stat.st_blocks * BLOCK, stat.st_size) // stat.st_nlink
                    yield min(stat.st_mtime, now), size, entry.path

    def _count(self, written: int) -> None:
        with self._counting:
            self._written += written
            is_sweeping = self._sweeper is not None and self._sweeper.is_alive()
            if is_sweeping or self._written < self.limit * SWEEP_AFTER:
                return
            self._written = 0
            self._sweeper = threading.Thread(target=self.sweep, daemon=True)
            self._sweeper.start()

    def _path(self, key: str, kind: int | str) -> Path:
        name = key[2:] + (kind if isinstance(kind, str) else f"-{kind}{IMAGE}")
        return self.folder / key[:2] / name

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        with NamedTemporaryFile(
            dir=path.parent, prefix=PARTIAL, delete=False
        ) as partial:
            try:
                partial.write(content)
                partial.flush()
                os.replace(partial.name, path)
            except BaseException:
                os.unlink(partial.name)
                raise

    def _link(self, existing: Path, path: Path) -> bool:
        """Store a size as a hard link; return whether the file system allows that."""
        partial = path.with_name(f"{PARTIAL}{path.name}-{threading.get_ident()}")
        try:
            os.link(existing, partial)
            os.replace(partial, path)
            # If `path` is a link to the same file already, replace does nothing.
            partial.unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def _try_lock(self, place: int) -> bool:
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):
            return False
        return True


_opening = threading.Lock()


def store() -> Store:
    """Return this process's store, as the settings configure it."""
    limit = settings.THUMBNAIL_CACHE_MB * 2**20
    with _opening:
        return _store_at(settings.VAR_DIR / "thumbnails", limit, os.getpid())


@cache
def _store_at(folder: Path, limit: int, _process: int) -> Store:
    return Store(folder, limit)


def _is_complete(content: bytes) -> bool:
    """Return whether a WebP file has the length of its header."""
    length = int.from_bytes(content[4:8], "little") + 8
    return content[:4] == b"RIFF" and length == len(content)
