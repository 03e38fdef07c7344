"""The search page.

The address holds the whole state of a search, so that Back, reload and a copied link
show the same. htmx asks at the same addresses and gets only what changes.
"""

from dataclasses import replace

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from search.errors import InvalidQuery, SearchError, SearchUnavailable
from search.evaluation import exact_check
from search.query.model import MAX_WEIGHT, SearchQuery, shorten_embedding
from search.query.url_params import with_weight
from search.rate_limits import limited, limiter
from search.retrieval import service

from . import search_page
from .forms import ImageForm, SearchForm
from .middleware import HtmxRequest
from .search_page import Context, page_context


@require_safe
@limited("search", when=lambda request: request.GET.keys() - {"dataset"})
@limited("item", when=lambda request: not request.GET.keys() - {"dataset"})
@vary_on_headers("HX-Request", "HX-History-Restore-Request")
def search(request: HtmxRequest) -> HttpResponse:
    form = SearchForm(request.GET)
    context = page_context(form)
    try:
        context |= _search(form, context, request)
    except SearchError as error:
        context |= search_page.error_context(form, error)
    return _respond(request, context, address=form.address(cursor=""))


@require_POST
def search_by_image(request: HtmxRequest) -> HttpResponse:
    """Sends on to an address that holds the pictures' embeddings; keeps nothing."""
    form, pictures = SearchForm(request.POST), ImageForm(request.POST, request.FILES)
    context = page_context(form)
    try:
        form.check()
        dataset = search_page.require_dataset(context["dataset"])
        embeddings = []
        for term in pictures.terms():
            alone = SearchQuery(dataset.slug, (replace(term, weight=1.0),))
            vector = service.embed(alone, request.user, limiter(request)).vector
            embeddings.append(with_weight(term.weight, shorten_embedding(vector)))
    except SearchError as error:
        context |= search_page.error_context(form, error)
        # Whoever goes back or reloads must not post the picture again.
        return _respond(request, context, address="false")
    changes = {"dataset": dataset.slug, "embedding": embeddings, "cursor": ""}
    if pictures.cleaned_data["beside"]:
        changes["embedding"] = form.asked["embedding"] + embeddings
    else:
        changes |= {"q": "", "item": "", "concept": ""}
    return _redirect(form.address(**changes))


@require_safe
@limited("search")
def change_weight(request: HtmxRequest) -> HttpResponse:
    """Sends on to a search in which one term has another weight."""
    form = SearchForm(QueryDict(request.GET.get("search", "")))
    context = page_context(form)
    try:
        form.check()
        read = search_page.read_search(
            form, search_page.require_dataset(context["dataset"]), request
        )
        weight = _weight(request.GET.get("weight", ""))
        try:
            address = read.weighed(request.GET.get("term", ""), weight)
        except (KeyError, ValueError, IndexError) as error:
            raise InvalidQuery("This search has no such term.") from error
    except SearchError as error:
        context |= search_page.error_context(form, error)
        return _respond(request, context, address="false")
    return _redirect(address)


@require_safe
@limited("search")
@vary_on_headers("HX-Request", "HX-History-Restore-Request")
def check_exact(request: HtmxRequest) -> HttpResponse:
    """How many of the true nearest a search by the index found, as a fragment."""
    form = SearchForm(request.GET)
    context = page_context(form)
    try:
        form.check()
        dataset = search_page.require_dataset(context["dataset"])
        read = search_page.read_search(form, dataset, request)
        query = form.search_query(dataset.slug, read.asked)
        context["check"] = exact_check.check(query, request.user, limiter(request))
        if not _is_htmx(request):
            context |= _search(form, context, request)
    except SearchError as error:
        context |= search_page.error_context(form, error)
    context["exact_check"] = form.told("cursor")
    if not _is_htmx(request):
        return _respond(request, context, address=form.address(cursor=""))
    response = render(request, "search/_exact.html", context)
    failed: SearchError | None = context.get("error")
    return with_status(response, failed) if failed else response


def _search(form: SearchForm, context: Context, request: HtmxRequest) -> Context:
    dataset, asked = context["dataset"], context["asked"]
    if dataset is None and not asked["dataset"]:
        return {}  # there are no datasets at all, and the page says so
    form.check()
    dataset = search_page.require_dataset(dataset)
    if not form.is_search:
        return search_page.start_context(form, dataset)
    read = search_page.read_search(form, dataset, request)
    query = form.search_query(dataset.slug, read.asked)
    page = service.search(query, request.user, limiter(request))
    if _is_htmx(request) and asked["cursor"]:
        return search_page.hits_context(read, page)
    return search_page.results_context(read, query, page)


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = MAX_WEIGHT + 1
    if not abs(weight) <= MAX_WEIGHT:
        raise InvalidQuery(
            f"A weight is a number between −{MAX_WEIGHT:g} and {MAX_WEIGHT:g}."
        )
    return weight


def _redirect(address: str) -> HttpResponse:
    # Django's redirect refuses addresses as long as those of large embeddings.
    return HttpResponse(status=303, headers={"Location": address})


def _is_htmx(request: HtmxRequest) -> bool:
    return bool(request.htmx) and not request.htmx.history_restore_request


def _respond(request: HtmxRequest, context: Context, address: str) -> HttpResponse:
    """A whole page, or for htmx the results, or for its next page the hits."""
    error: SearchError | None = context.get("error")
    if not _is_htmx(request):
        context |= search_page.filters_panel(context["dataset"])
        response = render(request, "search/page.html", context)
    elif context["asked"]["cursor"]:
        context["address"] = request.get_full_path()
        response = render(request, "search/_hits.html", context)
    else:
        context["address"] = address
        response = render(request, "search/_answer.html", context)
        response["HX-Push-Url"] = address
    return with_status(response, error) if error else response


def with_status(response: HttpResponse, error: SearchError) -> HttpResponse:
    response.status_code = error.status
    if error.status == 503:
        response["Retry-After"] = str(SearchUnavailable.retry_after_s)
    return response
