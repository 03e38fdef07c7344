"""Rate limits per account or, without one, per client address.

Pages and the API share the counters, which are in the cache that all web processes
share. The rates are settings, such as LIMIT_SEARCH=120/min.
"""

import math
import time
from collections.abc import Callable
from functools import partial, wraps
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest, HttpResponseBase
from rest_framework.throttling import BaseThrottle

from . import cache
from .errors import TooManyRequests

# What is counted, as the refusal names it.
SCOPES = {
    "search": "searches",
    "image": "searches by image",
    "item": "items",
    "thumbnail": "thumbnails",
    "export": "exports",
    "refine": "refinement rounds",
    "copy": "copies",
    "pick": "image picks",
    "page": "pages",
    "lookup": "thumbnails",
    "drawing": "postcards",
}
PERIODS = {"s": (1, "a second"), "m": (60, "a minute"), "h": (3600, "an hour")}
IPV6_NETWORK = 64  # bits of a subscriber's network, in which they choose addresses

View = Callable[..., HttpResponseBase]
now = time.time


def limited(scope: str, when: Callable[[HttpRequest], object] | None = None) -> Any:
    """Limit the rate of requests to a view, or of those that `when` accepts.

    Beyond the limit raise TooManyRequests instead of calling the view. The middleware
    renders it in the format of the request.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def within_limits(
            request: HttpRequest, *args: Any, **kwargs: Any
        ) -> HttpResponseBase:
            if when is None or when(request):
                check(request, scope)
            return view(request, *args, **kwargs)

        if when is None:
            vars(within_limits)["has_limit"] = True
        return within_limits

    return decorate


def has_limit(view: Any) -> bool:
    """Return whether a view counts each request itself."""
    return getattr(view, "has_limit", False)


def counts_itself(view: View) -> View:
    """Mark a view that calls `check` with each request."""
    vars(view)["has_limit"] = True
    return view


class Limit(BaseThrottle):
    """The throttle of the API; the default of a view's `throttle_scope` is "search"."""

    def allow_request(self, request: Any, view: Any) -> bool:
        scope = getattr(view, "throttle_scope", "search")
        if scope is not None:
            check(request, scope)
        return True


def check(request: Any, scope: str, owner: str = "") -> None:
    """Count a request of a scope. Raises TooManyRequests beyond its limit.

    It counts for the account or address, or for another `owner` of buckets.
    """
    rate = settings.LIMITS[scope]
    if not rate:
        return
    count, period = read_rate(rate)
    seconds, period_name = PERIODS[period]
    wait = _take(f"limit-{scope}-{owner or bucket_owner(request)}", count, seconds)
    if wait:
        raise TooManyRequests(
            f"Too many requests: the limit is {count:,} {SCOPES[scope]} in "
            f"{period_name}. Try again in {wait} second{'' if wait == 1 else 's'}.",
            retry_after_s=wait,
        )


def limiter(request: Any) -> Callable[[str], None]:
    """Return `check` for this request, as retrieval.service takes it."""
    return partial(check, request)


def bucket_owner(request: Any) -> str:
    """Return the key of the account or client address that a request counts for."""
    if request.user.is_authenticated:
        return f"user-{request.user.pk}"
    return address_owner(request)


def address_owner(request: Any) -> str:
    """Return the key of the client address alone.

    A response for which nobody looked at the session is the same for all caches.
    """
    return f"address-{client_address(request)}"


def client_address(request: Any) -> str:
    """Return the address that the trusted proxies report; of IPv6, its network.

    A visitor has any number of addresses in an IPv6 network. "unknown" if it is none.
    """
    try:
        address = ip_address(BaseThrottle().get_ident(request) or "")
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        network = ip_network((address, IPV6_NETWORK), strict=False)
        return str(address.ipv4_mapped or network.network_address)
    return str(address)


def read_rate(rate: str) -> tuple[int, str]:
    """Split a rate such as 120/min into its number and a key of PERIODS."""
    count, _, period = rate.partition("/")
    return int(count), period.strip()[0]


def _take(bucket: str, count: int, seconds: int) -> int:
    """Count one of `count` in a bucket; return 0, or seconds to wait if it is full.

    A sliding window of two counters: the one of the window before weighs less as this
    window passes. It is small, correct with concurrent requests, and lets no burst
    through when the window changes.
    """
    taken = cache.attempt(lambda: _take_from("limits", bucket, count, seconds))
    # Without the cache, each process counts for itself.
    return _take_from("own-limits", bucket, count, seconds) if taken is None else taken


def _take_from(name: str, bucket: str, count: int, seconds: int) -> int:
    counters = caches[name]
    window, passed = divmod(now(), seconds)
    this, before = f"{bucket}-{window:.0f}", f"{bucket}-{window - 1:.0f}"
    counters.add(this, 0, 2 * seconds)
    used = counters.incr(this)
    previous = counters.get(before, 0)
    if used + previous * (1 - passed / seconds) <= count:
        return 0
    counters.decr(this)
    return math.ceil(_wait(used - 1, previous, count, passed, seconds))


def _wait(used: int, previous: int, count: int, passed: float, seconds: int) -> float:
    """Return the seconds until one more request fits in."""
    free = count - 1 - used
    if previous and free >= 0:
        return max(1, seconds * (1 - free / previous) - passed)
    fade = seconds * (1 - (count - 1) / used) if used else 0
    return max(1, seconds - passed + fade)
