"""Concepts as terms of a search.

Concepts, and the rounds of a refinement, belong to users and are kept in a room above
this one, which says here how they are found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from search.errors import NotFound


@dataclass(frozen=True)
class ResolvedConcept:
    """A concept as a search takes it: its unit vector, its name, its page if any.

    `exclude` are ids of items that are not to come back: those that the rounds of a
    refinement have shown already.
    """

    embedding: tuple[float, ...]
    label: str
    address: str = ""
    exclude: tuple[int, ...] = ()


# (id of the concept, user, slug of the dataset) → what was found. Raises NotFound for
# what the user may not see, InvalidQuery for one of another model.
Lookup = Callable[[str, Any, str], ResolvedConcept]

_lookup: Lookup | None = None


def set_lookup(lookup: Lookup) -> None:
    """Says how concepts are found; called once, when the app of their room is ready."""
    global _lookup
    _lookup = lookup


def find(concept: str, user: Any, dataset: str) -> ResolvedConcept:
    """Raises NotFound, or InvalidQuery for a concept of another model."""
    if _lookup is None:
        raise NotFound("There are no concepts here.")
    return _lookup(concept, user, dataset)
