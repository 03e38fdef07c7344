"""Collections that were deleted long ago are deleted for good, now and then."""

from celery import shared_task

from ..models import Collection, CollectionItem


@shared_task(name="usercollections.collecting.sweep", queue="publish")
def sweep() -> int:
    """Returns how many collections are no more."""
    gone = list(Collection.objects.long_deleted().values_list("pk", flat=True))
    for pk in gone:
        # By themselves, members are deleted without being read.
        CollectionItem.objects.filter(collection=pk).delete()
        Collection.objects.long_deleted().filter(pk=pk).delete()
    return len(gone)
