"""Middleware: request timing, HEAD, and errors as pages or messages."""

import json
import time
from collections.abc import Callable

from django.http import (
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django_htmx.middleware import HtmxDetails

from search.errors import SearchError, TooManyRequests
from search.observability import metrics


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


class SearchErrorMiddleware:
    """Renders a SearchError that a view raises."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(
        self, request: HtmxRequest, error: Exception
    ) -> HttpResponse | None:
        if not isinstance(error, SearchError):
            return None
        if isinstance(error, TooManyRequests):
            return _too_many(request, error)
        page = {"error": error}
        return render(request, "search/item.html", page, status=error.status)


def _too_many(request: HtmxRequest, error: TooManyRequests) -> HttpResponse:
    """Answer in the format of the request; for htmx, leave the page as it is."""
    if request.headers.get("X-Requested-With") == "XMLHttpRequest":
        response: HttpResponse = JsonResponse(
            {"detail": error.message, "code": error.code}
        )
    elif request.htmx and not request.htmx.history_restore_request:
        response = HttpResponse(error.message, content_type="text/plain")
        response["HX-Reswap"] = "none"
        response["HX-Push-Url"] = "false"
        toast = {"laionweb:toast": {"text": error.message}}
        response["HX-Trigger"] = json.dumps(toast)
    elif request.headers.get("Sec-Fetch-Dest") == "image":
        response = HttpResponse(error.message, content_type="text/plain")
    else:
        response = render(request, "429.html", {"error": error})
    response.status_code = error.status
    response["Retry-After"] = str(error.retry_after_s)
    return response
