"""How the import of each dataset stands."""

from django.db import models


class Shard(models.Model):
    """One numbered piece of a dataset's source, and how its import stands."""

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        QUEUED = "queued", "Queued"
        INGESTING = "ingesting", "Ingesting"
        PAUSED = "paused", "Paused"
        ARRIVED = "arrived", "Waiting for its index"
        INGESTED = "ingested", "Ingested"
        FAILED = "failed", "Failed"
        REMOVING = "removing", "Being removed"

    dataset = models.ForeignKey(
        "Dataset", on_delete=models.CASCADE, related_name="shards"
    )
    number = models.PositiveIntegerField()
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.PENDING
    )
    # Of the source, and how far the run has come in it.
    rows = models.PositiveBigIntegerField(null=True, blank=True)
    rows_done = models.PositiveBigIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(null=True, blank=True)
    bytes_done = models.PositiveBigIntegerField(default=0)
    # Of those done, how many came in; and how many searches can find.
    rows_kept = models.PositiveBigIntegerField(default=0)
    rows_visible = models.PositiveBigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    # Attempts in a row that broke off without getting on.
    failures = models.PositiveIntegerField(default=0)
    # Names the table in which the rows arrive; it grows when they start from nothing.
    epoch = models.PositiveIntegerField(default=0)
    fingerprint = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # Since when searches find its rows; a replacement of them is nothing new.
    published_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["dataset", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "number"], name="one_row_per_shard"
            )
        ]

    def __str__(self) -> str:
        return f"{self.dataset} {self.number}"


class Partition(models.Model):
    """Some shards that share a part and its graphs, and how their rebuilding stands."""

    dataset = models.ForeignKey(
        "Dataset", on_delete=models.CASCADE, related_name="partitions"
    )
    number = models.PositiveIntegerField()
    attempts = models.PositiveIntegerField(default=0)
    # Attempts in a row that broke off without getting on.
    failures = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    # Vectors of both graphs: how many there are to be, and how many are in.
    vectors = models.PositiveBigIntegerField(default=0)
    vectors_done = models.PositiveBigIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["dataset", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "number"], name="one_row_per_partition"
            )
        ]

    def __str__(self) -> str:
        return f"{self.dataset}, partition {self.number}"


class Reject(models.Model):
    """A row of a shard that did not come in, and why."""

    shard = models.ForeignKey(Shard, on_delete=models.CASCADE, related_name="rejects")
    row = models.PositiveBigIntegerField()
    url = models.TextField(blank=True)
    reason = models.CharField(max_length=300)

    class Meta:
        ordering = ["shard", "row"]
        constraints = [
            models.UniqueConstraint(fields=["shard", "row"], name="one_reject_per_row")
        ]

    def __str__(self) -> str:
        return f"{self.shard}, row {self.row}: {self.reason}"
