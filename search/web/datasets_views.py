"""The page of all datasets, for staff with their imports; deleting and restoring."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from search import cache
from search.errors import NotFound, SearchError
from search.ingestion import deletion
from search.ingestion.status import Status, status_of
from search.models import SYSTEM, Dataset, Shard
from search.retrieval import service
from search.retrieval.items import Hit

from .staff import may, may_delete

SAMPLES = 4
SAMPLES_S = 600  # for which the same images are shown

logger = logging.getLogger(__name__)
State = Shard.State


@dataclass(frozen=True)
class Card:
    """A dataset on the page; its status is for staff only."""

    dataset: Dataset
    items: int
    samples: Sequence[Hit]
    status: Status | None


@require_safe
def datasets(request: HttpRequest) -> HttpResponse:
    """Render the datasets with items; for staff, all."""
    is_staff = may(request.user, "change")
    visible = Dataset.objects.visible_to(request.user)
    counted = visible.annotate(items=Sum("shards__rows_visible", default=0))
    if not is_staff:
        counted = counted.filter(items__gt=0)
    page = {
        "cards": [_card(each, is_staff) for each in counted],
        "may_add": may(request.user, "add", "change"),
        "deleted": deletion.deleted() if may(request.user, "delete") else [],
        "is_staff": is_staff,
    }
    return render(request, "search/datasets.html", page)


@may_delete
def delete(request: HttpRequest, slug: str) -> HttpResponse:
    """Delete a dataset whose slug was typed; before, show what goes with it."""
    dataset = Dataset.for_slug(slug, request.user)
    typed = request.POST.get("sure", "").strip()
    if request.method == "POST" and typed == slug:
        deletion.delete(dataset)
        messages.success(
            request, f"{dataset} is deleted. It can be restored from the list below."
        )
        return redirect("datasets")
    context = {
        "dataset": dataset,
        "goes": deletion.consequences(dataset),
        "undone_for": deletion.UNDONE_FOR,
        "typed": typed,
        "is_wrong": request.method == "POST",
    }
    return render(request, "search/dataset_delete.html", context)


@require_POST
@may_delete
def restore(request: HttpRequest, number: int) -> HttpResponse:
    """Undo the deletion of a dataset."""
    try:
        restored = deletion.restore(deletion.find_deleted(number))
    except NotFound as error:
        messages.error(request, error.message)
        return redirect("datasets")
    messages.success(request, f"{restored} is restored.")
    return redirect(restored)


def _card(dataset: Any, is_staff: bool) -> Card:
    samples = _samples(dataset) if dataset.items else ()
    return Card(
        dataset, dataset.items, samples, status_of(dataset) if is_staff else None
    )


def _samples(dataset: Any) -> Sequence[Hit]:
    """Return some images, the same for a while; none while the engine is down."""
    state = f"{dataset.items}:{dataset.index_revision}:{dataset.safety}"
    key = f"samples:{dataset.pk}:{state}"
    if (known := cache.get(key)) is not None:
        return known
    try:
        found = service.random_hits(dataset.slug, SAMPLES, SYSTEM)
    except SearchError as error:
        logger.warning("No images of %s: %s", dataset, error.message)
        return ()
    cache.set(key, found, SAMPLES_S)
    return found
