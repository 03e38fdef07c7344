"""The run of one shard: read, check, insert, count.

The ledger in Django's database is the truth. Rows are inserted into a table that
belongs to one shard and epoch; once all of them are counted, the shard has ARRIVED, and
publishing makes its rows visible.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa
from django.utils import timezone

from search.clickhouse import schema, writer
from search.clickhouse.schema import ItemTable
from search.errors import (
    NotFound,
    SearchUnavailable,
    ShardUnreadable,
    UnknownModel,
)
from search.jobs.runs import Run
from search.models import Dataset, Reject, Shard
from search.query.ratings import MAX_VALUE_LENGTH, RatingRules
from search.removals.takedowns import REJECT_REASON, RemovalList

from .columns import item_columns, means_of, unknown_ratings
from .sources.protocol import Batch, NoSuchShard, OpenShard, Rejected, check_rows
from .sources.registry import source_of
from .sources.tables import column_named

State = Shard.State
MAX_IN_STATEMENT = 500  # SQLite takes 999 parameters
MAX_UNKNOWN = 20  # values that the ledger lists


def ingest(shard_pk: int) -> bool:
    """Import one queued shard; return False if it is not due or held by a worker.

    A shard whose source is wrong, or whose runs broke off too often, ends FAILED with
    the reason. Raises SearchUnavailable, with the shard queued again, when the engine,
    the source or the database does not answer.
    """
    return ShardRun.start(shard_pk)


class ShardRun(Run):
    """One attempt at one shard."""

    # Those of deleted datasets wait: they may be restored.
    rows = Shard.objects.filter(dataset__deleted_at=None).select_related("dataset")
    running = State.INGESTING
    permanent = (ShardUnreadable, UnknownModel)
    # NotFound: the table was dropped during the run, which has lost its lease, too.
    temporary = (SearchUnavailable, NotFound)
    record: Shard

    def work(self) -> None:
        shard = self.record
        self.lease.renew(started_at=shard.started_at or timezone.now())
        source = source_of(shard.dataset, self._report_fetched)
        try:
            content = source.open(shard.number, shard.dataset.dimension)
        except NoSuchShard:
            if shard.rows_visible:
                raise
            self._start_over("")
            self.lease.row.delete()
            return
        fingerprint = content.fingerprint
        if shard.dataset.ratings:  # rows depend on them
            read_as = f"{fingerprint} {shard.dataset.ratings}"
            fingerprint = hashlib.sha256(read_as.encode()).hexdigest()
        if shard.fingerprint != fingerprint:
            self._start_over(fingerprint)
        schema.create(self._table)
        self.lease.renew(rows=len(content), bytes=content.bytes, error="")
        self._insert_batches(content)
        self._check_complete(content)
        self._check_count()
        self.lease.release(
            state=State.ARRIVED,
            failures=0,
            has_text_vectors=content.has_text_vectors,
            finished_at=timezone.now(),
            bytes_done=content.bytes,
        )
        source.discard(shard.number)

    def fail(self, reason: str) -> None:
        """Drop the rows that have arrived; rows that are published stay visible."""
        self._start_over("")
        self.lease.release(
            state=State.FAILED, error=reason, rows=None, finished_at=timezone.now()
        )

    def give_up(self, reason: str) -> None:
        """Keep the rows that have arrived, so that a retry continues from them."""
        self.lease.release(state=State.FAILED, error=reason, finished_at=timezone.now())

    def fail_unexpectedly(self, error: Exception) -> None:
        self.fail("The import broke off; see the log.")
        raise error

    @property
    def _table(self) -> ItemTable:
        """The staging table of this epoch, into which the rows are inserted."""
        table = self.record.dataset.item_table
        return table.arriving(self.record.number, self.record.epoch)

    @cached_property
    def _rules(self) -> RatingRules:
        return RatingRules.from_json(self.record.dataset.ratings)

    def _report_fetched(self, done: int, total: int | None) -> None:
        self.lease.renew(bytes_done=done, **({"bytes": total} if total else {}))

    def _start_over(self, fingerprint: str) -> None:
        """Begin a new epoch: late inserts of an earlier attempt are lost.

        The fingerprint is written last; without it the next run starts over, too.
        """
        shard, abandoned = self.record, self._table
        shard.epoch += 1
        shard.fingerprint = fingerprint
        shard.rows_done = shard.rows_kept = shard.rows_rejected = 0
        shard.notes, shard.rows_unknown_rating, shard.unknown_ratings = {}, 0, []
        self.lease.renew(epoch=shard.epoch, fingerprint="", **self._account)
        shard.rejects.all().delete()
        schema.drop(abandoned)
        schema.drop(self._table)  # of a dropped dataset of the same name
        self.lease.renew(fingerprint=fingerprint)

    def _insert_batches(self, content: OpenShard) -> None:
        shard = self.record
        removals = RemovalList.of(shard.dataset)
        first = shard.rows_done
        # A run that continues makes progress; one that starts over may do so for ever.
        progress = {"failures": 0} if first else {}
        with closing(content.batches(first)) as batches:
            for batch in batches:
                self.lease.renew()
                batch = without_removed(batch, shard.number, removals)
                check_rows(batch, shard.rows_done)
                self._store_rejects(batch)
                if batch.start == first:
                    self._resume_batch(batch)
                else:
                    self._insert_batch(batch)
                    shard.rows_kept += len(batch.rows)
                    shard.rows_rejected += len(batch.rejected)
                shard.rows_done = batch.end
                shard.notes = dict(Counter(shard.notes) + Counter(batch.notes))
                self._count_unknown_ratings(batch)
                self.lease.renew(**self._account, **progress)

    @property
    def _account(self) -> dict[str, Any]:
        """The fields of the ledger that account for the rows so far."""
        names = ("rows_done", "rows_kept", "rows_rejected", "notes")
        ratings = ("rows_unknown_rating", "unknown_ratings")
        return {name: getattr(self.record, name) for name in (*names, *ratings)}

    def _count_unknown_ratings(self, batch: Batch) -> None:
        unknown = unknown_ratings(batch.table, self._rules)
        shard = self.record
        shard.rows_unknown_rating += unknown.total()
        values = (_storable(value) for value, _ in unknown.most_common(MAX_UNKNOWN))
        listed = dict.fromkeys([*shard.unknown_ratings, *values])
        shard.unknown_ratings = list(listed)[:MAX_UNKNOWN]

    def _store_rejects(self, batch: Batch) -> None:
        Reject.objects.bulk_create(
            [Reject(shard=self.record, **asdict(row)) for row in batch.rejected],
            ignore_conflicts=True,
        )

    def _resume_batch(self, batch: Batch) -> None:
        """Insert a batch that an earlier attempt may have inserted, in part or whole.

        Its rows may differ from this attempt's: images that could be fetched then may
        be refused now. What has arrived stays. Raises SearchUnavailable, and starts
        over, unless each row has arrived or is rejected.
        """
        shard, table = self.record, self._table
        bounds = self._first_id + batch.start, self._first_id + batch.end - 1
        if writer.count_between(table, *bounds) != len(batch.rows):
            self._insert_batch(batch)
        arrived = [key - self._first_id for key in writer.ids_between(table, *bounds)]
        rejects = shard.rejects.filter(row__gte=batch.start, row__lt=batch.end)
        for first in range(0, len(arrived), MAX_IN_STATEMENT):
            rejects.filter(row__in=arrived[first : first + MAX_IN_STATEMENT]).delete()
        rejected = rejects.count()
        if len(arrived) + rejected != batch.end - batch.start:
            self._start_over("")
            raise SearchUnavailable(
                f"Of the rows {batch.start:,} to {batch.end - 1:,} {len(arrived):,} "
                f"arrived and {rejected:,} were left out; the shard starts over."
            )
        shard.rows_kept += len(arrived)
        shard.rows_rejected += rejected

    @property
    def _first_id(self) -> int:
        first, _ = writer.shard_bounds(self.record.number)
        return first

    def _insert_batch(self, batch: Batch) -> None:
        if len(batch.rows):
            self._fix_means(batch)
            shard, table = self.record, self._table
            token = f"{shard.number}:{shard.epoch}:{batch.start}"
            columns = item_columns(batch, shard.number, self._rules, table)
            writer.insert(table, columns, token)

    def _fix_means(self, batch: Batch) -> None:
        """Let the first rows of a dataset decide what its vectors are relative to.

        Of several shards the first one decides for all.
        """
        dataset = self.record.dataset
        if dataset.image_mean is not None or dataset.index == Dataset.Index.GRAPH:
            return
        means = means_of(batch, dataset.metric)
        undecided = Dataset.objects.filter(pk=dataset.pk, image_mean=None)
        undecided.update(image_mean=means["image"], text_mean=means["text"])
        dataset.refresh_from_db(fields=["image_mean", "text_mean"])

    def _check_complete(self, content: OpenShard) -> None:
        """Raise ShardUnreadable unless each row is an item or a reject."""
        shard = self.record
        account = shard.rows_kept + shard.rows_rejected
        if not shard.rows_done == len(content) == account:
            raise ShardUnreadable(
                f"The shard has {len(content):,} rows, of which {shard.rows_done:,} "
                f"were read: {shard.rows_kept:,} items, {shard.rows_rejected:,} left "
                "out."
            )

    def _check_count(self) -> None:
        """Raise SearchUnavailable, and start over, unless each row is there once."""
        rows, ids = writer.count(self._table)
        expected = self.record.rows_kept
        if rows == ids == expected:
            return
        self._start_over("")
        raise SearchUnavailable(
            f"{rows:,} rows arrived, of {ids:,} items, where {expected:,} were sent."
        )


def _storable(value: str) -> str:
    """Return the start of a text from a dataset; PostgreSQL has no character NUL."""
    return value.replace("\0", "")[:MAX_VALUE_LENGTH]


def without_removed(batch: Batch, shard: int, removals: RemovalList) -> Batch:
    """Return the batch with the rows on the removal list rejected."""
    first, _ = writer.shard_bounds(shard)
    removed = removals.contains(
        first + batch.rows, _texts(batch.table, "url"), _texts(batch.table, "md5")
    )
    if not removed.any():
        return batch
    stay = np.flatnonzero(~removed)
    files = list(_texts(batch.table, "file"))
    rejected = [
        Rejected(int(batch.rows[place]), "", REJECT_REASON, files[place])
        for place in np.flatnonzero(removed)
    ]
    return replace(
        batch,
        rows=batch.rows[stay],
        image=batch.image[stay],
        text=batch.text[stay],
        table=batch.table.take(pa.array(stay)),
        rejected=(*batch.rejected, *rejected),
    )


def _texts(table: pa.Table, name: str) -> Iterator[str]:
    """Yield the texts of a column, or empty ones if there is none of the name."""
    column = column_named(name, table.column_names)
    if column is None:
        yield from repeat("", len(table))
    else:
        yield from (str(value or "") for value in table[column].to_pylist())
