"""The run of one shard: claim, check, insert, count, index.

The ledger in Django's database is the truth. A run claims its shard by one UPDATE with
a lease, and each later step holds only while the claim does. A run that was thought
dead and comes back changes nothing: the batch it still sends is known by its token.
"""

import logging
from collections.abc import Callable
from datetime import timedelta

import numpy as np
from django.db.models import F, Q, QuerySet
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


def queue(shards: QuerySet[Shard]) -> list[int]:
    """Marks the shards of a queryset that no run holds; returns their keys.

    One that is queued already is returned again: its message may be lost, and a second
    one does no harm.
    """
    keys = shards.filter(_free()).values_list("pk", flat=True)
    return [
        key
        for key in list(keys)
        if Shard.objects.filter(_free(), pk=key).update(
            state=State.QUEUED, lease_until=None, error=""
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


def give_up(shard_pk: int, reason: str) -> None:
    """Fails a queued shard that was tried too often."""
    Shard.objects.filter(pk=shard_pk, state=State.QUEUED).update(
        state=State.FAILED, error=reason, changed_at=timezone.now()
    )


def _attempt(shard: Shard, progress: Progress) -> None:
    try:
        _bring_in_or_fail(shard, progress)
    except SearchUnavailable as error:
        _finish(shard, state=State.QUEUED, error=error.message)
        raise


def _bring_in_or_fail(shard: Shard, progress: Progress) -> None:
    try:
        _bring_in(shard, progress)
    except ShardUnreadable as error:
        _fail(shard, error.message)
    except (SearchUnavailable, ClaimLost):
        raise
    except Exception:
        _fail(shard, "The import broke off; see the log.")
        raise


def _fail(shard: Shard, reason: str) -> None:
    """Nothing half done is left behind."""
    _clear(shard)
    _finish(shard, state=State.FAILED, error=reason, rows=None, rows_done=0)


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


def _free() -> Q:
    """Whether no run holds a shard: none began, or the one that did is dead."""
    dead = Q(lease_until__lt=timezone.now()) | Q(lease_until__isnull=True)
    return ~Q(state=State.INGESTING) | dead


def _claimed(shard_pk: int) -> Shard | None:
    now = timezone.now()
    # A message may come twice: what is in already stays as it is.
    due = Shard.objects.filter(_free(), pk=shard_pk).exclude(state=State.INGESTED)
    claimed = due.update(
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
    now = timezone.now()
    changes = {"lease_until": now + LEASE, "changed_at": now, **changes}
    mine = Shard.objects.filter(
        pk=shard.pk, state=State.INGESTING, attempts=shard.attempts
    )
    if not mine.update(**changes):
        raise ClaimLost


def _finish(shard: Shard, **changes) -> None:
    _held(shard, lease_until=None, **changes)


def _clear(shard: Shard) -> None:
    """Deletes a shard's rows; those to come count as new ones."""
    shard.epoch += 1
    _held(shard, epoch=shard.epoch, fingerprint="")
    table = table_of(shard.dataset)
    schema.create(table)
    if writer.count_shard(table, shard.number):
        writer.delete_shard(table, shard.number)


def _bring_in(shard: Shard, progress: Progress) -> None:
    dataset = shard.dataset
    source = LaionFolder(dataset.source).open(shard.number, dataset.dimension)
    good = _good_rows(source)
    table = table_of(dataset)
    schema.create(table)
    if shard.fingerprint != source.fingerprint:
        _clear(shard)
    # From here on an attempt that follows goes on where this one broke off.
    _held(shard, rows=len(source), fingerprint=source.fingerprint)
    _insert(shard, table, source, good, progress)
    expected, there = int(good.sum()), writer.count_shard(table, shard.number)
    if there != expected:
        _clear(shard)
        raise SearchUnavailable(f"{there:,} of {expected:,} rows arrived.")
    _finish(
        shard,
        state=State.INGESTED,
        rows=expected,
        rows_done=expected,
        # Bringing it in again replaces its rows, even by the same ones.
        fingerprint="",
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
        # Every run of the same files sends the same tokens: a batch that is there
        # already is not inserted again, even by a run that was thought dead.
        token = f"{table.slug}:{shard.number}:{shard.epoch}:{batch.start}"
        _held(shard)
        writer.insert(table, columns, token)
        _held(shard, rows_done=end)
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
