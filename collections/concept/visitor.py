"""The owner of a refinement: a user, or the session of an anonymous visitor."""

import secrets
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.http import HttpRequest

from ..models.ownership import AnyUser

SESSION_KEY = "refiner"


@dataclass(frozen=True)
class Visitor:
    """`session` survives signing in, unlike Django's session key."""

    user: AnyUser
    session: str

    @property
    def owner(self) -> User | None:
        return self.user if self.user.is_authenticated else None

    @property
    def key(self) -> str:
        """Return a text that is unique to the user or session."""
        return f"user {self.user.pk}" if self.owner else f"session {self.session}"


def visitor(request: HttpRequest) -> Visitor:
    return Visitor(request.user, request.session.get(SESSION_KEY, ""))


def known_visitor(request: HttpRequest) -> Visitor:
    """Return the visitor; give the session of an anonymous one a key."""
    if not request.user.is_authenticated and SESSION_KEY not in request.session:
        request.session[SESSION_KEY] = secrets.token_hex(16)
    return visitor(request)
