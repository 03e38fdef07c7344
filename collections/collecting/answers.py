"""Answers to what is sent from a page: JSON for scripts, another page for forms."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse

from search.errors import SearchError, TooManyRequests

View = Callable[..., HttpResponse]


def wants_json(request: HttpRequest) -> bool:
    return request.headers.get("X-Requested-With") == "XMLHttpRequest"


def told(view: View) -> View:
    """Has a refusal reach a script as JSON; a form gets the page of the error."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except SearchError as error:
            # The middleware tells a script, too, how long to wait.
            if isinstance(error, TooManyRequests) or not wants_json(request):
                raise
            return JsonResponse({"detail": error.message}, status=error.status)

    return answered


def done(
    request: HttpRequest,
    text: str,
    to: str,
    undo: dict[str, Any] | None = None,
    **more: Any,
) -> HttpResponse:
    """Says what was done. `undo` is {"url": …, "data": {…}}, `to` the page to go to."""
    if wants_json(request):
        return JsonResponse({"toast": {"text": text, "undo": undo}, "to": to, **more})
    messages.success(request, text)
    return HttpResponseRedirect(to)


def count_of(number: int, noun: str = "picture") -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
