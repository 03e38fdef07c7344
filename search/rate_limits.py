"""How often somebody may ask for what costs: one account, or one visitor's address.

Pages and the API count in the same buckets, which are in the cache that all web
processes share. The rates are settings, such as LIMIT_SEARCH=120/min.
"""

import logging
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

from .errors import TooManyRequests

# What is counted, and in which words it is refused.
SCOPES = {
    "search": "searches",
    "image": "searches by picture",
    "item": "items",
    "thumbnail": "small pictures",
    "export": "exports",
    "refine": "rounds of refining",
    "copy": "copies",
    "pick": "pictures picked",
}
PERIODS = {"s": (1, "second"), "m": (60, "minute"), "h": (3600, "hour")}
IPV6_NETWORK = 64  # bits that one subscriber has; the rest they choose themselves

View = Callable[..., HttpResponseBase]
logger = logging.getLogger(__name__)
now = time.time


def limited(scope: str, when: Callable[[HttpRequest], object] | None = None) -> Any:
    """Decorates a view whose requests count; `when` says which, if not all do.

    Beyond the limit the view is not called: TooManyRequests is raised, for which the
    middleware SearchErrorPage answers in the form that was asked for.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def within_limits(
            request: HttpRequest, *args: Any, **kwargs: Any
        ) -> HttpResponseBase:
            if when is None or when(request):
                check(request, scope)
            return view(request, *args, **kwargs)

        return within_limits

    return decorate


class Limit(BaseThrottle):
    """For REST framework. A view's `throttle_scope` is "search", if it says nothing."""

    def allow_request(self, request: Any, view: Any) -> bool:
        scope = getattr(view, "throttle_scope", "search")
        if scope is not None:
            check(request, scope)
        return True


def check(request: Any, scope: str) -> None:
    """Counts a request. Raises TooManyRequests when there were too many before it."""
    rate = settings.LIMITS[scope]
    if not rate:
        return
    count, period = read_rate(rate)
    seconds, period_name = PERIODS[period]
    wait = _take(f"limit-{scope}-{bucket_owner(request)}", count, seconds)
    if wait:
        raise TooManyRequests(
            f"That is more than {count:,} {SCOPES[scope]} in a {period_name}. Please "
            f"go on in {wait} second{'' if wait == 1 else 's'}.",
            retry_after_s=wait,
        )


def limiter(request: Any) -> Callable[[str], None]:
    """Return `check` for this request, as retrieval.service takes it."""
    return partial(check, request)


def bucket_owner(request: Any) -> str:
    """Whose bucket a request is counted in."""
    if request.user.is_authenticated:
        return f"user-{request.user.pk}"
    return f"address-{client_address(request)}"


def client_address(request: Any) -> str:
    """The visitor's address as far as the proxies in front are trusted; for IPv6 the
    network, in which a visitor has as many addresses as they like."""
    given = BaseThrottle().get_ident(request) or ""
    try:
        found = ip_address(given)
    except ValueError:
        return "unknown"
    if isinstance(found, IPv6Address):
        network = ip_network((found, IPV6_NETWORK), strict=False)
        return str(found.ipv4_mapped or network.network_address)
    return str(found)


def read_rate(rate: str) -> tuple[int, str]:
    """The number, and a key of PERIODS, of a rate such as 120/min."""
    count, _, period = rate.partition("/")
    return int(count), period.strip()[0]


def _take(bucket: str, count: int, seconds: int) -> int:
    """Takes one of `count` from the bucket; else, in how many seconds one is there.

    Two counters, of this window of time and of the one before, which fades out as this
    one goes on: small, exact for many at once, and without a rush at the window's turn.
    """
    cache = caches["limits"]
    window, passed = divmod(now(), seconds)
    this, before = f"{bucket}-{window:.0f}", f"{bucket}-{window - 1:.0f}"
    try:
        cache.add(this, 0, 2 * seconds)
        used = cache.incr(this)
        faded = cache.get(before, 0)
        if used + faded * (1 - passed / seconds) <= count:
            return 0
        cache.decr(this)
    # A cache is one of many libraries', each with errors of its own. When it is away,
    # searching goes on: costs are limited here, passwords are not.
    except Exception:
        logger.exception("The cache does not answer: requests are not counted.")
        return 0
    return math.ceil(_wait(used - 1, faded, count, passed, seconds))


def _wait(used: int, faded: int, count: int, passed: float, seconds: int) -> float:
    """Seconds until one more fits in."""
    free = count - 1 - used
    if faded and free >= 0:
        return max(1, seconds * (1 - free / faded) - passed)
    fade = seconds * (1 - (count - 1) / used) if used else 0
    return max(1, seconds - passed + fade)
