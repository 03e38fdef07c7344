"""A site that is closed to visitors: each page but those of signing in wants a user."""

from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse, JsonResponse
from django_htmx.http import HttpResponseClientRedirect
from rest_framework.permissions import BasePermission


class SignInFirst(LoginRequiredMiddleware):
    """Where SEARCH_ANONYMOUS is false. Views that say login_not_required are open."""

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponse | None:
        if settings.SEARCH_ANONYMOUS:
            return None
        return super().process_view(request, *view)

    def handle_no_permission(self, request: HttpRequest, view: Any) -> HttpResponse:
        response = super().handle_no_permission(request, view)
        if request.headers.get("X-Requested-With") == "XMLHttpRequest":
            told = {"detail": "Please sign in first.", "code": "not_authenticated"}
            return JsonResponse(told, status=401)
        if request.htmx:
            return HttpResponseClientRedirect(response.url)
        return response


class MaySearch(BasePermission):
    """The same for the API, where tokens count as well."""

    def has_permission(self, request: Any, view: Any) -> bool:
        return settings.SEARCH_ANONYMOUS or request.user.is_authenticated
