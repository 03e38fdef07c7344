from django import template
from django.conf import settings

register = template.Library()


@register.simple_tag
def mails_are_printed() -> bool:
    """Whether there is no mail server, as on a first start."""
    return settings.EMAIL_BACKEND.endswith(".console.EmailBackend")
