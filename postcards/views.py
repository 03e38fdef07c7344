from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from search import cache
from search.rate_limits import address_owner, check, counts_itself

from .shards import jpeg

LAST_ID = 2**32 - 1
CACHE_S = 3_600


@counts_itself
@login_not_required  # the server reads them itself, without an account
@require_safe
@cache_control(public=True, max_age=31_536_000, immutable=True)
def postcard(request: HttpRequest, postcard_id: int) -> HttpResponse:
    """Return the JPEG of a postcard, drawn on demand and cached for an hour."""
    if postcard_id > LAST_ID:
        raise Http404
    key = f"postcard:{postcard_id}"
    image = cache.get(key)
    if "REMOTE_ADDR" in request.META:  # not the server itself
        check(request, "page" if image else "drawing", address_owner(request))
    if image is None:
        image = jpeg(postcard_id)
        cache.set(key, image, CACHE_S)
    return HttpResponse(image, content_type="image/jpeg")
