"""gunicorn's worker with threads, which slow clients cannot hold."""

from typing import Any

from gunicorn.workers import gthread

from .slow_clients import TimedSocket


class Worker(gthread.ThreadWorker):
    """Takes a thread for a connection once it sends, and for READ_S at most."""

    def handle(self, conn: Any) -> Any:
        if not conn.initialized:
            # Without waiting: the poller watches connections that send nothing.
            if not conn.data_ready and not conn.wait_for_data(0):
                return gthread._DEFER
            conn.sock.setblocking(True)
            conn.init()
        if not conn.is_http2:
            unreader = conn.parser.unreader
            if not isinstance(unreader.sock, TimedSocket):
                unreader.sock = TimedSocket(unreader.sock)
            unreader.sock.restart()
        return super().handle(conn)
