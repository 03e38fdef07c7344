"""The run of one shard: claim, fetch, check, insert, count.

The ledger in Django's database is the truth. Rows gather in a table that belongs to the
shard and its epoch alone; once all of them are there and counted, the shard has
ARRIVED, and publishing makes it visible.
"""

import logging
from contextlib import closing
from dataclasses import asdict, dataclass

from django.utils import timezone

from search.clickhouse import client, schema, writer
from search.clickhouse.schema import ItemTable
from search.errors import NotFound, SearchUnavailable, ShardUnreadable
from search.jobs.leases import (
    DATABASE_AWAY,
    MAX_FAILURES,
    SILENT,
    Lease,
    LeaseLost,
    database_errors,
)
from search.models import Reject, Shard
from search.removals.takedowns import RemovalList

from .columns import item_columns
from .sources.protocol import Batch, OpenShard
from .sources.registry import source_of

State = Shard.State

logger = logging.getLogger(__name__)


def ingest(shard_pk: int) -> bool:
    """Brings the rows of one queued shard in; False if it is not to be claimed.

    A shard whose source is wrong, or that broke off too often, ends FAILED with the
    reason. SearchUnavailable is raised, and the shard left to be tried again, when the
    engine, the source or the ledger does not answer.
    """
    with database_errors():
        _check_engine(shard_pk)
        run = _claimed(shard_pk)
        if run is None:
            return False
        try:
            with run.claim.kept_alive():
                run.attempt()
        except LeaseLost:
            logger.info("The run of shard %s was stopped or taken over.", shard_pk)
            return False
        return True


def _check_engine(shard_pk: int) -> None:
    """An engine that is away is no failure of the shard, which waits for it."""
    try:
        client.ping()
    except SearchUnavailable as error:
        waiting = Shard.objects.filter(pk=shard_pk, state=State.QUEUED)
        waiting.update(error=error.message)
        raise


def _claimed(shard_pk: int) -> "Run | None":
    """A message may come twice: due is what is queued, or was left by the dead."""
    due = Shard.objects.filter(pk=shard_pk, state__in=[State.QUEUED, State.INGESTING])
    claim = Lease.on(due, state=State.INGESTING)
    if claim is None:
        return None
    shard = claim.row.select_related("dataset").first()
    return Run(shard, claim) if shard else None


@dataclass
class Run:
    """One attempt at one shard."""

    shard: Shard
    claim: Lease

    def attempt(self) -> None:
        try:
            if self.shard.failures > MAX_FAILURES:
                self._give_up()
            else:
                self._bring_in()
        except ShardUnreadable as error:
            self._fail(error.message)
        except (SearchUnavailable, NotFound) as error:
            # NotFound: the table was dropped under the run, so the claim is lost, too.
            self.claim.release(state=State.QUEUED, error=error.message)
            raise SearchUnavailable(error.message) from error
        except (LeaseLost, *DATABASE_AWAY):
            raise
        except Exception:
            self._fail("The import broke off; see the log.")
            raise

    def _fail(self, reason: str) -> None:
        """Nothing half done is left behind; what searches find already stays."""
        self._start_over("")
        self.claim.release(
            state=State.FAILED, error=reason, rows=None, finished_at=timezone.now()
        )

    def _give_up(self) -> None:
        """What has arrived stays: a retry goes on from there."""
        self.claim.release(
            state=State.FAILED,
            error=f"It broke off {MAX_FAILURES} times in a row without getting on. "
            f"{self.shard.error or SILENT}",
            finished_at=timezone.now(),
        )

    @property
    def _arriving(self) -> ItemTable:
        return self.shard.dataset.item_table.arriving(
            self.shard.number, self.shard.epoch
        )

    def _bring_in(self) -> None:
        self.claim.hold(started_at=self.shard.started_at or timezone.now())
        dataset = self.shard.dataset
        source = source_of(dataset, self._fetched)
        content = source.open(self.shard.number, dataset.dimension)
        if self.shard.fingerprint != content.fingerprint:
            self._start_over(content.fingerprint)
        schema.create(self._arriving)
        self.claim.hold(rows=len(content), bytes=content.bytes, error="")
        self._insert(content)
        self._count()
        self.claim.release(
            state=State.ARRIVED,
            failures=0,
            finished_at=timezone.now(),
            bytes_done=content.bytes,
        )
        source.discard(self.shard.number)

    def _fetched(self, done: int, total: int | None) -> None:
        self.claim.hold(bytes_done=done, **({"bytes": total} if total else {}))

    def _start_over(self, fingerprint: str) -> None:
        """In a new table: what an earlier attempt may still send comes to nothing.

        The fingerprint is written last: until then the next run does all of it again.
        """
        left = self._arriving
        self.shard.epoch += 1
        self.shard.fingerprint = fingerprint
        self.shard.rows_done = self.shard.rows_kept = 0
        self.claim.hold(
            epoch=self.shard.epoch,
            fingerprint="",
            rows_done=0,
            rows_kept=0,
        )
        self.shard.rejects.all().delete()
        schema.drop(left)
        schema.drop(self._arriving)  # of a dataset of the same name, dropped long ago
        self.claim.hold(fingerprint=fingerprint)

    def _insert(self, content: OpenShard) -> None:
        removals = RemovalList.of(self.shard.dataset)
        first = self.shard.rows_done
        # A run that goes on where another broke off gets on; one that starts over may
        # do so for ever.
        got_on = {"failures": 0} if first else {}
        with closing(content.batches(first)) as batches:
            for batch in batches:
                self.claim.hold()
                batch = removals.without_removed(batch, self.shard.number)
                Reject.objects.bulk_create(
                    [Reject(shard=self.shard, **asdict(row)) for row in batch.rejected],
                    ignore_conflicts=True,
                )
                # An earlier attempt may have sent it, or a part of it, and a host that
                # answered that one may not have answered this one.
                resumed = batch.start == first
                if not resumed or self._there(batch) != len(batch.rows):
                    self._send(batch)
                kept = self._there(batch) if resumed else len(batch.rows)
                self.shard.rows_kept += kept
                self.claim.hold(
                    rows_done=batch.end, rows_kept=self.shard.rows_kept, **got_on
                )

    def _there(self, batch: Batch) -> int:
        first, _ = writer.bounds(self.shard.number)
        return writer.count_between(
            self._arriving, first + batch.start, first + batch.end - 1
        )

    def _send(self, batch: Batch) -> None:
        if len(batch.rows):
            token = f"{self.shard.number}:{self.shard.epoch}:{batch.start}"
            columns = item_columns(batch, self.shard.number)
            writer.insert(self._arriving, columns, token)

    def _count(self) -> None:
        rows, ids = writer.count(self._arriving)
        if rows == ids == self.shard.rows_kept:
            return
        kept = self.shard.rows_kept
        self._start_over("")
        raise SearchUnavailable(
            f"{rows:,} rows arrived, of {ids:,} items, where {kept:,} were sent."
        )
