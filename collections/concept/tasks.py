"""Refinements and deleted concepts of long ago are deleted for good, now and then."""

from celery import shared_task

from ..models import Concept, Refinement


@shared_task(name="usercollections.refining.sweep", queue="publish")
def sweep() -> int:
    """Returns how many are no more. What was saved as a concept stays."""
    old = list(Refinement.objects.long_ago().values_list("pk", flat=True))
    Refinement.objects.filter(pk__in=old).delete()
    deleted = Concept.objects.long_deleted()
    count = len(old) + deleted.count()
    deleted.delete()
    return count
