"""Exports as Celery tasks."""

import logging
from collections.abc import Iterable
from uuid import UUID

from celery import shared_task

from search.errors import SearchUnavailable
from search.jobs import broker

from . import job

logger = logging.getLogger(__name__)


@shared_task(name="usercollections.exporting.write_export", queue="export")
def write_export(export_id: str) -> None:
    try:
        job.run(UUID(export_id))
    except SearchUnavailable as error:
        logger.warning("Export %s is tried again: %s", export_id, error)


def enqueue(export_ids: Iterable[UUID]) -> None:
    """Send queued exports to the workers; without a broker they stay queued."""
    broker.send(write_export, [(str(export_id),) for export_id in export_ids])
