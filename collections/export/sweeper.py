"""Periodic tasks of exports: send lost ones again, delete expired ones."""

from datetime import timedelta
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from search.jobs import broker
from search.jobs.leases import database_errors

from ..models import Export
from . import storage, tasks
from .job import ExportJob

State = Export.State
ROW_RETENTION = timedelta(days=60)  # after the end of an export without files
WITH_FILES = [State.QUEUED, State.RUNNING, State.DONE]


@shared_task(name="usercollections.exporting.recover", queue="export")
def recover() -> int:
    """Send the exports of dead workers and lost messages again; return how many."""
    keys: list[UUID] = []
    with broker.left_to_sweeper("The sweep of exports"), database_errors():
        keys = ExportJob.requeue(tasks.write_export)
        tasks.enqueue(keys)
    return len(keys)


@shared_task(name="usercollections.exporting.sweep", queue="export")
def delete_expired() -> int:
    """Delete the files of expired exports, and old rows; return how many rows."""
    now = timezone.now()
    for export in Export.objects.filter(state=State.DONE).iterator():
        if storage.is_outdated(export):
            storage.withdraw(export)
    Export.objects.filter(state=State.DONE, expires_at__lt=now).update(
        state=State.EXPIRED, changed_at=now
    )
    # The folders before the rows, which exist before their folders are created.
    found = storage.folders()
    keys = Export.objects.filter(state__in=WITH_FILES).values_list("pk", flat=True)
    for export_id in set(found) - set(keys):
        storage.remove(export_id)
    ended = Export.objects.exclude(state__in=WITH_FILES)
    old = list(
        ended.filter(finished_at__lt=now - ROW_RETENTION).values_list("pk", flat=True)
    )
    Export.objects.filter(pk__in=old).delete()
    return len(old)
