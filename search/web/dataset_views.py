"""The page of a dataset: its contents, index and evaluation."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from search.errors import SearchError, SearchUnavailable
from search.evaluation.advice import advice
from search.evaluation.recall import GOOD_RECALL, WIDER_RECALL
from search.ingestion import control, integrity, watching
from search.ingestion.clusters import is_outgrown
from search.ingestion.progress import index_work
from search.jobs.leases import MAX_FAILURES, lease_expired
from search.models import Dataset, Evaluation, Training, Viewer, Watch
from search.query.url_params import search_url
from search.retrieval import service
from search.retrieval.items import Hit

from .ingestion_views import for_staff
from .recall_chart import RecallChart, percent, recall_charts
from .staff import may

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DatasetPage:
    """The variables of search/dataset.html."""

    dataset: Dataset
    cover: Hit | None  # an item that is still there
    seen_by: str  # who may see the dataset, for staff
    items: str
    weights: str
    state: dict[str, Any] | None  # of the index
    health: str
    index_work: str  # what is being done to the index, or should be
    reindex: str  # the label of the button that does it
    search: str  # address of the start page
    evaluation: Evaluation | None
    figures: Sequence[dict[str, Any]]  # of the evaluation, with the shares as texts
    by_share: bool  # whether they have such
    good_recall: float
    wider_recall: float
    clusters: str  # how many, if it is searched by clusters
    charts: Sequence[RecallChart]
    advice: Sequence[str]
    watch: Watch | None  # for staff, if its source is or was watched
    may_watch: bool
    may_mend: bool  # what is missing
    gone: int  # files of hidden items


@require_safe
def dataset(request: HttpRequest, slug: str) -> HttpResponse:
    """Render the page of a dataset. Raises NotFound."""
    dataset = Dataset.for_slug(slug, request.user)
    evaluation = dataset.evaluations.first()
    figures = _figures(evaluation)
    state = _state(dataset)
    page = DatasetPage(
        dataset=dataset,
        cover=_cover(dataset, request.user),
        seen_by=dataset.seen_by() if request.user.is_staff else "",
        items=f"{dataset.item_count():,}",
        # Only the file name: the path would reveal the layout of the server.
        weights=PurePath(dataset.weights).name,
        state=state,
        health=_health(state),
        index_work=index_work(dataset),
        reindex=_reindex_label(dataset),
        search=search_url({"dataset": slug}),
        evaluation=evaluation,
        figures=figures,
        by_share=any(each["read"] for each in figures),
        good_recall=GOOD_RECALL,
        wider_recall=WIDER_RECALL,
        clusters=_clusters(dataset),
        charts=recall_charts(dataset),
        advice=advice(evaluation, is_outgrown(dataset)) if evaluation else [],
        **_watching(request, dataset),
    )
    return render(request, "search/dataset.html", vars(page))


def _watching(request: HttpRequest, dataset: Dataset) -> dict[str, Any]:
    """Return what the page shows of watching: for staff only, as it has a path."""
    if not may(request.user, "change"):
        return {"watch": None, "may_watch": False, "may_mend": False, "gone": 0}
    gone = dataset.source_files.filter(gone=True).exclude(name="")
    return {
        "watch": Watch.objects.filter(dataset=dataset).first(),
        "may_watch": dataset.kind == Dataset.Kind.IMAGES,
        "may_mend": True,
        "gone": gone.count(),
    }


@require_POST
@for_staff
def bring_back(request: HttpRequest, dataset: Dataset) -> HttpResponse:
    """Import the shards again whose rows the engine has lost."""
    try:
        count = integrity.bring_back(dataset)
        messages.success(request, f"{count:,} shards are imported again.")
    except SearchError as error:
        messages.error(request, error.message)
    return redirect("ingestion", slug=dataset.slug)


@require_POST
@for_staff
def watch(request: HttpRequest, dataset: Dataset) -> HttpResponse:
    """Switch watching of the source on or off."""
    try:
        if "active" in request.POST:
            watching.switch_on(dataset)
            messages.success(request, "The source is watched from now on.")
        else:
            watching.switch_off(dataset)
            messages.success(request, "The source is not watched any more.")
    except SearchError as error:
        messages.error(request, error.message)
    return redirect("dataset", slug=dataset.slug)


def _cover(dataset: Dataset, user: Viewer) -> Hit | None:
    """Return the item whose image stands for the dataset; None without the engine."""
    if dataset.cover is None:
        return None
    try:
        found = service.hits_by_id(dataset.slug, [dataset.cover], user)
    except SearchError as error:
        logger.warning("No cover of %s: %s", dataset, error.message)
        return None
    return found.get(dataset.cover)


def _figures(evaluation: Evaluation | None) -> list[dict[str, Any]]:
    return [
        {
            **each,
            "read": percent(each.get("share")),
            "wider_read": percent(each.get("wider_share")),
        }
        for each in (evaluation.figures if evaluation else [])
    ]


def _clusters(dataset: Dataset) -> str:
    """Return the clusters of a dataset, and their rows on average."""
    training = Training.objects.filter(dataset=dataset).first()
    if training is None or not training.version:
        return "clusters, none yet"
    if training.clusters == 1:
        return "one cluster, all of which is read"
    rows = dataset.item_count() / training.clusters
    return (
        f"{training.clusters:,} clusters of {rows:,.0f} rows on average, "
        f"version {training.version}"
    )


def _reindex_label(dataset: Dataset) -> str:
    """Return "" where there is nothing to do, or it is being done."""
    undone = dataset.partitions.filter(reindex=True)
    if undone.exists():
        failed = undone.filter(lease_expired(), failures__gte=MAX_FAILURES)
        return "Continue with the index" if failed.exists() else ""
    if dataset.index == Dataset.Index.GRAPH:
        return "Move to clusters"
    return "Renew the index" if control.needs_reindex(dataset) else ""


def _state(dataset: Dataset) -> dict[str, Any] | None:
    """Return None if the engine is down: the page then shows the ledger only."""
    try:
        return service.index_state(dataset)
    except SearchUnavailable as error:
        logger.warning("No state of the index of %s: %s", dataset, error.message)
        return None


def _health(state: dict[str, Any] | None) -> str:
    if state is None:
        return "The search engine does not answer at the moment."
    if not state["rows"]:
        return "There is nothing to search yet."
    if not state["rows_without_index"]:
        return "All rows are indexed."
    without = f"{state['rows_without_index']:,} of {state['rows']:,} rows"
    return f"{without} are searched row by row until their index is built."
