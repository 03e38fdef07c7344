"""Imports as Celery tasks.

Their names are explicit, so that messages already sent, and the schedule of another
version, still find them when this module moves.
"""

from collections.abc import Sequence
from datetime import datetime

from celery import Task, shared_task

from search.errors import SearchUnavailable
from search.evaluation import calibration, profile
from search.jobs import broker
from search.jobs.leases import database_errors
from search.models import Dataset
from search.observability import metrics
from search.removals import takedowns

from . import publishing, shard_run


@shared_task(name="search.ingestion.tasks.ingest_shard", queue="ingest")
def ingest_shard(shard_pk: int) -> None:
    with broker.left_to_sweeper(f"Shard {shard_pk}"):
        with metrics.INGESTION.time():
            shard_run.ingest(shard_pk)
        with database_errors():
            dataset = Dataset.objects.filter(shards=shard_pk).first()
            if dataset is not None:
                enqueue_due_partitions(dataset)


@shared_task(name="search.ingestion.tasks.publish", queue="publish")
def publish(dataset_pk: int, partition: int) -> None:
    with broker.left_to_sweeper(f"Partition {partition}"):
        with database_errors():
            dataset = Dataset.objects.filter(pk=dataset_pk).first()
        if dataset is not None and publishing.publish(dataset, partition):
            with database_errors():
                calibration.forget_failures(dataset)
                enqueue_due_calibration(dataset)
                enqueue_due_profile(dataset)


@shared_task(name="search.ingestion.tasks.calibrate", queue="publish")
def calibrate(dataset_pk: int) -> None:
    with broker.left_to_sweeper(f"The calibration of dataset {dataset_pk}"):
        calibration.calibrate(dataset_pk)


@shared_task(name="search.ingestion.tasks.profile", queue="publish")
def measure_profile(dataset_pk: int) -> None:
    with broker.left_to_sweeper(f"The profile of dataset {dataset_pk}"):
        profile.measure(dataset_pk)


@shared_task(
    name="search.ingestion.tasks.hide_removed",
    bind=True,
    queue="publish",
    max_retries=None,
    default_retry_delay=30,
)
def hide_removed(self: Task, dataset_pk: int, since: str) -> None:
    """Hide what was put on a dataset's removal lists since a time in ISO 8601."""
    try:
        with database_errors():
            dataset = Dataset.objects.filter(pk=dataset_pk).first()
            if dataset is not None:
                table = dataset.item_table
                takedowns.hide(dataset, table, datetime.fromisoformat(since))
    except SearchUnavailable as error:
        raise self.retry(exc=error) from error


def enqueue_shards(shard_pks: Sequence[int]) -> None:
    """Send queued shards to the workers; without a broker they stay queued."""
    broker.send(ingest_shard, [(shard_pk,) for shard_pk in shard_pks])


def enqueue_due_partitions(dataset: Dataset) -> int:
    """Send the partitions that have something to publish; return how many."""
    numbers = publishing.due_partitions(dataset)
    broker.send(publish, [(dataset.pk, number) for number in numbers])
    return len(numbers)


def enqueue_due_calibration(dataset: Dataset) -> int:
    """Send a calibration that is due once nothing waits to be published; count it."""
    dataset.refresh_from_db()
    if publishing.due_partitions(dataset) or not calibration.is_due(dataset):
        return 0
    broker.send(calibrate, [(dataset.pk,)])
    return 1


def enqueue_due_profile(dataset: Dataset) -> int:
    """Send a profile that is due once nothing waits to be published; count it."""
    if publishing.due_partitions(dataset) or not profile.is_due(dataset):
        return 0
    broker.send(measure_profile, [(dataset.pk,)])
    return 1


def schedule_hiding(dataset: Dataset | None, since: datetime) -> None:
    """Schedule hiding what was put on removal lists, of one dataset or all, since then.

    Without a broker it is hidden at once.
    """
    for each in [dataset] if dataset else Dataset.objects.all():
        if not broker.send(hide_removed, [(each.pk, since.isoformat())]):
            takedowns.hide(each, each.item_table, since)
