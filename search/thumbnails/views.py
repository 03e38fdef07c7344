from functools import partial
from hashlib import blake2b

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from search.errors import SearchError
from search.rate_limits import check

from .service import NoImage
from .service import thumbnail as picture

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
A_YEAR_S = 31_536_000
MAX_ABSENT_S = 600  # that a browser takes a picture for dead without asking
ABSENT_S = 60


@require_safe
def thumbnail(request: HttpRequest, slug: str, item_id: int, size: int) -> HttpResponse:
    try:
        content = picture(slug, item_id, size, partial(check, request, "thumbnail"))
    except SearchError as error:
        return _without_picture(error)
    response = HttpResponse(content, content_type="image/webp", headers=HEADERS)
    response["Cache-Control"] = f"{_who()}, max-age={A_YEAR_S}, immutable"
    response["ETag"] = etag = f'"{blake2b(content, digest_size=12).hexdigest()}"'
    answer = get_conditional_response(request, etag=etag, response=response)
    return answer or response


def _without_picture(error: SearchError) -> HttpResponse:
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
        seconds = error.seconds if isinstance(error, NoImage) else ABSENT_S
        lasting = min(seconds, MAX_ABSENT_S)
        response["Cache-Control"] = f"{_who()}, max-age={lasting}"
    return response


def _who() -> str:
    """Whose caches may keep an answer."""
    return "public" if settings.SEARCH_ANONYMOUS else "private"
