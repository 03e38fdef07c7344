"""Require signing in on all pages of a site that is closed to anonymous users."""

from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import (
    HttpRequest,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
)
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails
from rest_framework.permissions import BasePermission


class ClosedSiteMiddleware(LoginRequiredMiddleware):
    """Redirect anonymous users, unless SEARCH_ANONYMOUS is true.

    Views with login_not_required are open.
    """

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponseBase | None:
        if settings.SEARCH_ANONYMOUS:
            return None
        response = super().process_view(request, *view)
        if not isinstance(response, HttpResponseRedirect):
            return response
        if request.headers.get("X-Requested-With") == "XMLHttpRequest":
            error = {"detail": "Please sign in first.", "code": "not_authenticated"}
            return JsonResponse(error, status=401)
        if HtmxDetails(request):
            return HttpResponseClientRedirect(response.url)
        return response


class SearchPermission(BasePermission):
    """Require a user for the API, where tokens count as well."""

    def has_permission(self, request: Any, view: Any) -> bool:
        return settings.SEARCH_ANONYMOUS or request.user.is_authenticated
