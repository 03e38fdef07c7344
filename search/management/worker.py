"""Run a worker within a command, and watch imports."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db.models import QuerySet

from search.clickhouse import client
from search.ingestion.progress import ImportProgress
from search.models import Dataset, Shard

from .commands.serve import MIN_LOG_LEVEL, TASK_GRACE_S, start_worker
from .console import Progress

POLL_S = 0.5
# The command reports its progress itself.
QUIET = MIN_LOG_LEVEL | {"search": logging.WARNING}


def single_process() -> bool:
    """Return whether there is no broker, and therefore no other worker."""
    return settings.CELERY_BROKER_URL.startswith("memory")


@contextmanager
def local_worker() -> Iterator[None]:
    """Run the worker in this process if there is no broker, as `serve` does.

    Raises SearchUnavailable when another process, such as the server, has the embedded
    engine open.
    """
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(level)
    client.ping()
    worker = start_worker()
    try:
        yield
    finally:
        if worker is not None and not worker.stop(TASK_GRACE_S):
            # It runs native code, which would crash at Python's exit. The next worker
            # repeats the step, by the ledger.
            sys.stdout.flush()
            os._exit(1)


def watch(
    dataset: Dataset, shards: QuerySet[Shard], progress: Progress
) -> ImportProgress:
    """Show the progress of shards until none of them is in progress."""
    while True:
        current = ImportProgress.of(dataset, shards)
        progress.show(current)
        if not current.moving:
            return current
        time.sleep(POLL_S)
