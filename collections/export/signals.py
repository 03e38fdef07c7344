"""Delete the files of an export with its row."""

from functools import partial
from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from ..models import Export
from . import storage


@receiver(post_delete, sender=Export, dispatch_uid="laionweb.exporting.events")
def remove_files(instance: Export, **about: Any) -> None:
    """Wait for the commit. Deleting a user also deletes exports, and calls this."""
    transaction.on_commit(partial(storage.remove, instance.pk))
