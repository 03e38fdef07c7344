"""Delete datasets, for pages, commands and API; for a day, that can be undone.

A deleted dataset stays in the ledger, hidden by `Dataset.objects`, under a slug that no
address can have. So deleting needs no engine, and its old slug is free at once. When
the time is over, the sweeper drops the tables, then the row.
"""

import logging
import shutil
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from search.clickhouse import client, schema, writer
from search.errors import NotFound
from search.models import Dataset, Shard
from search.models.registry import KEPT
from search.models.signals import counting_dependents, purged, purging, slug_changed

from . import tasks
from .setup.creation import free_slug

UNDONE_FOR = "24 hours"
GONE = "There is no deleted dataset {}: it was restored, or dropped for good."
State = Shard.State

logger = logging.getLogger(__name__)


def consequences(dataset: Dataset) -> list[str]:
    """Return what goes with a dataset, as ["1,200 images", "3 saved searches"]."""
    return [
        f"{count:,} {one if count == 1 else many}"
        for count, one, many in _dependents(dataset)
        if count
    ]


def _dependents(dataset: Dataset) -> Iterator[tuple[int, str, str]]:
    yield dataset.item_count(), "image", "images"
    counted: Any = counting_dependents.send(Dataset, slug=dataset.slug)
    for _, counts in counted:
        yield from counts


def delete(dataset: Dataset) -> None:
    """Hide a dataset everywhere; its imports stop. Raises NotFound."""
    with transaction.atomic():
        row = Dataset.objects.select_for_update().filter(pk=dataset.pk).first()
        if row is None:
            raise NotFound(f"There is no dataset named “{dataset.slug}”.")
        row.deleted_slug, row.slug = row.slug, f"~{row.pk}"
        row.deleted_at = timezone.now()
        row.save(update_fields=["deleted_slug", "slug", "deleted_at"])
        # Their runs lose the lease; they continue if the dataset is restored.
        row.shards.filter(state=State.INGESTING).update(
            state=State.QUEUED, lease_until=None
        )
        slug_changed.send(Dataset, old=row.deleted_slug, new=row.slug)
    logger.info("The dataset %s is deleted.", row.deleted_slug)


def deleted() -> list[Dataset]:
    """Return the datasets that can be restored, the last deleted first."""
    found = Dataset.everything.exclude(deleted_at=None)
    return list(found.order_by("-deleted_at"))


def find_deleted(pk: int) -> Dataset:
    """Return a deleted dataset. Raises NotFound."""
    found = Dataset.everything.exclude(deleted_at=None).filter(pk=pk).first()
    if found is None:
        raise NotFound(GONE.format(pk))
    return found


def restore(dataset: Dataset) -> Dataset:
    """Undo a deletion; its imports continue. Raises NotFound.

    Where another dataset has its slug by now, it gets a free one.
    """
    with transaction.atomic():
        rows = Dataset.everything.select_for_update().exclude(deleted_at=None)
        row = rows.filter(pk=dataset.pk).first()
        if row is None:
            raise NotFound(GONE.format(dataset.pk))
        old, row.slug = row.slug, row.deleted_slug
        if Dataset.objects.filter(slug=row.slug).exists():
            row.slug = free_slug(row.slug)
        row.deleted_slug, row.deleted_at = "", None
        row.save(update_fields=["deleted_slug", "slug", "deleted_at"])
        slug_changed.send(Dataset, old=old, new=row.slug)
    queued = row.shards.filter(state=State.QUEUED)
    tasks.enqueue_shards(list(queued.values_list("pk", flat=True)))
    tasks.enqueue_due_partitions(row)
    # What was put on removal lists meanwhile.
    tasks.schedule_hiding(row, timezone.now() - 2 * KEPT)
    return row


def purge_due() -> None:
    """Drop the datasets that can no longer be restored. Raises SearchUnavailable."""
    due = Dataset.everything.filter(deleted_at__lt=timezone.now() - KEPT)
    for dataset in due:
        purge(dataset)


def purge(dataset: Dataset) -> None:
    """Drop a deleted dataset with all its tables and files.

    Raises SearchUnavailable without an engine: its row then stays, for another attempt.
    """
    assert dataset.deleted_at is not None
    client.ping()
    dataset.shards.update(state=State.PENDING, lease_until=None)
    dataset.partitions.update(lease_until=None, attempts=F("attempts") + 1)
    purging.send(Dataset, dataset=dataset)
    table = dataset.item_table
    for name in writer.side_tables(table):
        writer.drop_side_table(name)
    schema.drop(table)
    folder = settings.VAR_DIR / "fetched" / table.slug
    shutil.rmtree(folder, ignore_errors=not folder.exists())
    with transaction.atomic():
        purged.send(Dataset, dataset=dataset)
        dataset.delete()
    logger.info("The dataset %s is dropped.", dataset.deleted_slug)
