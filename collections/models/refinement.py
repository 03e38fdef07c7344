import uuid
from datetime import timedelta
from typing import Any, Self

import numpy as np
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

KEPT = timedelta(days=30)  # from its last round on


class RefinementQuerySet(models.QuerySet):
    def owned_by(self, user: Any, session: str = "") -> Self:
        """Those of a user, and those begun in this session before signing in."""
        of_user = Q(owner=user) if user.is_authenticated else Q(pk__in=[])
        of_session = Q(owner=None, session=session) if session else Q(pk__in=[])
        return self.filter(of_user | of_session)

    def long_ago(self) -> Self:
        latest = models.Max("rounds__created_at")
        return self.annotate(latest=latest).filter(latest__lt=timezone.now() - KEPT)


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

    objects = RefinementQuerySet.as_manager()

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

    @property
    def label(self) -> str:
        return f"{self.refinement.label}, refined {self.number}×"

    @property
    def id_with_seen(self) -> uuid.UUID:
        """Finds the same round, but leaves out nothing that was seen.

        It is the id with another version: uuid4 writes a 4 where this has an 8.
        """
        return _with_version(self.pk, 8)


def round_id(concept_id: uuid.UUID) -> tuple[uuid.UUID, bool]:
    """The id of a round, and whether what was seen comes back; as id_with_seen."""
    return _with_version(concept_id, 4), concept_id.version == 8


def _with_version(number: uuid.UUID, version: int) -> uuid.UUID:
    digits = number.hex
    return uuid.UUID(f"{digits[:12]}{version}{digits[13:]}")
