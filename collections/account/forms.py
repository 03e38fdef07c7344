"""The forms of allauth with our labels, and those of the account page."""

from datetime import timedelta
from typing import Any

from allauth.account import forms as allauth
from django import forms

from ..models import Token
from .services import is_last_superuser
from .tokens import MAX_TOKENS

LIFETIMES = {"30": "30 days", "90": "90 days", "365": "a year", "": "until I revoke it"}


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
        _use_labels(self, {"login": "Name or e-mail"})
        self.fields["login"].widget.attrs["autocomplete"] = "username"
        self.fields["password"].help_text = ""  # the page has the link


class SignUpForm(allauth.SignupForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        _use_labels(self, {"username": "Name", "email": "E-mail"})
        self.fields["password1"].help_text = "At least 8 characters, none too common."


class ForgottenForm(allauth.ResetPasswordForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        _use_labels(self, {"email": "E-mail"})


class NewPasswordForm(allauth.ResetPasswordKeyForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        _use_labels(self, {"password1": "New password", "password2": "The same again"})


class ChangePasswordForm(allauth.ChangePasswordForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        again = {"password1": "New password", "password2": "The same again"}
        _use_labels(self, {"oldpassword": "Password until now"} | again)
        self.fields["oldpassword"].help_text = ""


class ChangeEmailForm(allauth.AddEmailForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        _use_labels(self, {"email": "New e-mail"})


class TokenForm(forms.Form):
    """A new API token."""

    name = forms.CharField(
        max_length=Token._meta.get_field("name").max_length,
        label="What it is for",
        error_messages={
            "required": "Give the token a name, so that you know it later.",
            "max_length": "Up to 80 characters for the name.",
        },
    )
    days = forms.ChoiceField(
        required=False,
        choices=list(LIFETIMES.items()),
        initial="90",
        label="Lasts",
        error_messages={"invalid_choice": "Choose how long the token lasts."},
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.user = user

    def clean(self) -> dict[str, Any] | None:
        if Token.objects.owned_by(self.user).count() >= MAX_TOKENS:
            raise forms.ValidationError(
                f"You have {MAX_TOKENS} tokens. Revoke one before you make another."
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
        error_messages={"required": "Type your password to delete the account."},
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self) -> str:
        if not self.user.check_password(self.cleaned_data["password"]):
            raise forms.ValidationError("That is not your password.")
        return self.cleaned_data["password"]

    def clean(self) -> dict[str, Any] | None:
        if is_last_superuser(self.user):
            raise forms.ValidationError(
                "You are the last admin here. Make another one before you go."
            )
        return super().clean()
