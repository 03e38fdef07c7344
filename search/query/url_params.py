"""URLs of the search page: their parameters, and the items that they name."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from django.urls import Resolver404, resolve, reverse

from .filters import url_filters
from .model import DEFAULT_RECALL

# The parameters of terms other than words; each can occur several times, with a weight.
TERMS = ("item", "embedding", "concept")
WEIGHT_PREFIX = re.compile(
    r"(?:(-?[0-9]{1,4}(?:\.[0-9]{1,6})?):)?(.*)", re.ASCII | re.DOTALL
)


class ItemReference(NamedTuple):
    dataset: str
    id: int


def url_defaults() -> dict[str, str]:
    """Return the parameters of the search page in their order, with their defaults."""
    return {
        **dict.fromkeys(("q", *TERMS), ""),
        "field": "image",
        "mode": "ann",
        **{spec.name: spec.url_default for spec in url_filters()},
        "sort": "similarity",
        "recall": f"{DEFAULT_RECALL:g}",
        "dataset": "",
        "cursor": "",
    }


def search_url(params: Mapping[str, object], **changes: object) -> str:
    """Return the URL of the search page for these parameters, without defaults.

    A list is a parameter that occurs several times.
    """
    query = search_query_string({**params, **changes})
    return reverse("search") + (f"?{query}" if query else "")


def search_query_string(params: Mapping[str, object]) -> str:
    """Return the query string of the search page for these parameters."""
    given = {
        name: value
        for name, default in url_defaults().items()
        if (value := params.get(name)) not in (None, "", [], (), default)
    }
    return urlencode(given, doseq=True)


def split_weight(value: str) -> tuple[float, str]:
    """Return the weight and the term of a value such as -0.5:7 or, for 1, just 7."""
    found = WEIGHT_PREFIX.fullmatch(value)
    assert found is not None  # without a weight, all of it is the term
    weight, term = found.groups()
    return float(weight or 1), term


def with_weight(weight: float, term: object) -> str:
    """Return the value that split_weight splits."""
    return f"{term}" if weight == 1 else f"{round(weight, 4):g}:{term}"


def parse_item_url(address: str, host: str) -> ItemReference | None:
    """Return the item whose page this is, or None for any other URL."""
    try:
        parts = urlsplit(address)
        found = resolve(parts.path) if parts.netloc == host else None
    except (ValueError, Resolver404):
        return None
    if not found or found.view_name != "item":
        return None
    return ItemReference(found.kwargs["slug"], found.kwargs["item_id"])
