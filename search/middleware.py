from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from .errors import SearchError


class SearchErrorPage:
    """Answers with a SearchError's sentence where a view, say the admin's, does not."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(
        self, request: HttpRequest, error: Exception
    ) -> HttpResponse | None:
        if not isinstance(error, SearchError):
            return None
        page = {"error": error}
        return render(request, "search/item.html", page, status=error.status)
