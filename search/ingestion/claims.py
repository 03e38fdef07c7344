"""Claims on rows of the ledger: one worker at a time, and a dead one holds nothing up.

A claim is one conditional UPDATE that counts the row's attempts up and sets a lease.
Each later write holds only while that attempt is the last one, so that a worker that
was thought dead and comes back changes nothing.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread
from typing import Any

from django.db import DatabaseError, connection
from django.db.models import Q, QuerySet
from django.utils import timezone

LEASE = timedelta(seconds=30)
RENEWED_EVERY_S = LEASE.total_seconds() / 3

logger = logging.getLogger(__name__)


class ClaimLost(Exception):
    """Someone has stopped the work, or another worker has taken it over."""


def unclaimed() -> Q:
    """Whether nobody holds a row: no one began, or the one that did is dead."""
    return Q(lease_until__isnull=True) | Q(lease_until__lt=timezone.now())


@dataclass(frozen=True)
class Claim:
    """`row` is the one row of the ledger, for as long as the claim stands."""

    row: QuerySet

    def hold(self, **changes: Any) -> None:
        """Writes to the row and renews the lease; raises ClaimLost."""
        self._write(lease_until=timezone.now() + LEASE, **changes)

    def release(self, **changes: Any) -> None:
        """Writes to the row for the last time; raises ClaimLost."""
        self._write(lease_until=None, **changes)

    def _write(self, **changes: Any) -> None:
        if not self.row.update(**changes):
            raise ClaimLost

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
            while not done.wait(RENEWED_EVERY_S):
                try:
                    self.hold()
                except ClaimLost:
                    return  # the work itself will notice with its next write
                except DatabaseError as error:
                    logger.warning("A lease could not be renewed: %s", error)
                    connection.close()
        finally:
            connection.close()
