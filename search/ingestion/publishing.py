"""From shards that have arrived to rows that searches find, a partition at a time.

The next state of a partition is made beside the one that is searched: its rows, those
of the shards that arrived, then the indexes. It is counted, and takes the other's place
in one step. A crash at any point leaves the old state or the new one, and whoever
publishes next begins anew.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from search.clickhouse import client, schema, writer
from search.clickhouse.schema import INDEXES, ItemTable
from search.errors import SearchError, SearchUnavailable
from search.jobs.leases import MAX_FAILURES, SILENT, Lease, LeaseLost, database_errors
from search.models import Dataset, Partition, Shard
from search.removals import takedowns

ON_THEIR_WAY = [Shard.State.QUEUED, Shard.State.INGESTING]
TO_BE_PUBLISHED = [Shard.State.ARRIVED, Shard.State.REMOVING]
NOTHING = {"state": Shard.State.PENDING, "rows": None, "rows_done": 0, "rows_kept": 0}
REPORTED_EVERY_S = 2

logger = logging.getLogger(__name__)


def partition_of(dataset: Dataset, shard_number: int) -> int:
    return shard_number // dataset.shards_per_partition


def publish(dataset: Dataset, number: int) -> bool:
    """Publishes a partition that has something new and nothing on its way.

    False if there is nothing to do, or another worker does it. Raises
    SearchUnavailable when the engine or the ledger does not answer, or when rows are
    missing; their shards are then queued to be brought in again.
    """
    with database_errors():
        client.ping()
        publication = _claimed(dataset, number) if _due(dataset, number) else None
        if publication is None:
            return False
        try:
            with publication.claim.kept_alive():
                publication.run()
        except LeaseLost:
            logger.info("Publishing %s was stopped or taken over.", number)
            return False
        return True


def interrupt(dataset: Dataset, shard_number: int) -> None:
    """Has a publication that is under way come to nothing, for its shards changed."""
    number = partition_of(dataset, shard_number)
    dataset.partitions.filter(number=number).update(
        attempts=F("attempts") + 1, failures=0, lease_until=None
    )


def due_partitions(dataset: Dataset) -> list[int]:
    """The partitions that `publish` has something to do for."""
    waiting = dataset.shards.filter(state__in=TO_BE_PUBLISHED)
    numbers = {partition_of(dataset, number) for number in _numbers(waiting)}
    return [number for number in sorted(numbers) if _due(dataset, number)]


def _numbers(shards: QuerySet[Shard]) -> list[int]:
    return list(shards.values_list("number", flat=True))


def _shards(dataset: Dataset, number: int) -> QuerySet[Shard]:
    first = number * dataset.shards_per_partition
    last = first + dataset.shards_per_partition - 1
    return dataset.shards.filter(number__range=(first, last))


def _due(dataset: Dataset, number: int) -> bool:
    shards = _shards(dataset, number)
    if shards.filter(state__in=ON_THEIR_WAY).exists():
        return False
    return shards.filter(state__in=TO_BE_PUBLISHED).exists()


def _claimed(dataset: Dataset, number: int) -> "Publication | None":
    Partition.objects.get_or_create(dataset=dataset, number=number)
    claim = Lease.on(dataset.partitions.filter(number=number))
    if claim is None:
        return None
    partition = claim.row.first()
    return Publication(dataset, partition, claim) if partition else None


@dataclass
class Publication:
    """One attempt at publishing one partition."""

    dataset: Dataset
    partition: Partition
    claim: Lease

    def run(self) -> None:
        shards = list(self._shards.filter(state__in=TO_BE_PUBLISHED))
        try:
            if self.partition.failures > MAX_FAILURES:
                self._give_up(shards)
            elif shards:
                self._publish(shards)
            else:
                self.claim.release(failures=0)
        except SearchError as error:
            self.claim.release(error=error.message)
            raise SearchUnavailable(error.message) from error

    def _give_up(self, shards: list[Shard]) -> None:
        """A graph that does not fit into memory would be tried for ever."""
        reason = f"It could not be published in {MAX_FAILURES} attempts. "
        reason += self.partition.error or SILENT
        with transaction.atomic():
            self.claim.release(failures=0)
            for shard in shards:
                unchanged = Shard.objects.filter(pk=shard.pk, state=shard.state)
                unchanged.update(state=Shard.State.FAILED, error=reason)

    @property
    def _shards(self) -> QuerySet[Shard]:
        return _shards(self.dataset, self.partition.number)

    def _publish(self, shards: list[Shard]) -> None:
        table, number = self.dataset.item_table, self.partition.number
        begun = timezone.now()
        self.claim.hold(started_at=begun)
        schema.create(table)
        rebuilt = self._assembled(table, shards)
        if rows := self._counted(rebuilt, shards):
            self._build_indexes(rebuilt, rows)
        # What was taken down since the rows were read: beside, and once more after.
        read = [shard.started_at for shard in shards if shard.started_at]
        takedowns.hide(self.dataset, rebuilt, since := min([begun, *read]))
        self.claim.hold()
        if rows:
            writer.publish(table, number, rebuilt)
        else:
            writer.drop_partition(table, number)
        takedowns.hide(self.dataset, table, since)
        for shard in self._entered(shards):
            schema.drop(table.arriving(shard.number, shard.epoch))
        schema.drop(rebuilt)

    def _assembled(self, table: ItemTable, shards: list[Shard]) -> ItemTable:
        """Of this attempt alone: one thought dead must not publish what is not done."""
        rebuilt = table.rebuilt(self.partition.number, self.partition.attempts)
        arriving = [
            table.arriving(shard.number, shard.epoch)
            for shard in shards
            if shard.state == Shard.State.ARRIVED
        ]
        for shard_table in arriving:
            schema.create(shard_table)  # one that got lost has no rows
        numbers = [shard.number for shard in shards]
        writer.assemble(table, self.partition.number, rebuilt, arriving, numbers)
        return rebuilt

    def _counted(self, rebuilt: ItemTable, shards: list[Shard]) -> int:
        """The rows; shards with another number than the ledger says start over."""
        counted = writer.count_by_shard(rebuilt)
        changing, wrong = {shard.pk: shard for shard in shards}, []
        for now in self._shards:
            shard = changing.get(now.pk, now)
            expected = _visible(shard) if now.pk in changing else now.rows_visible
            if counted.get(now.number, (0, 0)) != (expected, expected):
                wrong.append(shard)
        if wrong:
            self.claim.hold()
            for shard in wrong:
                _start_over(shard, counted.get(shard.number, (0, 0))[0])
            numbers = ", ".join(str(shard.number) for shard in wrong)
            raise SearchUnavailable(
                f"Rows of the shards {numbers} are not as the ledger has them; they "
                "are brought in again."
            )
        return sum(rows for rows, _ in counted.values())

    def _build_indexes(self, rebuilt: ItemTable, rows: int) -> None:
        self.claim.hold(vectors=rows * len(INDEXES), vectors_done=0)
        with self._progress_reported():
            writer.build_indexes(rebuilt, self.partition.number)
        self.claim.hold(vectors_done=rows * len(INDEXES))

    @contextmanager
    def _progress_reported(self) -> Iterator[None]:
        """The engine counts the vectors of all graphs that are built at the time."""
        before, done = writer.vectors_indexed(), Event()

        def report() -> None:
            try:
                while not done.wait(REPORTED_EVERY_S):
                    self.claim.hold(vectors_done=writer.vectors_indexed() - before)
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

    def _entered(self, shards: list[Shard]) -> list[Shard]:
        """Into the ledger; a shard that has changed meanwhile is for the next time."""
        done = []
        with transaction.atomic():
            self.claim.release(failures=0, error="")
            for shard in shards:
                row = Shard.objects.filter(pk=shard.pk)
                if rows := _visible(shard):
                    row.filter(rows_visible=0).update(published_at=timezone.now())
                row.update(rows_visible=rows)
                # Bringing it in again replaces its rows, even by the same ones.
                arrived = shard.state == Shard.State.ARRIVED
                changes = {"state": Shard.State.INGESTED} if arrived else NOTHING
                if row.filter(state=shard.state, epoch=shard.epoch).update(
                    fingerprint="", **changes
                ):
                    done.append(shard)
        return done


def _visible(shard: Shard) -> int:
    """How many rows of a shard are to be seen once it is published."""
    return shard.rows_kept if shard.state == Shard.State.ARRIVED else 0


def _start_over(shard: Shard, found: int) -> None:
    row = Shard.objects.filter(pk=shard.pk, state=shard.state, epoch=shard.epoch)
    if shard.state not in TO_BE_PUBLISHED:
        row.update(rows_visible=found)
    if shard.state in (Shard.State.ARRIVED, Shard.State.INGESTED):
        row.update(state=Shard.State.QUEUED, fingerprint="")
