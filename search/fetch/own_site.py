"""URLs of this site, which it never fetches from itself over HTTP."""

from collections.abc import Collection

from django.conf import settings
from django.http import HttpRequest
from django.urls import resolve

from search import links
from search.errors import CannotFetch

from .target import is_exempt

THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")


def own_image(url: str, exempt: Collection[str]) -> bytes | None:
    """Return the image at a URL of this site; None for a URL that is to be fetched.

    Hosts in ALLOWED_HOSTS are this site, unless they are `exempt`. Raises CannotFetch
    for its other pages; those of this machine are refused as any private address is.
    """
    parts = links.parse(url)
    port = links.PORTS[parts.scheme] if parts.port is None else parts.port
    name = f"[{parts.host}]" if ":" in parts.host else parts.host
    own = name in settings.ALLOWED_HOSTS
    if not own or is_exempt(parts.host, port, exempt):
        return None
    if links.is_local_image(parts.path):
        return local_image(parts.path)
    if name in THIS_MACHINE:
        return None
    raise CannotFetch("This URL is a page of this site, not an image.")


def local_image(path: str) -> bytes:
    """Return the image that this site serves at a path, such as a postcard."""
    view, arguments, options = resolve(path)
    request = HttpRequest()
    request.method = "GET"
    return view(request, *arguments, **options).content
