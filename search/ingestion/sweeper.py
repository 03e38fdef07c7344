"""The sweeper of imports: sends lost work again, drops unused tables."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from search.clickhouse import writer
from search.jobs import broker
from search.jobs.leases import database_errors
from search.models import (
    CalibrationRun,
    Dataset,
    DatasetProfile,
    Partition,
    Shard,
    Training,
    Watch,
)

from . import deletion, integrity, notices, tasks, watching
from .control import UNPUBLISHED
from .setup import uploads
from .shard_run import ShardRun

State = Shard.State
HIDDEN_AGAIN = timedelta(days=7)  # entries of removal lists, at the start of a process


@shared_task(name="search.ingestion.tasks.recover", queue="publish")
def recover_task() -> None:
    """Run `recover`."""
    with broker.left_to_sweeper("The sweep of imports"):
        recover()


@shared_task(name="search.ingestion.tasks.sweep_uploads", queue="publish")
def sweep_uploads() -> int:
    """Delete uploads that no dataset uses; return how many."""
    with database_errors():
        return uploads.sweep()


@shared_task(name="search.ingestion.tasks.watch", queue="ingest")
def watch(dataset_pk: int) -> None:
    """Look at a watched source, on a machine that imports."""
    with broker.left_to_sweeper(f"Dataset {dataset_pk}"), database_errors():
        watching.look(dataset_pk)


def enqueue_due_watches() -> int:
    """Send looks at watched sources that are due, unless one waits; count them."""
    due = list(Watch.objects.due().values_list("dataset", flat=True))
    if not due or not broker.queue_is_empty(watch):
        return 0
    broker.send(watch, [(pk,) for pk in due])
    return len(due)


def recover() -> int:
    """Send due work and the work of dead workers again; return the messages sent.

    Brokers lose messages, and workers die. Raises SearchUnavailable when the
    database or the engine does not answer.
    """
    with database_errors():
        keys = ShardRun.requeue(tasks.ingest_shard)
        tasks.enqueue_shards(keys)
        sent = len(keys)
        if broker.queue_is_empty(tasks.publish):
            sent += sum(map(tasks.enqueue_due_partitions, Dataset.objects.all()))
            sent += sum(map(tasks.enqueue_due_calibration, Dataset.objects.all()))
            sent += sum(map(tasks.enqueue_due_profile, Dataset.objects.all()))
        enqueue_due_watches()
        deletion.purge_due()
        drop_orphan_tables()
        integrity.check()
        integrity.resume_after_full_disk()
        notices.send_mails()
        return sent


def recover_alone() -> int:
    """Recover at the start of the only process: every other worker is dead."""
    Shard.objects.filter(state=State.INGESTING).update(lease_until=None)
    Partition.objects.update(lease_until=None)
    CalibrationRun.objects.update(lease_until=None)
    DatasetProfile.objects.update(lease_until=None)
    Training.objects.update(lease_until=None)
    # Messages that wait in memory end with the process.
    tasks.schedule_hiding(None, timezone.now() - HIDDEN_AGAIN)
    return recover()


def drop_orphan_tables() -> None:
    """Drop the tables that runs, publications and dropped datasets have left behind.

    A failed shard keeps its rows, so that a retry continues from them.
    """
    # The tables before the ledger, which names a table before it is created.
    names, wanted = writer.side_tables(), set()
    unfinished = Shard.objects.filter(state__in=[*UNPUBLISHED, State.FAILED])
    for shard in unfinished.select_related("dataset"):
        table = shard.dataset.item_table
        wanted.add(table.arriving(shard.number, shard.epoch).name)
    leased = Partition.objects.filter(lease_until__gte=timezone.now())
    for partition in leased.select_related("dataset"):
        table = partition.dataset.item_table
        rebuilt = table.rebuilt(partition.number, partition.attempts)
        wanted.update(each.name for each in (rebuilt, *rebuilt.all_clustered))
        wanted.add(rebuilt.words_name)
    for name in names:
        if name not in wanted:
            writer.drop_side_table(name)
