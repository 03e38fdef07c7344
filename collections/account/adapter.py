import secrets
from ipaddress import ip_network
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse

from search.rate_limits import client_address

BROWSER_COOKIE = "known_browser"
BROWSER_AGE_S = 365 * 24 * 3600
IPV4_BITS, IPV6_BITS = 24, 48


class Adapter(DefaultAccountAdapter):
    """Customize allauth where settings are not enough."""

    error_messages = DefaultAccountAdapter.error_messages | dict.fromkeys(
        ("username_password_mismatch", "email_password_mismatch"),
        "Wrong username or password.",
    )

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return settings.ACCOUNTS_OPEN

    def _get_login_attempts_cache_key(
        self, request: HttpRequest, **credentials: Any
    ) -> str:
        """Count failures by account and network, or by account and known browser.

        So nobody locks an account for its owner: neither from elsewhere, nor in a
        browser in which the owner signed in before.
        """
        account = super()._get_login_attempts_cache_key(request, **credentials)
        login = credentials.get("email", credentials.get("username", ""))
        browser = _known_browser(request, login)
        return f"{account}:{browser or _network(client_address(request))}"

    def post_login(
        self, request: HttpRequest, user: User, **options: Any
    ) -> HttpResponse:
        response = super().post_login(request, user, **options)
        response.set_signed_cookie(
            BROWSER_COOKIE,
            f"{user.pk} {secrets.token_urlsafe(12)}",
            max_age=BROWSER_AGE_S,
            path="/accounts/",
            secure=settings.HTTPS,
            httponly=True,
            samesite="Lax",
        )
        return response


def _network(address: str) -> str:
    """Return the network of an address, in which one attacker may have many."""
    try:
        bits = IPV6_BITS if ":" in address else IPV4_BITS
        return str(ip_network(f"{address}/{bits}", strict=False))
    except ValueError:  # of a proxy that reports none
        return address


def _known_browser(request: HttpRequest, login: str) -> str:
    """Return the key of a browser in which the account signed in before, or ""."""
    cookie = request.get_signed_cookie(BROWSER_COOKIE, "", max_age=BROWSER_AGE_S) or ""
    pk, _, browser = cookie.partition(" ")
    user = User.objects.filter(pk=pk).first() if cookie else None
    own = {user.username.lower(), user.email.lower()} if user else set()
    return browser if login and login.lower() in own else ""
