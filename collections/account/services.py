"""The tables that belong to a user, deleting an account, and preferences."""

import logging
from collections.abc import Iterator
from functools import cache
from typing import Any

from django.contrib.auth import get_user_model
from django.db import models, transaction

from ..models import Preferences
from ..models.ownership import AnyUser

logger = logging.getLogger(__name__)

# From a table to one whose rows belong to its rows.
Relation = models.ForeignObjectRel


@cache
def relations(model: type[models.Model]) -> tuple[Relation, ...]:
    """Return the relations to other tables whose rows are deleted with a model's."""
    return tuple(
        relation
        for relation in model._meta.get_fields(include_hidden=True)
        if isinstance(relation, models.ManyToOneRel)
        and relation.on_delete is models.CASCADE
        and relation.related_model is not model
    )


def tables() -> dict[type[models.Model], str]:
    """Return each model that belongs to a user, and the lookup of its user."""
    found: dict[type[models.Model], str] = {}
    queue: list[tuple[type[models.Model], str]] = [(get_user_model(), "")]
    while queue:
        model, path = queue.pop(0)
        for relation in relations(model):
            field = relation.field.name
            if relation.related_model not in found:
                found[relation.related_model] = f"{field}__{path}" if path else field
                queue.append((relation.related_model, found[relation.related_model]))
    return found


def owned_rows(model: type[models.Model], path: str, user: Any) -> models.QuerySet:
    return model._base_manager.filter(**{path: user})


def counts(user: Any) -> Iterator[tuple[str, int]]:
    """Yield the names and sizes of a user's tables that are not empty."""
    for model, path in tables().items():
        if model._meta.app_label == "collections":
            count = owned_rows(model, path, user).count()
            if count:
                names = model._meta.verbose_name, model._meta.verbose_name_plural
                yield str(names[count != 1]), count


class LastSuperuser(Exception):
    """Deleting this account would leave no admin."""


@transaction.atomic
def delete_account(user: Any) -> None:
    """Delete a user and all rows that belong to them. Raises LastSuperuser."""
    # Two admins who delete their accounts at once wait for each other.
    admins = get_user_model().objects.filter(is_superuser=True)
    list(admins.select_for_update().order_by("pk"))
    if is_last_superuser(user):
        raise LastSuperuser
    user_id = user.pk
    user.delete()
    logger.info("User %s deleted their account.", user_id)


def is_last_superuser(user: Any) -> bool:
    admins = get_user_model().objects.filter(is_superuser=True, is_active=True)
    return user.is_superuser and not admins.exclude(pk=user.pk).exists()


def keeps_history(user: AnyUser) -> bool:
    """Return whether to store a user's searches; never those of anonymous users."""
    if not user.is_authenticated:
        return False
    chosen = Preferences.objects.filter(owner=user).first()
    return chosen.keeps_history if chosen else True


def set_keeps_history(user: Any, keeps: bool) -> None:
    Preferences.objects.update_or_create(owner=user, defaults={"keeps_history": keeps})
