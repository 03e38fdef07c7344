"""Leases on rows of Django's database: one worker at a time, until they expire.

To acquire a lease is one conditional UPDATE, which counts the row's attempts up. Each
later write is conditional on that number, so that a worker that was presumed dead and
returns changes nothing. The same UPDATE counts the row's `failures` up, whatever ends
the run: work that makes progress resets them, and work that fails too often is given
up.
"""

import logging
from collections.abc import Callable, Iterator
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
MAX_FAILURES = 5  # consecutive runs that failed without progress
WORKER_DIED = "Its worker went away without a word, as when memory runs out."
DATABASE_AWAY = (OperationalError, InterfaceError)

logger = logging.getLogger(__name__)


class LeaseLost(Exception):
    """The work was stopped, or another worker has taken it over."""


def lease_expired() -> Q:
    """Return the condition for rows that no live worker holds."""
    return Q(lease_until__isnull=True) | Q(lease_until__lt=timezone.now())


@contextmanager
def database_errors() -> Iterator[None]:
    """Raise SearchUnavailable where Django's database does not answer.

    A lease held then is left to expire, as by a worker that died.
    """
    try:
        yield
    except DATABASE_AWAY as error:
        connection.close()
        raise SearchUnavailable("The database is not responding.") from error


@dataclass(frozen=True)
class Lease:
    """The right to work on a row; `row` is a queryset of it while the lease holds."""

    row: QuerySet

    @classmethod
    def acquire(cls, due: QuerySet, **values: Any) -> "Lease | None":
        """Acquire the row of a queryset of one; return None if it is held or missing.

        The row gets the `values`; changing one of them from outside ends the lease.
        """
        free = due.filter(lease_expired())
        row = free.values_list("pk", "attempts").first()
        if row is None:
            return None
        pk, attempts = row
        # Of several workers that read the same number, one counts it up.
        if not free.filter(attempts=attempts).update(
            attempts=attempts + 1,
            failures=F("failures") + 1,
            lease_until=timezone.now() + LEASE,
            **values,
        ):
            return None
        return cls(due.filter(pk=pk, attempts=attempts + 1, **values))

    def renew(self, **changes: Any) -> None:
        """Write to the row and renew the lease; raises LeaseLost."""
        self._write(lease_until=timezone.now() + LEASE, **changes)

    def release(self, **changes: Any) -> None:
        """Write to the row for the last time; raises LeaseLost."""
        self._write(lease_until=None, **changes)

    def run(self, work: Callable[[], None], name: str) -> bool:
        """Do the work while a thread renews the lease; return False if it is lost.

        Steps of the work may take longer than a lease lasts.
        """
        done = Event()
        thread = Thread(target=self._renew_until, args=[done], daemon=True)
        thread.start()
        try:
            work()
        except LeaseLost:
            logger.info("%s was stopped or taken over.", name)
            return False
        finally:
            done.set()
            thread.join()
        return True

    def _write(self, **changes: Any) -> None:
        if not self.row.update(**changes):
            raise LeaseLost

    def _renew_until(self, done: Event) -> None:
        try:
            while not done.wait(LEASE.total_seconds() / 3):
                try:
                    self.renew()
                except LeaseLost:
                    return  # the work finds out with its next write
                except DatabaseError as error:
                    logger.warning("A lease could not be renewed: %s", error)
                    connection.close()
        finally:
            connection.close()
