"""The search page and the page of an item.

The address holds the whole state of a search, so that Back, reload and a copied link
show the same. htmx asks at the same addresses and gets only what changes.
"""

import logging
from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from . import service
from .chips import Reading, chips
from .errors import NotFound, SearchError, SearchUnavailable, UnreadableWord
from .forms import FIELDS, PictureForm, SearchForm
from .links import DEFAULTS
from .models import Dataset
from .query import SearchQuery, Term, encode_embedding
from .service import Hit
from .summary import headline, hidden, why_nothing

WALL = 36
STRIP = 12
EXAMPLES = {
    "postcards": (
        "a red house by a lake at night",
        "boats at night",
        "rainbow over a lake",
        "black cat, moon",
        "hot air balloon in the early morning",
        "thunderstorm at the beach",
    )
}

Context = dict[str, Any]
logger = logging.getLogger(__name__)


@require_safe
@vary_on_headers("HX-Request", "HX-History-Restore-Request")
def search(request: HttpRequest) -> HttpResponse:
    form = SearchForm(request.GET)
    context = _page(form)
    try:
        hits_only = _wants_parts(request) and bool(form.asked["cursor"])
        context |= _found(form, context["dataset"], request.get_host(), hits_only)
    except SearchError as error:
        context |= _failed(form, error)
    return _answer(request, context, address=form.address(cursor=""))


@require_POST
def search_by_picture(request: HttpRequest) -> HttpResponse:
    """Sends on to an address that holds the picture's embedding; keeps nothing."""
    form = SearchForm(request.POST)
    context = _page(form)
    try:
        form.check()
        dataset = _existing(context["dataset"])
        picture = Term(image=PictureForm(request.POST, request.FILES).content())
        query = SearchQuery(dataset=dataset.slug, terms=(picture,), limit=1)
        embedding = encode_embedding(service.embed(query))
    except SearchError as error:
        context["error"] = error
        # Whoever goes back or reloads must not post the picture again.
        return _answer(request, context, address="false")
    address = form.address(dataset=dataset.slug, embedding=embedding, q="", item="")
    # Django's redirect refuses addresses as long as those of large embeddings.
    return HttpResponse(status=303, headers={"Location": address})


@require_safe
def item(request: HttpRequest, slug: str, item_id: int) -> HttpResponse:
    context = _page(SearchForm({"dataset": slug}))
    try:
        context["dataset"] = _existing(context["dataset"])
        context["item"] = service.item(slug, item_id)
    except SearchError as error:
        return _with_status(
            render(request, "search/item.html", context | {"error": error}), error
        )
    context["strip"] = _strip(slug, item_id)
    return render(request, "search/item.html", context)


def _page(form: SearchForm) -> Context:
    """What every page needs, whether its search succeeds or not."""
    datasets = service.datasets()
    dataset = _chosen(datasets, form.asked["dataset"])
    return {
        "form": form,
        "asked": form.asked,
        # What stays when something else is searched for.
        "choices": {
            name: form.asked[name]
            for name in DEFAULTS
            if name not in ("q", "item", "embedding", "dataset", "cursor")
        },
        "fields": FIELDS,
        "datasets": datasets,
        "dataset": dataset,
        "is_search": form.is_search,
    }


def _chosen(datasets: Sequence[Dataset], slug: str) -> Dataset | None:
    if not slug:
        return next(iter(datasets), None)
    return next((dataset for dataset in datasets if dataset.slug == slug), None)


def _existing(dataset: Dataset | None) -> Dataset:
    if dataset is None:
        raise NotFound("There is no dataset of that name.")
    return dataset


def _found(
    form: SearchForm, dataset: Dataset | None, host: str, hits_only: bool
) -> Context:
    if dataset is None and not form.asked["dataset"]:
        return {}  # there are no datasets at all, and the page says so
    form.check()
    dataset = _existing(dataset)
    if not form.is_search:
        return _start(dataset)
    asked = form.read(dataset.slug, host)
    page = service.find(form.search_query(dataset.slug, asked))
    found = {
        "hits": page.hits,
        "more": form.address(cursor=page.next) if page.next else "",
    }
    if hits_only:
        return found
    reading = Reading(form, asked, dataset)
    read = chips(reading)
    return found | {
        "chips": read,
        "headline": headline(reading, read, page),
        "hidden": tuple(hidden(reading, page)),
        "nothing": () if page.hits else why_nothing(reading, read, page),
        "exact": page.exact,
        "encode_ms": page.encode_ms,
        "search_ms": page.search_ms,
        "took_ms": page.encode_ms + page.search_ms,
    }


def _failed(form: SearchForm, error: SearchError) -> Context:
    if not isinstance(error, UnreadableWord):
        return {"error": error}
    words, start, end = form.asked["q"], error.start, error.end
    return {"error": error, "unread": (words[:start], words[start:end], words[end:])}


def _start(dataset: Dataset) -> Context:
    form = SearchForm({"dataset": dataset.slug})
    return {
        "hits": service.random_hits(dataset.slug, WALL),
        "item_count": f"{dataset.item_count():,}",
        "examples": [
            {"words": words, "address": form.address(q=words)}
            for words in EXAMPLES.get(dataset.slug, ())
        ],
    }


def _strip(slug: str, item_id: int) -> tuple[Hit, ...]:
    """The nearest of an item. Its page is worth showing without them too."""
    try:
        return service.neighbours(slug, item_id, STRIP)
    except SearchError as error:
        logger.warning("No neighbours of item %s: %s", item_id, error.message)
        return ()


def _wants_parts(request: HttpRequest) -> bool:
    return request.htmx and not request.htmx.history_restore_request


def _answer(request: HttpRequest, context: Context, address: str) -> HttpResponse:
    """A whole page, or for htmx the results, or for its next page the hits."""
    error: SearchError | None = context.get("error")
    if not _wants_parts(request):
        response = render(request, "search/page.html", context)
    elif context["asked"]["cursor"]:
        context["address"] = request.get_full_path()
        response = render(request, "search/_hits.html", context)
    else:
        context["address"] = address
        response = render(request, "search/_answer.html", context)
        response["HX-Push-Url"] = address
    return _with_status(response, error) if error else response


def _with_status(response: HttpResponse, error: SearchError) -> HttpResponse:
    response.status_code = error.status
    if error.status == 503:
        response["Retry-After"] = str(SearchUnavailable.retry_after_s)
    return response
