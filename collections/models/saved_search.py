from django.db import models

from .ownership import Owned

MAX_NAME_LENGTH = 120  # characters


class SavedSearch(Owned):
    """A named search.

    `address` is the query string of the search page, without a cursor.
    """

    name = models.CharField(max_length=MAX_NAME_LENGTH)
    dataset = models.CharField(max_length=700)  # slugs between commas
    address = models.TextField()
    position = models.FloatField(default=0)
    # When its hits were viewed last: those from newer shards are new.
    looked_at = models.DateTimeField()

    class Meta:
        ordering = ["position", "-created_at"]
        verbose_name_plural = "saved searches"

    def __str__(self) -> str:
        return self.name


class HistoryEntry(Owned):
    """A search that the user made; only they see it."""

    dataset = models.CharField(max_length=700)  # slugs between commas
    address = models.TextField()
    label = models.CharField(max_length=200)
    # Of the address: a repeated search has one entry.
    digest = models.CharField(max_length=64)
    searched_at = models.DateTimeField()

    class Meta:
        ordering = ["-searched_at"]
        verbose_name_plural = "history entries"
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "digest"], name="one_entry_per_search"
            )
        ]

    def __str__(self) -> str:
        return self.label
