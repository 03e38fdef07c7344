"""This room's views are for those who are signed in."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpResponse, JsonResponse
from django.urls import reverse

from search.web.middleware import HtmxRequest

from ..collecting.answers import told, wants_json

SIGNED_OUT = "You are signed out. Sign in, then try again."
GONE = "It is not here any more."

View = Callable[..., HttpResponse]


def for_members(view: View) -> View:
    """Leads visitors to the log-in. Scripts get whatever goes wrong in a sentence."""
    answered = told(view)

    @wraps(view)
    def for_member(request: HtmxRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        by_script = wants_json(request) or bool(request.htmx)
        if request.user.is_authenticated:
            try:
                return answered(request, *args, **kwargs)
            except Http404:
                if not by_script:
                    raise
                return JsonResponse({"detail": GONE}, status=404)
        if by_script:
            return JsonResponse({"detail": SIGNED_OUT}, status=403)
        is_page = request.method in ("GET", "HEAD")
        back = request.get_full_path() if is_page else reverse("saved-searches")
        return redirect_to_login(back)

    return for_member
