"""Create concepts, give them new versions, and copy them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from django.db import transaction

from search.errors import InvalidQuery, NotFound
from search.models import Dataset

from .. import sharing
from ..forms import ConceptForm
from ..models import Concept, ConceptVersion, Round
from ..models.ownership import AnyUser
from ..sharing import lock_owned

MAX_VERSIONS = 1_000
PUBLIC_FIELDS = ("dataset", "rounds", "strength", "restored_from")  # of made_of


def datasets_of(concept: Concept, datasets: Sequence[Dataset]) -> list[Dataset]:
    """Return those of the datasets that have the concept's model."""
    made_by = concept.model, concept.weights
    return [each for each in datasets if (each.model, each.weights) == made_by]


def made_of(round_: Round) -> dict[str, Any]:
    """Return the provenance of a round's vector, for ConceptVersion.made_of."""
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


def without_private(provenance: dict[str, Any], user: AnyUser) -> dict[str, Any]:
    """Return what others may know of made_of: neither the search nor the marks.

    Nor the dataset, if the user may not see it.
    """
    known = {name: provenance[name] for name in PUBLIC_FIELDS if name in provenance}
    hidden = Dataset.objects.hidden_from(user)
    if "dataset" in known and hidden.filter(slug=known["dataset"]).exists():
        del known["dataset"]
    return known


def provenance_of(concept: Concept, user: AnyUser, *, is_mine: bool) -> dict[str, Any]:
    """Return the made_of of the current version, without private data of others."""
    latest = concept.versions.filter(number=concept.version).first()
    provenance = latest.made_of if latest else {}
    return provenance if is_mine else without_private(provenance, user)


def new(
    user: Any,
    form: ConceptForm,
    vector: np.ndarray,
    *,
    model: str,
    weights: str,
    made_of: dict[str, Any],
) -> Concept:
    """Save a unit vector under the name of a valid form.

    Raises InvalidQuery when the user has too many concepts.
    """
    concept: Concept = form.save(commit=False)
    concept.owner = user
    concept.model, concept.weights = model, weights
    concept.vector = vector.astype("<f4").tobytes()
    with transaction.atomic():
        sharing.check_room(user, Concept)
        concept.save()
        _add_version(concept, made_of)
    return concept


def of_round(user: Any, form: ConceptForm, round_: Round) -> Concept:
    """Save a round's vector as a new concept. Raises InvalidQuery, NotFound."""
    dataset = Dataset.for_slug(round_.refinement.dataset, user)
    return new(
        user,
        form,
        round_.embedding,
        model=dataset.model,
        weights=dataset.weights,
        made_of=made_of(round_),
    )


@transaction.atomic
def next_version(user: AnyUser, concept_id: UUID, round_: Round) -> Concept:
    """Make a round's vector the newest version. Raises InvalidQuery, NotFound."""
    concept = lock_owned(Concept, user, concept_id)
    dataset = Dataset.for_slug(round_.refinement.dataset, user)
    if (concept.model, concept.weights) != (dataset.model, dataset.weights):
        raise InvalidQuery(
            f"“{concept.name}” is of the model {concept.model}; this search was made "
            f"with {dataset.model}."
        )
    return _advance(concept, bytes(round_.vector), made_of(round_))


@transaction.atomic
def next_vector(
    user: AnyUser, concept_id: UUID, vector: np.ndarray, provenance: dict[str, Any]
) -> Concept:
    """Make a unit vector of the concept's model the newest version.

    Raises InvalidQuery, NotFound.
    """
    concept = lock_owned(Concept, user, concept_id)
    return _advance(concept, vector.astype("<f4").tobytes(), provenance)


@transaction.atomic
def restore(user: AnyUser, concept_id: UUID, number: int) -> Concept:
    """Make the vector of an older version the newest version, too.

    Raises InvalidQuery, NotFound.
    """
    concept = lock_owned(Concept, user, concept_id)
    older = concept.versions.filter(number=number).first()
    if older is None:
        raise NotFound(f"“{concept.name}” has no version {number}.")
    provenance = {**older.made_of, "restored_from": number}
    return _advance(concept, bytes(older.vector), provenance)


def copy(user: Any, concept: Concept) -> Concept:
    """Save the current version as a new concept of the user's.

    What is private of its provenance is copied for its owner only. Raises InvalidQuery.
    """
    form = ConceptForm({"name": concept.name, "description": concept.description})
    form.is_valid()
    return new(
        user,
        form,
        concept.embedding,
        model=concept.model,
        weights=concept.weights,
        made_of=provenance_of(concept, user, is_mine=concept.owner_id == user.pk),
    )


def _advance(concept: Concept, vector: bytes, provenance: dict[str, Any]) -> Concept:
    if concept.version >= MAX_VERSIONS:
        raise InvalidQuery(
            f"A concept has up to {MAX_VERSIONS:,} versions. Copy it to continue."
        )
    concept.vector = vector
    concept.version += 1
    concept.save(update_fields=["vector", "version", "changed_at"])
    _add_version(concept, provenance)
    return concept


def _add_version(concept: Concept, provenance: dict[str, Any]) -> None:
    ConceptVersion.objects.create(
        concept=concept,
        number=concept.version,
        vector=concept.vector,
        made_of=provenance,
    )
