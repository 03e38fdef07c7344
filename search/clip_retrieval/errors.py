"""What all answers to clip-retrieval's clients have in common, whoever gives them.

Its clients look at no status and take everything for JSON, and its page is served from
another origin than the service.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import patch_vary_headers

ADDRESS = re.compile(r"/+(indices-list|knn-service|metadata)/*")
KEPT = ("Retry-After", "WWW-Authenticate", "Allow")
# For what is refused, or fails, before a view is asked.
SENTENCES = {
    400: "The request cannot be read.",
    404: "There is nothing at this address.",
    500: "Something went wrong here; the server's log says what.",
}
UNSAID = "The request cannot be answered."
# No cookie is ever sent or taken: Access-Control-Allow-Credentials stays away.
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "86400",
}


def json_errors_middleware(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: refusals as {"message": sentence}, and all answers for any origin."""

    def answer(request: HttpRequest) -> HttpResponse:
        if not ADDRESS.fullmatch(request.path_info):
            return get_response(request)
        if request.method == "OPTIONS":
            response = HttpResponse(headers=PREFLIGHT)
        else:
            response = get_response(request)
        if response.status_code >= 400:
            response = _refusal(response)
        response["Access-Control-Allow-Origin"] = request.headers.get("Origin") or "*"
        response["Access-Control-Expose-Headers"] = "Retry-After"
        patch_vary_headers(response, ["Origin"])
        return response

    return answer


def _refusal(response: HttpResponse) -> HttpResponse:
    kept = {name: response[name] for name in KEPT if response.has_header(name)}
    sentence = _sentence(response)
    return JsonResponse(
        {"message": sentence}, status=response.status_code, headers=kept
    )


def _sentence(response: HttpResponse) -> str:
    """Of {"detail": sentence}, of the first field that is wrong, or for the status."""
    try:
        told = json.loads(response.content)
    except ValueError:
        return SENTENCES.get(response.status_code, UNSAID)
    if isinstance(told, dict) and isinstance(told.get("detail"), str):
        return told["detail"]
    path, sentence = next(_leaves(told, ()), ((), UNSAID))
    named = " ".join(name for name in path if name != "non_field_errors")
    return f"{named}: {sentence}" if named else sentence


def _leaves(told: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Where field errors lie, and what they say."""
    if isinstance(told, dict):
        for name, inner in told.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(told, list):
        for inner in told:
            yield from _leaves(inner, path)
    else:
        yield path, str(told)
