"""What the templates need to show the items of a dataset."""

import json
from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit

from django import template
from django.urls import reverse

from search.clickhouse.filters import NOT_SAFE
from search.images.decode import MAX_BYTES
from search.models import Dataset
from search.query.url_params import safe_url, search_url
from search.retrieval import popularity
from search.retrieval.feedback import MAX_MARKS
from search.retrieval.items import Hit
from search.thumbnails import SIZES, address
from search.web.forms import MAX_IMAGES
from search.web.popularity_views import MAX_IDS
from search.web.selection_views import MAX_SELECTED

register = template.Library()

# What the scripts hold to as well, so that they need not ask to be refused.
LIMITS = {
    "marks": MAX_MARKS,
    "pictures": MAX_IMAGES,
    "picture-bytes": MAX_BYTES,
    "selected": MAX_SELECTED,
}

register.filter("as_link", safe_url)


@register.simple_tag
def most(name: str) -> int:
    """Give the limit of this name, for a `data-` attribute that a script reads."""
    return LIMITS[name]


@register.simple_tag
def similar_url(
    dataset: str, item: int, field: str = "image", dedupe: str = "yes"
) -> str:
    asked = {"dataset": dataset, "item": item, "field": field, "dedupe": dedupe}
    return search_url(asked)


@register.simple_tag
def words_url(dataset: str, words: str) -> str:
    return search_url({"dataset": dataset, "q": words})


@register.simple_tag
def thumbnail(dataset: str, item: int, size: int) -> str:
    """The address of an item's picture, made small; sizes are those of SIZES."""
    return address(dataset, item, size)


@register.simple_tag
def thumbnail_srcset(dataset: str, item: int) -> str:
    """All sizes, as `srcset` takes them."""
    return ", ".join(f"{address(dataset, item, size)} {size}w" for size in SIZES)


@register.filter
def host(url: str) -> str:
    """The site of an address that may be shown; '' for any other."""
    return urlsplit(safe_url(url)).hostname or ""


@register.filter
def is_unsafe(nsfw: str) -> bool:
    """Whether what a dataset says of an item hides it until someone asks for it."""
    return str(nsfw).upper() in NOT_SAFE


@register.simple_tag
def popularity_url(dataset: Dataset, hits: Sequence[Hit] | Hit | str) -> str:
    """Where it is told how often these were picked; '' if none ever was."""
    if not hits or isinstance(hits, str):
        return ""
    shown = [hits] if isinstance(hits, Hit) else hits
    ids = [hit.id for hit in shown][:MAX_IDS]
    if not popularity.is_known(dataset, ids):
        return ""
    asked = {"dataset": dataset.slug, "ids": ",".join(map(str, ids))}
    return f"{reverse('popularity')}?{urlencode(asked, safe=',')}"


@register.filter
def readable(value: str) -> str:
    """JSON in columns spread over lines; any other text as it is."""
    if not value.startswith(("{", "[")):
        return value
    try:
        return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return value
