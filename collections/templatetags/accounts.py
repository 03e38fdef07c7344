from django import template
from django.conf import settings

register = template.Library()


@register.simple_tag
def mails_are_printed() -> bool:
    """Return whether mails are printed, as without a mail server."""
    return settings.EMAIL_BACKEND.endswith(".console.EmailBackend")
