"""Terms and filters as an export keeps them, in JSON's own types, and back again."""

import hashlib
from dataclasses import asdict, replace
from typing import Any

from search.query import concepts
from search.query.model import (
    Filters,
    SearchQuery,
    Term,
    decode_embedding,
    encode_embedding,
)
from search.retrieval import service

from ..models import Concept

Told = dict[str, Any]


def told_filters(filters: Filters) -> Told:
    return {**asdict(filters), "exclude": list(filters.exclude)}


def filters_in(told: Told) -> Filters:
    return Filters(**{**told, "exclude": tuple(told["exclude"])})


def told_term(term: Term, slug: str, user: Any) -> tuple[Told, str, tuple[int, ...]]:
    """A term as it is kept, in a word or two, and the ids that it wants left out.

    Pictures are fetched and encoded. Raises NotFound, InvalidQuery, CannotFetch,
    SearchUnavailable.
    """
    told, label, beside = _told(term, slug, user)
    return {**told, "weight": term.weight}, _signed(label, term.weight), beside


def term_in(told: Told) -> Term:
    weight = told["weight"]
    if "text" in told:
        return Term(text=told["text"], weight=weight)
    if "item" in told:
        return Term(item=told["item"], weight=weight)
    return Term(embedding=decode_embedding(told["embedding"]), weight=weight)


def _told(term: Term, slug: str, user: Any) -> tuple[Told, str, tuple[int, ...]]:
    if term.text is not None:
        return {"text": term.text}, term.text, ()
    if term.concept is not None:
        return _told_concept(term.concept, slug, user)
    # What is not there, or is of another length, is refused now and not in a run later.
    vector = service.embed(SearchQuery(slug, (replace(term, weight=1.0),)))
    if term.item is not None:
        return {"item": term.item}, f"item:{term.item}", ()
    if term.embedding is not None:
        return {"embedding": encode_embedding(term.embedding)}, "embedding", ()
    origin = (
        {"image_url": term.image_url}
        if term.image is None
        else {"image": {"sha256": hashlib.sha256(term.image).hexdigest()}}
    )
    return {"embedding": encode_embedding(vector), **origin}, "picture", ()


def _told_concept(
    concept_id: str, slug: str, user: Any
) -> tuple[Told, str, tuple[int, ...]]:
    """A concept, a collection, or a round of a refinement."""
    found = concepts.find(concept_id, user, slug)
    told: Told = {"id": concept_id, "name": found.label}
    versions = Concept.objects.visible_to(user).filter(pk=concept_id)
    version = versions.values_list("version", flat=True).first()
    if version is not None:
        told["version"] = version
    embedding = encode_embedding(found.embedding)
    return {"embedding": embedding, "concept": told}, found.label, found.exclude


def _signed(label: str, weight: float) -> str:
    """As the language of the box has it."""
    if weight in (1, -1):
        return label if weight == 1 else f"-({label})"
    return f"{weight:g}:({label})"
