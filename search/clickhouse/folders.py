"""The embedded engine's folder, which one process at a time can have open."""

import fcntl
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from . import nodes

HOLDER = re.compile(r"PID: (\d+)", re.ASCII)  # as the engine notes it down


def held_by() -> int | None:
    """The other process that has the folder open, if one has; None for servers."""
    address = urlsplit(nodes.current_url())
    folder = Path(unquote(address.path))
    if address.scheme != "chdb" or not is_locked(folder):
        return None
    holder = HOLDER.search((folder / "status").read_text(errors="replace"))
    process = int(holder[1]) if holder else None
    return None if process == os.getpid() else process


def is_locked(folder: Path) -> bool:
    """Whether another process holds the lock that the engine puts on its folder."""
    try:
        with (folder / "status").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
