"""Imports as Celery tasks; the ledger, not the broker, knows what is to be done."""

import logging
from collections.abc import Sequence

from celery import shared_task
from kombu.exceptions import OperationalError

from search.clickhouse import queries, writer
from search.errors import SearchUnavailable
from search.models import Dataset, Shard
from search.service import table_of

from . import run

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
    shard = Shard.objects.get(pk=shard_pk)
    build_indexes.delay(shard.dataset_id, writer.partition_of(shard.number))


@shared_task(bind=True, **RETRY)
def build_indexes(self, dataset_pk: int, partition: int) -> None:
    try:
        run.index_if_complete(Dataset.objects.get(pk=dataset_pk), partition)
    except SearchUnavailable as error:
        raise self.retry(exc=error) from error


def start(shard_pks: Sequence[int]) -> None:
    """Sends queued shards on their way; without a broker they go back to pending."""
    try:
        for shard_pk in shard_pks:
            ingest_shard.delay(shard_pk)
    except OperationalError:
        logger.exception("The task queue does not answer.")
        Shard.objects.filter(pk__in=shard_pks, state=Shard.State.QUEUED).update(
            state=Shard.State.PENDING,
            error="The task queue did not answer; please start it again.",
        )


def requeue_interrupted() -> int:
    """Queues again what an earlier life of this one process left unfinished.

    Only for the embedded broker, whose messages die with the process. Returns the
    number of shards; indexes that were not built to the end are built, too.
    """
    unfinished = Shard.objects.filter(
        state__in=[Shard.State.QUEUED, Shard.State.INGESTING]
    )
    keys = list(unfinished.values_list("pk", flat=True))
    unfinished.update(state=Shard.State.QUEUED, lease_until=None)
    start(keys)
    for dataset in Dataset.objects.all():
        for partition in queries.partitions_without_index(table_of(dataset)):
            build_indexes.delay(dataset.pk, partition)
    return len(keys)
