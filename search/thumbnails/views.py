from functools import partial
from hashlib import blake2b

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from search.errors import SearchError
from search.rate_limits import check

from . import service

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
YEAR_S = 31_536_000
MAX_ERROR_AGE_S = 600  # for which browsers may cache a failure
ERROR_AGE_S = 60


@require_safe
def thumbnail(request: HttpRequest, slug: str, item_id: int, size: int) -> HttpResponse:
    try:
        content = service.thumbnail(
            slug, item_id, size, partial(check, request, "thumbnail")
        )
    except SearchError as error:
        return _error_response(error)
    response = HttpResponse(content, content_type="image/webp", headers=HEADERS)
    response["Cache-Control"] = f"{_cache_scope()}, max-age={YEAR_S}, immutable"
    response["ETag"] = etag = f'"{blake2b(content, digest_size=12).hexdigest()}"'
    answer = get_conditional_response(request, etag=etag, response=response)
    return answer or response


def _error_response(error: SearchError) -> HttpResponse:
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
        response["Cache-Control"] = f"{_cache_scope()}, max-age={age}"
    return response


def _cache_scope() -> str:
    """Return which caches may store a thumbnail."""
    return "public" if settings.SEARCH_ANONYMOUS else "private"
