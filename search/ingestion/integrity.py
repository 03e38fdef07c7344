"""Compare the ledger with the engine: rows that were lost, and what brings them back.

The sweeper compares at the start and with each sweep, from the counts of the engine's
parts, which costs next to nothing.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.db.models import Q
from django.utils import timezone

from search.clickhouse import client, writer
from search.models import Dataset, Shard

from . import control
from .publishing import TO_BE_PUBLISHED, partition_of

State = Shard.State
MIN_ROOM = 100 * 2**20  # bytes that shards need which found the disk full
FULL = Q(error__contains="disk") & (
    Q(error__contains="full") | Q(error__contains="stay free")
)

logger = logging.getLogger(__name__)


def check() -> None:
    """Note for each dataset which rows are missing. Raises SearchUnavailable."""
    # The ledger first: what is published meanwhile is not missed.
    expected = {dataset: _expected(dataset) for dataset in Dataset.objects.all()}
    counts = writer.count_by_partition()
    for dataset, rows in expected.items():
        found = _missing(dataset, rows, counts)
        if found != dataset.missing and not _is_changing(dataset, found):
            Dataset.objects.filter(pk=dataset.pk).update(missing=found)
            if found:
                logger.error("%s: %s rows are missing.", dataset, found["rows"])


def _expected(dataset: Dataset) -> Counter[int]:
    """Return the visible rows of a dataset by partition."""
    rows: Counter[int] = Counter()
    visible = dataset.shards.filter(rows_visible__gt=0)
    for number, count in visible.values_list("number", "rows_visible"):
        rows[partition_of(dataset, number)] += count
    return rows


def _missing(
    dataset: Dataset,
    expected: Mapping[int, int],
    counts: Mapping[str, Mapping[int, int]],
) -> dict[str, Any]:
    tables = [dataset.item_table]
    being_moved = dataset.partitions.filter(reindex=True)
    if dataset.index == Dataset.Index.CLUSTERS and not being_moved.exists():
        tables.append(dataset.item_table.clustered("image"))
    missing = {}
    for partition, rows in expected.items():
        found = min(counts.get(each.name, {}).get(partition, 0) for each in tables)
        if found < rows:
            missing[partition] = rows - found
    if not missing:
        return {}
    return {"rows": sum(missing.values()), "partitions": sorted(missing)}


def _is_changing(dataset: Dataset, found: Mapping[str, Any]) -> bool:
    """Return whether a partition that lacks rows is being published."""
    if not found:
        return False
    leased = dataset.partitions.filter(lease_until__gte=timezone.now())
    changing = set(leased.values_list("number", flat=True))
    due = dataset.shards.filter(state__in=TO_BE_PUBLISHED)
    changing |= {
        partition_of(dataset, number) for number in due.values_list("number", flat=True)
    }
    return bool(changing.intersection(found["partitions"]))


def bring_back(dataset: Dataset) -> int:
    """Import the shards again whose rows are missing; return how many."""
    partitions = dataset.missing.get("partitions", [])
    numbers = [
        number
        for number in dataset.shards.values_list("number", flat=True)
        if partition_of(dataset, number) in partitions
    ]
    return control.queue(dataset, dataset.shards.filter(number__in=numbers), "again")


def resume_after_full_disk() -> int:
    """Queue the shards that a full disk has failed, once there is room; count them.

    Raises SearchUnavailable.
    """
    failed = Shard.objects.filter(
        FULL, state=State.FAILED, dataset__deleted_at=None
    ).select_related("dataset")
    if not failed or not client.has_room(MIN_ROOM):
        return 0
    return sum(
        control.queue(shard.dataset, Shard.objects.filter(pk=shard.pk), "retry")
        for shard in failed
    )
