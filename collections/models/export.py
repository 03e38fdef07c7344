from django.db import models

from .ownership import Owned


class Export(Owned):
    """A job that writes items into files, and its progress.

    `asked` is the request (export.export_request); a folder named by the id has the
    files.
    """

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"
        EXPIRED = "expired", "Expired"  # done, and its files were deleted

    name = models.CharField(max_length=120)
    asked = models.JSONField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    # Items read, of how many (None: not known yet), and written.
    looked_at = models.PositiveBigIntegerField(default=0)
    to_look_at = models.PositiveBigIntegerField(null=True, blank=True)
    rows = models.PositiveBigIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    # Consecutive attempts without progress.
    failures = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    manifest = models.JSONField(default=dict, blank=True)
    error = models.TextField(blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # When the files are deleted.
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name
