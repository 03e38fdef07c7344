"""Periodic task: purge collections that were deleted long ago."""

from celery import shared_task

from ..models import Collection, CollectionItem


@shared_task(name="usercollections.collecting.sweep", queue="publish")
def sweep() -> int:
    """Purge collections; return how many."""
    keys = list(Collection.objects.long_deleted().values_list("pk", flat=True))
    for pk in keys:
        # Apart from their collection, items are deleted without being loaded.
        CollectionItem.objects.filter(collection=pk).delete()
        Collection.objects.long_deleted().filter(pk=pk).delete()
    return len(keys)
