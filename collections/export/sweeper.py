"""What is done for exports now and then: with those of the dead, and with old ones."""

import logging
from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from search.errors import SearchUnavailable
from search.ingestion.tasks import queue_is_empty
from search.jobs.leases import database_errors, lease_expired

from ..models import Export
from . import storage, tasks

State = Export.State
TOLD_FOR = timedelta(days=60)  # of an export without files, from its end on
WITH_FILES = [State.QUEUED, State.RUNNING, State.DONE]

logger = logging.getLogger(__name__)


@shared_task(name="usercollections.exporting.recover", queue="publish")
def recover() -> int:
    """Sends again what the dead have left, and what is queued once no message waits.

    Returns how many messages were sent.
    """
    try:
        with database_errors():
            left = Export.objects.filter(lease_expired(), state=State.RUNNING)
            keys = list(left.values_list("pk", flat=True))
            left.update(state=State.QUEUED, lease_until=None)
            queued = Export.objects.filter(state=State.QUEUED)
            if queued.exists() and queue_is_empty(tasks.write_export):
                keys = list(queued.order_by("created_at").values_list("pk", flat=True))
            tasks.enqueue(keys)
            return len(keys)
    except SearchUnavailable as error:
        logger.warning("The sweeper of exports could not do all: %s", error)
        return 0


@shared_task(name="usercollections.exporting.sweep", queue="publish")
def sweep() -> int:
    """Deletes the files of expired exports, then their rows; returns how many rows."""
    now = timezone.now()
    for export in Export.objects.filter(state=State.DONE).iterator():
        if storage.is_outdated(export):
            storage.withdraw(export)
    Export.objects.filter(state=State.DONE, expires_at__lt=now).update(
        state=State.EXPIRED, changed_at=now
    )
    # First the folders, then the rows: of a folder a row knows before it is made.
    found = storage.folders()
    kept = set(Export.objects.filter(state__in=WITH_FILES).values_list("pk", flat=True))
    for export_id in found:
        if export_id not in kept:
            storage.remove(export_id)
    ended = Export.objects.exclude(state__in=WITH_FILES)
    old = ended.filter(finished_at__lt=now - TOLD_FOR)
    keys = list(old.values_list("pk", flat=True))
    Export.objects.filter(pk__in=keys).delete()
    return len(keys)
