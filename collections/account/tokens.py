"""API tokens: made by their user, shown once, used by programs, revoked at any time."""

import hashlib
import logging
import secrets
from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from ..models import Token

PREFIX = "laion_"  # by which those who look for leaked secrets know it
MAX_TOKENS = 50
NOTED_EVERY = timedelta(minutes=1)

logger = logging.getLogger(__name__)


class ApiTokenAuthentication(TokenAuthentication):
    """The header “Authorization: Token …”, for the API alone."""

    def authenticate_credentials(self, key: str) -> tuple[Any, Token]:
        tokens = Token.objects.select_related("owner").filter(digest=digest(key))
        found = tokens.first()
        if not found or found.has_expired or not found.owner.is_active:
            raise AuthenticationFailed("This token is not valid, or no longer.")
        note_use(found)
        return found.owner, found


def digest(secret: str) -> str:
    """Of 256 random bits a plain hash is enough: they cannot be guessed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def note_use(token: Token) -> None:
    """Not at each request, of which there may be many in a second."""
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > NOTED_EVERY:
        Token.objects.filter(pk=token.pk).update(last_used_at=now)


def make_token(owner: Any, name: str, lasts: timedelta | None) -> str:
    """What its owner is shown this once; it lasts until it is revoked for None."""
    secret = PREFIX + secrets.token_urlsafe(32)
    expires_at = timezone.now() + lasts if lasts else None
    Token.objects.create(
        owner=owner, name=name, digest=digest(secret), expires_at=expires_at
    )
    logger.info("User %s made a token.", owner.pk)
    return secret


def revoke(token: Token) -> None:
    token.delete()
    logger.info("User %s revoked a token.", token.owner_id)
