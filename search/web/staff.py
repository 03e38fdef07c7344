"""Pages for staff who may add or change datasets."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpResponse, HttpResponseBase
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from .middleware import HtmxRequest

View = Callable[..., HttpResponseBase]


def may(user: Any, *actions: str) -> bool:
    """Return whether a user is staff and may "add", "change" or "delete" datasets."""
    return user.is_staff and all(
        user.has_perm(f"search.{action}_dataset") for action in actions
    )


def login_redirect(request: HtmxRequest, back: str) -> HttpResponse:
    """Redirect to the login, and `back` from there."""
    login = redirect_to_login(back, reverse("admin:login"))
    return HttpResponseClientRedirect(login.url) if request.htmx else login


def for_staff_who_add(view: View) -> View:
    """Redirect anonymous users to the login; answer 404 without the permissions."""

    @wraps(view)
    def wrapped(request: HtmxRequest, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return login_redirect(request, reverse("dataset-add"))
        if not may(request.user, "add", "change"):
            raise Http404
        return view(request, **kwargs)

    return wrapped


def may_delete(view: View) -> View:
    """Redirect anonymous users to the login; answer 404 without the permission."""

    @wraps(view)
    def wrapped(request: HtmxRequest, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return login_redirect(request, reverse("datasets"))
        if not may(request.user, "delete"):
            raise Http404
        return view(request, **kwargs)

    return wrapped
