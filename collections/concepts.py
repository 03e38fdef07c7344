"""How a search finds a user's concepts and the rounds of a refinement."""

from typing import Any
from uuid import UUID

from search.concepts import Found
from search.errors import InvalidQuery, NotFound
from search.service import dataset_named

from .models import Concept


def find(concept_id: str, user: Any, slug: str) -> Found:
    """The concept, for a search in this dataset.

    Raises NotFound for a concept that the user may not see, InvalidQuery for one that
    another model made.
    """
    dataset = dataset_named(slug)
    try:
        concept = Concept.objects.visible_to(user).get(pk=UUID(concept_id))
    except (ValueError, Concept.DoesNotExist) as error:
        raise NotFound("There is no such concept among yours.") from error
    if (concept.model, concept.weights) != (dataset.model, dataset.weights):
        raise InvalidQuery(
            f"The concept “{concept.name}” is of the model {concept.model}; this "
            f"dataset was made with {dataset.model}."
        )
    return Found(tuple(concept.embedding.tolist()), concept.name)
