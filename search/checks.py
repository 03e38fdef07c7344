"""Django system checks of the settings."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import Error, Tags, Warning, register

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


@register(Tags.caches, deploy=True)
def check_cache(**_options: Any) -> list[Warning]:
    """Warn of a cache that other processes do not share, or that the broker shares."""
    cache, broker = settings.CACHES["default"], settings.CELERY_BROKER_URL
    if cache["BACKEND"].endswith("LocMemCache") and not broker.startswith("memory"):
        return [
            Warning(
                "Each process has a cache and rate limits of its own.",
                hint="Set CACHE_URL to a Redis that all web processes share.",
                id="search.W001",
            )
        ]
    server = _server(str(cache.get("LOCATION", "")))
    if server is not None and server == _server(broker):
        return [
            Warning(
                "The cache and the broker are one Redis.",
                hint="A cache evicts what is old, a broker must not: filled by the "
                "cache, it stops searches and imports. Set CACHE_URL to another Redis "
                "with maxmemory-policy allkeys-lru.",
                id="search.W002",
            )
        ]
    return []


def _server(url: str) -> tuple[str, int] | None:
    """Return the host and the port of a Redis."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("redis"):
        return None
    return parts.hostname or "localhost", parts.port or 6379
