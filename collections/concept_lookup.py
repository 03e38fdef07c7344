"""How a search finds a user's concepts, the rounds of a refinement, and collections."""

from typing import Any

from search.errors import InvalidQuery, NotFound
from search.models import Dataset
from search.query.concepts import ResolvedConcept

from .collection.similarity import as_concept
from .models import Collection, Concept, Round
from .models.refinement import round_id
from .sharing import parse_uuid

NONE = "There is no such concept among yours."


def find(concept_id: str, user: Any, slug: str) -> ResolvedConcept:
    """The concept, round or collection, for a search in this dataset.

    A round is found by whoever has its id, which is random: a link can be copied.
    Raises NotFound for a concept that the user may not see, InvalidQuery for one that
    another model made.
    """
    dataset = Dataset.for_slug(slug)
    key = parse_uuid(concept_id, NotFound(NONE))
    concept = Concept.objects.visible_to(user).filter(pk=key).first()
    if concept is not None:
        _check_model(concept.name, (concept.model, concept.weights), dataset)
        page = concept.get_absolute_url()
        return ResolvedConcept(tuple(concept.embedding.tolist()), concept.name, page)
    collection = Collection.objects.visible_to(user).filter(pk=key).first()
    if collection is not None:
        return as_concept(collection, slug)
    key, with_seen = round_id(key)
    found = Round.objects.select_related("refinement").filter(pk=key).first()
    if found is None:
        raise NotFound(NONE)
    return _found_round(found, with_seen, dataset)


def _found_round(found: Round, with_seen: bool, dataset: Dataset) -> ResolvedConcept:
    made_in = found.refinement.dataset
    exclude = ()
    if made_in == dataset.slug:
        exclude = () if with_seen else tuple(found.seen)
    else:
        other = Dataset.for_slug(made_in)
        _check_model(found.label, (other.model, other.weights), dataset)
    return ResolvedConcept(
        tuple(found.embedding.tolist()), found.label, exclude=exclude
    )


def _check_model(name: str, made_by: tuple[str, str], dataset: Dataset) -> None:
    if made_by != (dataset.model, dataset.weights):
        raise InvalidQuery(
            f"The concept “{name}” is of the model {made_by[0]}; this dataset was made "
            f"with {dataset.model}."
        )
