"""The files of an export go with its row, by whatever it is deleted."""

from functools import partial
from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from ..models import Export
from . import storage


@receiver(post_delete, sender=Export, dispatch_uid="laionweb.exporting.events")
def remove_files(instance: Export, **about: Any) -> None:
    """Once the deletion is certain; also of exports that go with their owner."""
    transaction.on_commit(partial(storage.remove, instance.pk))
