"""Resolve the concepts of a query: concepts, rounds of refinements, and collections."""

from uuid import UUID

from search.errors import InvalidQuery, NotFound
from search.models import Dataset
from search.query.concepts import ResolvedConcept

from .collection.similarity import as_concept
from .models import Collection, Concept, Round
from .models.ownership import AnyUser
from .models.refinement import round_id
from .sharing import parse_uuid

NONE = "This concept does not exist or you cannot view it."


def find(concept_id: str, user: AnyUser, slug: str) -> ResolvedConcept:
    """Return the embedding of a concept, round or collection for a dataset.

    Everyone can use a round whose id they know: ids are random, so links can be shared.
    Raises NotFound for concepts that the user may not see, InvalidQuery for those of
    another model.
    """
    dataset = Dataset.for_slug(slug, user)
    key = parse_uuid(concept_id, NotFound(NONE))
    concept = Concept.objects.visible_to(user).filter(pk=key).first()
    if concept is not None:
        _check_model(concept.name, (concept.model, concept.weights), dataset)
        page = concept.get_absolute_url()
        return ResolvedConcept(tuple(concept.embedding.tolist()), concept.name, page)
    collection = Collection.objects.visible_to(user).filter(pk=key).first()
    if collection is not None:
        return as_concept(collection, slug, user)
    return _resolve_round(key, dataset, user)


def _resolve_round(
    concept_id: UUID, dataset: Dataset, user: AnyUser
) -> ResolvedConcept:
    key, with_seen = round_id(concept_id)
    found = Round.objects.select_related("refinement").filter(pk=key).first()
    if found is None:
        raise NotFound(NONE)
    origin = found.refinement.dataset
    exclude = ()
    if origin == dataset.slug:
        exclude = () if with_seen else tuple(found.seen)
    else:
        other = Dataset.for_slug(origin, user)
        _check_model(found.label, (other.model, other.weights), dataset)
    return ResolvedConcept(
        tuple(found.embedding.tolist()), found.label, exclude=exclude
    )


def _check_model(name: str, model: tuple[str, str], dataset: Dataset) -> None:
    if model != (dataset.model, dataset.weights):
        raise InvalidQuery(
            f"The concept “{name}” is of the model {model[0]}; this dataset was made "
            f"with {dataset.model}."
        )
