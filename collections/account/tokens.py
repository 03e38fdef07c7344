"""API tokens: create, authenticate and revoke. The secret is shown once."""

import hashlib
import logging
import secrets
from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from ..models import Token

PREFIX = "laion_"  # scanners for leaked secrets find it by this
MAX_TOKENS = 50
RECORD_USE_EVERY = timedelta(minutes=1)

logger = logging.getLogger(__name__)


class ApiTokenAuthentication(TokenAuthentication):
    """Authenticate API requests by the header “Authorization: Token …”."""

    def authenticate_credentials(self, key: str) -> tuple[Any, Token]:
        tokens = Token.objects.select_related("owner").filter(digest=digest(key))
        found = tokens.first()
        if not found or found.has_expired or not found.owner.is_active:
            raise AuthenticationFailed("This token is invalid or has expired.")
        record_use(found)
        return found.owner, found


def digest(secret: str) -> str:
    """Hash a secret. It has 256 random bits: a slow hash with salt is not needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def record_use(token: Token) -> None:
    """Update last_used_at, but not at every one of many requests a second."""
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > RECORD_USE_EVERY:
        Token.objects.filter(pk=token.pk).update(last_used_at=now)


def make_token(owner: Any, name: str, lifetime: timedelta | None) -> str:
    """Return the secret of a new token; None: it lasts until it is revoked."""
    secret = PREFIX + secrets.token_urlsafe(32)
    expires_at = timezone.now() + lifetime if lifetime else None
    Token.objects.create(
        owner=owner, name=name, digest=digest(secret), expires_at=expires_at
    )
    logger.info("User %s made a token.", owner.pk)
    return secret


def revoke(token: Token) -> None:
    token.delete()
    logger.info("User %s revoked a token.", token.owner_id)
