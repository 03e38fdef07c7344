"""How similar the nearest pictures are to a concept, for choosing where to cut."""

import math
from dataclasses import dataclass

import numpy as np

from search.models import Dataset
from search.query.model import Filters, SearchQuery, Term
from search.retrieval import service
from search.retrieval.service import MOST_RESULTS
from search.web.histogram import Spread, spread

from ..models import Concept

RANKS = (10, 100, 1_000, 10_000)
DECIMALS = 4


@dataclass(frozen=True)
class Rank:
    """The nearest `count` are at least so similar."""

    count: int
    similarity: float


@dataclass(frozen=True)
class Preview:
    """Of the nearest `known`; `is_all` says that there are no others."""

    ranks: tuple[Rank, ...]
    most: float | None  # how similar the nearest is
    spread: Spread | None
    known: int
    is_all: bool


def preview(
    concept: Concept, dataset: Dataset, field: str, at_least: float | None
) -> Preview:
    """By the index, as a search: of more than these, only the export itself knows.

    Raises InvalidQuery, NotFound, SearchUnavailable.
    """
    term = Term(embedding=tuple(concept.embedding.tolist()))
    alone = Filters(dedupe=False)
    query = SearchQuery(dataset.slug, (term,), field=field, filters=alone)
    found = service.ranked(query, MOST_RESULTS).similarities
    return Preview(
        ranks=tuple(
            Rank(count, _reached_by(found[count - 1]))
            for count in RANKS
            if count <= len(found)
        ),
        most=_reached_by(found[0]) if len(found) else None,
        spread=spread(found.tolist(), at_least),
        known=len(found),
        is_all=len(found) < MOST_RESULTS,
    )


def _reached_by(similarity: np.float32) -> float:
    """Rounded down, so that the picture itself is among those that reach it."""
    return math.floor(float(similarity) * 10**DECIMALS) / 10**DECIMALS
