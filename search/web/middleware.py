"""Middleware: request timing, HEAD, and bodies that are too large, and errors."""

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django_htmx.middleware import HtmxDetails

from search import deadlines, request_bodies
from search.errors import SearchError
from search.observability import metrics

from .error_responses import error_response


class HtmxRequest(HttpRequest):
    """A request with what HtmxMiddleware adds, for type annotations."""

    htmx: HtmxDetails


class RequestTimingMiddleware:
    """Observes how long each response took; a stream, until it begins."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = self.get_response(request)
        match = request.resolver_match
        # By the name of the route: each URL would make a series of its own.
        name = match.view_name if match and match.view_name else "other"
        times = metrics.REQUESTS.labels(name, request.method, response.status_code)
        times.observe(time.perf_counter() - started)
        return response


def deadline_middleware(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Give all reading of the engine for one page the time of one search.

    What changes things may take longer, and the pages of admins.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.method not in ("GET", "HEAD") or request.path.startswith("/admin/"):
            return get_response(request)
        with deadlines.within(settings.SEARCH_TIMEOUT_S):
            return get_response(request)

    return middleware


def head_middleware(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Answer HEAD without a body.

    Django and waitress leave this to each other: a body would be read as the answer to
    the next request of the connection.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if request.method != "HEAD":
            return response
        if isinstance(response, StreamingHttpResponse):
            response.streaming_content = ()  # the stream is closed with the response
            return response
        assert isinstance(response, HttpResponse)
        response.headers.setdefault("Content-Length", str(len(response.content)))
        response.content = b""
        return response

    return middleware


class CompressPagesMiddleware(GZipMiddleware):
    """Compresses pages; images and files of exports are compressed already.

    Their tokens against forged requests differ in each answer, and gzip's header has a
    random length, so that sizes of answers do not tell what is in them (BREACH).
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        is_page = response.get("Content-Type", "").startswith("text/html")
        if response.streaming or not is_page:
            return response
        return super().process_response(request, response)


class CheckMiddleware:
    """Refuses requests by what `check` raises, before their view runs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, *_arguments: Any
    ) -> HttpResponse | None:
        try:
            self.check(request, view)
        except SearchError as error:
            return error_response(request, error)
        return None

    def check(self, request: HttpRequest, view: Any) -> None:
        """Raise a SearchError for a request that is refused."""
        raise NotImplementedError


class BodyLimitMiddleware(CheckMiddleware):
    """Refuses bodies that are larger than their view accepts, before they are read."""

    def check(self, request: HttpRequest, view: Any) -> None:
        given = request.META.get("CONTENT_LENGTH") or ""
        request_bodies.check_length(given, request_bodies.max_bytes_of(view))


class SearchErrorMiddleware:
    """Renders a SearchError that a view raises."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(
        self, request: HttpRequest, error: Exception
    ) -> HttpResponse | None:
        if not isinstance(error, SearchError):
            return None
        return error_response(request, error)
