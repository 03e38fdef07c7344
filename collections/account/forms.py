"""The forms of allauth with our labels, and those of the account page."""

from datetime import timedelta
from typing import Any

from allauth.account import forms as allauth
from django import forms

from ..models import Token
from .services import is_last_superuser
from .tokens import MAX_TOKENS

LIFETIMES = {"30": "30 days", "90": "90 days", "365": "1 year", "": "never"}


def _use_labels(form: forms.Form, labels: dict[str, str]) -> None:
    """Replace placeholders by labels, which stay when something is typed."""
    for name, field in form.fields.items():
        field.widget.attrs.pop("placeholder", None)
        field.label = labels.get(name, field.label)
    first = next(iter(form.fields.values()), None)
    if first is not None and not form.is_bound:
        first.widget.attrs["autofocus"] = True


class SignInForm(allauth.LoginForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        _use_labels(self, {"login": "Username or email"})
        self.fields["login"].widget.attrs["autocomplete"] = "username"
        self.fields["password"].help_text = ""  # the page has the link


class SignUpForm(allauth.SignupForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        _use_labels(self, {"username": "Username", "email": "Email"})
        hint = "At least 8 characters; avoid common passwords."
        self.fields["password1"].help_text = hint


class ForgottenForm(allauth.ResetPasswordForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        _use_labels(self, {"email": "Email"})


class NewPasswordForm(allauth.ResetPasswordKeyForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        _use_labels(
            self, {"password1": "New password", "password2": "Confirm new password"}
        )


class ChangePasswordForm(allauth.ChangePasswordForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        again = {"password1": "New password", "password2": "Confirm new password"}
        _use_labels(self, {"oldpassword": "Current password"} | again)
        self.fields["oldpassword"].help_text = ""


class ChangeEmailForm(allauth.AddEmailForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        _use_labels(self, {"email": "New email"})


class TokenForm(forms.Form):
    """A new API token."""

    name = forms.CharField(
        max_length=Token._meta.get_field("name").max_length,
        label="Token name",
        error_messages={
            "required": "Give the token a name.",
            "max_length": "Use up to 80 characters.",
        },
    )
    days = forms.ChoiceField(
        required=False,
        choices=list(LIFETIMES.items()),
        initial="90",
        label="Expires",
        error_messages={"invalid_choice": "Choose when the token expires."},
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.user = user

    def clean(self) -> dict[str, Any] | None:
        if Token.objects.owned_by(self.user).count() >= MAX_TOKENS:
            raise forms.ValidationError(
                f"You have {MAX_TOKENS} tokens. Revoke one before you create another."
            )
        return super().clean()

    @property
    def lifetime(self) -> timedelta | None:
        """The lifetime of the token; None if it is valid until revoked."""
        days = self.cleaned_data["days"]
        return timedelta(days=int(days)) if days else None


class DeletionForm(forms.Form):
    """Requires the password: an open browser must not be enough to delete it all."""

    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Enter your password to delete the account."},
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self) -> str:
        if not self.user.check_password(self.cleaned_data["password"]):
            raise forms.ValidationError("Wrong password.")
        return self.cleaned_data["password"]

    def clean(self) -> dict[str, Any] | None:
        if is_last_superuser(self.user):
            raise forms.ValidationError(
                "You are the last admin of this site. Make another user an admin first."
            )
        return super().clean()
