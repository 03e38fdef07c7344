"""Watched sources, and the files of their shards."""

from datetime import timedelta

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

MIN_INTERVAL_S, MAX_INTERVAL_S = 10, 86_400


class WatchQuerySet(models.QuerySet["Watch"]):
    def due(self) -> "WatchQuerySet":
        """Return those whose source is to be looked at again.

        Also those that were looked at in the future: a clock was wrong.
        """
        active = self.filter(active=True, dataset__deleted_at=None)
        # SQLite does not multiply intervals.
        return self.filter(pk__in=[each.pk for each in active if each.is_due])


class Watch(models.Model):
    """The switch of watching a dataset's source, and the result of the last look."""

    dataset = models.OneToOneField(
        "Dataset", on_delete=models.CASCADE, related_name="watch"
    )
    active = models.BooleanField(default=True)
    every_s = models.PositiveIntegerField(
        default=60,
        validators=[
            MinValueValidator(MIN_INTERVAL_S),
            MaxValueValidator(MAX_INTERVAL_S),
        ],
    )
    looked_at = models.DateTimeField(null=True, editable=False)
    # By the last look that found something, and when that was.
    new = models.PositiveIntegerField(default=0, editable=False)
    removed = models.PositiveIntegerField(default=0, editable=False)
    changed_at = models.DateTimeField(null=True, editable=False)
    # What keeps it from looking, "" if nothing does.
    fault = models.TextField(blank=True, editable=False)

    objects = WatchQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.dataset}, watched"

    @property
    def is_due(self) -> bool:
        if self.looked_at is None:
            return True
        waited = timezone.now() - self.looked_at
        return not timedelta(0) <= waited < timedelta(seconds=self.every_s)


class SourceFile(models.Model):
    """A file of a watched source, or rows of a list, with the shard that has it.

    `row` is that of the shard for an image, and that of the list for rows.
    """

    dataset = models.ForeignKey(
        "Dataset", on_delete=models.CASCADE, related_name="source_files", db_index=False
    )
    shard = models.PositiveIntegerField()
    row = models.PositiveBigIntegerField()
    rows = models.PositiveBigIntegerField(default=1)
    name = models.TextField()  # in the source, as items have it
    size = models.PositiveBigIntegerField(default=0)
    mtime_ns = models.BigIntegerField(default=0)
    # Of the beginning of a list that is taken in: `size` bytes.
    md5 = models.CharField(max_length=32, blank=True)
    gone = models.BooleanField(default=False)

    class Meta:
        ordering = ["dataset", "shard", "row"]
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "shard", "row"], name="one_row_per_source_file"
            )
        ]

    def __str__(self) -> str:
        return self.name
