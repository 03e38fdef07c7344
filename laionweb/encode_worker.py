"""Encode workers as Celery workers.

They are started by `celery -A laionweb worker -Q encode -P solo`.
A bootstep runs search.encoder.worker in a thread, so that encode workers are started,
monitored and stopped like other workers. One process serves one GPU.
"""

import logging
from typing import Any

from celery import bootsteps
from django.conf import settings
from django.db import DatabaseError, connection

QUEUE = "encode"
LAST_BATCH_S = 10

logger = logging.getLogger(__name__)


class EncodeStep(bootsteps.StartStopStep):
    """The step of workers that consume the queue encode."""

    requires = {"celery.worker.components:Pool"}

    def include_if(self, worker: Any) -> bool:
        return QUEUE in worker.app.amqp.queues.consume_from

    def start(self, worker: Any) -> None:
        from search.encoder.worker import EncodeWorker

        self.worker = EncodeWorker(settings.CELERY_BROKER_URL, models)
        self.worker.start()

    def stop(self, worker: Any) -> None:
        self.worker.stop(LAST_BATCH_S)

    terminate = stop


def models() -> list[tuple[str, str]]:
    """Return the (model, weights) of all datasets; none while the database is away."""
    from search.models import Dataset

    try:
        return list(Dataset.objects.values_list("model", "weights").distinct())
    except DatabaseError as error:
        logger.warning("No model is loaded beforehand: %s", error)
        return []
    finally:
        connection.close()
