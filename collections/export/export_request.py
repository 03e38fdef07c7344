"""The request of an export: validated, immutable, and stored as JSON.

It is complete: a run days later needs nothing else, and no encoder except for words.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self
from uuid import UUID

from search.errors import InvalidQuery, NotFound
from search.models import Dataset
from search.query import concepts
from search.query.describe import QUERY_LANGUAGE, describe_term, in_query_language
from search.query.filters import MAX_EXCLUDED, Filters
from search.query.model import (
    FIELDS,
    MAX_RESULTS,
    SearchQuery,
    Term,
    encode_embedding,
    split_slugs,
)
from search.retrieval import service

from ..concept_lookup import NONE
from ..models import Collection, Concept
from ..sharing import find_readable
from .formats import FORMATS

# The keys of a stored term that make a Term; the others record its origin.
TERM_KEYS = ("text", "item", "embedding", "weight")

KINDS = ("collection", "search", "concept", "dataset")
MAX_NAME_LENGTH = 120  # characters
ALL = Filters()


@dataclass(frozen=True)
class ExportRequest:
    """The content and the format of an export. Raises InvalidQuery.

    `what` has JSON types only. Of a collection: `collection`, `name`; of a
    search: `dataset`, `terms`, `field`, `mode`, `sort`, `filters`, `limit`; of a
    concept: `dataset`, `concept`, `embedding`, `field`, `at_least`, `filters`; of a
    dataset: `dataset`, `filters`.
    """

    kind: str
    form: str
    with_embeddings: bool = False
    what: dict[str, Any] = field(default_factory=dict)
    name: str = ""  # of the export, at most MAX_NAME_LENGTH characters

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidQuery(
                f"The kind of an export must be one of {', '.join(KINDS)}."
            )
        if self.form not in FORMATS:
            raise InvalidQuery(
                f"The form of an export must be one of {', '.join(FORMATS)}."
            )
        if self.with_embeddings and self.form != "parquet":
            raise InvalidQuery("Embeddings can only be exported as Parquet.")
        if not all(map(_is_storable, _texts([self.what, self.name]))):
            raise InvalidQuery("The words contain characters that cannot be stored.")
        object.__setattr__(self, "name", _shortened(self.name))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Return the request of to_dict; raise InvalidQuery for anything else."""
        try:
            return cls(**values)
        except TypeError as error:
            raise InvalidQuery("This is not an export.") from error

    @property
    def filters(self) -> Filters:
        return Filters.from_dict(self.what["filters"])

    @property
    def search_query(self) -> SearchQuery:
        """The search, with nothing left to look up for a user."""
        terms = [
            {key: term[key] for key in TERM_KEYS if key in term}
            for term in self.what["terms"]
        ]
        stored = {**self.what, "terms": terms}
        del stored["limit"]  # of all pages together
        return SearchQuery.from_dict(stored)


def of_collection(
    user: Any, collection_id: UUID, form: str, with_embeddings: bool = False
) -> ExportRequest:
    """Export a collection that the user may see, with the notes if it is theirs.

    Raise NotFound; InvalidQuery for vectors of several lengths.
    """
    collection = find_readable(Collection, user, collection_id).object
    if with_embeddings:
        slugs = collection.items.values_list("dataset", flat=True).distinct()
        known = Dataset.objects.visible_to(user).filter(slug__in=list(slugs.order_by()))
        if known.values("dimension").distinct().order_by().count() > 1:
            raise InvalidQuery(
                "These images come from datasets with embeddings of different "
                "dimensions. Export them without embeddings."
            )
    what = {"collection": str(collection.pk), "name": collection.name}
    return ExportRequest("collection", form, with_embeddings, what, collection.name)


def of_search(
    query: SearchQuery,
    user: Any,
    limiter: service.Limiter,
    form: str,
    with_embeddings: bool = False,
    limit: int = MAX_RESULTS,
) -> ExportRequest:
    """Export the first `limit` results of a search whose concepts are not resolved.

    Images are fetched and encoded now. Raise InvalidQuery, NotFound, CannotFetch,
    SearchUnavailable.
    """
    if not 1 <= limit <= MAX_RESULTS:
        raise InvalidQuery(f"Export between 1 and {MAX_RESULTS:,} results.")
    if not query.terms:
        raise InvalidQuery("There is nothing to search for.")
    service.check_together(query, user)
    terms, labels = [], []
    exclude = dict.fromkeys(query.filters.exclude)
    for term in query.terms:
        resolved = _resolve(term, query.dataset, user, limiter)
        terms.append({**resolved.term.to_dict(), **resolved.origin})
        labels.append(in_query_language(resolved.label, term.weight))
        exclude |= dict.fromkeys(resolved.exclude)
    filters = query.filters.replace(exclude=tuple(exclude)[:MAX_EXCLUDED])
    what = replace(query, filters=filters).to_dict()
    del what["cursor"]
    what |= {"terms": terms, "limit": limit}
    return ExportRequest("search", form, with_embeddings, what, " ".join(labels))


@dataclass(frozen=True)
class _ResolvedTerm:
    """A term that needs neither the user nor the web to be encoded.

    `origin` is stored with it and records where its vector is from; `exclude` are the
    ids of items that it leaves out.
    """

    term: Term
    label: str
    origin: dict[str, Any] = field(default_factory=dict)
    exclude: tuple[int, ...] = ()


def _resolve(
    term: Term, slug: str, user: Any, limiter: service.Limiter
) -> _ResolvedTerm:
    """Fetch and encode an image, and look up a concept.

    Raise NotFound, InvalidQuery, CannotFetch, SearchUnavailable.
    """
    if term.concept is not None:
        return _resolve_concept(term.concept, term.weight, slug, user)
    if term.text is None:
        # Reject a missing item or a vector of another length now, not in a later run.
        first, *_ = split_slugs(slug)
        unweighted = SearchQuery(first, (replace(term, weight=1.0),))
        vector = service.embed(unweighted, user, limiter).vector
    label = describe_term(term, str, QUERY_LANGUAGE)
    if term.image is None and term.image_url is None:
        return _ResolvedTerm(term, label)
    origin: dict[str, Any] = {"image_url": term.image_url}
    if term.image is not None:
        origin = {"image": {"sha256": hashlib.sha256(term.image).hexdigest()}}
    embedded = Term(embedding=tuple(vector.tolist()), weight=term.weight)
    return _ResolvedTerm(embedded, label, origin)


def _resolve_concept(
    concept_id: str, weight: float, slug: str, user: Any
) -> _ResolvedTerm:
    """Look up a concept, a collection, or a round of a refinement."""
    found = concepts.find(concept_id, user, slug)
    concept: dict[str, Any] = {"id": concept_id, "name": found.label}
    versions = Concept.objects.visible_to(user).filter(pk=concept_id)
    version = versions.values_list("version", flat=True).first()
    if version is not None:
        concept["version"] = version
    embedded = Term(embedding=found.embedding, weight=weight)
    return _ResolvedTerm(embedded, found.label, {"concept": concept}, found.exclude)


def of_concept(
    user: Any,
    concept_id: UUID,
    dataset_slug: str,
    at_least: float,
    field: str = "image",
    filters: Filters = ALL,
    form: str = "parquet",
    with_embeddings: bool = False,
) -> ExportRequest:
    """Export all items of at least this similarity to a concept, compared one by one.

    Raise NotFound, InvalidQuery.
    """
    concept = Concept.objects.visible_to(user).filter(pk=concept_id).first()
    if concept is None:
        raise NotFound(NONE)
    concepts.find(str(concept.pk), user, dataset_slug)  # raises for another model
    if not (math.isfinite(at_least) and -1 <= at_least <= 1):
        raise InvalidQuery("The minimum similarity must be between −1 and 1.")
    if field not in FIELDS:
        raise InvalidQuery("The field must be image, text or both.")
    what = {
        "dataset": dataset_slug,
        "concept": {
            "id": str(concept.pk),
            "name": concept.name,
            "version": concept.version,
        },
        "embedding": encode_embedding(concept.embedding),
        "field": field,
        "at_least": float(at_least),
        "filters": _of_scan(filters).to_dict(),
    }
    name = f"{concept.name} from {at_least:g}"
    return ExportRequest("concept", form, with_embeddings, what, name)


def of_dataset(
    user: Any,
    slug: str,
    filters: Filters = ALL,
    form: str = "parquet",
    with_embeddings: bool = False,
) -> ExportRequest:
    """Export all items that pass the filters; raise NotFound, InvalidQuery."""
    dataset = Dataset.for_slug(slug, user)
    what = {"dataset": slug, "filters": _of_scan(filters).to_dict()}
    return ExportRequest("dataset", form, with_embeddings, what, dataset.title)


def _of_scan(filters: Filters) -> Filters:
    """Return the filters of a scan, which takes each item on its own."""
    if filters.cutoff is not None:
        raise InvalidQuery("A cutoff belongs to a search.")
    return filters.replace(dedupe=False)


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a value of JSON's types."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _texts([name, each])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _is_storable(text: str) -> bool:
    """Return whether PostgreSQL takes it: without NUL and lone surrogates."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _shortened(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"
