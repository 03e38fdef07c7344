from functools import partial
from hashlib import blake2b

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from search.errors import SearchError
from search.images.formats import SUFFIXES
from search.models import Dataset
from search.rate_limits import address_owner, check, counts_itself, limited

from . import service

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
HOUR_S = 3_600  # for which a cache may show what was removed meanwhile
MAX_ERROR_AGE_S = 600  # for which browsers may cache a failure
ERROR_AGE_S = 60


@counts_itself
@require_safe
def thumbnail(request: HttpRequest, slug: str, item_id: int, size: int) -> HttpResponse:
    public = Dataset.objects.visible_to(AnonymousUser()).filter(slug=slug)
    key = public.values_list("pk", flat=True).first()
    is_public = key is not None
    try:
        check(request, "lookup", address_owner(request))
        if not is_public:  # else the user is not looked at: caches serve all alike
            key = Dataset.for_slug(slug, request.user).pk
        before = partial(check, request, "thumbnail")
        content = service.thumbnail(slug, item_id, size, before, key)
    except SearchError as error:
        return _error_response(error, is_public)
    response = HttpResponse(content, content_type="image/webp", headers=HEADERS)
    response["Cache-Control"] = _cache_control(is_public, HOUR_S)
    response["ETag"] = etag = f'"{blake2b(content, digest_size=12).hexdigest()}"'
    answer = get_conditional_response(request, etag=etag, response=response)
    return answer or response


@require_safe
@limited("image")
def original(request: HttpRequest, slug: str, item_id: int) -> HttpResponse:
    """Return the file of an item's image, to be saved: browsers do not show it."""
    Dataset.for_slug(slug, request.user)
    content, format_name = service.original_file(slug, item_id)
    response = HttpResponse(
        content, content_type=f"image/{format_name.lower()}", headers=HEADERS
    )
    name = f"{slug}-{item_id}{SUFFIXES[format_name][0]}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "private, no-store"
    return response


def _error_response(error: SearchError, is_public: bool) -> HttpResponse:
    response = HttpResponse(
        error.message,
        content_type="text/plain; charset=utf-8",
        status=error.status,
        headers=HEADERS,
    )
    wait = getattr(error, "retry_after_s", None)
    if wait is not None:
        response["Retry-After"] = str(wait)
        response["Cache-Control"] = "no-store"
    else:
        seconds = error.seconds if isinstance(error, service.NoImage) else ERROR_AGE_S
        age = min(seconds, MAX_ERROR_AGE_S)
        response["Cache-Control"] = _cache_control(is_public, age)
    return response


def _cache_control(is_public: bool, seconds: int) -> str:
    """Return which caches may store a response, and for how long.

    Of a dataset that not everybody may see, browsers ask each time whether they may
    show again what they have.
    """
    if not is_public:
        return "private, no-cache"
    scope = "public" if settings.SEARCH_ANONYMOUS else "private"
    return f"{scope}, max-age={seconds}"
