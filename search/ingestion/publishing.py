"""Publish shards that have arrived, one partition at a time.

The next state of a partition is built in a table of its own: the visible rows, those of
the shards that arrived, then the indexes. Its rows are counted, and it replaces the
searched partition in one step. A crash at any point leaves the old state or the new
one, and the next attempt starts over.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from search.clickhouse import client, clustered, schema, words_column, writer
from search.clickhouse.schema import INDEXES, ItemTable
from search.errors import SearchError, SearchUnavailable
from search.jobs.leases import (
    MAX_FAILURES,
    WORKER_DIED,
    Lease,
    LeaseLost,
    database_errors,
)
from search.models import Dataset, Partition, Shard
from search.removals import takedowns

from . import clusters

State = Shard.State
IN_PROGRESS = [State.QUEUED, State.INGESTING]
TO_BE_PUBLISHED = [State.ARRIVED, State.REMOVING]
REMOVED: dict[str, Any] = {
    "state": State.PENDING,
    "rows": None,
    **dict.fromkeys(("rows_done", "rows_kept", "rows_rejected"), 0),
    "notes": {},
    "rows_unknown_rating": 0,
    "unknown_ratings": [],
}
REPORT_S = 2

logger = logging.getLogger(__name__)


def partition_of(dataset: Dataset, shard_number: int) -> int:
    return shard_number // dataset.shards_per_partition


def publish(dataset: Dataset, number: int) -> bool:
    """Publish a partition that has something new and no import in progress.

    Returns False if there is nothing to do, or another worker does it. Raises
    SearchUnavailable when the engine or the database does not answer, or when rows are
    missing; their shards are then queued to be imported again.
    """
    with database_errors():
        client.ping()
        publication = _acquire(dataset, number) if _is_due(dataset, number) else None
        if publication is None:
            return False
        return publication.lease.run(publication.run, f"Publishing {number}")


def interrupt(dataset: Dataset, shard_number: int) -> None:
    """End the lease of a publication in progress, since its shards have changed."""
    number = partition_of(dataset, shard_number)
    dataset.partitions.filter(number=number).update(
        attempts=F("attempts") + 1, failures=0, lease_until=None
    )


def due_partitions(dataset: Dataset) -> list[int]:
    """Return the numbers of the partitions to publish or to reindex."""
    shards = dataset.shards.filter(state__in=TO_BE_PUBLISHED)
    shard_numbers = shards.values_list("number", flat=True)
    numbers = {partition_of(dataset, number) for number in shard_numbers}
    numbers.update(_to_reindex(dataset).values_list("number", flat=True))
    return [number for number in sorted(numbers) if _is_due(dataset, number)]


def _shards(dataset: Dataset, number: int) -> QuerySet[Shard]:
    first = number * dataset.shards_per_partition
    last = first + dataset.shards_per_partition - 1
    return dataset.shards.filter(number__range=(first, last))


def _is_due(dataset: Dataset, number: int) -> bool:
    shards = _shards(dataset, number)
    if shards.filter(state__in=IN_PROGRESS).exists():
        return False
    if shards.filter(state__in=TO_BE_PUBLISHED).exists():
        return True
    return _to_reindex(dataset).filter(number=number).exists()


def _to_reindex(dataset: Dataset) -> QuerySet[Partition]:
    """Return the partitions to reindex, without those that failed too often."""
    return dataset.partitions.filter(reindex=True, failures__lt=MAX_FAILURES)


def _acquire(dataset: Dataset, number: int) -> "Publication | None":
    Partition.objects.get_or_create(dataset=dataset, number=number)
    lease = Lease.acquire(dataset.partitions.filter(number=number))
    # With the dataset as it is now: its means may be newer than the caller's.
    row = lease.row.select_related("dataset") if lease else None
    partition = row.first() if row else None
    if lease is None or partition is None:
        return None
    return Publication(partition.dataset, partition, lease)


@dataclass
class Publication:
    """One attempt at publishing one partition."""

    dataset: Dataset
    partition: Partition
    lease: Lease

    def run(self) -> None:
        shards = list(self._shards.filter(state__in=TO_BE_PUBLISHED))
        try:
            if self.partition.failures > MAX_FAILURES:
                self._give_up(shards)
            elif shards:
                self._publish(shards)
            elif self.partition.reindex:
                self._reindex()
            else:
                self.lease.release(failures=0)
        except SearchError as error:
            self.lease.release(error=error.message)
            raise SearchUnavailable(error.message) from error

    def _give_up(self, shards: list[Shard]) -> None:
        """Fail the shards: an index that does not fit into memory never will."""
        reason = f"It could not be published in {MAX_FAILURES} attempts. "
        reason += self.partition.error or WORKER_DIED
        with transaction.atomic():
            self.lease.release(failures=0)
            for shard in shards:
                unchanged = Shard.objects.filter(pk=shard.pk, state=shard.state)
                unchanged.update(state=State.FAILED, error=reason)

    @property
    def _shards(self) -> QuerySet[Shard]:
        return _shards(self.dataset, self.partition.number)

    def _publish(self, shards: list[Shard]) -> None:
        table, number = self.dataset.item_table, self.partition.number
        started = timezone.now()
        self.lease.renew(started_at=started)
        schema.create(table)
        rebuilt = self._assemble(table, shards)
        self._fill_words(rebuilt)
        if rows := self._check_counts(rebuilt, shards):
            self._build_indexes(rebuilt, sum(rows.values()))
        fields = self._fill_clusters(rebuilt, rows, [each.number for each in shards])
        # Hide takedowns since the rows were read, in the new table and, for later
        # ones, in the published one.
        read_at = [shard.started_at for shard in shards if shard.started_at]
        since = min([started, *read_at])
        takedowns.hide(self.dataset, rebuilt, since)
        self.lease.renew()
        if rows:
            writer.publish(table, number, rebuilt, fields)
        else:
            writer.drop_partition(table, number)
        takedowns.hide(self.dataset, table, since)
        for shard in self._mark_published(shards):
            schema.drop(table.arriving(shard.number, shard.epoch))
        schema.drop(rebuilt)
        self._finish_reindex()
        clusters.schedule_if_outgrown(self.dataset)

    def _reindex(self) -> None:
        """Add to the partition what its index lacks: see control.reindex.

        Graphs stay, except in parts so small that the engine writes them anew.
        """
        table, number = self.dataset.item_table, self.partition.number
        started = timezone.now()
        self.lease.renew(started_at=started)
        schema.create(table)
        rebuilt = self._assemble(table, [])
        if rows := self._check_counts(rebuilt, []):
            if not self.dataset.words_indexed:
                self._fill_words(rebuilt)
                words_column.build_index(rebuilt, number)
            fields = self._fill_clusters(rebuilt, rows, [])
            takedowns.hide(self.dataset, rebuilt, started)
            self.lease.renew()
            writer.publish(table, number, rebuilt, fields)
            takedowns.hide(self.dataset, table, started)
        self._release()
        schema.drop(rebuilt)
        self._finish_reindex()

    def _release(self) -> None:
        """Release the lease of a partition whose next state is published."""
        changes: dict[str, Any] = {"failures": 0, "error": ""}
        # What was asked for meanwhile is still to be done.
        if self.partition.reindex:
            changes["reindex"] = False
        self.lease.release(**changes)
        clusters.bump_revision(self.dataset)

    def _finish_reindex(self) -> None:
        """Search by the new index once the last partition has it."""
        if self.partition.reindex:
            finish_reindex(self.dataset)

    def _fill_words(self, rebuilt: ItemTable) -> None:
        if not (rows := words_column.count_unfilled(rebuilt)):
            return
        self.lease.renew(vectors=rows, vectors_done=0)
        words_column.fill(rebuilt, lambda done: self.lease.renew(vectors_done=done))

    def _assemble(self, table: ItemTable, shards: list[Shard]) -> ItemTable:
        """Copy rows into a new table of this attempt, and return it.

        Another attempt's table may still be written to by a worker presumed dead.
        """
        rebuilt = table.rebuilt(self.partition.number, self.partition.attempts)
        arriving = [
            table.arriving(shard.number, shard.epoch)
            for shard in shards
            if shard.state == State.ARRIVED
        ]
        for shard_table in arriving:
            schema.create(shard_table)  # a lost table counts as one without rows
        numbers = [shard.number for shard in shards]
        writer.assemble(table, self.partition.number, rebuilt, arriving, numbers)
        return rebuilt

    def _check_counts(self, rebuilt: ItemTable, shards: list[Shard]) -> dict[int, int]:
        """Return the rows of the new table, by shard.

        Where it differs from the ledger, shards start over, and SearchUnavailable is
        raised.
        """
        counts = writer.count_by_shard(rebuilt)
        changing, wrong = {shard.pk: shard for shard in shards}, []
        for current in self._shards:
            shard = changing.get(current.pk, current)
            is_changing = current.pk in changing
            expected = _rows_after(shard) if is_changing else current.rows_visible
            if counts.get(current.number, (0, 0)) != (expected, expected):
                wrong.append(shard)
        if wrong:
            self.lease.renew()
            for shard in wrong:
                _start_over(shard, counts.get(shard.number, (0, 0))[0])
            numbers = ", ".join(str(shard.number) for shard in wrong)
            raise SearchUnavailable(
                f"Rows of the shards {numbers} are not as the ledger has them; they "
                "are brought in again."
            )
        return {shard: rows for shard, (rows, _) in counts.items()}

    def _fill_clusters(
        self, rebuilt: ItemTable, rows: dict[int, int], changed: list[int]
    ) -> list[str]:
        """Build the next state of the clustered tables beside that of the main one.

        `rows` are those of the partition, by shard. Return the fields that have a
        table. Raises SearchUnavailable where the new tables have other rows.
        """
        if not (rows and clusters.are_kept(self.dataset)):
            return []
        by_field = clusters.fields_of_rows(self.dataset, rows)
        centroids = clusters.centroids_of(self.dataset, rebuilt, by_field)
        table, missing = self.dataset.item_table, {}
        for field, wanted in by_field.items():
            version = centroids[field].version
            missing[field] = clustered.start(
                table, rebuilt, field, version, wanted, changed
            )
        vectors = sum(
            by_field[field][shard] for field in missing for shard in missing[field]
        )
        self.lease.renew(vectors=vectors, vectors_done=0)
        clustered.fill(
            rebuilt,
            centroids,
            missing,
            lambda done: self.lease.renew(vectors_done=done),
        )
        for field, wanted in by_field.items():
            found = clustered.merge(rebuilt, field)
            if found != {shard: (count, count) for shard, count in wanted.items()}:
                raise SearchUnavailable(
                    f"The clusters of {rebuilt.name} do not have all rows."
                )
        return list(by_field)

    def _build_indexes(self, rebuilt: ItemTable, rows: int) -> None:
        if self.dataset.index == Dataset.Index.CLUSTERS:
            writer.build_indexes(rebuilt, self.partition.number)
            return
        self.lease.renew(vectors=rows * len(INDEXES), vectors_done=0)
        with self._progress_reported():
            writer.build_indexes(rebuilt, self.partition.number)
        self.lease.renew(vectors_done=rows * len(INDEXES))

    @contextmanager
    def _progress_reported(self) -> Iterator[None]:
        """Report the progress of index builds from a thread.

        The engine has one counter for the vectors of all builds that are running.
        """
        before, done = writer.vectors_indexed(), Event()

        def report() -> None:
            try:
                while not done.wait(REPORT_S):
                    self.lease.renew(vectors_done=writer.vectors_indexed() - before)
            except (LeaseLost, SearchError) as error:
                logger.info("The progress of an index is not known: %s", error)
            finally:
                connection.close()

        thread = Thread(target=report, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _mark_published(self, shards: list[Shard]) -> list[Shard]:
        """Update the ledger; return the shards that have not changed meanwhile."""
        unchanged = []
        with transaction.atomic():
            self._release()
            for shard in shards:
                row = Shard.objects.filter(pk=shard.pk)
                if rows := _rows_after(shard):
                    row.filter(rows_visible=0).update(published_at=timezone.now())
                row.update(rows_visible=rows)
                # The fingerprint goes: importing the shard again replaces its rows,
                # even by the same ones.
                arrived = shard.state == State.ARRIVED
                changes = {"state": State.INGESTED} if arrived else REMOVED
                if row.filter(state=shard.state, epoch=shard.epoch).update(
                    fingerprint="", **changes
                ):
                    unchanged.append(shard)
        return unchanged


def finish_reindex(dataset: Dataset) -> None:
    """Search by the words of captions unless a partition still waits for them."""
    if dataset.partitions.filter(reindex=True).exists():
        return
    Dataset.objects.filter(pk=dataset.pk).update(words_indexed=True)
    clusters.finish_move(dataset)
    dataset.refresh_from_db()
    schema.create(dataset.item_table)  # drops the indexes of the earlier version


def _rows_after(shard: Shard) -> int:
    """Return how many rows of a shard are visible once it is published."""
    return shard.rows_kept if shard.state == State.ARRIVED else 0


def _start_over(shard: Shard, rows: int) -> None:
    """Queue a shard of which so many rows were found, unless it changed meanwhile."""
    row = Shard.objects.filter(pk=shard.pk, state=shard.state, epoch=shard.epoch)
    if shard.state not in TO_BE_PUBLISHED:
        row.update(rows_visible=rows)
    if shard.state in (State.ARRIVED, State.INGESTED):
        row.update(state=State.QUEUED, fingerprint="")
