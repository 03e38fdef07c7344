"""Middleware for response headers that Django does not set."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# Features that no page uses, so that injected content cannot use them either.
UNUSED = ("camera", "microphone", "geolocation", "payment", "usb", "midi", "serial")
POLICY = ", ".join(f"{feature}=()" for feature in UNUSED)


def permissions_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.setdefault("Permissions-Policy", POLICY)
        return response

    return middleware
