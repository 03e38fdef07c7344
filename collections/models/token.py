from django.db import models
from django.utils import timezone

from .ownership import Owned


class Token(Owned):
    """A secret by which programs use the API as its owner; only its hash is stored."""

    name = models.CharField(max_length=80)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()
