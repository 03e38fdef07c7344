"""Views of the guide to the API and of its reference."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from search.query.model import MAX_PER_PAGE, MAX_RESULTS
from search.retrieval import service

from .examples import DATASET
from .reference import operations_by_tag


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Show the guide, with examples for the first dataset of this site."""
    dataset = next(iter(service.datasets(request.user)), None)
    context = {
        "address": f"{request.scheme}://{request.get_host()}",
        "dataset": dataset.slug if dataset else DATASET,
        "most_per_page": MAX_PER_PAGE,
        "most_results": f"{MAX_RESULTS:,}",
        "export_days": settings.EXPORT_DAYS,
        "needs_account": not settings.SEARCH_ANONYMOUS,
    }
    return render(request, "api/docs.html", context)


@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    """Show all operations."""
    return render(request, "api/reference.html", {"tags": operations_by_tag()})
