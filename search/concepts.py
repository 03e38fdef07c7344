"""Concepts as terms of a search.

Concepts belong to users and are kept in a room above this one, which says here how they
are found.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .errors import NotFound
from .query import SearchQuery, Term

# (id of the concept, user, slug of the dataset) → the concept's embedding. Raises
# NotFound for what the user may not see, InvalidQuery for one of another model.
Lookup = Callable[[str, Any, str], tuple[float, ...]]

_lookup: Lookup | None = None


def found_by(lookup: Lookup) -> None:
    """Says how concepts are found; called once, when the app of their room is ready."""
    global _lookup
    _lookup = lookup


def resolved(query: SearchQuery, user: Any) -> SearchQuery:
    """The query with each concept, as this user sees it, turned into its embedding."""
    terms = tuple(_resolved(term, user, query.dataset) for term in query.terms)
    return replace(query, terms=terms)


def _resolved(term: Term, user: Any, dataset: str) -> Term:
    if term.concept is None:
        return term
    if _lookup is None:
        raise NotFound("There are no concepts here.")
    embedding = _lookup(term.concept, user, dataset)
    return Term(embedding=embedding, weight=term.weight)
