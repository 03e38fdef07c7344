"""Why an item was found: what each term of a search adds to the similarity."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from search.query import concepts
from search.query.model import SearchQuery, Term

from .dataset_index import DatasetIndex
from .items import check_item_id

MAX_BAR_LENGTH = 100  # of the largest share; the others in proportion


@dataclass(frozen=True)
class Contribution:
    """What a term adds; below zero where it speaks against the item."""

    label: str
    value: float
    length: int  # of a bar, 0 to MAX_BAR_LENGTH

    @property
    def told(self) -> str:
        return f"{self.value:+.2f}".replace("-", "−")

    @property
    def start(self) -> int:
        """Where the bar begins on a scale from −MAX_BAR_LENGTH on."""
        return MAX_BAR_LENGTH - (self.length if self.value < 0 else 0)


@dataclass(frozen=True)
class Explanation:
    """Of one field: the shares, in the order of the terms, add up to the similarity.

    That is the cosine of the query and the item's `field`, "image" or "text".
    """

    field: str
    shares: tuple[Contribution, ...]
    similarity: float

    @property
    def scale(self) -> str:
        """What of the bars' scale is shown, as a viewBox: its left half if needed."""
        if any(share.value < 0 for share in self.shares):
            return f"0 0 {2 * MAX_BAR_LENGTH} 8"
        return f"{MAX_BAR_LENGTH} 0 {MAX_BAR_LENGTH} 8"


def explain(query: SearchQuery, user: Any, item_id: int) -> tuple[Explanation, ...]:
    """One for each field that is searched, the one that counts first.

    Raises what the search itself would raise, and NotFound without such an item.
    """
    terms = DatasetIndex.for_slug(query.dataset).terms
    labels = [_label(term, user, query.dataset) for term in query.terms]
    parts = terms.parts_of(concepts.resolve(query, user))
    found = (
        _of_field(
            field, vectors, terms.item_vector(check_item_id(item_id), field), labels
        )
        for field, vectors in parts.items()
    )
    return tuple(sorted(found, key=lambda each: -each.similarity))


def _of_field(
    field: str, parts: np.ndarray, item: np.ndarray, labels: list[str]
) -> Explanation:
    """`parts` are the weighted vectors of the terms, (terms, dimension)."""
    values = parts @ item.astype(np.float64) / np.linalg.norm(parts.sum(axis=0))
    return Explanation(
        field, tuple(_contributions(labels, values)), float(values.sum())
    )


def _contributions(labels: list[str], values: np.ndarray) -> Iterator[Contribution]:
    largest = float(np.abs(values).max()) or 1.0
    for label, value in zip(labels, values.tolist(), strict=True):
        yield Contribution(label, value, round(MAX_BAR_LENGTH * abs(value) / largest))


def _label(term: Term, user: Any, dataset: str) -> str:
    sign = _sign(term.weight)
    if term.text is not None:
        return f"{sign}{term.text}"
    if term.item is not None:
        return f"{sign}like item {term.item}"
    if term.image_url is not None:
        return f"{sign}a picture from {urlsplit(term.image_url).netloc}"
    if term.concept is not None:
        return f"{sign}{concepts.find(term.concept, user, dataset).label}"
    return f"{sign}a picture"


def _sign(weight: float) -> str:
    if weight == 1:
        return ""
    return "− " if weight == -1 else f"{weight:g} × ".replace("-", "−")
