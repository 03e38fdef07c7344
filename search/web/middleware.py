import json
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django_htmx.middleware import HtmxDetails

from search.errors import SearchError, TooManyRequests
from search.observability import metrics


class HtmxRequest(HttpRequest):
    """A request as HtmxMiddleware hands it on, for type annotations alone."""

    htmx: HtmxDetails


class RequestTimingMiddleware:
    """Tells Prometheus how long each answer took; streams, until they begin."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = self.get_response(request)
        match = request.resolver_match
        # Names alone: addresses are without number, and so would be the series.
        name = match.view_name if match and match.view_name else "other"
        times = metrics.REQUESTS.labels(name, request.method, response.status_code)
        times.observe(time.perf_counter() - started)
        return response


class SearchErrorMiddleware:
    """Answers with a SearchError's sentence where a view, say the admin's, does not."""

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
    """In the form that was asked for; a page that is shown stays as it is."""
    if request.headers.get("X-Requested-With") == "XMLHttpRequest":
        response: HttpResponse = JsonResponse(
            {"detail": error.message, "code": error.code}
        )
    elif request.htmx and not request.htmx.history_restore_request:
        response = HttpResponse(error.message, content_type="text/plain")
        response["HX-Reswap"] = "none"
        response["HX-Push-Url"] = "false"
        told = {"laionweb:toast": {"text": error.message}}
        response["HX-Trigger"] = json.dumps(told)
    elif request.headers.get("Sec-Fetch-Dest") == "image":
        response = HttpResponse(error.message, content_type="text/plain")
    else:
        response = render(request, "429.html", {"error": error})
    response.status_code = error.status
    response["Retry-After"] = str(error.retry_after_s)
    return response
