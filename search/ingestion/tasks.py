"""Imports as Celery tasks; the ledger, not the broker, knows what is to be done."""

import logging
from collections.abc import Sequence

from celery import shared_task
from kombu.exceptions import OperationalError

from search.errors import SearchUnavailable
from search.models import Dataset, Shard

from . import publishing, run

RETRY = {"max_retries": 5, "default_retry_delay": 10}  # seconds

logger = logging.getLogger(__name__)


@shared_task(bind=True, **RETRY)
def ingest_shard(self, shard_pk: int) -> None:
    try:
        if not run.ingest(shard_pk):
            return
    except SearchUnavailable as error:
        if self.request.retries == self.max_retries:
            run.give_up(shard_pk, error.message)
        raise self.retry(exc=error) from error
    publish_due(Shard.objects.select_related("dataset").get(pk=shard_pk).dataset)


@shared_task(bind=True, **RETRY)
def publish(self, dataset_pk: int, partition: int) -> None:
    dataset = Dataset.objects.filter(pk=dataset_pk).first()
    if dataset is None:
        return
    try:
        publishing.publish(dataset, partition)
    except SearchUnavailable as error:
        raise self.retry(exc=error) from error


@shared_task
def recover() -> None:
    from . import steering

    steering.recover()


def send(shard_pks: Sequence[int]) -> None:
    """Sends queued shards on their way.

    Without a broker they stay queued in the ledger, and the sweeper sends them again.
    """
    _tried(lambda: [ingest_shard.delay(shard_pk) for shard_pk in shard_pks])


def publish_due(dataset: Dataset) -> int:
    """Has the partitions published that have something new; returns how many."""
    numbers = publishing.due(dataset)
    _tried(lambda: [publish.delay(dataset.pk, number) for number in numbers])
    return len(numbers)


def _tried(send) -> None:
    try:
        send()
    except OperationalError:
        logger.exception("The task queue does not answer; the sweeper tries again.")
