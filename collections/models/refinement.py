import uuid
from datetime import timedelta
from typing import Self

import numpy as np
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .ownership import AnyUser

RETENTION = timedelta(days=30)  # after the last round
VISITOR_RETENTION = timedelta(days=1)  # of visitors without an account


class RefinementQuerySet(models.QuerySet):
    def owned_by(self, user: AnyUser, session: str = "") -> Self:
        """Return those of a user, and those of the session from before signing in."""
        of_user = Q(owner=user) if user.is_authenticated else Q(pk__in=[])
        of_session = Q(owner=None, session=session) if session else Q(pk__in=[])
        return self.filter(of_user | of_session)

    def expired(self) -> Self:
        now = timezone.now()
        old = Q(latest__lt=now - RETENTION)
        old |= Q(owner=None, latest__lt=now - VISITOR_RETENTION)
        return self.annotate(latest=models.Max("rounds__created_at")).filter(old)


class Refinement(models.Model):
    """A search that is refined in rounds, by marks on its hits.

    It belongs to a user or to the session of an anonymous visitor.
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
    # The query string of the first search, and its name.
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
    """A round of a refinement: all marks up to it, and the vector tuned by them.

    Its id is random: everyone who has the address of its search sees the same hits.
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
        """Return the id by which a search finds the round but excludes nothing seen.

        It is the same UUID with version 8 instead of 4.
        """
        return _with_version(self.pk, 8)


def round_id(concept_id: uuid.UUID) -> tuple[uuid.UUID, bool]:
    """Return the id of a round, and whether it was given as id_with_seen."""
    return _with_version(concept_id, 4), concept_id.version == 8


def _with_version(number: uuid.UUID, version: int) -> uuid.UUID:
    digits = number.hex
    return uuid.UUID(f"{digits[:12]}{version}{digits[13:]}")
