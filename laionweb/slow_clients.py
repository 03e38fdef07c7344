"""Time limits for clients that send their requests slowly, or nothing at all.

A request has READ_S to arrive, head and body together, and a connection IDLE_S between
requests. Production has a proxy that buffers requests; these limits hold without it.
"""

import errno
import os
import time
from typing import Any

from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer

IDLE_S = 20
READ_S = int(os.environ.get("WEB_READ_S", "30"))
CLEANUP_S = 5
now = time.monotonic


class TimedChannel(HTTPChannel):
    """A connection of waitress; it takes no thread until a request is complete."""

    reading_since: float | None = None

    def received(self, data: bytes) -> bool:
        if self.reading_since is None:
            self.reading_since = now()
        received = super().received(data)
        if self.request is None:
            self.reading_since = None
        return received

    def close_if_late(self) -> None:
        if self.reading_since is not None and now() - self.reading_since > READ_S:
            self.will_close = True


def limit_reading(server: BaseWSGIServer) -> None:
    """Have a server of waitress close connections whose request is late."""
    servers = [server, *getattr(server, "map", {}).values()]
    for each in servers:
        if not hasattr(each, "channel_class"):
            continue
        each.channel_class = TimedChannel
        each.maintenance = _closing_late(each, each.maintenance)


def _closing_late(server: Any, maintenance: Any) -> Any:
    def maintain(at: float) -> None:
        maintenance(at)
        for channel in list(server.active_channels.values()):
            channel.close_if_late()

    return maintain


class TimedSocket:
    """The reading side of a socket, with a deadline for each request."""

    def __init__(self, sock: Any):
        self._socket = sock
        self.restart()

    def restart(self) -> None:
        self._deadline = now() + READ_S

    def recv(self, size: int) -> bytes:
        left = self._deadline - now()
        try:
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            return self._socket.recv(size)
        except TimeoutError:
            # gunicorn logs this error as that of a client, and closes.
            raise ConnectionResetError(errno.ECONNRESET, "too slow") from None
        finally:
            self._socket.settimeout(None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)
