"""The end of an account."""

import logging
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction

logger = logging.getLogger(__name__)


class LastSuperuser(Exception):
    """There would be no admin left."""


@transaction.atomic
def delete_account(user: Any) -> None:
    """The user and all that belongs to them. Raises LastSuperuser."""
    # Two admins who go at the same moment wait for each other.
    admins = get_user_model().objects.filter(is_superuser=True)
    list(admins.select_for_update().order_by("pk"))
    if is_last_superuser(user):
        raise LastSuperuser
    number = user.pk
    user.delete()
    logger.info("User %s deleted their account.", number)


def is_last_superuser(user: Any) -> bool:
    admins = get_user_model().objects.filter(is_superuser=True, is_active=True)
    return user.is_superuser and not admins.exclude(pk=user.pk).exists()
