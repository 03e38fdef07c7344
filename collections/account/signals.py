"""Log account events, by user id only."""

import logging
from typing import Any

from allauth.account import signals as account
from django.contrib import messages
from django.contrib.auth import signals as auth
from django.dispatch import Signal, receiver
from django.http import HttpRequest

logger = logging.getLogger(__name__)

EVENTS: dict[Signal, str] = {
    account.user_signed_up: "signed up",
    auth.user_logged_in: "signed in",
    auth.user_logged_out: "signed out",
    account.password_changed: "changed their password",
    account.password_reset: "has a new password by mail",
    account.email_changed: "changed their email address",
    account.email_confirmed: "confirmed an email address",
}


def log_event(signal: Signal, user: Any = None, **about: Any) -> None:
    if user is None and "email_address" in about:
        user = about["email_address"].user
    if user is not None:
        logger.info("User %s %s.", user.pk, EVENTS[signal])


for _signal in EVENTS:
    _signal.connect(log_event, dispatch_uid="laionweb.account.events")


@receiver(account.user_signed_up)
def welcome(request: HttpRequest, user: Any, **about: Any) -> None:
    """Greet a new user on the next page, and say what to do first."""
    messages.success(
        request,
        f"Welcome, {user.get_username()}. Select the bookmark on any image to start a "
        "collection.",
    )


@receiver(auth.user_login_failed)
def log_failure(**about: Any) -> None:
    logger.warning("Somebody failed to sign in.")
