"""The views of the search page.

The URL holds the whole state of a search, so that Back, reload and a copied link show
the same. htmx requests the same URLs and gets only the part that changes.
"""

from dataclasses import replace

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from search.errors import InvalidQuery, SearchError, SearchUnavailable
from search.evaluation import exact_check
from search.query.filters import UNRESTRICTED
from search.query.model import MAX_WEIGHT, SearchQuery, shorten_embedding
from search.query.url_params import with_weight
from search.rate_limits import limited, limiter
from search.request_bodies import MAX_IMAGE_BYTES, takes
from search.retrieval import service

from . import search_page
from .forms import ImageForm, SearchForm
from .histogram import similarity_histogram
from .middleware import HtmxRequest
from .search_page import FiltersPanel, SearchPage, read_search


@require_safe
@limited("search", when=lambda request: request.GET.keys() - {"dataset"})
@limited("item", when=lambda request: not request.GET.keys() - {"dataset"})
@vary_on_headers("HX-Request", "HX-History-Restore-Request")
def search(request: HtmxRequest) -> HttpResponse:
    page = SearchPage.of(SearchForm(request.GET), request.user)
    try:
        page = _searched(page, request)
    except SearchError as error:
        page = search_page.with_error(page, error)
    return _respond(request, page, address=page.form.url(cursor=""))


@takes(MAX_IMAGE_BYTES)
@require_POST
def search_by_image(request: HtmxRequest) -> HttpResponse:
    """Redirect to a URL that holds the embeddings of the uploaded images.

    Nothing of them is stored. Each counts against the limit of images.
    """
    page = SearchPage.of(SearchForm(request.POST), request.user)
    form, images = page.form, ImageForm(request.POST, request.FILES)
    try:
        form.check()
        dataset, *_ = page.required_datasets()
        embeddings = []
        for term in images.terms():
            unweighted = SearchQuery(dataset.slug, (replace(term, weight=1.0),))
            vector = service.embed(unweighted, request.user, limiter(request)).vector
            embeddings.append(with_weight(term.weight, shorten_embedding(vector)))
    except SearchError as error:
        # Back and reload must not post the images again.
        page = search_page.with_error(page, error)
        return _respond(request, page, address="false")
    changes = {"dataset": page.searched, "embedding": embeddings, "cursor": ""}
    if images.cleaned_data["beside"]:
        others, place = form.params["embedding"], images.cleaned_data["place"]
        place = len(others) if place is None else place
        changes["embedding"] = others[:place] + embeddings + others[place:]
    else:
        changes |= {"q": "", "item": "", "concept": ""}
    return _redirect(form.url(**changes))


@require_safe
@limited("search")
def change_weight(request: HtmxRequest) -> HttpResponse:
    """Redirect to the search in which one term has another weight."""
    form = SearchForm(QueryDict(request.GET.get("search", "")))
    page = SearchPage.of(form, request.user)
    try:
        page.form.check()
        read = read_search(page.form, page.required_datasets(), request)
        weight = _weight(request.GET.get("weight", ""))
        try:
            address = read.weighed(request.GET.get("term", ""), weight)
        except (KeyError, ValueError, IndexError) as error:
            raise InvalidQuery("This search has no such term.") from error
    except SearchError as error:
        page = search_page.with_error(page, error)
        return _respond(request, page, address="false")
    return _redirect(address)


@require_safe
@limited("search")
@vary_on_headers("HX-Request", "HX-History-Restore-Request")
def check_exact(request: HtmxRequest) -> HttpResponse:
    """Show how many of the true nearest a search by the index found.

    htmx gets only this; without htmx the whole page of results is rendered.
    """
    form = SearchForm(request.GET)
    page = SearchPage.of(form, request.user)
    try:
        form.check()
        read = read_search(form, page.required_datasets(), request)
        query = form.search_query(read.slugs, read.parsed)
        check = exact_check.check(query, request.user, limiter(request))
        shows_unrated = query.filters.nsfw == UNRESTRICTED
        page = replace(page, check=check, shows_unrated=shows_unrated)
        if not _is_htmx(request):
            page = _searched(page, request)
    except SearchError as error:
        page = search_page.with_error(page, error)
    page = replace(page, exact_check=form.query_string("cursor"))
    if not _is_htmx(request):
        return _respond(request, page, address=form.url(cursor=""))
    response = render(request, "search/_exact.html", vars(page))
    return with_status(response, page.error) if page.error else response


@require_safe
@limited("item")
def relevance(request: HtmxRequest) -> HttpResponse:
    """Show the similarities of the nearest items as a histogram, to set a cutoff in."""
    form = SearchForm(request.GET)
    form.check()
    datasets = SearchPage.of(form, request.user).required_datasets()
    read = read_search(form, datasets, request)
    query = form.search_query(read.slugs, read.parsed)
    found = service.similarities(query, request.user, limiter(request), veils=True)
    histogram = similarity_histogram(found, query.filters.cutoff)
    return render(request, "search/_relevance.html", {"histogram": histogram})


def _searched(page: SearchPage, request: HtmxRequest) -> SearchPage:
    """Show what the form searches for, or the start page of a dataset."""
    form, asked = page.form, page.asked
    if page.dataset is None and not asked["dataset"]:
        return page  # there are no datasets at all, and the page says so
    form.check()
    datasets = page.required_datasets()
    if not form.is_search:
        return search_page.with_start(page, datasets, request.user)
    read = read_search(form, datasets, request)
    query = form.search_query(read.slugs, read.parsed)
    found = service.search(query, request.user, limiter(request), veils=True)
    if _is_htmx(request) and asked["cursor"]:
        return search_page.with_more_hits(page, query, found)
    similarities = None
    if query.filters.cutoff is not None:
        # Images of the query are in the cache by now: each counts once.
        similarities = service.similarities(
            query, request.user, service.unlimited, veils=True
        )
    return search_page.with_results(page, read, query, found, similarities)


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = MAX_WEIGHT + 1
    if not abs(weight) <= MAX_WEIGHT:
        raise InvalidQuery(
            f"A weight must be a number between −{MAX_WEIGHT:g} and {MAX_WEIGHT:g}."
        )
    return weight


def _redirect(address: str) -> HttpResponse:
    # Django's redirect refuses addresses as long as those of large embeddings.
    return HttpResponse(status=303, headers={"Location": address})


def _is_htmx(request: HtmxRequest) -> bool:
    return bool(request.htmx) and not request.htmx.history_restore_request


def _respond(request: HtmxRequest, page: SearchPage, address: str) -> HttpResponse:
    """Render a whole page; for htmx the results, or of a next page the hits."""
    if not _is_htmx(request):
        panel = FiltersPanel.of(page.form, page.selected)
        context = vars(page) | vars(panel) | {"together": page.together}
        response = render(request, "search/page.html", context)
    elif page.asked["cursor"]:
        page = replace(page, address=request.get_full_path())
        response = render(request, "search/_hits.html", vars(page))
    else:
        page = replace(page, address=address)
        response = render(request, "search/_answer.html", vars(page))
        response["HX-Push-Url"] = address
    return with_status(response, page.error) if page.error else response


def with_status(response: HttpResponse, error: SearchError) -> HttpResponse:
    response.status_code = error.status
    if error.status == 503:
        response["Retry-After"] = str(SearchUnavailable.retry_after_s)
    return response
