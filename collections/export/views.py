"""The list of the user's exports, their files, and the form for a new one."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
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
from search.web.forms import FilterInput
from search.web.histogram import Histogram, similarity_histogram
from search.web.middleware import HtmxRequest

from ..concept.services import datasets_of
from ..models import Concept, Export
from ..models.ownership import AnyUser
from ..saved_search.saved_query import SavedQuery
from . import services, storage
from .export_request import KINDS
from .forms import FIELDS, FORMAT_LABELS, ExportForm, Source, filter_form
from .status import ExportStatus, status_of

RANKS = (10, 100, 1_000, 10_000)
DECIMALS = 4  # of similarities
OUTCOMES = {
    Export.State.DONE: "“{}” is ready.",
    Export.State.FAILED: "Exporting “{}” failed.",
}

logger = logging.getLogger(__name__)


# --- The list, and what can be done with one export


@dataclass(frozen=True, kw_only=True)
class ListContext:
    """The context of export/page.html."""

    exports: list[ExportStatus]


@login_required
@require_safe
@never_cache
def my_exports(request: HttpRequest) -> HttpResponse:
    exports = list(services.exports_of(request.user))
    context = ListContext(exports=status_of(exports, request.user))
    return render(request, "export/page.html", vars(context))


@login_required
@require_safe
@limited("item")
@never_cache
def export_page(request: HtmxRequest, export_id: UUID) -> HttpResponse:
    """Return the export's part of the list to htmx; redirect others to the list."""
    export = services.find_owned(request.user, export_id)
    if not request.htmx:
        return HttpResponseRedirect(f"{reverse('exports')}#export-{export.pk}")
    [status] = status_of([export], request.user)
    response = render(request, "export/_export.html", {"each": status})
    if sentence := OUTCOMES.get(Export.State(export.state)):
        text = sentence.format(export.name)
        response["HX-Trigger"] = json.dumps({"laionweb:toast": {"text": text}})
    return response


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
    except InvalidQuery as error:  # it ended before the button was pressed
        return _redirect_to_list(request, error.message, messages.ERROR)
    return _redirect_to_list(request, f"Cancelled “{export.name}”.")


@login_required
@require_POST
@limited("export")
def restart(request: HttpRequest, export_id: UUID) -> HttpResponse:
    export = services.find_owned(request.user, export_id)
    try:
        export = services.restart(request.user, export_id)
    except (InvalidQuery, NotFound) as error:
        return _redirect_to_list(request, error.message, messages.ERROR)
    return _redirect_to_list(request, *_outcome(export))


@login_required
@require_POST
def delete(request: HttpRequest, export_id: UUID) -> HttpResponse:
    export = services.find_owned(request.user, export_id)
    services.delete(request.user, export_id)
    return _redirect_to_list(request, f"Deleted “{export.name}” and its files.")


def _outcome(export: Export) -> tuple[str, int]:
    """Return a sentence and its message level for an export that was just started."""
    if export.state not in OUTCOMES:
        text = f"Exporting “{export.name}”… You can leave this page."
        return text, messages.SUCCESS
    failed = export.state == Export.State.FAILED
    text = OUTCOMES[Export.State(export.state)].format(export.name)
    return text, messages.ERROR if failed else messages.SUCCESS


def _redirect_to_list(
    request: HttpRequest, sentence: str, level: int = messages.SUCCESS
) -> HttpResponse:
    messages.add_message(request, level, sentence)
    return HttpResponseRedirect(reverse("exports"))


# --- The form for a new export


@dataclass(frozen=True)
class Rank:
    """The nearest `count` items are at least this similar."""

    count: int
    similarity: float


@dataclass(frozen=True)
class Preview:
    """The similarities of the nearest `known` items to a concept."""

    ranks: tuple[Rank, ...]
    nearest: float | None  # the similarity of the nearest one
    histogram: Histogram | None
    known: int
    is_all: bool  # there are no other items


@dataclass(frozen=True, kw_only=True)
class FormContext:
    """The context of export/new.html; the rest depends on the kind of the source."""

    source: Source
    chosen: dict[str, Any]
    error: SearchError | None
    forms: dict[str, tuple[str, str]]  # formats of files: their titles and hints
    max_results: int
    # A search
    words: Sequence[str] = ()
    excluded: int = 0  # items that the search leaves out
    # A dataset or a concept
    nsfw: str = ""
    filter_inputs: Sequence[FilterInput] = ()
    is_filtered: bool = False
    count: str = ""
    # A concept
    fields: Mapping[str, str] = field(default_factory=dict)
    datasets: Sequence[Dataset] = ()
    preview: Preview | None = None


def _is_post(request: HttpRequest) -> bool:
    return request.method == "POST"


def _compares_vectors(request: HttpRequest) -> bool:
    return bool(request.GET.get("concept"))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@limited("export", when=_is_post)
@limited("search", when=_compares_vectors)
@never_cache
def new(request: HttpRequest) -> HttpResponse:
    """Show the form for an export; start one from a form that is posted."""
    given = request.POST if request.method == "POST" else request.GET
    if not any(given.get(kind) for kind in KINDS):
        return HttpResponseRedirect(reverse("exports"))
    source = Source.of(given, request.user)
    if request.method != "POST":
        return _form_page(request, source, given)
    try:
        export = services.start(
            request.user, source.export_request(ExportForm(request.POST), request)
        )
    except TooManyRequests:
        raise
    except SearchError as error:
        return _form_page(request, source, given, error)
    return _redirect_to_list(request, *_outcome(export))


def _form_page(
    request: HttpRequest,
    source: Source,
    given: Mapping[str, Any],
    error: SearchError | None = None,
) -> HttpResponse:
    context = _form_context(request, source, given, error)
    status = error.status if error else 200
    return render(request, "export/new.html", vars(context), status=status)


def _form_context(
    request: HttpRequest,
    source: Source,
    given: Mapping[str, Any],
    error: SearchError | None,
) -> FormContext:
    chosen = {
        "form": given.get("form", "parquet"),
        "embeddings": bool(given.get("embeddings")),
        "limit": given.get("limit", MAX_RESULTS),
        "at_least": given.get("at_least", ""),
        "field": given.get("field", "image"),
    }
    context = FormContext(
        source=source,
        chosen=chosen,
        error=error,
        forms=FORMAT_LABELS,
        max_results=MAX_RESULTS,
    )
    if source.dataset is None:
        return context
    if source.search is not None:
        return replace(
            context,
            words=source.search.words(request.user),
            excluded=_count_excluded(source.search, request.user),
        )
    context = _with_filters(context, source.dataset, given)
    if source.concept is None:
        return context
    return replace(
        context,
        fields=FIELDS,
        datasets=datasets_of(source.concept, service.datasets(request.user)),
        preview=_preview(request, source.concept, source.dataset, chosen),
    )


def _with_filters(
    context: FormContext, dataset: Dataset, given: Mapping[str, Any]
) -> FormContext:
    form = filter_form(given)
    names = available_filters(dataset)
    unranked = {name for name in names if not SPECS[name].ranked_only}
    return replace(
        context,
        nsfw=form.params["nsfw"],
        filter_inputs=form.filter_inputs(unranked),
        is_filtered=any(form.data.values()),
        count=f"{dataset.item_count():,}",
    )


def _count_excluded(query: SavedQuery, user: AnyUser) -> int:
    """Return how many items a search leaves out because its concepts do."""
    ids = [term.concept for term in query.terms if term.concept is not None]
    try:
        found = [concepts.find(concept, user, query.dataset) for concept in ids]
    except SearchError:
        return 0  # starting the export shows the error
    return len({item for each in found for item in each.exclude})


def _preview(
    request: HttpRequest, concept: Concept, dataset: Dataset, chosen: Mapping[str, Any]
) -> Preview | None:
    """Return the preview for the choices of a form; None without the engine."""
    field = chosen["field"] if chosen["field"] in FIELDS else "image"
    at_least = None
    with suppress(ValueError):
        at_least = float(chosen["at_least"])
    try:
        return preview(request, concept, dataset, field, at_least)
    except SearchUnavailable as error:
        logger.warning("No preview of an export: %s", error.message)
        return None


def preview(
    request: HttpRequest,
    concept: Concept,
    dataset: Dataset,
    field: str,
    at_least: float | None,
) -> Preview:
    """Return the similarities of the nearest MAX_RESULTS items, found by the index.

    Raises InvalidQuery, NotFound, SearchUnavailable.
    """
    term = Term(embedding=tuple(concept.embedding.tolist()))
    without_folding = Filters(dedupe=False)
    query = SearchQuery(dataset.slug, (term,), field=field, filters=without_folding)
    ranked = service.rank(query, request.user, limiter(request), MAX_RESULTS)
    found = ranked.similarities
    return Preview(
        ranks=tuple(
            Rank(count, _round_down(found[count - 1]))
            for count in RANKS
            if count <= len(found)
        ),
        nearest=_round_down(found[0]) if len(found) else None,
        histogram=similarity_histogram(found.tolist(), at_least),
        known=len(found),
        is_all=len(found) < MAX_RESULTS,
    )


def _round_down(similarity: np.float32) -> float:
    """Round so that the item itself reaches the rounded similarity."""
    return math.floor(float(similarity) * 10**DECIMALS) / 10**DECIMALS
