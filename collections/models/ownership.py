"""Base classes of what belongs to a user: owner, visibility and soft deletion."""

import secrets
import uuid
from datetime import timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

AnyUser = User | AnonymousUser  # the user of a request

RETENTION = timedelta(days=30)  # of deleted rows


class OwnedQuerySet(models.QuerySet):
    """The base of all queries for rows that belong to a user."""

    def owned_by(self, user: AnyUser) -> Self:
        """Return the rows that the user may change; none for an anonymous user."""
        return self.filter(owner=user) if user.is_authenticated else self.none()

    def visible_to(self, user: AnyUser) -> Self:
        """Return the rows that the user may see."""
        return self.owned_by(user)


class SharedQuerySet(OwnedQuerySet):
    """Only `deleted_by` and `long_deleted` return rows that are deleted."""

    def owned_by(self, user: AnyUser) -> Self:
        return super().owned_by(user).filter(deleted_at=None)

    def visible_to(self, user: AnyUser) -> Self:
        public = Q(visibility=Shared.Visibility.PUBLIC)
        mine = Q(owner=user) if user.is_authenticated else Q(pk__in=[])
        return self.filter(mine | public, deleted_at=None)

    def public(self) -> Self:
        return self.filter(visibility=Shared.Visibility.PUBLIC, deleted_at=None)

    def with_token(self, token: str) -> Self:
        """Return the row of a share link, unless it is private again."""
        shared = self.exclude(visibility=Shared.Visibility.PRIVATE)
        if not token:
            return self.none()
        return shared.filter(share_token=token, deleted_at=None)

    def deleted_by(self, user: AnyUser) -> Self:
        """Return the rows that the user deleted and can still restore."""
        since = timezone.now() - RETENTION
        return super().owned_by(user).filter(deleted_at__gte=since)

    def long_deleted(self) -> Self:
        """Return the deleted rows that can no longer be restored."""
        return self.filter(deleted_at__lt=timezone.now() - RETENTION)


def new_token() -> str:
    """Return 128 random bits as URL-safe text."""
    return secrets.token_urlsafe(16)


class Owned(models.Model):
    """A row that belongs to a user and is deleted with the user."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        abstract = True


class Shared(Owned):
    """A named row that is private, readable by a secret link, or public."""

    class Visibility(models.TextChoices):
        PRIVATE = "private", "Only you"
        UNLISTED = "unlisted", "Anyone with the link"
        PUBLIC = "public", "Public"

    name = models.CharField(max_length=120)
    description = models.TextField(max_length=2_000, blank=True)
    visibility = models.CharField(
        max_length=8, choices=Visibility.choices, default=Visibility.PRIVATE
    )
    # The secret of the link, once there is one; a new token revokes the old link.
    share_token = models.CharField(max_length=32, unique=True, null=True, blank=True)
    # Set by deleting. The row can be restored until it is deleted for good.
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar = SharedQuerySet.as_manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse(str(self._meta.model_name), args=[self.pk])
