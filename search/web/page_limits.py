"""A rate limit for every view that has none of its own."""

from typing import Any

from django.http import HttpRequest
from rest_framework.views import APIView

from search.rate_limits import address_owner, check, has_limit

from .middleware import CheckMiddleware

PROBES = ("healthz", "readyz", "metrics")  # of the operator, and cheap


def scope_of(view: Any) -> str | None:
    """Return what requests to a view count as; None if the view counts them itself."""
    api_view = getattr(view, "cls", None)
    if api_view is not None and issubclass(api_view, APIView):
        # With a scope of None, REST framework counts nothing.
        counted = getattr(api_view, "throttle_scope", "search")
        return "page" if counted is None else None
    return None if has_limit(view) else "page"


class PageLimitMiddleware(CheckMiddleware):
    """Counts requests to pages, scripts and forms that no other limit counts."""

    def check(self, request: HttpRequest, view: Any) -> None:
        scope = scope_of(view)
        match = request.resolver_match
        if scope is None or (match and match.view_name in PROBES):
            return
        # Without the session, what is open to all stays the same for all caches.
        is_open = getattr(view, "login_required", True) is False
        check(request, scope, address_owner(request) if is_open else "")
