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
from django.db.models import F, Sum
from django.utils import timezone

from search.clickhouse import schema, writer
from search.clickhouse.schema import INDEXES, ItemTable
from search.errors import SearchError, SearchUnavailable
from search.models import Dataset, Partition, Shard
from search.service import table_of

from . import removals
from .claims import Claim, ClaimLost, unclaimed

ON_THEIR_WAY = [Shard.State.QUEUED, Shard.State.INGESTING]
TO_BE_PUBLISHED = [Shard.State.ARRIVED, Shard.State.REMOVING]
REPORTED_EVERY_S = 2

logger = logging.getLogger(__name__)


def partition_of(dataset: Dataset, shard_number: int) -> int:
    return shard_number // dataset.shards_per_partition


def publish(dataset: Dataset, number: int) -> bool:
    """Publishes a partition that has something new and nothing on its way.

    False if there is nothing to do, or another worker does it. Raises
    SearchUnavailable when the engine does not answer.
    """
    if not _due(dataset, number):
        return False
    publication = _claimed(dataset, number)
    if publication is None:
        return False
    try:
        with publication.claim.kept_alive():
            publication.run()
    except ClaimLost:
        logger.warning("Partition %s was taken over.", number)
        return False
    return True


def due(dataset: Dataset) -> list[int]:
    """The partitions that `publish` has something to do for."""
    waiting = dataset.shards.filter(state__in=TO_BE_PUBLISHED)
    numbers = {partition_of(dataset, number) for number in _numbers(waiting)}
    return [number for number in sorted(numbers) if _due(dataset, number)]


def _numbers(shards) -> list[int]:
    return list(shards.values_list("number", flat=True))


def _shards(dataset: Dataset, number: int):
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
    free = Partition.objects.filter(unclaimed(), dataset=dataset, number=number)
    now = timezone.now()
    claimed = free.update(
        attempts=F("attempts") + 1, lease_until=now, started_at=now, error=""
    )
    if not claimed:
        return None
    partition = Partition.objects.get(dataset=dataset, number=number)
    row = Partition.objects.filter(pk=partition.pk, attempts=partition.attempts)
    publication = Publication(dataset, number, Claim(row))
    publication.claim.hold()
    return publication


@dataclass
class Publication:
    """One attempt at publishing one partition."""

    dataset: Dataset
    number: int
    claim: Claim

    def run(self) -> None:
        try:
            self._publish()
        except SearchError as error:
            self.claim.release(error=error.message)
            raise

    def _publish(self) -> None:
        table = table_of(self.dataset)
        schema.create(table)
        shards = list(
            _shards(self.dataset, self.number).filter(state__in=TO_BE_PUBLISHED)
        )
        arriving = {
            shard.pk: table.arriving(shard.number, shard.epoch)
            for shard in shards
            if shard.state == Shard.State.ARRIVED
        }
        rebuilt = writer.assemble(
            table,
            self.number,
            list(arriving.values()),
            [shard.number for shard in shards],
        )
        if rows := self._counted(rebuilt, shards):
            self._build_indexes(rebuilt, rows)
        # What was taken down since the rows were read: beside, and once more after.
        since = min(shard.started_at or shard.changed_at for shard in shards)
        removals.hide(self.dataset, rebuilt, since)
        self.claim.hold()
        if rows:
            writer.publish(table, self.number, rebuilt)
        else:
            writer.drop_partition(table, self.number)
        removals.hide(self.dataset, table, since)
        self._enter(shards)
        for own_table in [*arriving.values(), rebuilt]:
            schema.drop(own_table)

    def _counted(self, rebuilt: ItemTable, shards: list[Shard]) -> int:
        others = _shards(self.dataset, self.number).exclude(
            pk__in=[shard.pk for shard in shards]
        )
        expected = others.aggregate(rows=Sum("rows_visible"))["rows"] or 0
        expected += sum(
            shard.rows_kept for shard in shards if shard.state == Shard.State.ARRIVED
        )
        rows, ids = writer.count(rebuilt)
        if not rows == ids == expected:
            raise SearchUnavailable(
                f"Partition {self.number} has {rows:,} rows of {ids:,} items, where "
                f"{expected:,} are expected."
            )
        return rows

    def _build_indexes(self, rebuilt: ItemTable, rows: int) -> None:
        self.claim.hold(vectors=rows * len(INDEXES), vectors_done=0)
        with self._progress_reported():
            writer.build_indexes(rebuilt, self.number)
        self.claim.hold(vectors_done=rows * len(INDEXES))

    @contextmanager
    def _progress_reported(self) -> Iterator[None]:
        """The engine counts the vectors of all graphs that are built at the time."""
        before, done = writer.vectors_indexed(), Event()

        def report() -> None:
            try:
                while not done.wait(REPORTED_EVERY_S):
                    self.claim.hold(vectors_done=writer.vectors_indexed() - before)
            except (ClaimLost, SearchError) as error:
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

    def _enter(self, shards: list[Shard]) -> None:
        """Into the ledger; a shard that has changed meanwhile is for the next time."""
        with transaction.atomic():
            self.claim.release()
            for shard in shards:
                arrived = shard.state == Shard.State.ARRIVED
                visible = shard.rows_kept if arrived else 0
                state = Shard.State.INGESTED if arrived else Shard.State.PENDING
                row = Shard.objects.filter(pk=shard.pk)
                row.update(rows_visible=visible)
                # Bringing it in again replaces its rows, even by the same ones.
                unchanged = row.filter(state=shard.state, epoch=shard.epoch)
                nothing = (
                    {} if arrived else {"rows": None, "rows_done": 0, "rows_kept": 0}
                )
                unchanged.update(state=state, fingerprint="", **nothing)
