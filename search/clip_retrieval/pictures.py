"""Pictures that are searched for by their address, and are items themselves.

clip-front's “search by image” sends back the address of a result. An item's picture
was encoded when it came in, so that nothing has to be fetched for it; and the example's
pictures lie at this server's own address, which is none to fetch from.
"""

from dataclasses import replace
from urllib.parse import urlsplit

from django.http import HttpRequest
from django.urls import Resolver404, resolve

from search.query.model import LAST_ITEM, Term
from search.query.url_params import POSTCARD
from search.retrieval import service


def known(term: Term, slug: str, request: HttpRequest) -> Term:
    """A term with an address, as the stored embedding of the item that it names.

    It is an item of this dataset, named by its own URL, or by our page of it or our
    small picture. A term of another kind, or with another address, stays as it is.
    """
    if term.image_url is None:
        return term
    item_id = _item(term.image_url, slug, request)
    found = {} if item_id is None else service.embeddings(slug, "image", [item_id])
    if item_id not in found:
        return term
    return replace(term, image_url=None, embedding=tuple(found[item_id].tolist()))


def shown_url(url: str, request: HttpRequest) -> str:
    """An item's URL as another site can use it: whole, if it is of this server."""
    return request.build_absolute_uri(url) if POSTCARD.fullmatch(url) else url


def _item(url: str, slug: str, request: HttpRequest) -> int | None:
    try:
        parts = urlsplit(url)
        found = resolve(parts.path) if parts.netloc == request.get_host() else None
    except (ValueError, Resolver404):
        found = None
    if found and found.view_name in ("item", "thumbnail"):
        item_id = found.kwargs["item_id"]
        ours = found.kwargs["slug"] == slug and item_id <= LAST_ITEM
        return item_id if ours else None
    is_postcard = found is not None and found.view_name == "postcard"
    return service.item_at(slug, parts.path if is_postcard else url)
