from typing import ClassVar

import numpy as np
from django.db import models
from django.urls import reverse

from .ownership import DeletableQuerySet, Shared


class Concept(Shared):
    """A tuned embedding with a name, which can be a term of any search of its model.

    `vector` is that of the current version.
    """

    name = models.CharField(max_length=120)
    description = models.TextField(max_length=2_000, blank=True)
    model = models.CharField(max_length=200)
    weights = models.CharField(max_length=200, blank=True)
    vector = models.BinaryField(help_text="Little-endian float32, of unit length.")
    version = models.PositiveIntegerField(default=1)
    # Set by deleting: until it is swept away, the deletion can be undone.
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar = DeletableQuerySet.as_manager()

    class Meta:
        ordering = ["name", "created_at"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("concept", args=[self.pk])

    @property
    def embedding(self) -> np.ndarray:
        return np.frombuffer(self.vector, "<f4")


class ConceptVersion(models.Model):
    """The vector that a concept had, and how it came about."""

    concept = models.ForeignKey(
        Concept, on_delete=models.CASCADE, related_name="versions"
    )
    number = models.PositiveIntegerField()
    vector = models.BinaryField()
    made_of = models.JSONField(
        default=dict, blank=True, help_text="Dataset, words, marks and strength."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["concept", "number"], name="one_row_per_concept_version"
            )
        ]

    def __str__(self) -> str:
        return f"{self.concept}, version {self.number}"

    @property
    def embedding(self) -> np.ndarray:
        return np.frombuffer(self.vector, "<f4")
