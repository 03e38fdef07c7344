from django.db import models

from .ownership import Owned


class Export(Owned):
    """Items on their way into files, and how far that is.

    `asked` says of what and how (exporting.asked); the files lie in a folder of its id.
    """

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"
        EXPIRED = "expired", "Expired"  # it was done; its files are deleted

    name = models.CharField(max_length=120)
    asked = models.JSONField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    # Items looked at, of how many (None where that is not known yet), and written.
    looked_at = models.PositiveBigIntegerField(default=0)
    to_look_at = models.PositiveBigIntegerField(null=True, blank=True)
    rows = models.PositiveBigIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    # Attempts in a row that broke off without getting on.
    failures = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    manifest = models.JSONField(default=dict, blank=True)
    error = models.TextField(blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # When its files are deleted.
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name
