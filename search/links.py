"""The addresses on the pages: our own, and those that datasets bring along."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from django.urls import Resolver404, resolve, reverse

# The order in which they stand in an address, with the values that go without saying.
DEFAULTS = {
    "q": "",
    "item": "",
    "embedding": "",
    "field": "image",
    "mode": "ann",
    "nsfw": "safe",
    "min_width": "",
    "min_height": "",
    "caption": "",
    "site": "",
    "dedupe": "yes",
    "dataset": "",
    "cursor": "",
}
POSTCARD = re.compile(r"/postcards/\d+\.jpg", re.ASCII)
UNWANTED = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\"'<>`\\]")


class ItemPage(NamedTuple):
    dataset: str
    id: int


def safe_url(url: str) -> str:
    """The address, or '' where a page must not link to it or show it."""
    if POSTCARD.fullmatch(url):
        return url
    if UNWANTED.search(url):
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
    """The search page for these parameters; what goes without saying is left out."""
    wanted = {**asked, **changes}
    told = {
        name: value
        for name, default in DEFAULTS.items()
        if (value := wanted.get(name)) not in (None, "", default)
    }
    return reverse("search") + (f"?{urlencode(told)}" if told else "")


def item_of(address: str, host: str) -> ItemPage | None:
    """Whose page this is, if it is an item's on this host."""
    try:
        parts = urlsplit(address)
        found = resolve(parts.path) if parts.netloc == host else None
    except (ValueError, Resolver404):
        return None
    if not found or found.view_name != "item":
        return None
    return ItemPage(found.kwargs["slug"], found.kwargs["item_id"])
