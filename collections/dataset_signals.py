"""Members of collections, saved searches and exports, when a dataset is deleted.

Members follow the slug of a deleted dataset, so that they are hidden with it, and are
not taken for those of another dataset that gets its slug.
"""

from typing import Any

from django.db.models import Q, QuerySet
from django.dispatch import receiver
from django.utils import timezone

from search.models import Dataset
from search.models.signals import counting_dependents, purged, slug_changed

from .collection.members import recount
from .export import storage
from .models import Collection, CollectionItem, Export, HistoryEntry, SavedSearch

GONE = "A dataset in it was deleted."


@receiver(counting_dependents, dispatch_uid="collections.count")
def count(slug: str, **about: Any) -> list[tuple[int, str, str]]:
    members = CollectionItem.objects.filter(dataset=slug).count()
    return [
        (members, "member of collections", "members of collections"),
        (_naming(SavedSearch, slug).count(), "saved search", "saved searches"),
        (len(_exports(slug)), "export", "exports"),
    ]


@receiver(slug_changed, dispatch_uid="collections.rename")
def rename_members(old: str, new: str, **about: Any) -> None:
    CollectionItem.objects.filter(dataset=old).update(dataset=new)


@receiver(purged, dispatch_uid="collections.purge")
def purge(dataset: Dataset, **about: Any) -> None:
    """Delete what the dataset takes with it; another one may have its slug by now."""
    members = CollectionItem.objects.filter(dataset=dataset.slug)
    collections = list(Collection.objects.filter(items__in=members).distinct())
    members.delete()
    for collection in collections:
        recount(collection)
    slug, at = dataset.deleted_slug, dataset.deleted_at
    assert at is not None
    if not Dataset.objects.filter(slug=slug).exists():
        for model in (SavedSearch, HistoryEntry):
            _naming(model, slug).filter(dataset=slug, created_at__lt=at).delete()
    for export in _exports(slug):
        if export.created_at < at:
            now = timezone.now()
            Export.objects.filter(pk=export.pk).update(
                state=Export.State.EXPIRED, error=GONE, expires_at=now, changed_at=now
            )
            storage.remove(export.pk)


def _naming(model: Any, slug: str) -> QuerySet:
    """Return the searches of a dataset, alone or with others."""
    among = Q(dataset__startswith=f"{slug},") | Q(dataset__endswith=f",{slug}")
    return model.objects.filter(
        Q(dataset=slug) | among | Q(dataset__contains=f",{slug},")
    )


def _exports(slug: str) -> list[Export]:
    """Return the finished exports that have items of a dataset."""
    done = Export.objects.filter(state=Export.State.DONE)
    return [
        export
        for export in done
        if slug in {each["slug"] for each in export.manifest.get("datasets", [])}
    ]
