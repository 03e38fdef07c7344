"""Claims on rows of the ledger: one worker at a time, and a dead one holds nothing up.

A claim is one conditional UPDATE that counts the row's attempts up and sets a lease.
Each later write holds only while that attempt is the last one, so that a worker that
was thought dead and comes back changes nothing. A run that broke off, by whatever, has
left its row's `failures` counted up: what breaks off too often is not tried for ever.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from search.errors import SearchUnavailable

LEASE = timedelta(seconds=30)
MAX_FAILURES = 5  # runs in a row that broke off without getting on
SILENT = "Its worker went away without a word, as when memory runs out."
DATABASE_AWAY = (OperationalError, InterfaceError)

logger = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Someone has stopped the work, or another worker has taken it over."""


def lease_expired() -> Q:
    """Whether nobody holds a row: no one began, or the one that did is dead."""
    return Q(lease_until__isnull=True) | Q(lease_until__lt=timezone.now())


@contextmanager
def database_errors() -> Iterator[None]:
    """Raises SearchUnavailable where the ledger's database is away.

    What was claimed is left as by a worker that died.
    """
    try:
        yield
    except DATABASE_AWAY as error:
        connection.close()
        raise SearchUnavailable("The database does not answer.") from error


@dataclass(frozen=True)
class Lease:
    """`row` is the one row of the ledger, for as long as the claim stands."""

    row: QuerySet

    @classmethod
    def on(cls, due: QuerySet, **standing: Any) -> "Lease | None":
        """Claims the row of a queryset of one; None if it is held or not there.

        It gets the values `standing`; the claim is lost when they are changed.
        """
        free = due.filter(lease_expired())
        found = free.values_list("pk", "attempts").first()
        # Whoever counts up what was read is the only one to do so.
        if found is None or not free.filter(attempts=found[1]).update(
            attempts=found[1] + 1,
            failures=F("failures") + 1,
            lease_until=timezone.now() + LEASE,
            **standing,
        ):
            return None
        row = due.model.objects.filter(pk=found[0], attempts=found[1] + 1, **standing)
        return cls(row)

    def hold(self, **changes: Any) -> None:
        """Writes to the row and renews the lease; raises ClaimLost."""
        self._write(lease_until=timezone.now() + LEASE, **changes)

    def release(self, **changes: Any) -> None:
        """Writes to the row for the last time; raises ClaimLost."""
        self._write(lease_until=None, **changes)

    def _write(self, **changes: Any) -> None:
        if not self.row.update(**changes):
            raise LeaseLost

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Renews the lease while a step goes on that takes longer than it lasts."""
        done = Event()
        thread = Thread(target=self._renew_until, args=[done], daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _renew_until(self, done: Event) -> None:
        try:
            while not done.wait(LEASE.total_seconds() / 3):
                try:
                    self.hold()
                except LeaseLost:
                    return  # the work itself will notice with its next write
                except DatabaseError as error:
                    logger.warning("A lease could not be renewed: %s", error)
                    connection.close()
        finally:
            connection.close()
