"""Exports as Celery tasks; the rows, not the broker, know what is to be done."""

import logging
from collections.abc import Iterable
from uuid import UUID

from celery import shared_task
from kombu.exceptions import OperationalError

from search.errors import SearchUnavailable

from . import job

logger = logging.getLogger(__name__)


@shared_task(name="usercollections.exporting.write_export", queue="export")
def write_export(export_id: str) -> None:
    try:
        job.run(UUID(export_id))
    except SearchUnavailable as error:
        logger.warning("Export %s is tried again: %s", export_id, error)


def enqueue(export_ids: Iterable[UUID]) -> None:
    """Sends queued exports on their way.

    Without a broker they stay queued, and the sweeper sends them again.
    """
    try:
        for export_id in export_ids:
            write_export.delay(str(export_id))
    except OperationalError:
        logger.exception("The task queue does not answer; the sweeper tries again.")
