"""Look up the concepts that a search names.

Concepts, and the rounds of a refinement, belong to users: the app that keeps them
registers here how they are found.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from search.errors import NotFound

from .model import split_slugs


@dataclass(frozen=True)
class ResolvedConcept:
    """A concept's unit vector, its name, and the URL of its page, if it has one.

    `exclude` are ids of items to leave out: those that the rounds of a refinement have
    shown already.
    """

    embedding: tuple[float, ...]
    label: str
    address: str = ""
    exclude: tuple[int, ...] = ()


# Takes the concept's id, the user and the dataset's slug. Raises NotFound for what the
# user may not see, InvalidQuery for a concept of another model.
Lookup = Callable[[str, Any, str], ResolvedConcept]

_lookup: Lookup | None = None


def set_lookup(lookup: Lookup) -> None:
    """Set how concepts are found; called once, when their app is ready."""
    global _lookup
    _lookup = lookup


def find(concept: str, user: Any, dataset: str) -> ResolvedConcept:
    """Return a concept; raise NotFound, or InvalidQuery for one of another model.

    Of several datasets of one model, the first that it is found for counts, and it
    leaves out no items.
    """
    if _lookup is None:
        raise NotFound("There are no concepts here.")
    *others, last = split_slugs(dataset)
    for slug in others:
        with suppress(NotFound):
            return replace(_lookup(concept, user, slug), exclude=())
    found = _lookup(concept, user, last)
    return replace(found, exclude=()) if others else found
