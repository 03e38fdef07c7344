"""A decoder process: `python -m search.images.worker`, with a socket as its input.

It decodes one file after the other and may be killed at any time. The kernel enforces
the limits of memory and, for each job, of CPU time. It holds no secrets: no settings,
no files, no environment of the process that started it, and ends with that one.
"""

import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from search.errors import SearchError

from .decode import Crop, Decoded, check, decode
from .messages import Head, receive, send
from .renditions import renditions

# With the code of the libraries, the process stays below 300 MB.
MAX_DATA_BYTES = 260 * 2**20
IDLE_S = 60
PAGE_BYTES = resource.getpagesize()


def shrink(
    data: bytes, short_side: int, max_pixels: int, crop: Crop
) -> tuple[Head, list[bytes]]:
    """Return the pixels in RGB, scaled down to about `short_side` or `max_pixels`."""

    def fit(width: int, height: int) -> tuple[int, int]:
        by_side = short_side / min(width, height)
        scale = min(by_side, (max_pixels / (width * height)) ** 0.5, 1)
        return max(1, round(width * scale)), max(1, round(height * scale))

    decoded = decode(data, fit, crop)
    return {**_told(decoded), "pixels": decoded.image.size}, [decoded.image.tobytes()]


def scale(data: bytes, **options: Any) -> tuple[Head, list[bytes]]:
    """Return renditions."""
    decoded, files = renditions(data, **options)
    return _told(decoded), files


def verify(data: bytes) -> tuple[Head, list[bytes]]:
    """Return nothing, unless the header reveals an error."""
    check(data)
    return {}, []


JOBS: dict[str, Callable[..., tuple[Head, list[bytes]]]] = {
    "shrink": shrink,
    "scale": scale,
    "verify": verify,
}


def _told(decoded: Decoded) -> Head:
    return {
        "size": [decoded.width, decoded.height],
        "truncated": decoded.truncated,
    }


def main() -> None:
    connection = socket.socket(fileno=0)
    restrict()
    send(connection, {}, b"")
    # What libraries print about broken files is of no use.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        while True:
            connection.settimeout(IDLE_S)
            head, data = receive(connection)
            connection.settimeout(None)
            answer, files = run(head, data)
            answer["lengths"] = list(map(len, files))
            send(connection, answer, b"".join(files))
    except (EOFError, TimeoutError):
        return


def restrict() -> None:
    """Let the kernel bound this process, which ends with its input, not by signals."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    limits = {
        resource.RLIMIT_DATA: MAX_DATA_BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
    }
    for kind, limit in limits.items():
        highest = resource.getrlimit(kind)[1]
        if highest != resource.RLIM_INFINITY:
            limit = min(limit, highest)
        resource.setrlimit(kind, (limit, limit))


def run(head: Head, data: bytes) -> tuple[Head, list[bytes]]:
    """Do a job within its CPU time; beyond it, the kernel ends the process."""
    started = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, head.pop("cpu_s"))
    try:
        answer, files = JOBS[head.pop("job")](data, **head)
    except SearchError as error:
        answer, files = {"code": error.code, "message": error.message}, []
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    used = {"cpu_s": time.process_time() - started, "resident": _resident_bytes()}
    return {**answer, **used}, files


def _resident_bytes() -> int:
    """Return the memory in use; 0 where the kernel does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * PAGE_BYTES
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    main()
