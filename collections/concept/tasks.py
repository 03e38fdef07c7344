"""Periodic task: purge old refinements, and concepts that were deleted long ago."""

from celery import shared_task

from ..models import Concept, Refinement


@shared_task(name="usercollections.refining.sweep", queue="publish")
def sweep() -> int:
    """Purge both and return how many; concepts saved from refinements stay."""
    old = list(Refinement.objects.expired().values_list("pk", flat=True))
    Refinement.objects.filter(pk__in=old).delete()
    deleted = Concept.objects.long_deleted()
    count = len(old) + deleted.count()
    deleted.delete()
    return count
