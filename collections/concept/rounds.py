"""Refine a search by marks on its hits: each round is another, retuned search."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from django.db import transaction

from search.errors import InvalidQuery, NotFound, SearchError
from search.query import concepts
from search.query.describe import WITHOUT_HOST, describe_term, with_sign
from search.query.filters import MAX_EXCLUDED
from search.query.model import SearchQuery
from search.retrieval import service
from search.retrieval.feedback import check_marks, tune_by_items

from ..models import Refinement, Round
from ..models.ownership import AnyUser
from ..models.refinement import round_id
from ..saved_search.saved_query import SavedQuery
from .visitor import Visitor

NAMESPACE = uuid.UUID("5d0c6b2c-7a0f-4d0e-9a35-6b6e7d5c8a11")
MAX_LABEL_LENGTH = 120
MAX_SEEN_OF_VISITORS = 1_000  # ids that a round of somebody without an account keeps


@dataclass(frozen=True)
class Marks:
    """Ids of items; `shown` are those that the user saw, marked or not."""

    good: tuple[int, ...]
    bad: tuple[int, ...]
    shown: tuple[int, ...]
    strength: float


@dataclass(frozen=True)
class RefinedSearch:
    """The search whose hits are marked."""

    saved: SavedQuery
    query: SearchQuery  # its concepts are not resolved
    filters: str  # the words that are not terms, which stay in the search box


def read_refined_search(saved: SavedQuery, host: str, user: AnyUser) -> RefinedSearch:
    """Read a saved query. Raises SearchError if it cannot be searched."""
    if "," in saved.dataset:
        raise InvalidQuery("Refining works in one dataset: search in that alone.")
    form = saved.form
    form.check()
    words = form.read(saved.dataset, host, user)
    query = form.search_query(saved.dataset, words)
    filters = words.without(*(part for part in words.parts if part.term))
    return RefinedSearch(saved, query, filters)


def refine(
    before: RefinedSearch, marks: Marks, visitor: Visitor, limiter: service.Limiter
) -> Round:
    """Create a round, and the refinement if it is the first. Raises InvalidQuery."""
    check_marks(marks.good, marks.bad)
    if not visitor.owner:
        marks = _bounded(marks, before.query.dataset, visitor)
    embedded = service.embed(before.query, visitor.user, limiter)
    parent = own_round(before.query, visitor)
    vector = embedded.vector.astype("<f4").tobytes()
    start = parent.refinement.start if parent else vector
    tuned = tune_by_items(
        before.query,
        np.frombuffer(start, "<f4"),
        marks.good,
        marks.bad,
        marks.strength,
        visitor.user,
    )
    with transaction.atomic():
        refinement = (
            parent.refinement
            if parent
            else _get_or_create_refinement(before, start, visitor)
        )
        if refinement.owner is None and visitor.owner:  # signed in meanwhile
            refinement.owner = visitor.owner
            refinement.save(update_fields=["owner"])
        return Round.objects.create(
            refinement=refinement,
            parent=parent,
            number=parent.number + 1 if parent else 1,
            good=list(marks.good),
            bad=list(marks.bad),
            seen=_seen(embedded.excluded, marks, parent, visitor),
            strength=marks.strength,
            vector=tuned.vector.astype("<f4").tobytes(),
        )


def find_own_round(visitor: Visitor, round_id: uuid.UUID) -> Round:
    """Return a round of the visitor's. Raises NotFound."""
    mine = Refinement.objects.owned_by(visitor.user, visitor.session)
    rounds = Round.objects.filter(pk=round_id, refinement__in=mine)
    found = rounds.select_related("refinement").first()
    if found is None:
        raise NotFound("This round does not exist or is not yours.")
    return found


def own_round(query: SearchQuery, visitor: Visitor) -> Round | None:
    """Return the visitor's round that is the only term of a query, if there is one."""
    concept = query.terms[0].concept if len(query.terms) == 1 else None
    if concept is None or query.terms[0].weight <= 0:
        return None
    key, _ = round_id(uuid.UUID(concept))
    mine = Refinement.objects.owned_by(visitor.user, visitor.session)
    found = Round.objects.filter(pk=key, refinement__in=mine)
    return found.select_related("refinement").first()


def refinement_from(saved: SavedQuery, visitor: Visitor) -> Refinement | None:
    """Return the visitor's refinement that started from a query, if any."""
    mine = Refinement.objects.owned_by(visitor.user, visitor.session)
    return mine.filter(dataset=saved.dataset, address=saved.address).first()


def address_of(found: Round, before: RefinedSearch, with_seen: bool = False) -> str:
    """Return the address of a round's search, with the filters of the one before."""
    return before.saved.form.url(
        q=before.filters,
        item="",
        embedding="",
        concept=str(found.id_with_seen if with_seen else found.pk),
        dataset=before.saved.dataset,
        cursor="",
    )


def _get_or_create_refinement(
    before: RefinedSearch, start: bytes | memoryview, visitor: Visitor
) -> Refinement:
    """Return the only refinement of a visitor and search, also in a race."""
    saved = before.saved
    name = f"{visitor.key}\n{saved.dataset}\n{saved.address}"
    refinement, _ = Refinement.objects.get_or_create(
        pk=uuid.uuid5(NAMESPACE, name),
        defaults={
            "owner": visitor.owner,
            "session": "" if visitor.owner else visitor.session,
            "dataset": saved.dataset,
            "address": saved.address,
            "label": _refinement_label(before.query, visitor.user),
            "start": start,
        },
    )
    return refinement


def _bounded(marks: Marks, dataset: str, visitor: Visitor) -> Marks:
    """Return marks of a visitor without ids that the dataset does not have."""
    shown = marks.shown[-MAX_SEEN_OF_VISITORS:]
    known = service.hits_by_id(dataset, shown, visitor.user)
    return replace(marks, shown=tuple(item for item in shown if item in known))


def _seen(
    excluded: Sequence[int], marks: Marks, parent: Round | None, visitor: Visitor
) -> list[int]:
    """Return the ids that the next search leaves out: the latest, if too many."""
    most = MAX_EXCLUDED if visitor.owner else MAX_SEEN_OF_VISITORS
    # The filters may leave out nothing: a search can show again what was seen.
    earlier = [*(parent.seen if parent else ()), *excluded]
    seen = dict.fromkeys([*earlier, *marks.good, *marks.bad, *marks.shown])
    return list(seen)[-most:]


def _refinement_label(query: SearchQuery, user: AnyUser) -> str:
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
