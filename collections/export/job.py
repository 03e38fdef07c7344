"""The run of one export, from its row to its files.

The row in Django's database is the truth. Finished parts lie in the export's folder,
and the next attempt continues from them.
"""

import errno
import logging
import shutil
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from search.errors import InvalidQuery, NotFound
from search.jobs.runs import Run

from ..models import Export
from . import storage
from .checkpoint import Progress
from .export_request import ExportRequest
from .writer import UNFINISHED, write

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
MIN_FREE = 512 * 1024**2  # bytes of the disk, which others write to as well
NO_SPACE = "The disk is full. An admin must free space before this can be exported."
State = Export.State

logger = logging.getLogger(__name__)


def run(export_id: UUID) -> bool:
    """Write the files of a queued export; return False if it is not due or held.

    An export that cannot be written, or whose runs broke off too often, ends FAILED
    with the reason. Raises SearchUnavailable, with the export queued again, when the
    engine or the database does not answer.
    """
    return ExportJob.start(export_id)


class ExportJob(Run):
    """One attempt at one export."""

    rows = Export.objects.select_related("owner").order_by("created_at")
    running = State.RUNNING
    permanent = (InvalidQuery, NotFound)
    record: Export

    def work(self) -> None:
        export = self.record
        self.lease.renew(error="")
        folder = storage.workspace(export.pk, export.attempts)
        for unfinished in folder.glob(f"*{UNFINISHED}"):
            unfinished.unlink()  # a worker presumed dead may still have it open
        request = ExportRequest.from_dict(export.asked)
        manifest = write(request, export.owner, folder, self._report)
        now = timezone.now()
        self.lease.release(
            state=State.DONE,
            failures=0,
            manifest=manifest,
            rows=sum(file["rows"] for file in manifest["files"]),
            bytes=sum(file["bytes"] for file in manifest["files"]),
            finished_at=now,
            expires_at=now + timedelta(days=settings.EXPORT_DAYS),
        )
        storage.remove_other_attempts(export.pk, export.attempts)

    def fail(self, reason: str) -> None:
        """Fail with the reason, and delete the files."""
        self.lease.release(state=State.FAILED, error=reason, finished_at=timezone.now())
        storage.remove(self.record.pk)

    def fail_unexpectedly(self, error: Exception) -> None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            self.fail(NO_SPACE)
            return
        self.lease.renew()  # LeaseLost: it was stopped, and its files are deleted
        logger.exception("The export %s broke off.", self.record.pk)
        self.fail("The export failed. The server log has the details.")

    def clean_up_lost(self) -> None:
        """Delete the files, unless another worker continues with them."""
        wanted = [State.QUEUED, State.RUNNING, State.DONE]
        key = self.record.pk
        if not Export.objects.filter(pk=key, state__in=wanted).exists():
            storage.remove(key)

    def _report(self, progress: Progress) -> None:
        """Store the progress. Raises LeaseLost, or OSError when the disk is full."""
        advanced = progress.looked_at > self.record.looked_at
        self.lease.renew(
            looked_at=progress.looked_at,
            to_look_at=progress.to_look_at,
            rows=progress.rows,
            bytes=progress.bytes,
            **({"failures": 0} if advanced else {}),
        )
        if shutil.disk_usage(settings.EXPORT_DIR).free < MIN_FREE:
            raise OSError(errno.ENOSPC, "Not enough free disk space.")
