"""The page on which an export is asked for."""

import json
import logging
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from search.errors import (
    InvalidQuery,
    NotFound,
    SearchError,
    SearchUnavailable,
    TooManyRequests,
)
from search.models import Dataset
from search.query import concepts
from search.query.filters import SPECS, Filters
from search.query.model import MAX_RESULTS, SearchQuery, Term
from search.rate_limits import limited, limiter
from search.retrieval import service
from search.retrieval.column_stats import available_filters
from search.web.histogram import Histogram, similarity_histogram
from search.web.middleware import HtmxRequest

from ..models import Concept, Export
from ..saved_search.search_address import SavedQuery
from . import services, storage
from .export_request import KINDS
from .forms import FIELDS, FORMS, ExportForm, Source, datasets_of, filter_form
from .status import ExportStatus, status_of

ENDED = {
    Export.State.DONE: "“{}” is done.",
    Export.State.FAILED: "“{}” could not be made.",
}


@login_required
@require_safe
@never_cache
def my_exports(request: HttpRequest) -> HttpResponse:
    context = {"exports": status_of(list(services.exports_of(request.user)))}
    return render(request, "export/page.html", context)


@login_required
@require_safe
@limited("item")
@never_cache
def export_page(request: HtmxRequest, export_id: UUID) -> HttpResponse:
    """For htmx the export as it stands in the list; the address leads to the list."""
    export = services.find_owned(request.user, export_id)
    if not request.htmx:
        return HttpResponseRedirect(f"{reverse('exports')}#export-{export.pk}")
    response = render(request, "export/_export.html", {"each": _standing(export)})
    if sentence := ENDED.get(Export.State(export.state)):
        text = sentence.format(export.name)
        response["HX-Trigger"] = json.dumps({"laionweb:toast": {"text": text}})
    return response


def _standing(export: Export) -> ExportStatus:
    return status_of([export])[0]


@login_required
@require_safe
@limited("item")
def file(request: HttpRequest, export_id: UUID, name: str) -> HttpResponseBase:
    export = services.find_owned(request.user, export_id)
    return storage.serve(export, name, request.headers.get("Range", ""))


@login_required
@require_POST
def cancel(request: HttpRequest, export_id: UUID) -> HttpResponse:
    export = services.find_owned(request.user, export_id)
    try:
        services.cancel(request.user, export_id)
    except InvalidQuery as error:  # it was done before the button was pressed
        return back_to_all(request, error.message, messages.ERROR)
    return back_to_all(request, f"“{export.name}” is cancelled.")


@login_required
@require_POST
@limited("export")
def restart(request: HttpRequest, export_id: UUID) -> HttpResponse:
    export = services.find_owned(request.user, export_id)
    try:
        export = services.restart(request.user, export_id)
    except (InvalidQuery, NotFound) as error:
        return back_to_all(request, error.message, messages.ERROR)
    return back_to_all(request, *outcomes(export))


@login_required
@require_POST
def delete(request: HttpRequest, export_id: UUID) -> HttpResponse:
    export = services.find_owned(request.user, export_id)
    services.delete(request.user, export_id)
    return back_to_all(request, f"“{export.name}” is deleted, with its files.")


def outcomes(export: Export) -> tuple[str, int]:
    """What has come of an export that was just asked for, and how that is said."""
    if export.state in ENDED:
        level = messages.SUCCESS
        if export.state == Export.State.FAILED:
            level = messages.ERROR
        return ENDED[Export.State(export.state)].format(export.name), level
    return f"“{export.name}” is being made. You can leave this page.", messages.SUCCESS


def back_to_all(
    request: HttpRequest, sentence: str, level: int = messages.SUCCESS
) -> HttpResponse:
    messages.add_message(request, level, sentence)
    return HttpResponseRedirect(reverse("exports"))


RANKS = (10, 100, 1_000, 10_000)
DECIMALS = 4


@dataclass(frozen=True)
class Rank:
    """The nearest `count` are at least so similar."""

    count: int
    similarity: float


@dataclass(frozen=True)
class Preview:
    """Of the nearest `known`; `is_all` says that there are no others."""

    ranks: tuple[Rank, ...]
    nearest: float | None  # the similarity of the nearest
    histogram: Histogram | None
    known: int
    is_all: bool


def preview(
    concept: Concept,
    dataset: Dataset,
    field: str,
    at_least: float | None,
    request: HttpRequest,
) -> Preview:
    """By the index, as a search: of more than these, only the export itself knows.

    Raises InvalidQuery, NotFound, SearchUnavailable.
    """
    term = Term(embedding=tuple(concept.embedding.tolist()))
    alone = Filters(dedupe=False)
    query = SearchQuery(dataset.slug, (term,), field=field, filters=alone)
    found = service.rank(
        query, request.user, limiter(request), MAX_RESULTS
    ).similarities
    return Preview(
        ranks=tuple(
            Rank(count, _reached_by(found[count - 1]))
            for count in RANKS
            if count <= len(found)
        ),
        nearest=_reached_by(found[0]) if len(found) else None,
        histogram=similarity_histogram(found.tolist(), at_least),
        known=len(found),
        is_all=len(found) < MAX_RESULTS,
    )


def _reached_by(similarity: np.float32) -> float:
    """Rounded down, so that the picture itself is among those that reach it."""
    return math.floor(float(similarity) * 10**DECIMALS) / 10**DECIMALS


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
        export = services.start(
            request.user, source.export_request(ExportForm(request.POST), request)
        )
    except TooManyRequests:
        raise
    except SearchError as error:
        return _page(request, source, given, error)
    return back_to_all(request, *outcomes(export))


def _page(
    request: HttpRequest, source: Source, given: Any, error: SearchError | None = None
) -> HttpResponse:
    chosen = {
        "form": given.get("form", "parquet"),
        "embeddings": bool(given.get("embeddings")),
        "limit": given.get("limit", MAX_RESULTS),
        "at_least": given.get("at_least", ""),
        "field": given.get("field", "image"),
    }
    context: dict[str, Any] = {
        "source": source,
        "chosen": chosen,
        "error": error,
        "forms": FORMS,
        "most": MAX_RESULTS,
    }
    asking, concept, dataset = source.asking, source.concept, source.dataset
    if dataset is not None and asking is not None:
        context["words"] = asking.words(request.user)
        context["beside"] = _beside(asking, dataset, request.user)
    elif dataset is not None:
        filters = filter_form(given)
        context |= {
            "nsfw": filters.asked["nsfw"],
            "filter_inputs": filters.filter_inputs(
                {
                    name
                    for name in available_filters(dataset)
                    if not SPECS[name].ranked_only
                }
            ),
            "is_filtered": any(filters.data.values()),
            "count": f"{dataset.item_count():,}",
        }
        if concept is not None:
            context |= _of_concept(concept, dataset, chosen, request)
    status = error.status if error else 200
    return render(request, "export/new.html", context, status=status)


def _beside(asking: SavedQuery, dataset: Dataset, user: Any) -> int:
    """How many pictures a search leaves out, since what it asks for is made of them."""
    asked = [term.concept for term in asking.terms if term.concept is not None]
    try:
        found = [concepts.find(concept, user, dataset.slug) for concept in asked]
    except SearchError:
        return 0  # whoever asks for the export is told why it cannot be made
    return len({item for each in found for item in each.exclude})


def _of_concept(
    concept: Concept, dataset: Dataset, chosen: dict[str, Any], request: HttpRequest
) -> dict[str, Any]:
    """With how similar the nearest are, as long as the engine can tell."""
    field = chosen["field"] if chosen["field"] in FIELDS else "image"
    at_least = None
    with suppress(ValueError):
        at_least = float(chosen["at_least"])
    context: dict[str, Any] = {"fields": FIELDS, "datasets": datasets_of(concept)}
    try:
        context["preview"] = preview(concept, dataset, field, at_least, request)
    except SearchUnavailable as error:
        logger.warning("No preview of an export: %s", error.message)
    return context
