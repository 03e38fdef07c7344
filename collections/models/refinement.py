import uuid

import numpy as np
from django.conf import settings
from django.db import models


class Refinement(models.Model):
    """A search that is retuned round by round from marks on its hits.

    It belongs to a user, or to the session of a visitor without an account.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
    )
    session = models.CharField(max_length=40, blank=True, db_index=True)
    dataset = models.CharField(max_length=40)
    # The query string of the search that it started from, and the name it goes by.
    address = models.TextField()
    label = models.CharField(max_length=200)
    start = models.BinaryField(help_text="Its vector: float32, of unit length.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.label


class Round(models.Model):
    """One retuning: the marks given so far, and the vector that came of them.

    Its id is random: whoever has the address of its search sees the same hits.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    refinement = models.ForeignKey(
        Refinement, on_delete=models.CASCADE, related_name="rounds"
    )
    parent = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, blank=True, related_name="next"
    )
    number = models.PositiveIntegerField()
    good = models.JSONField(default=list, help_text="Ids of the items marked good.")
    bad = models.JSONField(default=list)
    seen = models.JSONField(default=list, help_text="Ids shown in earlier rounds.")
    strength = models.FloatField(default=1.0)
    vector = models.BinaryField(help_text="Float32, of unit length.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["refinement", "number", "created_at"]

    def __str__(self) -> str:
        return f"{self.refinement}, round {self.number}"

    @property
    def embedding(self) -> np.ndarray:
        return np.frombuffer(self.vector, "<f4")
