"""Tags and filters of templates that show items."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django import template
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from search.images.formats import MAX_BYTES
from search.links import link_of
from search.models import Dataset
from search.query import ratings
from search.query.filters import MAX_EXCLUDED, filter_words
from search.query.model import MAX_IMAGES
from search.query.url_params import search_url
from search.retrieval import popularity
from search.retrieval.feedback import MAX_MARKS
from search.retrieval.items import Hit
from search.thumbnails import thumbnail_url
from search.web import bundles
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

# Of a hit in a grid: pixels of its thumbnails, characters of its caption and label.
CARD_SIZES = (160, 320, 640)
CARD_CAPTION = 300
CARD_NAME = 60

register.filter("as_link", link_of)
register.filter("has_image", Dataset.has_image)


@register.filter
def dataset_of(datasets: Sequence[Dataset], hit: Hit) -> Dataset:
    """Return that one of the datasets which a hit is of."""
    return next(each for each in datasets if each.slug == hit.dataset)


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
def card(dataset: Dataset, hit: Hit, shows_unrated: object) -> dict[str, Any]:
    """Return what _hit.html shows of a hit, as texts.

    A page has dozens of hits, and a template takes ten times as long to make these.
    """
    slug, caption = dataset.slug, shortened(hit.caption, CARD_CAPTION)
    values = {
        "item": str(hit.id),
        "url": reverse("item", args=[slug, hit.id]),
        "caption": caption,
        "name": shortened(caption, CARD_NAME),
        "alt": caption or "Image without a caption",
        "like": similar_url(slug, hit.id),
        "is_veiled": is_veiled(hit, shows_unrated),
    }
    if dataset.has_image(hit.url):
        values |= thumbnail_sources(slug, hit.id)
    if hit.width and hit.height:
        values |= {"width": str(hit.width), "height": str(hit.height)}
        values["ratio"] = str(round(1000 * hit.width / hit.height))
    if hit.similarity is not None:
        values["similarity"] = f"{hit.similarity:.4f}"
        values["rounded"] = f"{hit.similarity:.2f}"
    if hit.similar:
        values["similar"] = str(hit.similar)
        values["unfolded"] = similar_url(slug, hit.id, dedupe="no")
    return values


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def thumbnail_sources(dataset: str, item: int) -> dict[str, str]:
    """Return `src` and `srcset` of an image in a grid."""
    urls = {size: thumbnail_url(dataset, item, size) for size in CARD_SIZES}
    srcset = ", ".join(f"{url} {size}w" for size, url in urls.items())
    return {"src": urls[CARD_SIZES[1]], "srcset": srcset}


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
    """Return the URL of a note on how often items were picked.

    "" if the item never was, or the hits together fewer than MIN_POPULAR times.
    """
    if not hits or isinstance(hits, str):
        return ""
    shown = [hits] if isinstance(hits, Hit) else hits
    ids = [hit.id for hit in shown][:MAX_IDS]
    picks = sum(popularity.counts(dataset, ids).values())
    if picks < (1 if isinstance(hits, Hit) else popularity.MIN_POPULAR):
        return ""
    params = {"dataset": dataset.slug, "ids": ",".join(map(str, ids))}
    return f"{reverse('popularity')}?{urlencode(params, safe=',')}"


class BundledNode(template.Node):
    def __init__(self, nodes: template.NodeList):
        self.nodes = nodes

    def render(self, context: template.Context) -> SafeString:
        return mark_safe(bundles.bundled(self.nodes.render(context)))


@register.tag
def bundled(parser: template.base.Parser, _: template.base.Token) -> BundledNode:
    """Join the style sheets and scripts between this tag and endbundled."""
    nodes = parser.parse(("endbundled",))
    parser.delete_first_token()
    return BundledNode(nodes)
