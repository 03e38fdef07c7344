from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest


class Adapter(DefaultAccountAdapter):
    """Customize allauth where settings are not enough."""

    error_messages = DefaultAccountAdapter.error_messages | dict.fromkeys(
        ("username_password_mismatch", "email_password_mismatch"),
        "Wrong username or password.",
    )

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return settings.ACCOUNTS_OPEN
