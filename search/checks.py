"""Django system checks of the settings."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, register

REMOTE_ENCODER = "search.encoder.remote.CeleryEncoder"
PRECISIONS = ("auto", "float32", "float16", "bfloat16")


@register()
def check_encoder(**_options: Any) -> list[Error]:
    """Check the settings of the encoder: broker and precision."""
    errors = []
    over_redis = settings.CELERY_BROKER_URL.startswith(("redis://", "rediss://"))
    if settings.SEARCH_ENCODER == REMOTE_ENCODER and not over_redis:
        errors.append(
            Error(
                "The CeleryEncoder needs a Redis broker.",
                hint="Set CELERY_BROKER_URL to redis://host:6379/0 or the like.",
                id="search.E001",
            )
        )
    if settings.ENCODER_PRECISION not in PRECISIONS:
        errors.append(
            Error(
                f"ENCODER_PRECISION is {settings.ENCODER_PRECISION}.",
                hint=f"It is one of {', '.join(PRECISIONS)}.",
                id="search.E002",
            )
        )
    return errors
