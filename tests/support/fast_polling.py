"""A Celery app with small batches, short leases and frequent sweeps."""

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
def shrink_exports(**_) -> None:
    """Write small parts, with pauses in which a worker can be killed."""
    from usercollections.export import job, writer

    writer.PART_ROWS, writer.MAX_AT_ONCE = 500, 100
    report = job.ExportJob._report

    def report_slowly(self, progress) -> None:
        report(self, progress)
        time.sleep(0.05)

    job.ExportJob._report = report_slowly
