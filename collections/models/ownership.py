"""Whose a thing is, and who else may see it."""

import secrets
import uuid
from datetime import timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

DELETED_KEPT = timedelta(days=30)


class OwnedQuerySet(models.QuerySet):
    """Where every look at what belongs to a user begins."""

    def owned_by(self, user: Any) -> Self:
        """What the user may change; nothing for a visitor without an account."""
        return self.filter(owner=user) if user.is_authenticated else self.none()

    def visible_to(self, user: Any) -> Self:
        """What the user may see."""
        return self.owned_by(user)


class SharedQuerySet(OwnedQuerySet):
    def visible_to(self, user: Any) -> Self:
        public = Q(visibility=Shared.Visibility.PUBLIC)
        mine = Q(owner=user) if user.is_authenticated else Q(pk__in=[])
        return self.filter(mine | public)

    def open_to_everyone(self) -> Self:
        return self.filter(visibility=Shared.Visibility.PUBLIC)

    def behind_link(self, token: str) -> Self:
        """The one that this share link leads to, as long as it is shared."""
        shared = self.exclude(visibility=Shared.Visibility.PRIVATE)
        return shared.filter(share_token=token) if token else self.none()


class DeletableQuerySet(SharedQuerySet):
    """What is deleted is seen by nobody; for a while its owner can bring it back."""

    def owned_by(self, user: Any) -> Self:
        return super().owned_by(user).filter(deleted_at=None)

    def visible_to(self, user: Any) -> Self:
        return super().visible_to(user).filter(deleted_at=None)

    def open_to_everyone(self) -> Self:
        return super().open_to_everyone().filter(deleted_at=None)

    def behind_link(self, token: str) -> Self:
        return super().behind_link(token).filter(deleted_at=None)

    def deleted_by(self, user: Any) -> Self:
        """What the user deleted and can bring back."""
        since = timezone.now() - DELETED_KEPT
        return super().owned_by(user).filter(deleted_at__gte=since)

    def long_deleted(self) -> Self:
        return self.filter(deleted_at__lt=timezone.now() - DELETED_KEPT)


def new_token() -> str:
    """128 random bits, as an address carries them."""
    return secrets.token_urlsafe(16)


class Owned(models.Model):
    """Has an owner, and goes with them."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        abstract = True


class Shared(Owned):
    """Is private, or open to whoever has its link, or to everyone."""

    class Visibility(models.TextChoices):
        PRIVATE = "private", "Only you"
        UNLISTED = "unlisted", "Whoever has the link"
        PUBLIC = "public", "Everyone"

    visibility = models.CharField(
        max_length=8, choices=Visibility.choices, default=Visibility.PRIVATE
    )
    # Of the link, once there is one; a new token revokes the link given away before.
    share_token = models.CharField(max_length=32, unique=True, null=True, blank=True)

    objects: ClassVar = SharedQuerySet.as_manager()

    class Meta:
        abstract = True
