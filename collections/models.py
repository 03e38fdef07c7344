"""What belongs to a user."""

import uuid

import numpy as np
from django.conf import settings
from django.db import models


class ConceptQuerySet(models.QuerySet):
    def visible_to(self, user) -> "ConceptQuerySet":
        return self.filter(owner=user) if user.is_authenticated else self.none()


class Concept(models.Model):
    """A tuned embedding with a name, which can be a term of any search of its model."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="concepts"
    )
    name = models.CharField(max_length=120)
    model = models.CharField(max_length=200)
    weights = models.CharField(max_length=200, blank=True)
    vector = models.BinaryField(help_text="Little-endian float32, of unit length.")
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    objects = ConceptQuerySet.as_manager()

    class Meta:
        ordering = ["name", "created_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def embedding(self) -> np.ndarray:
        return np.frombuffer(self.vector, "<f4")
