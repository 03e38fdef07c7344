"""The ledger: the state of each dataset's import."""

from django.db import models


class Shard(models.Model):
    """A numbered piece of a dataset's source, with the state of its import."""

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        QUEUED = "queued", "Queued"
        INGESTING = "ingesting", "Ingesting"
        PAUSED = "paused", "Paused"
        ARRIVED = "arrived", "Waiting for its index"
        INGESTED = "ingested", "Ingested"
        FAILED = "failed", "Failed"
        REMOVING = "removing", "Removing"

    dataset = models.ForeignKey(
        "Dataset", on_delete=models.CASCADE, related_name="shards"
    )
    number = models.PositiveIntegerField()
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.PENDING
    )
    # Of the source, and the progress of the run in it.
    rows = models.PositiveBigIntegerField(null=True, blank=True)
    rows_done = models.PositiveBigIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(null=True, blank=True)
    bytes_done = models.PositiveBigIntegerField(default=0)
    # Of those done, how many became items, how many are rejects; and how many items
    # searches can find.
    rows_kept = models.PositiveBigIntegerField(default=0)
    rows_rejected = models.PositiveBigIntegerField(default=0)
    rows_visible = models.PositiveBigIntegerField(default=0)
    # Of those accepted, how many have a rating that is not known, and some of these.
    rows_unknown_rating = models.PositiveBigIntegerField(default=0)
    unknown_ratings = models.JSONField(default=list, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    # Consecutive attempts without progress.
    failures = models.PositiveIntegerField(default=0)
    # Part of the name of the arrival table; incremented when an import restarts.
    epoch = models.PositiveIntegerField(default=0)
    fingerprint = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # When searches first found its rows; a replacement does not change it.
    published_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)
    # How rows were read, or what was changed in them: their number by sentence.
    notes = models.JSONField(default=dict, blank=True)
    # Whether its text embeddings are of captions, or copies of the image embeddings.
    has_text_vectors = models.BooleanField(default=True)
    # Whether embeddings of rows whose image and caption are the same are taken over.
    reuses_vectors = models.BooleanField(default=False)
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

    @property
    def rows_unaccounted(self) -> int:
        """The rows of a complete import that are neither items nor rejects: none."""
        complete = self.state in (self.State.ARRIVED, self.State.INGESTED)
        if not (complete and self.rows and self.rows_done):
            return 0
        return abs(self.rows - self.rows_kept - self.rows_rejected)


class Partition(models.Model):
    """Shards that share a part of each table, with the state of its rebuilding."""

    dataset = models.ForeignKey(
        "Dataset", on_delete=models.CASCADE, related_name="partitions"
    )
    number = models.PositiveIntegerField()
    attempts = models.PositiveIntegerField(default=0)
    # Consecutive attempts without progress.
    failures = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    # Vectors of both fields, and how many of them are indexed.
    vectors = models.PositiveBigIntegerField(default=0)
    vectors_done = models.PositiveBigIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    # Whether its published rows wait for what `dataset reindex` adds to them.
    reindex = models.BooleanField(default=False)
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


class Training(models.Model):
    """The centroids that rows of a dataset are assigned to, with their training.

    A dataset has one as soon as it is to be searched by clusters.
    """

    dataset = models.OneToOneField(
        "Dataset", on_delete=models.CASCADE, related_name="training"
    )
    # Of the centroids that publishing assigns rows to; 0 before the first.
    version = models.PositiveSmallIntegerField(default=0)
    clusters = models.PositiveIntegerField(default=0)
    # Whether the next version is to be trained, before anything else is published.
    is_due = models.BooleanField(default=True)
    attempts = models.PositiveIntegerField(default=0)
    # Consecutive attempts without progress.
    failures = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.dataset}, centroids {self.version}"


class CalibrationRun(models.Model):
    """The lease of a dataset's calibration: one worker at a time measures it."""

    dataset = models.OneToOneField(
        "Dataset", on_delete=models.CASCADE, related_name="calibration_run"
    )
    attempts = models.PositiveIntegerField(default=0)
    # Consecutive attempts without a result.
    failures = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.dataset}, calibration"


class DatasetProfile(models.Model):
    """The words of a dataset's captions, and how near nonsense comes to its items.

    evaluation.profile measures them under the lease of this row.
    """

    dataset = models.OneToOneField(
        "Dataset", on_delete=models.CASCADE, related_name="profile"
    )
    rows = models.PositiveBigIntegerField(default=0)  # of the dataset, when measured
    # A word and the number of captions that have it in each line, frequent ones first.
    words = models.TextField(blank=True)
    # By field, quantiles of the best similarities of random queries.
    noise = models.JSONField(default=dict)
    measured_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.dataset}, profile"


class Reject(models.Model):
    """A rejected row of a shard, with the reason."""

    shard = models.ForeignKey(Shard, on_delete=models.CASCADE, related_name="rejects")
    row = models.PositiveBigIntegerField()
    url = models.TextField(blank=True)
    # Its path in the source, or the file and the row of an image in a table.
    file = models.TextField(blank=True, default="")
    reason = models.CharField(max_length=300)

    class Meta:
        ordering = ["shard", "row"]
        constraints = [
            models.UniqueConstraint(fields=["shard", "row"], name="one_reject_per_row")
        ]

    def __str__(self) -> str:
        return f"{self.shard}, row {self.row}: {self.reason}"
