"""Whose a refinement is: a user's, or that of a visitor without an account."""

import secrets
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

NAME = "refiner"


@dataclass(frozen=True)
class Visitor:
    """`session` stays the same when they sign in, unlike the key of the session."""

    user: Any
    session: str

    @property
    def owner(self) -> Any:
        return self.user if self.user.is_authenticated else None

    @property
    def name(self) -> str:
        """Different for each user and each session."""
        return f"user {self.user.pk}" if self.owner else f"session {self.session}"


def visitor(request: HttpRequest) -> Visitor:
    return Visitor(request.user, request.session.get(NAME, ""))


def known_visitor(request: HttpRequest) -> Visitor:
    """The same; a visitor without an account is known in this session from now on."""
    if not request.user.is_authenticated and NAME not in request.session:
        request.session[NAME] = secrets.token_hex(16)
    return visitor(request)
