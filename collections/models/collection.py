from django.db import models

from .ownership import Shared


class Collection(Shared):
    """A named set of items, of one dataset or of many, in an order made by hand."""

    name = models.CharField(max_length=120)
    description = models.TextField(max_length=2_000, blank=True)
    cover = models.ForeignKey(
        "CollectionItem",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    # Set by deleting: until it is swept away, the deletion can be undone.
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-changed_at"]

    def __str__(self) -> str:
        return self.name


class CollectionItem(models.Model):
    """A member, with what was known of it when it came in, so that it outlives imports.

    `position` orders the collection by hand; it has gaps, to put others in between.
    """

    collection = models.ForeignKey(
        Collection, on_delete=models.CASCADE, related_name="items"
    )
    dataset = models.CharField(max_length=40)
    item = models.BigIntegerField()
    url = models.TextField(blank=True)
    caption = models.TextField(blank=True)
    width = models.PositiveBigIntegerField(default=0)
    height = models.PositiveBigIntegerField(default=0)
    nsfw = models.CharField(max_length=40, blank=True)
    license = models.TextField(blank=True)
    note = models.TextField(max_length=2_000, blank=True)
    position = models.FloatField()
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["collection", "dataset", "item"],
                name="one_row_per_collected_item",
            )
        ]
        indexes = [
            models.Index(fields=["collection", "position"], name="items_of_collection"),
            models.Index(fields=["dataset", "item"], name="collections_of_item"),
        ]

    def __str__(self) -> str:
        return f"{self.dataset} {self.item}"
