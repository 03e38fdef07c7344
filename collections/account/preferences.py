"""What a user has chosen once; whoever has chosen nothing has the defaults."""

from typing import Any

from ..models import Preferences


def keeps_history(user: Any) -> bool:
    """Whether this user's searches may be remembered; never a visitor's."""
    if not user.is_authenticated:
        return False
    chosen = Preferences.objects.filter(owner=user).first()
    return chosen.keeps_history if chosen else True


def keep_history(user: Any, keeps: bool) -> None:
    Preferences.objects.update_or_create(owner=user, defaults={"keeps_history": keeps})
