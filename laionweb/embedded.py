"""The Celery worker of the embedded default: threads of the web process."""

from threading import Event, Thread

from celery.worker import state
from django.conf import settings

from .celery import app


class EmbeddedWorker:
    """Runs the tasks of the in-memory broker, one at a time; sends the sweeper's."""

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
        Thread(target=self._sweep, name="sweeper", daemon=True).start()

    def stop(self, timeout: float) -> bool:
        """Lets a running task finish; False if it has not within the timeout."""
        self._stopped.set()
        state.should_stop = 0  # an exit code, hence not False
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _sweep(self) -> None:
        """As beat does beside a broker of its own."""
        sweeper = settings.CELERY_BEAT_SCHEDULE["sweeper"]
        while not self._stopped.wait(sweeper["schedule"]):
            app.tasks[sweeper["task"]].apply_async(**sweeper["options"])
