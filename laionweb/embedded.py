"""The Celery worker of the embedded default: a thread of the web process."""

from threading import Thread

from celery.worker import state

from .celery import app


class EmbeddedWorker:
    """Runs the tasks of the in-memory broker, one at a time."""

    def __init__(self) -> None:
        state.should_stop = None
        self._worker = app.WorkController(
            pool="solo",
            concurrency=1,
            hostname="embedded@localhost",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        self._thread = Thread(target=self._worker.start, name="worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Lets a running task finish; False if it has not within the timeout."""
        state.should_stop = 0  # an exit code, hence not False
        self._thread.join(timeout)
        return not self._thread.is_alive()
