"""Errors as responses in the format of their request, without a database if need be."""

import json
import sys

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.defaults import server_error as default_server_error
from django_htmx.middleware import HtmxDetails

from search.errors import (
    BodyTooLarge,
    SearchError,
    SearchUnavailable,
    TooManyRequests,
    outage_of,
)

JSON_PATHS = ("/api/", "/knn-service", "/metadata", "/indices-list")


def error_response(request: HttpRequest, error: SearchError) -> HttpResponse:
    """Return an error in the format of the request."""
    if _is_by_script(request):
        content = {"detail": error.message, "code": error.code}
        response: HttpResponse = JsonResponse(content)
    elif request.headers.get("Sec-Fetch-Dest") == "image":
        response = HttpResponse(error.message, content_type="text/plain; charset=utf-8")
    elif isinstance(error, TooManyRequests):
        response = _too_many(request, error)
    elif isinstance(error, SearchUnavailable | BodyTooLarge):
        # Without the request, whose user is in the database.
        context = {"error": error, "again": request.get_full_path()}
        response = HttpResponse(render_to_string("unavailable.html", context))
    else:
        response = render(request, "search/item.html", {"error": error})
    response.status_code = error.status
    if isinstance(error, TooManyRequests | SearchUnavailable):
        response["Retry-After"] = str(error.retry_after_s)
    return response


def _is_by_script(request: HttpRequest) -> bool:
    by_script = request.headers.get("X-Requested-With") == "XMLHttpRequest"
    return by_script or request.path_info.startswith(JSON_PATHS)


def _too_many(request: HttpRequest, error: TooManyRequests) -> HttpResponse:
    """Return a page; for htmx, a message that leaves the page as it is."""
    htmx = HtmxDetails(request)
    if not htmx or htmx.history_restore_request:
        return render(request, "429.html", {"error": error})
    response = HttpResponse(error.message, content_type="text/plain")
    response["HX-Reswap"] = "none"
    response["HX-Push-Url"] = "false"
    toast = {"laionweb:toast": {"text": error.message}}
    response["HX-Trigger"] = json.dumps(toast)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Return the response to an exception: 503 if a service or the disk is missing.

    Django calls this for what views and middleware raise and nothing handles.
    """
    outage = outage_of(sys.exception())
    if outage is not None:
        return error_response(request, outage)
    if request.path_info.startswith(JSON_PATHS):
        text = "Something went wrong. The server log has the details."
        return JsonResponse({"detail": text, "code": "error"}, status=500)
    return default_server_error(request)
