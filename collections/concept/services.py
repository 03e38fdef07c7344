"""Concepts as they are kept: named, in versions, reached by those who may see them."""

from typing import Any
from uuid import UUID

import numpy as np
from django.db import transaction

from search.errors import InvalidQuery, NotFound
from search.models import Dataset

from .. import sharing
from ..forms import ConceptForm
from ..models import Concept, ConceptVersion, Round
from ..sharing import lock_owned

MAX_VERSIONS = 1_000
TOLD_TO_ALL = ("dataset", "rounds", "strength", "restored_from")


def made_of(round_: Round) -> dict[str, Any]:
    """Where the vector of a round comes from, as a concept keeps it."""
    refinement = round_.refinement
    return {
        "dataset": refinement.dataset,
        "search": refinement.address,
        "words": refinement.label,
        "rounds": round_.number,
        "good": round_.good,
        "bad": round_.bad,
        "strength": round_.strength,
    }


def openly(how: dict[str, Any]) -> dict[str, Any]:
    """What others may know of made_of: neither the search nor the marks."""
    return {name: how[name] for name in TOLD_TO_ALL if name in how}


def new(user: Any, form: ConceptForm, vector: np.ndarray, **more: Any) -> Concept:
    """Keeps a unit vector under the name in a form that is valid.

    `more` are model, weights and made_of. Raises InvalidQuery when the user has too
    many concepts.
    """
    concept: Concept = form.save(commit=False)
    concept.owner = user
    concept.model, concept.weights = more["model"], more["weights"]
    concept.vector = vector.astype("<f4").tobytes()
    with transaction.atomic():
        sharing.check_room(user, Concept)
        concept.save()
        _note_version(concept, more["made_of"])
    return concept


def of_round(user: Any, form: ConceptForm, round_: Round) -> Concept:
    dataset = Dataset.for_slug(round_.refinement.dataset)
    by = {"model": dataset.model, "weights": dataset.weights}
    return new(user, form, round_.embedding, made_of=made_of(round_), **by)


@transaction.atomic
def next_version(user: Any, concept_id: UUID, round_: Round) -> Concept:
    """The round becomes the concept's newest version. Raises SearchError."""
    concept = lock_owned(Concept, user, concept_id)
    dataset = Dataset.for_slug(round_.refinement.dataset)
    if (concept.model, concept.weights) != (dataset.model, dataset.weights):
        raise InvalidQuery(
            f"“{concept.name}” is of the model {concept.model}; this search was made "
            f"with {dataset.model}."
        )
    return _advance(concept, bytes(round_.vector), made_of(round_))


@transaction.atomic
def next_vector(
    user: Any, concept_id: UUID, vector: np.ndarray, how: dict[str, Any]
) -> Concept:
    """A unit vector of the concept's model becomes its newest version.

    `how` is its made_of. Raises SearchError.
    """
    return _advance(
        lock_owned(Concept, user, concept_id), vector.astype("<f4").tobytes(), how
    )


@transaction.atomic
def restore(user: Any, concept_id: UUID, number: int) -> Concept:
    """An older version becomes the newest, too; none is lost. Raises SearchError."""
    concept = lock_owned(Concept, user, concept_id)
    older = concept.versions.filter(number=number).first()
    if older is None:
        raise NotFound(f"“{concept.name}” has no version {number}.")
    back = {**older.made_of, "restored_from": number}
    return _advance(concept, bytes(older.vector), back)


def copy(user: Any, concept: Concept) -> Concept:
    """A concept of the user's own, with the current version alone.

    How it came about is copied from the user's own alone, as far as it is private.
    """
    form = ConceptForm({"name": concept.name, "description": concept.description})
    form.is_valid()
    return new(
        user,
        form,
        concept.embedding,
        model=concept.model,
        weights=concept.weights,
        made_of=how_made(concept, is_mine=concept.owner_id == user.pk),
    )


def how_made(concept: Concept, *, is_mine: bool) -> dict[str, Any]:
    """Where its current vector comes from, as far as who asks may know."""
    latest = concept.versions.filter(number=concept.version).first()
    how = latest.made_of if latest else {}
    return how if is_mine else openly(how)


def _advance(concept: Concept, vector: bytes, how: dict[str, Any]) -> Concept:
    if concept.version >= MAX_VERSIONS:
        raise InvalidQuery(
            f"A concept has up to {MAX_VERSIONS:,} versions. Copy it to go on."
        )
    concept.vector = vector
    concept.version += 1
    concept.save(update_fields=["vector", "version", "changed_at"])
    _note_version(concept, how)
    return concept


def _note_version(concept: Concept, how: dict[str, Any]) -> None:
    ConceptVersion.objects.create(
        concept=concept, number=concept.version, vector=concept.vector, made_of=how
    )
