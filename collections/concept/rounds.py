"""From marks on the hits of a search to a round: another search, retuned by them."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import transaction

from search.errors import NotFound, SearchError
from search.query import concepts
from search.query.describe import WITHOUT_HOST, describe_term, with_sign
from search.query.filters import MAX_EXCLUDED
from search.query.model import SearchQuery
from search.retrieval import service
from search.retrieval.feedback import check_marks, tune_by_items

from ..models import Refinement, Round
from ..models.refinement import round_id
from ..saved_search.search_address import SavedQuery
from .visitor import Visitor

NAMESPACE = uuid.UUID("5d0c6b2c-7a0f-4d0e-9a35-6b6e7d5c8a11")
MAX_LABEL_LENGTH = 120


@dataclass(frozen=True)
class Marks:
    """Ids of items. `shown` are those that were looked at, marked or not."""

    good: tuple[int, ...]
    bad: tuple[int, ...]
    shown: tuple[int, ...]
    strength: float


@dataclass(frozen=True)
class RefinedSearch:
    """The search on whose hits the marks are, its concepts not resolved.

    `filters` are the words of its box that are no terms.
    """

    asking: SavedQuery
    query: SearchQuery
    filters: str


def read_refined_search(asking: SavedQuery, host: str) -> RefinedSearch:
    """Raises SearchError for an address that cannot be searched."""
    form = asking.form
    form.check()
    words = form.read(asking.dataset, host)
    query = form.search_query(asking.dataset, words)
    filters = words.without(*(part for part in words.parts if part.term))
    return RefinedSearch(asking, query, filters)


def refine(
    before: RefinedSearch, marks: Marks, visitor: Visitor, limiter: service.Limiter
) -> Round:
    """Make a round, and its refinement if it is the first. Raises SearchError."""
    check_marks(marks.good, marks.bad)
    embedded = service.embed(before.query, visitor.user, limiter)
    parent = own_round(before.query, visitor)
    start = (
        parent.refinement.start if parent else embedded.vector.astype("<f4").tobytes()
    )
    tuned = tune_by_items(
        before.query,
        np.frombuffer(start, "<f4"),
        marks.good,
        marks.bad,
        marks.strength,
    )
    with transaction.atomic():
        refinement = (
            parent.refinement
            if parent
            else _get_or_create_refinement(before, start, visitor)
        )
        if refinement.owner is None and visitor.owner:  # who has signed in meanwhile
            refinement.owner = visitor.owner
            refinement.save(update_fields=["owner"])
        return Round.objects.create(
            refinement=refinement,
            parent=parent,
            number=parent.number + 1 if parent else 1,
            good=list(marks.good),
            bad=list(marks.bad),
            seen=_seen(embedded.excluded, marks, parent),
            strength=marks.strength,
            vector=tuned.vector.astype("<f4").tobytes(),
        )


def find_own_round(visitor: Visitor, round_id: uuid.UUID) -> Round:
    """The visitor's round of this id. Raises NotFound."""
    mine = Refinement.objects.owned_by(visitor.user, visitor.session)
    found = Round.objects.filter(pk=round_id, refinement__in=mine)
    one = found.select_related("refinement").first()
    if one is None:
        raise NotFound("There is no such round among yours.")
    return one


def own_round(query: SearchQuery, visitor: Visitor) -> Round | None:
    """The visitor's round that a search consists of, if it is nothing but that."""
    concept = query.terms[0].concept if len(query.terms) == 1 else None
    if concept is None or query.terms[0].weight <= 0:
        return None
    key, _ = round_id(uuid.UUID(concept))
    mine = Refinement.objects.owned_by(visitor.user, visitor.session)
    found = Round.objects.filter(pk=key, refinement__in=mine)
    return found.select_related("refinement").first()


def refinement_from(asking: SavedQuery, visitor: Visitor) -> Refinement | None:
    """The visitor's refinement that starts from a search."""
    mine = Refinement.objects.owned_by(visitor.user, visitor.session)
    return mine.filter(dataset=asking.dataset, address=asking.address).first()


def address_of(found: Round, before: RefinedSearch, with_seen: bool = False) -> str:
    """That of the search for a round, with the filters of the search before it."""
    return before.asking.form.address(
        q=before.filters,
        item="",
        embedding="",
        concept=str(found.id_with_seen if with_seen else found.pk),
        dataset=before.asking.dataset,
        cursor="",
    )


def _get_or_create_refinement(
    before: RefinedSearch, start: bytes | memoryview, visitor: Visitor
) -> Refinement:
    """One for each visitor and search, also when two rounds are made at once."""
    asking = before.asking
    named = f"{visitor.name}\n{asking.dataset}\n{asking.address}"
    refinement, _ = Refinement.objects.get_or_create(
        pk=uuid.uuid5(NAMESPACE, named),
        defaults={
            "owner": visitor.owner,
            "session": "" if visitor.owner else visitor.session,
            "dataset": asking.dataset,
            "address": asking.address,
            "label": _refinement_label(before.query, visitor.user),
            "start": start,
        },
    )
    return refinement


def _seen(excluded: Sequence[int], marks: Marks, parent: Round | None) -> list[int]:
    """What the next search leaves out; of too much, the latest."""
    # A search that shows again what was seen leaves out nothing of it itself.
    earlier = [*(parent.seen if parent else ()), *excluded]
    seen = dict.fromkeys([*earlier, *marks.good, *marks.bad, *marks.shown])
    return list(seen)[-MAX_EXCLUDED:]


def _refinement_label(query: SearchQuery, user: Any) -> str:
    def name_of(concept: str) -> str:
        try:
            return concepts.find(concept, user, query.dataset).label
        except SearchError:
            return "a concept"

    label = ", ".join(
        with_sign(describe_term(term, name_of, WITHOUT_HOST), term.weight)
        for term in query.terms
    )
    is_long = len(label) > MAX_LABEL_LENGTH
    return f"{label[: MAX_LABEL_LENGTH - 1].rstrip()}…" if is_long else label
