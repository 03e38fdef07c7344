"""JSON errors and CORS headers for all responses to clip-retrieval's clients.

Its clients ignore the status and parse every body as JSON; its page is served from
another origin than the API.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import patch_vary_headers

ADDRESS = re.compile(r"/+(indices-list|knn-service|metadata)/*")
FORWARDED_HEADERS = ("Retry-After", "WWW-Authenticate", "Allow")
# For errors outside the views.
SENTENCES = {
    400: "The request cannot be read.",
    404: "There is no page at this address.",
    500: "Something went wrong. The server log has the details.",
}
UNKNOWN_ERROR = "The request cannot be answered."
# Without Access-Control-Allow-Credentials: cookies are neither sent nor accepted.
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "86400",
}


def json_errors_middleware(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Return middleware: errors as {"message": sentence}, responses for any origin."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not ADDRESS.fullmatch(request.path_info):
            return get_response(request)
        if request.method == "OPTIONS":
            response = HttpResponse(headers=PREFLIGHT)
        else:
            response = get_response(request)
        if response.status_code >= 400:
            response = _error(response)
        response["Access-Control-Allow-Origin"] = request.headers.get("Origin") or "*"
        response["Access-Control-Expose-Headers"] = "Retry-After"
        patch_vary_headers(response, ["Origin"])
        return response

    return middleware


def _error(response: HttpResponse) -> HttpResponse:
    headers = {
        name: response[name] for name in FORWARDED_HEADERS if response.has_header(name)
    }
    content = {"message": _sentence(response)}
    return JsonResponse(content, status=response.status_code, headers=headers)


def _sentence(response: HttpResponse) -> str:
    """Return the detail, the error of the first field, or a sentence for the status."""
    try:
        content = json.loads(response.content)
    except ValueError:
        return SENTENCES.get(response.status_code, UNKNOWN_ERROR)
    if isinstance(content, dict) and isinstance(content.get("detail"), str):
        return content["detail"]
    path, sentence = next(_leaves(content, ()), ((), UNKNOWN_ERROR))
    named = " ".join(name for name in path if name != "non_field_errors")
    return f"{named}: {sentence}" if named else sentence


def _leaves(
    errors: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path and the message of each field error."""
    if isinstance(errors, dict):
        for name, inner in errors.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(errors, list):
        for inner in errors:
            yield from _leaves(inner, path)
    else:
        yield path, str(errors)
