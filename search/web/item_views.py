"""The page of an item, and the same in a panel over a page of results.

The parameters of the search that led here may stand in the address: they tell why the
item was found, and lead back.
"""

import logging
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from search.clickhouse.filters import NOT_SAFE
from search.errors import SearchError
from search.models import Dataset
from search.rate_limits import limited, limiter
from search.retrieval import service
from search.retrieval.column_stats import has_safety
from search.retrieval.explanation import Explanation
from search.retrieval.items import Hit

from .forms import SearchForm
from .search_page import page_context, read_search
from .search_views import with_status

STRIP = 12

Context = dict[str, Any]
logger = logging.getLogger(__name__)


@require_safe
@limited("item")
def item(request: HttpRequest, slug: str, item_id: int) -> HttpResponse:
    """With `panel` in the address, only what the panel shows."""
    in_panel = "panel" in request.GET
    context: Context = {"panel": in_panel}
    if not in_panel:
        context |= page_context(SearchForm({"dataset": slug}))
    try:
        context |= _shown(request, Dataset.for_slug(slug), item_id)
        if not in_panel:
            context["strip"] = _strip(slug, item_id)
    except SearchError as error:
        template = "search/_error.html" if in_panel else "search/item.html"
        context["error"] = error
        return with_status(render(request, template, context), error)
    return render(request, f"search/{'_detail' if in_panel else 'item'}.html", context)


def _shown(request: HttpRequest, dataset: Dataset, item_id: int) -> Context:
    item = service.item(dataset.slug, item_id)
    form = _search_of(request, dataset)
    blurred = form.asked["nsfw"] != "any" and not has_safety(dataset)
    return {
        "dataset": dataset,
        "item": item,
        "whys": _whys(request, form, dataset, item_id) if form.is_search else (),
        "results": form.address() if form.is_search else "",
        "page_address": request.build_absolute_uri(request.path),
        "blurred": blurred,
        "veiled": blurred or item.nsfw.upper() in NOT_SAFE,
    }


def _search_of(request: HttpRequest, dataset: Dataset) -> SearchForm:
    asked = request.GET.copy()
    asked["dataset"], asked["cursor"] = dataset.slug, ""
    return SearchForm(asked)


def _whys(
    request: HttpRequest, form: SearchForm, dataset: Dataset, item_id: int
) -> tuple[Explanation, ...]:
    """Nothing where the search cannot be read: the item is worth showing without."""
    try:
        form.check()
        read = read_search(form, dataset, request)
        query = form.search_query(dataset.slug, read.asked)
        return service.explain(query, request.user, limiter(request), item_id)
    except SearchError as error:
        logger.info("No reasons for item %s: %s", item_id, error.message)
        return ()


def _strip(slug: str, item_id: int) -> tuple[Hit, ...]:
    """The nearest of an item. Its page is worth showing without them, too."""
    try:
        return service.neighbours(slug, item_id, STRIP)
    except SearchError as error:
        logger.warning("No neighbours of item %s: %s", item_id, error.message)
        return ()
