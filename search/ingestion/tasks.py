"""Imports as Celery tasks; the ledger, not the broker, knows what is to be done."""

from celery import shared_task

from search.errors import SearchUnavailable
from search.models import Shard

from . import run

RETRIES = 5
RETRY_PAUSE_S = 10


@shared_task(bind=True, max_retries=RETRIES, default_retry_delay=RETRY_PAUSE_S)
def ingest_shard(self, shard_pk: int) -> None:
    try:
        if run.ingest(shard_pk):
            run.index_if_complete(shard_pk)
    except SearchUnavailable as error:
        raise self.retry(exc=error) from error


def requeue_interrupted() -> int:
    """Queues again what an earlier life of this one process left unfinished.

    Only for the embedded broker, whose messages die with the process.
    """
    unfinished = Shard.objects.filter(
        state__in=[Shard.State.QUEUED, Shard.State.INGESTING]
    )
    keys = list(unfinished.values_list("pk", flat=True))
    unfinished.update(state=Shard.State.QUEUED, lease_until=None)
    for key in keys:
        ingest_shard.delay(key)
    return len(keys)
