"""Open the files of sources, and none that a link leads to from an open folder.

Staff chooses sources within INGEST_FOLDERS; the people whose files lie there are
others, and may put links among them. So every reader opens files by `open_file`, which
looks at what has been opened: between a look at a path and its opening it may become
another one. Sources elsewhere come from people who run commands, and who may read the
server's files anyway.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from django.conf import settings

LEADS_OUT = "It is a link out of the folders that are open to imports."


class Closed(PermissionError):
    """A file that no source may have."""


def roots() -> list[Path]:
    """Return the folders of INGEST_FOLDERS that exist, links resolved."""
    return [path for path in _roots(tuple(settings.INGEST_FOLDERS)) if path.is_dir()]


def is_open(real: Path, *, hidden: bool = False) -> bool:
    """Return whether a path without links is open to imports.

    VAR_DIR is closed, except for folders in it that are named themselves; so is what is
    `hidden`, unless it is asked for.
    """
    if is_private(real):
        return False
    return any(
        real.is_relative_to(root)
        and (hidden or not _has_hidden(real, root))
        and (not real.is_relative_to(settings.VAR_DIR) or _is_in_var_dir(root))
        for root in _roots(tuple(settings.INGEST_FOLDERS))
    )


def is_private(real: Path) -> bool:
    """Return whether a path is, or is in, what no setting opens: databases, exports."""
    private = _private(
        settings.VAR_DIR,
        settings.EXPORT_DIR,
        settings.CLICKHOUSE_URL,
        str(settings.DATABASES["default"]["NAME"]),
    )
    return any(real.is_relative_to(each) for each in private)


def leads_out(path: str | Path, folder: str | Path) -> bool:
    """Return whether a link in a folder of a source leads out of what is open."""
    real, top = os.path.realpath(path), os.path.realpath(folder)
    if Path(real).is_relative_to(top):
        return is_private(Path(real))
    return not is_open(Path(real))


def open_file(path: str | Path) -> BinaryIO:
    """Open a file of a source. Raises Closed, or another OSError."""
    return open(path, "rb", opener=_open_checked)


@contextmanager
def opened_path(path: str | Path) -> Iterator[str]:
    """Yield a path to a file that is open, for libraries that take no file object."""
    with open_file(path) as file:
        yield f"/dev/fd/{file.fileno()}"


def _open_checked(path: str, flags: int) -> int:
    # Without waiting for the other end of a pipe.
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Closed(f"{path} is no file.")
        if not _may_open(Path(os.path.abspath(path)), _real_path(descriptor)):
            raise Closed(f"{path} leads to what is closed.")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _may_open(named: Path, real: Path) -> bool:
    """Return whether a path of a source may lead to a file."""
    if is_private(real):
        return False
    if named.is_relative_to(settings.VAR_DIR):  # what this server has drawn or fetched
        return real.is_relative_to(settings.VAR_DIR) or is_open(real)
    given = [Path(os.path.abspath(folder)) for folder in settings.INGEST_FOLDERS]
    for root in (*given, *_roots(tuple(settings.INGEST_FOLDERS))):
        if named.is_relative_to(root):
            # A hidden source was named by a command.
            return is_open(real, hidden=_has_hidden(named, root))
    return True


def _real_path(descriptor: int) -> Path:
    """Return the path of an open file, without links."""
    if hasattr(fcntl, "F_GETPATH"):  # of macOS
        found = fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024))
        return Path(os.fsdecode(found.rstrip(b"\0")))
    return Path(os.readlink(f"/proc/self/fd/{descriptor}"))


def _has_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _is_in_var_dir(root: Path) -> bool:
    return root != settings.VAR_DIR and root.is_relative_to(settings.VAR_DIR)


@lru_cache(8)
def _roots(folders: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(Path(os.path.realpath(each)) for each in folders))


@lru_cache(8)
def _private(var_dir: Path, exports: Path, engine: str, database: str) -> list[Path]:
    """Return files and folders of the server itself, links resolved."""
    own = [var_dir / name for name in ("secret_key", "thumbnails", "clickhouse")]
    found = [*own, exports, var_dir / "exports"]
    found += [
        Path(unquote(address.path))
        for address in map(urlsplit, engine.split(","))
        if address.scheme == "chdb"
    ]
    if os.path.isabs(database):  # SQLite; the other names are of a server
        found += [Path(database + end) for end in ("", "-journal", "-wal", "-shm")]
    return [Path(os.path.realpath(path)) for path in found]
