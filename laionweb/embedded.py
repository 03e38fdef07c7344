"""The embedded Celery worker: threads of the web process."""

from threading import Event, Thread
from typing import Any

from celery.worker import state
from django.conf import settings

from .celery import app


class EmbeddedWorker:
    """A worker of the in-memory broker, for one task at a time, and its schedule."""

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
        self._stopped = Event()

    def start(self) -> None:
        self._thread.start()
        for name, entry in settings.CELERY_BEAT_SCHEDULE.items():
            Thread(target=self._send, args=[entry], name=name, daemon=True).start()

    def stop(self, timeout: float) -> bool:
        """Wait for a running task; return False if it exceeds the timeout."""
        self._stopped.set()
        state.should_stop = 0  # an exit code, so not False
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _send(self, entry: dict[str, Any]) -> None:
        """Send a scheduled task periodically, as celery beat does."""
        while not self._stopped.wait(entry["schedule"]):
            app.tasks[entry["task"]].apply_async(**entry["options"])
