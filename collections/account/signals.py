"""Log account events, by user id only."""

import logging
from typing import Any

from allauth.account import signals as account
from django.contrib.auth import signals as auth
from django.dispatch import Signal, receiver

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


@receiver(auth.user_login_failed)
def log_failure(**about: Any) -> None:
    logger.warning("Somebody failed to sign in.")
