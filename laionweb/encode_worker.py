"""Encode workers, as Celery starts them: celery -A laionweb worker -Q encode -P solo

A step of the worker's own start runs search.encoder.worker in a thread, so that it is
started, watched, told and stopped as all workers are. One process serves one GPU.
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
    """In workers that are asked to serve the queue encode, and in no others."""

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
    """The models of all datasets; those that cannot be had now load when asked for."""
    from search.models import Dataset

    try:
        return list(Dataset.objects.values_list("model", "weights").distinct())
    except DatabaseError as error:
        logger.warning("No model is loaded beforehand: %s", error)
        return []
    finally:
        connection.close()
