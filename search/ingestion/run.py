"""The run of one shard: claim, fetch, check, insert, count.

The ledger in Django's database is the truth. Rows gather in a table that belongs to the
shard and its epoch alone; once all of them are there and counted, the shard has
ARRIVED, and publishing makes it visible.
"""

import logging
from dataclasses import asdict, dataclass

from django.db.models import F
from django.utils import timezone

from search.clickhouse import schema, writer
from search.clickhouse.schema import ItemTable
from search.errors import NotFound, SearchUnavailable, ShardUnreadable
from search.models import Reject, Shard
from search.service import table_of

from .claims import Claim, ClaimLost, unclaimed
from .columns import item_columns
from .removals import RemovalList
from .source import Batch, OpenShard
from .sources import source_of

State = Shard.State

logger = logging.getLogger(__name__)


def ingest(shard_pk: int) -> bool:
    """Brings the rows of one queued shard in; False if it is not to be claimed.

    A shard whose source is wrong ends FAILED with the reason. SearchUnavailable is
    raised, and the shard queued again, when the engine or the source does not answer.
    """
    run = _claimed(shard_pk)
    if run is None:
        return False
    try:
        with run.claim.kept_alive():
            run.attempt()
    except ClaimLost:
        logger.info("The run of shard %s was stopped or taken over.", shard_pk)
        return False
    return True


def give_up(shard_pk: int, reason: str) -> None:
    """Fails a queued shard that was tried too often."""
    Shard.objects.filter(pk=shard_pk, state=State.QUEUED).update(
        state=State.FAILED, error=reason, finished_at=timezone.now()
    )


def _claimed(shard_pk: int) -> "Run | None":
    """A message may come twice: due is what is queued, or was left by the dead."""
    due = Shard.objects.filter(
        unclaimed(), pk=shard_pk, state__in=[State.QUEUED, State.INGESTING]
    )
    if not due.update(
        state=State.INGESTING, attempts=F("attempts") + 1, lease_until=timezone.now()
    ):
        return None
    shard = Shard.objects.select_related("dataset").get(pk=shard_pk)
    row = Shard.objects.filter(
        pk=shard_pk, state=State.INGESTING, attempts=shard.attempts
    )
    run = Run(shard, Claim(row))
    run.claim.hold(error="", started_at=shard.started_at or timezone.now())
    return run


@dataclass
class Run:
    """One attempt at one shard."""

    shard: Shard
    claim: Claim

    def attempt(self) -> None:
        try:
            self._bring_in()
        except ShardUnreadable as error:
            self._fail(error.message)
        except (SearchUnavailable, NotFound) as error:
            # NotFound: the table was dropped under the run, so the claim is lost, too.
            self.claim.release(state=State.QUEUED, error=error.message)
            raise
        except ClaimLost:
            raise
        except Exception:
            self._fail("The import broke off; see the log.")
            raise

    def _fail(self, reason: str) -> None:
        """Nothing half done is left behind; what searches find already stays."""
        self._start_over("")
        schema.drop(self._arriving)
        self.claim.release(
            state=State.FAILED, error=reason, rows=None, finished_at=timezone.now()
        )

    @property
    def _arriving(self) -> ItemTable:
        return table_of(self.shard.dataset).arriving(
            self.shard.number, self.shard.epoch
        )

    def _bring_in(self) -> None:
        dataset = self.shard.dataset
        source = source_of(dataset, self._fetched)
        content = source.open(self.shard.number, dataset.dimension)
        if self.shard.fingerprint != content.fingerprint:
            self._start_over(content.fingerprint)
        schema.create(self._arriving)
        self.claim.hold(rows=len(content), bytes=content.bytes)
        self._insert(content)
        self._count()
        self.claim.release(
            state=State.ARRIVED, finished_at=timezone.now(), bytes_done=content.bytes
        )
        source.discard(self.shard.number)

    def _fetched(self, done: int, total: int | None) -> None:
        self.claim.hold(bytes_done=done, **({"bytes": total} if total else {}))

    def _start_over(self, fingerprint: str) -> None:
        """In a new table: what an earlier attempt may still send comes to nothing."""
        schema.drop(self._arriving)
        self.shard.epoch += 1
        self.shard.fingerprint = fingerprint
        self.shard.rows_done = self.shard.rows_kept = 0
        self.shard.rejects.all().delete()
        self.claim.hold(
            epoch=self.shard.epoch, fingerprint=fingerprint, rows_done=0, rows_kept=0
        )

    def _insert(self, content: OpenShard) -> None:
        removals = RemovalList.of(self.shard.dataset)
        first = self.shard.rows_done
        for batch in content.batches(first):
            self.claim.hold()
            batch = removals.without_removed(batch, self.shard.number)
            Reject.objects.bulk_create(
                [Reject(shard=self.shard, **asdict(row)) for row in batch.rejected],
                ignore_conflicts=True,
            )
            # An earlier attempt may have broken off between the rows and the ledger.
            kept = self._there(batch) if batch.start == first else 0
            self.shard.rows_kept += kept or self._send(batch)
            self.claim.hold(rows_done=batch.end, rows_kept=self.shard.rows_kept)

    def _there(self, batch: Batch) -> int:
        first, _ = writer.bounds(self.shard.number)
        return writer.count_between(
            self._arriving, first + batch.start, first + batch.end - 1
        )

    def _send(self, batch: Batch) -> int:
        if len(batch.rows):
            token = f"{self.shard.number}:{self.shard.epoch}:{batch.start}"
            columns = item_columns(batch, self.shard.number)
            writer.insert(self._arriving, columns, token)
        return len(batch.rows)

    def _count(self) -> None:
        rows, ids = writer.count(self._arriving)
        if rows == ids == self.shard.rows_kept:
            return
        self._start_over("")
        raise SearchUnavailable(
            f"{rows:,} rows arrived, of {ids:,} items, where {self.shard.rows_kept:,} "
            "were sent."
        )
