"""Exports as Celery tasks."""

from collections.abc import Iterable
from uuid import UUID

from celery import shared_task

from search.jobs import broker

from . import job


@shared_task(name="usercollections.exporting.write_export", queue="export")
def write_export(export_id: str) -> None:
    with broker.left_to_sweeper(f"Export {export_id}"):
        job.run(UUID(export_id))


def enqueue(export_ids: Iterable[UUID]) -> None:
    """Send queued exports to the workers; without a broker they stay queued."""
    broker.send(write_export, [(str(export_id),) for export_id in export_ids])
