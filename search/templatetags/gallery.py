"""Tags and filters of templates that show items."""

import json
from collections.abc import Sequence
from urllib.parse import urlencode

from django import template
from django.urls import reverse

from search.images.formats import MAX_BYTES
from search.links import link_of, readable_host
from search.models import Dataset
from search.query import ratings
from search.query.filters import MAX_EXCLUDED, filter_words
from search.query.model import MAX_IMAGES
from search.query.url_params import search_url
from search.retrieval import popularity
from search.retrieval.feedback import MAX_MARKS
from search.retrieval.items import Hit
from search.thumbnails import SIZES, thumbnail_url
from search.web.popularity_views import MAX_IDS
from search.web.selection_views import MAX_SELECTED

register = template.Library()

# Limits that scripts enforce as well, before they send a request.
LIMITS = {
    "marks": MAX_MARKS,
    "pictures": MAX_IMAGES,
    "picture-bytes": MAX_BYTES,
    "seen": MAX_EXCLUDED,
    "selected": MAX_SELECTED,
}

register.filter("as_link", link_of)
register.filter("has_image", Dataset.has_image)
register.filter("host", readable_host)


@register.simple_tag
def limit(name: str) -> int:
    """Return the limit of this name, for a `data-` attribute that a script reads."""
    return LIMITS[name]


@register.simple_tag
def similar_url(
    dataset: str, item: int, field: str = "image", dedupe: str = "yes"
) -> str:
    """Return the URL of a search by an item."""
    params = {"dataset": dataset, "item": item, "field": field, "dedupe": dedupe}
    return search_url(params)


@register.simple_tag
def filter_examples() -> str:
    """List examples of the filters that the help has no line for."""
    return ", ".join(word.help for word in filter_words().values() if word.help)


@register.simple_tag
def words_url(dataset: str, words: str) -> str:
    """Return the URL of a search by words."""
    return search_url({"dataset": dataset, "q": words})


@register.simple_tag
def thumbnail(dataset: str, item: int, size: int) -> str:
    """Return the URL of an item's thumbnail in one of SIZES."""
    return thumbnail_url(dataset, item, size)


@register.simple_tag
def thumbnail_srcset(dataset: str, item: int) -> str:
    """Return the value of `srcset` with all sizes."""
    return ", ".join(f"{thumbnail_url(dataset, item, size)} {size}w" for size in SIZES)


@register.filter
def is_veiled(hit: Hit, shows_unrated: object) -> bool:
    """Return whether the page blurs the image of a hit."""
    return hit.is_veiled(shows_unrated is True)


@register.filter
def has_unrated(hits: Sequence[Hit]) -> bool:
    """Return whether a page has to say that it blurs items that are not rated."""
    return any(ratings.rating_of(hit.nsfw) == ratings.UNRATED for hit in hits)


@register.simple_tag
def popularity_url(dataset: Dataset, hits: Sequence[Hit] | Hit | str) -> str:
    """Return the URL of a note on how often items were picked; "" if none ever was."""
    if not hits or isinstance(hits, str):
        return ""
    shown = [hits] if isinstance(hits, Hit) else hits
    ids = [hit.id for hit in shown][:MAX_IDS]
    if not popularity.is_known(dataset, ids):
        return ""
    params = {"dataset": dataset.slug, "ids": ",".join(map(str, ids))}
    return f"{reverse('popularity')}?{urlencode(params, safe=',')}"


@register.filter
def readable(value: str) -> str:
    """Indent a JSON object or list; return any other text as it is."""
    if not value.startswith(("{", "[")):
        return value
    try:
        return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return value
