from typing import ClassVar

from django.db import models
from django.db.models.functions import Left, Lower
from django.utils import timezone

from .ownership import DeletableQuerySet, Shared

SORTED_BY = 100  # characters of a caption


class Collection(Shared):
    """A named set of items, of one dataset or of many, in an order made by hand."""

    name = models.CharField(max_length=120)
    description = models.TextField(max_length=2_000, blank=True)
    # Counted anew whenever members come or go.
    size = models.PositiveIntegerField(default=0, editable=False)
    # The member to be shown for all; without one, or if it is gone, the first four are.
    cover = models.ForeignKey(
        "CollectionItem",
        # Removing a member can be undone: it then is the cover again.
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        blank=True,
        related_name="+",
    )
    # Set by deleting: until it is swept away, the deletion can be undone.
    deleted_at = models.DateTimeField(null=True, blank=True)

    tiles: "list[CollectionItem]"  # which collecting.covers lays

    objects: ClassVar = DeletableQuerySet.as_manager()

    class Meta:
        ordering = ["-changed_at"]

    def __str__(self) -> str:
        return self.name

    def pictures(self) -> str:
        """How many there are, in words."""
        return f"{self.size:,} picture" + ("" if self.size == 1 else "s")


class CollectionItem(models.Model):
    """A member, with what was known of it when it came in, so that it outlives imports.

    `position` orders the collection by hand; it has gaps, to put others in between.
    """

    # No index of its own: those below begin with it.
    collection = models.ForeignKey(
        Collection, on_delete=models.CASCADE, related_name="items", db_index=False
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
    added_at = models.DateTimeField(default=timezone.now)
    # What came in together can be taken back together.
    batch = models.UUIDField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["collection", "dataset", "item"],
                name="one_row_per_collected_item",
            )
        ]
        # One for each order in which a collection can be paged through; that of the
        # constraint serves the order by dataset.
        indexes = [
            models.Index(fields=["collection", "position", "id"], name="items_by_hand"),
            models.Index(fields=["collection", "id"], name="items_by_arrival"),
            models.Index(
                "collection",
                Lower(Left("caption", SORTED_BY)),
                "id",
                name="items_by_caption",
            ),
            models.Index(fields=["dataset", "item"], name="collections_of_item"),
        ]

    def __str__(self) -> str:
        return f"{self.dataset} {self.item}"
