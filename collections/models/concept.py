import numpy as np
from django.db import models

from .ownership import Shared


class Concept(Shared):
    """A named embedding that can be a term of searches in datasets of its model.

    `vector` is that of the current version.
    """

    model = models.CharField(max_length=200)
    weights = models.CharField(max_length=200, blank=True)
    vector = models.BinaryField(help_text="Little-endian float32, of unit length.")
    version = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["name", "created_at"]

    @property
    def embedding(self) -> np.ndarray:
        return np.frombuffer(self.vector, "<f4")


class ConceptVersion(models.Model):
    """A vector that a concept has or had, and its provenance."""

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
