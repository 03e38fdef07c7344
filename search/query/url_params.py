"""The addresses on the pages: our own, and those that datasets bring along."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.urls import Resolver404, resolve, reverse

# What is searched for beside words; each may stand several times, with a weight.
TERMS = ("item", "embedding", "concept")
# The order in which they stand in an address, with the values that go without saying.
DEFAULTS = {
    "q": "",
    **dict.fromkeys(TERMS, ""),
    "field": "image",
    "mode": "ann",
    "nsfw": "safe",
    "min_width": "",
    "max_width": "",
    "min_height": "",
    "max_height": "",
    "orientation": "",
    "caption": "",
    "site": "",
    "license": "",
    "min_similarity": "",
    "dedupe": "yes",
    "cutoff": "",
    "sort": "similarity",
    "dataset": "",
    "cursor": "",
}
WEIGHT_PREFIX = re.compile(
    r"(?:(-?[0-9]{1,4}(?:\.[0-9]{1,6})?):)?(.*)", re.ASCII | re.DOTALL
)
UNSAFE_IN_URL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\"'<>`\\]")


class ItemReference(NamedTuple):
    dataset: str
    id: int


def is_local_image(url: str) -> bool:
    """Return whether this site serves the image itself; its URL is a path."""
    return re.fullmatch(settings.LOCAL_IMAGE_URL, url) is not None


def safe_url(url: str) -> str:
    """The address, or '' where a page must not link to it or show it."""
    if is_local_image(url):
        return url
    if UNSAFE_IN_URL.search(url):
        return ""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host:
        return ""
    # user@host is how one site is made to look like another.
    return "" if "@" in parts.netloc else url


def search_url(asked: Mapping[str, object], **changes: object) -> str:
    """The search page for these parameters; what goes without saying is left out.

    A list stands for a parameter that is given several times.
    """
    told = search_query_string({**asked, **changes})
    return reverse("search") + (f"?{told}" if told else "")


def search_query_string(asked: Mapping[str, object]) -> str:
    """These parameters of the search page, as they stand behind the question mark."""
    told = {
        name: value
        for name, default in DEFAULTS.items()
        if (value := asked.get(name)) not in (None, "", [], (), default)
    }
    return urlencode(told, doseq=True)


def split_weight(value: str) -> tuple[float, str]:
    """The weight of a term in an address, and the term: -0.5:7 or, with 1, just 7."""
    found = WEIGHT_PREFIX.fullmatch(value)
    assert found is not None  # without a weight, all of it is the term
    weight, term = found.groups()
    return float(weight or 1), term


def with_weight(weight: float, term: object) -> str:
    return f"{term}" if weight == 1 else f"{round(weight, 4):g}:{term}"


def parse_item_url(address: str, host: str) -> ItemReference | None:
    """Whose page this is, if it is an item's on this host."""
    try:
        parts = urlsplit(address)
        found = resolve(parts.path) if parts.netloc == host else None
    except (ValueError, Resolver404):
        return None
    if not found or found.view_name != "item":
        return None
    return ItemReference(found.kwargs["slug"], found.kwargs["item_id"])
