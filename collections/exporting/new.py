"""The page on which an export is asked for."""

import logging
from contextlib import suppress
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from search.errors import SearchError, SearchUnavailable, TooManyRequests
from search.models import Dataset
from search.query import concepts
from search.rate_limits import limited
from search.retrieval.column_stats import filled
from search.web.forms import SHAPES

from ..models import Concept
from ..saving.addresses import Asking
from . import steering
from .asked import MOST_RESULTS
from .forms import FIELDS, FILTERS, FORMS, KINDS, ExportForm, Source, datasets_of
from .page import back_to_all, outcome
from .preview import preview

logger = logging.getLogger(__name__)


def _starts(request: HttpRequest) -> bool:
    return request.method == "POST"


def _compares(request: HttpRequest) -> bool:
    return bool(request.GET.get("concept"))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@limited("export", when=_starts)
@limited("search", when=_compares)
@never_cache
def new(request: HttpRequest) -> HttpResponse:
    """Asks how something is to be exported; a form posted here has it made."""
    given = request.POST if request.method == "POST" else request.GET
    if not any(given.get(kind) for kind in KINDS):
        return HttpResponseRedirect(reverse("exports"))
    source = Source.of(given, request.user)
    if request.method != "POST":
        return _page(request, source, given)
    try:
        export = steering.start(
            request.user, source.asked(ExportForm(request.POST), request)
        )
    except TooManyRequests:
        raise
    except SearchError as error:
        return _page(request, source, given, error)
    return back_to_all(request, *outcome(export))


def _page(
    request: HttpRequest, source: Source, given: Any, error: SearchError | None = None
) -> HttpResponse:
    chosen = {
        "form": given.get("form", "parquet"),
        "embeddings": bool(given.get("embeddings")),
        "limit": given.get("limit", MOST_RESULTS),
        "at_least": given.get("at_least", ""),
        "field": given.get("field", "image"),
        **{name: given.get(name, "") for name in FILTERS},
    }
    context: dict[str, Any] = {
        "source": source,
        "chosen": chosen,
        "error": error,
        "forms": FORMS,
        "most": MOST_RESULTS,
    }
    asking, concept, dataset = source.asking, source.concept, source.dataset
    if dataset is not None and asking is not None:
        context["words"] = asking.words(request.user)
        context["beside"] = _beside(asking, dataset, request.user)
    elif dataset is not None:
        context |= {
            "columns": filled(dataset),
            "shapes": SHAPES,
            "is_filtered": any(chosen[name] for name in FILTERS),
            "count": f"{dataset.item_count():,}",
        }
        if concept is not None:
            context |= _of_concept(concept, dataset, chosen)
    status = error.status if error else 200
    return render(request, "exporting/new.html", context, status=status)


def _beside(asking: Asking, dataset: Dataset, user: Any) -> int:
    """How many pictures a search leaves out, since what it asks for is made of them."""
    asked = [term.concept for term in asking.terms if term.concept is not None]
    try:
        found = [concepts.find(concept, user, dataset.slug) for concept in asked]
    except SearchError:
        return 0  # whoever asks for the export is told why it cannot be made
    return len({item for each in found for item in each.exclude})


def _of_concept(
    concept: Concept, dataset: Dataset, chosen: dict[str, Any]
) -> dict[str, Any]:
    """With how similar the nearest are, as long as the engine can tell."""
    field = chosen["field"] if chosen["field"] in FIELDS else "image"
    at_least = None
    with suppress(ValueError):
        at_least = float(chosen["at_least"])
    context: dict[str, Any] = {"fields": FIELDS, "datasets": datasets_of(concept)}
    try:
        context["preview"] = preview(concept, dataset, field, at_least)
    except SearchUnavailable as error:
        logger.warning("No preview of an export: %s", error.message)
    return context
