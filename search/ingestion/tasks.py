"""Imports as Celery tasks; the ledger, not the broker, knows what is to be done.

Each task has a name of its own, so that messages already sent, and the schedule of
another version, still find it when this module moves.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from celery import Task, shared_task
from kombu.exceptions import OperationalError

from search.errors import SearchUnavailable
from search.jobs.leases import database_errors
from search.models import Dataset
from search.observability import metrics
from search.removals import takedowns

from . import publishing, shard_run

logger = logging.getLogger(__name__)


@shared_task(name="search.ingestion.tasks.ingest_shard", queue="ingest")
def ingest_shard(shard_pk: int) -> None:
    try:
        with metrics.INGESTION.time():
            shard_run.ingest(shard_pk)
        with database_errors():
            dataset = Dataset.objects.filter(shards=shard_pk).first()
            if dataset is not None:
                enqueue_due_partitions(dataset)
    except SearchUnavailable as error:
        logger.warning("Shard %s is tried again: %s", shard_pk, error)


@shared_task(name="search.ingestion.tasks.publish", queue="publish")
def publish(dataset_pk: int, partition: int) -> None:
    try:
        with database_errors():
            dataset = Dataset.objects.filter(pk=dataset_pk).first()
        if dataset is not None:
            publishing.publish(dataset, partition)
    except SearchUnavailable as error:
        logger.warning("Partition %s is tried again: %s", partition, error)


@shared_task(
    name="search.ingestion.tasks.hide_removed",
    bind=True,
    queue="publish",
    max_retries=None,
    default_retry_delay=30,
)
def hide_removed(self: Task, dataset_pk: int, since: str) -> None:
    """Hides what has been put on a dataset's lists since a moment in ISO 8601."""
    try:
        with database_errors():
            dataset = Dataset.objects.filter(pk=dataset_pk).first()
            if dataset is not None:
                table = dataset.item_table
                takedowns.hide(dataset, table, datetime.fromisoformat(since))
    except SearchUnavailable as error:
        raise self.retry(exc=error) from error


def enqueue_shards(shard_pks: Sequence[int]) -> None:
    """Sends queued shards on their way.

    Without a broker they stay queued in the ledger, and the sweeper sends them again.
    """
    _enqueue(lambda: [ingest_shard.delay(shard_pk) for shard_pk in shard_pks])


def schedule_hiding(dataset: Dataset | None, since: datetime) -> None:
    """Has hidden what was put on the lists of a dataset, or of all, since a moment.

    Without a broker it is done here and now.
    """
    for each in [dataset] if dataset else Dataset.objects.all():
        if not _enqueue(partial(hide_removed.delay, each.pk, since.isoformat())):
            takedowns.hide(each, each.item_table, since)


def enqueue_due_partitions(dataset: Dataset) -> int:
    """Has the partitions published that have something new; returns how many."""
    numbers = publishing.due_partitions(dataset)
    _enqueue(lambda: [publish.delay(dataset.pk, number) for number in numbers])
    return len(numbers)


def queue_is_empty(task: Task) -> bool:
    """Whether no message waits where a task's are sent; False without a broker."""
    with task.app.connection_for_write() as broker:
        try:
            with broker.channel() as channel:
                queue = task.app.amqp.queues[task.queue].bind(channel)
                return queue.queue_declare().message_count == 0
        except (OperationalError, *broker.connection_errors):
            logger.warning("The task queue does not answer.")
            return False


def _enqueue(send: Callable[[], Any]) -> bool:
    """Send messages; return whether the broker took them."""
    try:
        send()
    except OperationalError:
        logger.exception("The task queue does not answer; the sweeper tries again.")
        return False
    return True
