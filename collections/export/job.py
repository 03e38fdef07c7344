"""The run of one export: claimed once, gone on with, and told on its row.

The row in Django's database is the truth. What a run has finished lies in the export's
folder, and the next attempt goes on from there.
"""

import errno
import logging
import shutil
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from search.clickhouse import client
from search.errors import InvalidQuery, NotFound, SearchUnavailable
from search.jobs.leases import (
    DATABASE_AWAY,
    MAX_FAILURES,
    SILENT,
    Lease,
    LeaseLost,
    database_errors,
)

from ..models import Export
from . import storage
from .checkpoint import Progress
from .export_request import ExportRequest
from .writer import UNFINISHED, write

FULL = (errno.ENOSPC, errno.EDQUOT)
MIN_FREE = 512 * 1024**2  # bytes of the disk, on which others write, too
NO_SPACE = "The disk is full: an admin has to make room before this can be exported."
State = Export.State

logger = logging.getLogger(__name__)


class DiskFull(Exception):
    """So little is free that going on would take it from all others."""


def run(export_id: UUID) -> bool:
    """Writes the files of a queued export; False if it is not to be claimed.

    One that cannot be written, or that broke off too often, ends FAILED with the
    reason. SearchUnavailable is raised, and the export left to be tried again, when the
    engine or the database does not answer.
    """
    with database_errors():
        _check_engine(export_id)
        due = Export.objects.filter(
            pk=export_id, state__in=[State.QUEUED, State.RUNNING]
        )
        claim = Lease.on(due, state=State.RUNNING)
        export = claim.row.select_related("owner").first() if claim else None
        if claim is None or export is None:
            return False
        try:
            with claim.kept_alive():
                ExportJob(export, claim).attempt()
        except LeaseLost:
            logger.info("The export %s was stopped or taken over.", export_id)
            forget_if_stopped(export_id)
            return False
        return True


def _check_engine(export_id: UUID) -> None:
    """An engine that is away is no failure of the export, which waits for it."""
    try:
        client.ping()
    except SearchUnavailable as error:
        waiting = Export.objects.filter(pk=export_id, state=State.QUEUED)
        waiting.update(error=error.message)
        raise


def forget_if_stopped(export_id: UUID) -> None:
    """Deletes what has been written, unless another worker goes on with it."""
    kept = [State.QUEUED, State.RUNNING, State.DONE]
    if not Export.objects.filter(pk=export_id, state__in=kept).exists():
        storage.remove(export_id)


@dataclass
class ExportJob:
    """One attempt at one export."""

    export: Export
    claim: Lease

    def attempt(self) -> None:
        try:
            if self.export.failures > MAX_FAILURES:
                self._give_up()
            else:
                self._write()
        except (InvalidQuery, NotFound) as error:
            self._fail(error.message)
        except SearchUnavailable as error:
            self.claim.release(state=State.QUEUED, error=error.message)
            raise
        except DiskFull:
            self._fail(NO_SPACE)
        except (LeaseLost, *DATABASE_AWAY):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in FULL:
                self._fail(NO_SPACE)
                return
            self.claim.hold()  # where it was stopped, its files may have gone
            logger.exception("The export %s broke off.", self.export.pk)
            self._fail("The export broke off; an admin finds the reason in the log.")

    def _write(self) -> None:
        self.claim.hold(error="")
        folder = storage.workspace(self.export.pk, self.export.attempts)
        for unfinished in folder.glob(f"*{UNFINISHED}"):
            unfinished.unlink()  # a worker thought dead may still have it open
        asked = ExportRequest.from_json(self.export.asked)
        manifest = write(asked, self.export.owner, folder, self._tell)
        now = timezone.now()
        self.claim.release(
            state=State.DONE,
            failures=0,
            manifest=manifest,
            rows=sum(file["rows"] for file in manifest["files"]),
            bytes=sum(file["bytes"] for file in manifest["files"]),
            finished_at=now,
            expires_at=now + timedelta(days=settings.EXPORT_DAYS),
        )
        storage.remove_other_attempts(self.export.pk, self.export.attempts)

    def _tell(self, progress: Progress) -> None:
        """Puts on the row how far it is. Raises ClaimLost, or DiskFull."""
        got_on = progress.looked_at > self.export.looked_at
        self.claim.hold(
            looked_at=progress.looked_at,
            to_look_at=progress.to_look_at,
            rows=progress.rows,
            bytes=progress.bytes,
            **({"failures": 0} if got_on else {}),
        )
        if shutil.disk_usage(settings.EXPORT_DIR).free < MIN_FREE:
            raise DiskFull

    def _fail(self, reason: str) -> None:
        """Nothing half done is left behind."""
        self.claim.release(state=State.FAILED, error=reason, finished_at=timezone.now())
        storage.remove(self.export.pk)

    def _give_up(self) -> None:
        self._fail(
            f"It broke off {MAX_FAILURES} times in a row without getting on. "
            f"{self.export.error or SILENT}"
        )
