"""Periodic task: purge old refinements and sessions, and concepts deleted long ago."""

from importlib import import_module

from celery import shared_task
from django.conf import settings

from ..models import Concept, Refinement


@shared_task(name="usercollections.refining.sweep", queue="publish")
def sweep() -> int:
    """Purge them; return how many refinements and concepts, without saved ones."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
    old = list(Refinement.objects.expired().values_list("pk", flat=True))
    Refinement.objects.filter(pk__in=old).delete()
    deleted = Concept.objects.long_deleted()
    count = len(old) + deleted.count()
    deleted.delete()
    return count
