"""Removal lists."""

from django.db import models

from .registry import Dataset


class Removal(models.Model):
    """An entry of a removal list: never imported, and hidden where it is already.

    Without a dataset it applies to all of them.
    """

    class Kind(models.TextChoices):
        ITEM = "item", "item's number"
        URL = "url", "address"
        MD5 = "md5", "MD5 of the image"

    dataset = models.ForeignKey(
        Dataset,
        on_delete=models.CASCADE,
        related_name="removals",
        null=True,
        blank=True,
        help_text="Empty: in all datasets. An item's number belongs to one.",
    )
    kind = models.CharField(max_length=4, choices=Kind.choices)
    value = models.TextField()
    # The first 8 bytes of the value's SHA-256, indexed for look-ups of many values.
    digest = models.BigIntegerField(editable=False, db_index=True)
    reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"[:80]
