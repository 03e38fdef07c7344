"""Commands that have work done: by workers elsewhere, or in their own process."""

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

from .commands.serve import LAST_TASK_S, MIN_LOG_LEVEL, start_worker
from .console import Progress

LOOKED_EVERY_S = 0.5
# The command says itself how far the work is.
QUIET = MIN_LOG_LEVEL | {"search": logging.WARNING}


def single_process() -> bool:
    """Whether there is no broker, so that nobody else does the work."""
    return settings.CELERY_BROKER_URL.startswith("memory")


@contextmanager
def local_worker() -> Iterator[None]:
    """Without a broker this process works on what is queued, as `serve` would.

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
        if worker is not None and not worker.stop(LAST_TASK_S):
            # It is within native code, where Python's end would be a crash. The ledger
            # knows of it, and whoever works next begins that step anew.
            sys.stdout.flush()
            os._exit(1)


def watch(
    dataset: Dataset, shards: QuerySet[Shard], progress: Progress
) -> ImportProgress:
    """Shows how shards get on until none of them is on its way."""
    while True:
        standing = ImportProgress.of(dataset, shards)
        progress.show(standing)
        if not standing.moving:
            return standing
        time.sleep(LOOKED_EVERY_S)
