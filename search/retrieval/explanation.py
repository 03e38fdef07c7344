"""Explain a hit: what each term of a query adds to its similarity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.query import concepts
from search.query.describe import describe_term, with_factor
from search.query.model import SearchQuery

from .query_encoder import QueryEncoder

MAX_BAR_LENGTH = 100  # of the largest contribution; the others in proportion


@dataclass(frozen=True)
class Contribution:
    """The part of a similarity due to a term; negative if it lowers it."""

    label: str
    value: float
    length: int  # of a bar, 0 to MAX_BAR_LENGTH

    @property
    def signed_value(self) -> str:
        return f"{self.value:+.2f}".replace("-", "−")

    @property
    def start(self) -> int:
        """The start of the bar, on a scale that begins at −MAX_BAR_LENGTH."""
        return MAX_BAR_LENGTH - (self.length if self.value < 0 else 0)


@dataclass(frozen=True)
class Explanation:
    """The contributions of a query's terms in one field, in the order of the terms.

    They add up to the similarity: the cosine of the query and the item's `field`.
    """

    field: str
    shares: tuple[Contribution, ...]
    similarity: float

    @property
    def scale(self) -> str:
        """The SVG viewBox of the bars: without the left half if nothing is negative."""
        if any(share.value < 0 for share in self.shares):
            return f"0 0 {2 * MAX_BAR_LENGTH} 8"
        return f"{MAX_BAR_LENGTH} 0 {MAX_BAR_LENGTH} 8"


def explain(
    encoder: QueryEncoder, query: SearchQuery, labels: Sequence[str], item_id: int
) -> tuple[Explanation, ...]:
    """Explain an item by the terms of a query without concepts, one label a term.

    One for each field that is searched, that of the highest similarity first. Raises
    NotFound without such an item.
    """
    found = (
        _of_field(field, vectors, encoder.item_vector(item_id, field), labels)
        for field, vectors in encoder.encode(query).parts.items()
    )
    return tuple(sorted(found, key=lambda each: -each.similarity))


def labels(query: SearchQuery, user: Any) -> list[str]:
    """Return the terms of a query in words, one by one, with their weights."""

    def name_of(concept: str) -> str:
        return concepts.find(concept, user, query.dataset).label

    return [
        with_factor(describe_term(term, name_of), term.weight) for term in query.terms
    ]


def _of_field(
    field: str, parts: np.ndarray, item: np.ndarray, labels: Sequence[str]
) -> Explanation:
    """Explain one field; `parts` are the weighted term vectors, (terms, dimension)."""
    values = parts @ item.astype(np.float64) / np.linalg.norm(parts.sum(axis=0))
    return Explanation(
        field, tuple(_contributions(labels, values)), float(values.sum())
    )


def _contributions(labels: Sequence[str], values: np.ndarray) -> Iterator[Contribution]:
    largest = float(np.abs(values).max()) or 1.0
    for label, value in zip(labels, values.tolist(), strict=True):
        yield Contribution(label, value, round(MAX_BAR_LENGTH * abs(value) / largest))
