"""A rate limit for every view that has none of its own."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.views import APIView

from search.errors import SearchError
from search.rate_limits import address_owner, check, has_limit

from .error_responses import error_response

PROBES = ("healthz", "readyz", "metrics")  # of the operator, and cheap


def scope_of(view: Any) -> str | None:
    """Return what requests to a view count as; None if the view counts them itself."""
    api_view = getattr(view, "cls", None)
    if api_view is not None and issubclass(api_view, APIView):
        # With a scope of None, REST framework counts nothing.
        counted = getattr(api_view, "throttle_scope", "search")
        return "page" if counted is None else None
    return None if has_limit(view) else "page"


class PageLimitMiddleware:
    """Counts requests to pages, scripts and forms that no other limit counts."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, *_arguments: Any
    ) -> HttpResponse | None:
        scope = scope_of(view)
        match = request.resolver_match
        if scope is None or (match and match.view_name in PROBES):
            return None
        # Without the session, what is open to all stays the same for all caches.
        is_open = getattr(view, "login_required", True) is False
        try:
            check(request, scope, address_owner(request) if is_open else "")
        except SearchError as error:
            return error_response(request, error)
        return None
