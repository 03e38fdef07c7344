from typing import Self

from django.db import models
from django.db.models.functions import Left, Lower
from django.utils import timezone

from search.models import Dataset
from search.query import ratings

from .ownership import AnyUser, Shared

SORTED_BY = 100  # characters of a caption that are compared when sorting


class Collection(Shared):
    """A named set of items, of one dataset or of many, ordered by hand."""

    # Recounted whenever items are added or removed.
    size = models.PositiveIntegerField(default=0, editable=False)
    # The cover item. If it is null or removed, the first four are the cover.
    cover = models.ForeignKey(
        "CollectionItem",
        # Removing an item can be undone: it is the cover again then.
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        blank=True,
        related_name="+",
    )

    tiles: "list[CollectionItem]"  # set by collection.covers.choose_tiles

    class Meta:
        ordering = ["-changed_at"]

    def pictures(self) -> str:
        """Return the size in words, as pages show it."""
        return f"{self.size:,} image" + ("" if self.size == 1 else "s")


class CollectionItemQuerySet(models.QuerySet["CollectionItem"]):
    """Items of collections, of which a user sees those of some datasets."""

    def visible_to(self, user: AnyUser) -> Self:
        """Leave out the items of datasets that the user may not see."""
        hidden = Dataset.objects.hidden_from(user)
        return self.exclude(dataset__in=hidden.values("slug"))


class CollectionItem(models.Model):
    """An item of a collection, with a copy of its fields, which outlives imports.

    `position` is the order made by hand; the gaps leave room for items in between.
    """

    # Needs no index: those below begin with it.
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
    # Shared by the items of one addition, so that it can be undone.
    batch = models.UUIDField(null=True, blank=True, editable=False)

    objects = CollectionItemQuerySet.as_manager()

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["collection", "dataset", "item"],
                name="one_row_per_collected_item",
            )
        ]
        # One for each order of paging; the constraint's serves the order by dataset.
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

    @property
    def is_veiled(self) -> bool:
        """Return whether a cover blurs the image."""
        return not ratings.is_safe(self.nsfw)
