from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# Nothing of a visitor's device is asked for, whatever a page is made to do.
UNUSED = ("camera", "microphone", "geolocation", "payment", "usb", "midi", "serial")
POLICY = ", ".join(f"{feature}=()" for feature in UNUSED)


def permissions_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.setdefault("Permissions-Policy", POLICY)
        return response

    return answer
