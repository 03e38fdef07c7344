from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from .shards import jpeg

LAST_ID = 2**32 - 1


@login_not_required  # the server requests them itself, without an account
@require_safe
@cache_control(public=True, max_age=31_536_000, immutable=True)
def postcard(_request: HttpRequest, postcard_id: int) -> HttpResponse:
    """Return the JPEG of a postcard, drawn on demand."""
    if postcard_id > LAST_ID:
        raise Http404
    return HttpResponse(jpeg(postcard_id), content_type="image/jpeg")
