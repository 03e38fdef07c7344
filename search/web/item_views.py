"""The page of an item, and the same item in a panel over a page of results.

The parameters of the search that led here may stand in the URL: the page then explains
why the item was found, and links back.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from search.errors import SearchError
from search.models import Dataset, Viewer
from search.query.filters import UNRESTRICTED
from search.query.model import SearchQuery, Term, split_slugs
from search.rate_limits import limited, limiter
from search.retrieval import service
from search.retrieval.explanation import Explanation
from search.retrieval.items import Hit, Item
from search.thumbnails import SIZES, thumbnail_url

from .forms import SearchForm
from .item_facts import Copy, FactGroup, copies, fact_groups
from .search_page import SearchBox, read_search
from .search_views import with_status

NEIGHBOURS = 12
SUGGESTED = 4
MAX_SUGGESTED_TEXT = 200  # characters
MAX_LABEL = 80

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ItemPage:
    """The variables of search/_detail.html; of search/item.html with a SearchBox."""

    panel: bool
    dataset: Dataset
    item: Item
    whys: Sequence[Explanation]
    results: str  # address of the search that led here
    groups: Sequence[FactGroup]
    copies: Sequence[Copy]
    shows_unrated: bool  # without blurring them
    veiled: bool  # the image
    strip: Sequence[Hit]  # the nearest items


@require_safe
@limited("item")
def item(request: HttpRequest, slug: str, item_id: int) -> HttpResponse:
    """Render the page of an item, or its panel only if the URL has `panel`."""
    in_panel = "panel" in request.GET
    user, form = request.user, SearchForm({"dataset": slug})
    box = {} if in_panel else vars(SearchBox.of(form, user))
    try:
        page = _item_page(request, Dataset.for_slug(slug, user), item_id, in_panel)
    except SearchError as error:
        template = "search/_error.html" if in_panel else "search/item.html"
        return with_status(render(request, template, {**box, "error": error}), error)
    template = "search/_detail.html" if in_panel else "search/item.html"
    return render(request, template, {**box, **vars(page)})


@require_safe
@never_cache
@limited("item")
def suggest(request: HttpRequest) -> JsonResponse:
    """Return the items nearest to the words of the search box, to add one as a term."""
    text = " ".join(request.GET.get("q", "").split())[:MAX_SUGGESTED_TEXT]
    form = SearchForm({"dataset": request.GET.get("dataset", "")})
    slug, *_ = split_slugs(form.params["dataset"]) or [""]
    try:
        dataset = Dataset.for_slug(slug, request.user)
        query = SearchQuery(slug, (Term(text=text),), limit=SUGGESTED)
        hits = service.search(query, request.user, limiter(request), veils=True).hits
    except SearchError as error:
        logger.info("No suggested items: %s", error.message)
        return JsonResponse({"entries": []})
    entries = [
        {
            "label": hit.caption[:MAX_LABEL] or "Image without a caption",
            "dataset": slug,
            "item": str(hit.id),
            "image": thumbnail_url(slug, hit.id, SIZES[0])
            if dataset.has_image(hit.url) and not hit.is_veiled(shows_unrated=False)
            else "",
        }
        for hit in hits
    ]
    return JsonResponse({"entries": entries})


@require_safe
@limited("item")
def similar(request: HttpRequest, slug: str, item_id: int) -> HttpResponse:
    """Render the nearest items as a strip, which the viewer loads."""
    dataset = Dataset.for_slug(slug, request.user)
    hits = service.neighbours(slug, item_id, NEIGHBOURS, request.user)
    shows_unrated = request.GET.get("nsfw") == UNRESTRICTED
    context = {"dataset": dataset, "hits": hits, "shows_unrated": shows_unrated}
    return render(request, "search/_strip.html", context)


def _item_page(
    request: HttpRequest, dataset: Dataset, item_id: int, in_panel: bool
) -> ItemPage:
    item = service.item(dataset.slug, item_id, request.user)
    form = _search_form(request, dataset)
    shows_unrated = form.params["nsfw"] == UNRESTRICTED
    address = request.build_absolute_uri(request.path)
    image = ""
    if dataset.has_image(item.url):
        thumbnail = thumbnail_url(dataset.slug, item_id, SIZES[-1])
        image = request.build_absolute_uri(thumbnail)
    return ItemPage(
        panel=in_panel,
        dataset=dataset,
        item=item,
        whys=_explanations(request, form, dataset, item_id) if form.is_search else (),
        results=_results_url(request, form, dataset) if form.is_search else "",
        groups=fact_groups(item, dataset, address),
        copies=copies(item, dataset, address, image, timezone.localdate()),
        shows_unrated=shows_unrated,
        veiled=item.is_veiled(shows_unrated),
        strip=() if in_panel else _neighbours(dataset.slug, item_id, request.user),
    )


def _results_url(request: HttpRequest, form: SearchForm, dataset: Dataset) -> str:
    """Return the URL of the search that led here, perhaps one of several datasets."""
    asked = request.GET.get("dataset", "")
    is_of_it = dataset.slug in split_slugs(asked)
    return form.url(dataset=asked if is_of_it else dataset.slug)


def _search_form(request: HttpRequest, dataset: Dataset) -> SearchForm:
    params = request.GET.copy()
    params["dataset"], params["cursor"] = dataset.slug, ""
    return SearchForm(params)


def _explanations(
    request: HttpRequest, form: SearchForm, dataset: Dataset, item_id: int
) -> tuple[Explanation, ...]:
    """Return () for a search that fails: the item is worth showing without."""
    try:
        form.check()
        read = read_search(form, [dataset], request)
        query = form.search_query(dataset.slug, read.parsed)
        return service.explain(query, request.user, limiter(request), item_id)
    except SearchError as error:
        logger.info("No explanation of item %s: %s", item_id, error.message)
        return ()


def _neighbours(slug: str, item_id: int, user: Viewer) -> tuple[Hit, ...]:
    """Return () if the search fails: the item is worth showing without."""
    try:
        return service.neighbours(slug, item_id, NEIGHBOURS, user)
    except SearchError as error:
        logger.warning("No neighbours of item %s: %s", item_id, error.message)
        return ()
