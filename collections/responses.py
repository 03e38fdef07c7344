"""Responses to changes: JSON for scripts, a redirect for forms."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
)
from django.urls import reverse

from search.errors import SearchError, TooManyRequests
from search.web.middleware import HtmxRequest

View = Callable[..., HttpResponse]
Undo = dict[str, Any]  # {"url": …, "data": {…}}: what a script posts where


def wants_json(request: HttpRequest) -> bool:
    return request.headers.get("X-Requested-With") == "XMLHttpRequest"


def errors_as_messages(view: View) -> View:
    """Return errors to scripts as JSON; forms get an error page."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except SearchError as error:
            # The middleware has a response for scripts, with Retry-After.
            if isinstance(error, TooManyRequests) or not wants_json(request):
                raise
            return JsonResponse({"detail": error.message}, status=error.status)

    return wrapped


def success(
    request: HttpRequest,
    text: str,
    to: str,
    undo: Undo | None = None,
    **more: Any,
) -> HttpResponse:
    """Report what was done in `text`; `to` is the page that a form leads to."""
    if wants_json(request):
        return JsonResponse({"toast": {"text": text, "undo": undo}, "to": to, **more})
    messages.success(request, text)
    return HttpResponseRedirect(to)


def undo_by_token(url: str, token: str) -> Undo | None:
    """Return what `success` takes as undo; None for an empty token."""
    return {"url": url, "data": {"token": token}} if token else None


def counted(number: int, noun: str = "image") -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


SIGNED_OUT = "You are signed out. Sign in, then try again."
GONE = "It no longer exists."


def login_required(view: View) -> View:
    """Redirect anonymous users to the sign-in page; scripts get a JSON error."""
    view = errors_as_messages(view)

    @wraps(view)
    def wrapped(request: HtmxRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        by_script = wants_json(request) or bool(request.htmx)
        if request.user.is_authenticated:
            try:
                return view(request, *args, **kwargs)
            except Http404:
                if not by_script:
                    raise
                return JsonResponse({"detail": GONE}, status=404)
        if by_script:
            return JsonResponse({"detail": SIGNED_OUT}, status=403)
        is_page = request.method in ("GET", "HEAD")
        back = request.get_full_path() if is_page else reverse("saved-searches")
        return redirect_to_login(back)

    return wrapped
