"""Counts of picked items, from imported conversion files and from this site."""

from django.db import models

from .registry import Dataset


class ConversionFile(models.Model):
    """A conversion file that was imported, identified by its content."""

    dataset = models.ForeignKey(
        Dataset, on_delete=models.CASCADE, related_name="conversion_files"
    )
    name = models.CharField(max_length=300)
    sha256 = models.CharField(max_length=64)
    rows = models.PositiveBigIntegerField(default=0)
    rows_matched = models.PositiveBigIntegerField(default=0)
    rows_rejected = models.PositiveBigIntegerField(default=0)  # apart from `rows`
    loaded_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["dataset", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "sha256"], name="one_row_per_conversion_file"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.dataset}"


class Conversion(models.Model):
    """The count of picks of an item after a search for a keyword, by one file.

    A file may have several rows for the same pair: their sum counts.
    """

    dataset = models.ForeignKey(
        Dataset, on_delete=models.CASCADE, related_name="conversions", db_index=False
    )
    file = models.ForeignKey(
        ConversionFile, on_delete=models.CASCADE, related_name="conversions"
    )
    item = models.BigIntegerField()
    keyword = models.CharField(max_length=200, blank=True)
    count = models.PositiveIntegerField()

    class Meta:
        indexes = [models.Index(fields=["dataset", "item"], name="conversions_of_item")]

    def __str__(self) -> str:
        return f"{self.dataset} {self.item}: {self.count} × {self.keyword}"


class Pick(models.Model):
    """The picks of an item on this site after a search for a keyword.

    `count` is the number of people who did, each counted once: their `pickers`. No
    users, addresses or times are stored.
    """

    class Kind(models.TextChoices):
        OPENED = "opened", "looked at"
        SAVED = "saved", "put into a collection"
        EXPORTED = "exported", "exported"

    dataset = models.ForeignKey(
        Dataset, on_delete=models.CASCADE, related_name="picks", db_index=False
    )
    item = models.BigIntegerField()
    keyword = models.CharField(max_length=200, blank=True)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "item", "keyword", "kind"],
                name="one_row_per_pick",
            )
        ]

    def __str__(self) -> str:
        return f"{self.dataset} {self.item}: {self.count} × {self.keyword}"


class Picker(models.Model):
    """A person who made a pick, known by a hash that nothing else is found by."""

    pick = models.ForeignKey(
        Pick, on_delete=models.CASCADE, related_name="pickers", db_index=False
    )
    person = models.CharField(max_length=22)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["pick", "person"], name="once_per_picker")
        ]

    def __str__(self) -> str:
        return f"{self.person} of pick {self.pick_id}"
