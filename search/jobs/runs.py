"""Runs of queued work, for imports and exports alike, and the recovery of lost runs.

The work is a row with a state and a lease. A message about it may arrive twice or
never: a run therefore acquires the lease first, and sweepers send lost work again.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from celery import Task
from django.db.models import QuerySet

from search.clickhouse import client
from search.errors import SearchError, SearchUnavailable

from . import broker
from .leases import (
    DATABASE_AWAY,
    MAX_FAILURES,
    WORKER_DIED,
    Lease,
    LeaseLost,
    database_errors,
    lease_expired,
)

QUEUED = "queued"  # the state of rows that wait, in all models of work


class Run(ABC):
    """One attempt at the work of one row, the `record`."""

    rows: ClassVar[QuerySet]  # of the model, in the order in which they are sent
    running: ClassVar[str]  # the state of rows that are worked on
    permanent: ClassVar[tuple[type[SearchError], ...]]  # errors that fail the row
    temporary: ClassVar[tuple[type[SearchError], ...]] = (SearchUnavailable,)

    def __init__(self, record: Any, lease: Lease):
        self.record, self.lease = record, lease

    @classmethod
    def start(cls, pk: Any) -> bool:
        """Make one attempt; return False if it is not due, held, stopped or taken over.

        Raises SearchUnavailable, with the row left to be tried again, when the engine
        or the database does not answer.
        """
        with database_errors():
            cls._check_engine(pk)
            due = cls.rows.filter(pk=pk, state__in=[QUEUED, cls.running])
            lease = Lease.acquire(due, state=cls.running)
            record = lease.row.first() if lease else None
            if lease is None or record is None:
                return False
            run = cls(record, lease)
            if lease.run(run.attempt, f"{cls.__name__} {pk}"):
                return True
            run.clean_up_lost()
            return False

    @classmethod
    def requeue(cls, task: Task) -> list[Any]:
        """Queue the rows of dead workers; return the keys of rows to send again.

        While no message waits for the task, these are all queued rows, since brokers
        lose messages.
        """
        expired = cls.rows.filter(lease_expired(), state=cls.running)
        keys = list(expired.values_list("pk", flat=True))
        expired.update(state=QUEUED, lease_until=None)
        queued = cls.rows.filter(state=QUEUED)
        if queued.exists() and broker.queue_is_empty(task):
            keys = list(queued.values_list("pk", flat=True))
        return keys

    @classmethod
    def _check_engine(cls, pk: Any) -> None:
        """Raise SearchUnavailable without an engine; that is no failure of the row."""
        try:
            client.ping()
        except SearchUnavailable as error:
            waiting = cls.rows.filter(pk=pk, state=QUEUED)
            waiting.update(error=error.message)
            raise

    def attempt(self) -> None:
        try:
            if self.record.failures > MAX_FAILURES:
                self.give_up(
                    f"It broke off {MAX_FAILURES} times in a row without getting on. "
                    f"{self.record.error or WORKER_DIED}"
                )
            else:
                self.work()
        except self.permanent as error:
            self.fail(error.message)
        except self.temporary as error:
            self.lease.release(state=QUEUED, error=error.message)
            raise SearchUnavailable(error.message) from error
        except (LeaseLost, *DATABASE_AWAY):
            raise
        except Exception as error:
            self.fail_unexpectedly(error)

    @abstractmethod
    def work(self) -> None:
        """Do the work and release the lease."""

    @abstractmethod
    def fail(self, reason: str) -> None:
        """Release the lease of work that no other attempt would complete."""

    @abstractmethod
    def fail_unexpectedly(self, error: Exception) -> None:
        """Fail for an error that is none of ours, and log it."""

    def give_up(self, reason: str) -> None:
        """Release the lease of work that has failed too often."""
        self.fail(reason)

    def clean_up_lost(self) -> None:  # noqa: B027  # most work leaves nothing behind
        """Delete what a run that lost its lease has left."""
