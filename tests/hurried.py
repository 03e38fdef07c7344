"""The same in a hurry: small batches, short leases, and a sweeper that comes often."""

from datetime import timedelta

from telling import app

from search.ingestion import claims, laion

claims.LEASE = timedelta(seconds=6)
laion.BATCH_ROWS = 100
app.conf.beat_schedule["sweeper"].update(schedule=2, options={"expires": 2})
