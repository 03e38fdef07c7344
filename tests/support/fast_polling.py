"""The same in a hurry: small batches, short leases, and a sweeper that comes often."""

import time
from datetime import timedelta

from celery.signals import worker_process_init

from search.ingestion.sources import laion
from search.jobs import leases
from support.reporting_app import app

leases.LEASE = timedelta(seconds=6)
laion.BATCH_ROWS = 100
for sweeper in ("sweeper", "sweeper-of-exports"):
    app.conf.beat_schedule[sweeper].update(schedule=2, options={"expires": 2})


@worker_process_init.connect
def hurry_exports(**_) -> None:
    """Small parts, and a moment between batches in which a worker can be killed."""
    from usercollections.export import job, writer

    writer.PART_ROWS, writer.MAX_AT_ONCE = 500, 100
    tell = job.ExportJob._report

    def telling(self, progress) -> None:
        tell(self, progress)
        time.sleep(0.05)

    job.ExportJob._report = telling
