"""The run of one shard: claim, check, insert, count, index.

The ledger in Django's database is the truth. A run claims its shard by one UPDATE with
a lease, and each later step holds only while the claim does, so that a run which was
thought dead and comes back changes nothing.
"""

import logging
from collections.abc import Callable
from datetime import timedelta

import numpy as np
from django.db.models import F, Q
from django.utils import timezone

from search.clickhouse import schema, writer
from search.errors import SearchUnavailable, ShardUnreadable
from search.models import Dataset, Shard
from search.service import table_of

from .columns import item_columns
from .laion import LaionFolder, LaionShard

BATCH_ROWS = 10_000
LEASE = timedelta(minutes=5)
BAD_ROWS_ALLOWED = 0.01
NAMED_BAD_ROWS = 20

State = Shard.State
Progress = Callable[[int, int], None]  # rows done, rows in all

logger = logging.getLogger(__name__)


class ClaimLost(Exception):
    """Another run has taken the shard over."""


def find_shards(dataset: Dataset) -> int:
    """Enters the shards of the dataset's source that are not in the ledger yet.

    Returns how many the source has; raises ShardUnreadable when it cannot be read.
    """
    numbers = LaionFolder(dataset.source).shards()
    Shard.objects.bulk_create(
        [Shard(dataset=dataset, number=number) for number in numbers],
        ignore_conflicts=True,
    )
    return len(numbers)


def queue(shards) -> list[int]:
    """Marks those of a queryset that are not on their way yet; returns their keys."""
    startable = [State.PENDING, State.FAILED, State.INGESTED]
    keys = list(shards.filter(state__in=startable).values_list("pk", flat=True))
    return [
        key
        for key in keys
        if Shard.objects.filter(pk=key, state__in=startable).update(
            state=State.QUEUED, error=""
        )
    ]


def ingest(shard_pk: int, progress: Progress | None = None) -> bool:
    """Brings one shard in; False if it is not free to be claimed.

    A shard whose files are wrong ends FAILED with the reason. SearchUnavailable is
    raised, and the shard queued again, when the engine does not answer.
    """
    shard = _claimed(shard_pk)
    if shard is None:
        return False
    try:
        _attempt(shard, progress or (lambda done, total: None))
    except ClaimLost:
        logger.warning("Shard %s was taken over by another run.", shard_pk)
        return False
    return True


def _attempt(shard: Shard, progress: Progress) -> None:
    try:
        _bring_in(shard, progress)
    except ShardUnreadable as error:
        _finish(shard, state=State.FAILED, error=error.message)
    except SearchUnavailable as error:
        _finish(shard, state=State.QUEUED, error=error.message)
        raise
    except ClaimLost:
        raise
    except Exception:
        _finish(shard, state=State.FAILED, error="The import broke off; see the log.")
        raise


def index_if_complete(dataset: Dataset, partition: int) -> bool:
    """Builds a partition's indexes once none of its shards is on its way."""
    first, last = writer.shards_of(partition)
    shards = dataset.shards.filter(number__range=(first, last))
    if shards.filter(state__in=[State.QUEUED, State.INGESTING]).exists():
        return False
    if not shards.filter(state=State.INGESTED).exists():
        return False
    writer.build_indexes(table_of(dataset), partition)
    return True


def _claimed(shard_pk: int) -> Shard | None:
    now = timezone.now()
    free = Q(state__in=[State.PENDING, State.QUEUED, State.FAILED])
    abandoned = Q(state=State.INGESTING, lease_until__lt=now)
    claimed = Shard.objects.filter(free | abandoned, pk=shard_pk).update(
        state=State.INGESTING,
        attempts=F("attempts") + 1,
        lease_until=now + LEASE,
        rows_done=0,
        error="",
        changed_at=now,
    )
    if not claimed:
        return None
    return Shard.objects.select_related("dataset").get(pk=shard_pk)


def _held(shard: Shard, **changes) -> None:
    """Writes to the ledger if the claim still stands; raises ClaimLost otherwise."""
    mine = Shard.objects.filter(
        pk=shard.pk, state=State.INGESTING, attempts=shard.attempts
    )
    if not mine.update(changed_at=timezone.now(), **changes):
        raise ClaimLost


def _finish(shard: Shard, **changes) -> None:
    _held(shard, lease_until=None, **changes)


def _bring_in(shard: Shard, progress: Progress) -> None:
    dataset = shard.dataset
    source = LaionFolder(dataset.source).open(shard.number, dataset.dimension)
    good = _good_rows(source)
    table = table_of(dataset)
    schema.create(table)
    # A run that broke off, or an earlier import, may have left rows.
    if writer.count_shard(table, shard.number):
        writer.delete_shard(table, shard.number)
    _held(shard, rows=len(source))
    try:
        _insert(shard, table, source, good, progress)
    except ShardUnreadable:
        writer.delete_shard(table, shard.number)  # nothing is left half done
        raise
    expected, there = int(good.sum()), writer.count_shard(table, shard.number)
    if there != expected:
        raise SearchUnavailable(f"{there:,} of {expected:,} rows arrived.")
    _finish(
        shard,
        state=State.INGESTED,
        rows=expected,
        rows_done=expected,
        error=_rejected(source.bad_rows),
    )


def _insert(
    shard: Shard,
    table: schema.ItemTable,
    source: LaionShard,
    good: np.ndarray,
    progress: Progress,
) -> None:
    for batch in source.batches(BATCH_ROWS):
        end = batch.start + len(batch)
        columns = item_columns(batch, shard.number, good[batch.start : end])
        # The attempt is part of the token: after a deletion, the rows of the attempt
        # before would otherwise count as inserted already.
        token = f"{table.slug}:{shard.number}:{shard.attempts}:{batch.start}"
        writer.insert(table, columns, token)
        _held(shard, rows_done=end, lease_until=timezone.now() + LEASE)
        progress(end, len(source))


def _good_rows(source: LaionShard) -> np.ndarray:
    good = np.ones(len(source), bool)
    good[source.bad_rows] = False
    if len(source.bad_rows) > BAD_ROWS_ALLOWED * len(source):
        raise ShardUnreadable(
            f"{len(source.bad_rows):,} of {len(source):,} rows have a vector that is "
            "zero or not finite; more than 1 % is not taken in."
        )
    return good


def _rejected(bad_rows: np.ndarray) -> str:
    if not len(bad_rows):
        return ""
    named = ", ".join(map(str, bad_rows[:NAMED_BAD_ROWS]))
    more = ", …" if len(bad_rows) > NAMED_BAD_ROWS else ""
    return f"Left out, their vectors being zero or not finite: rows {named}{more}."
