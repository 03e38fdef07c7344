"""What is exported and how: frozen, checked, and JSON in and out.

It is complete: a run of it days later asks for the same, and no encoder but for words.
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
from search.query.model import (
    FIELDS,
    MAX_EXCLUDED,
    MAX_RESULTS,
    Filters,
    SearchQuery,
    Term,
    decode_embedding,
    encode_embedding,
)
from search.retrieval import service

from ..concept_lookup import NONE
from ..models import Collection, Concept
from ..sharing import find_readable

Told = dict[str, Any]


def filters_to_dict(filters: Filters) -> Told:
    return {**asdict(filters), "exclude": list(filters.exclude)}


def filters_from_dict(told: Told) -> Filters:
    return Filters(**{**told, "exclude": tuple(told["exclude"])})


def term_to_dict(
    term: Term, slug: str, user: Any, limiter: service.Limiter
) -> tuple[Told, str, tuple[int, ...]]:
    """A term as it is kept, in a word or two, and the ids that it wants left out.

    Pictures are fetched and encoded. Raises NotFound, InvalidQuery, CannotFetch,
    SearchUnavailable.
    """
    told, label, beside = _told(term, slug, user, limiter)
    return {**told, "weight": term.weight}, _signed(label, term.weight), beside


def term_from_dict(told: Told) -> Term:
    weight = told["weight"]
    if "text" in told:
        return Term(text=told["text"], weight=weight)
    if "item" in told:
        return Term(item=told["item"], weight=weight)
    return Term(embedding=decode_embedding(told["embedding"]), weight=weight)


def _told(
    term: Term, slug: str, user: Any, limiter: service.Limiter
) -> tuple[Told, str, tuple[int, ...]]:
    if term.text is not None:
        return {"text": term.text}, term.text, ()
    if term.concept is not None:
        return _told_concept(term.concept, slug, user)
    # What is not there, or is of another length, is refused now and not in a run later.
    query = SearchQuery(slug, (replace(term, weight=1.0),))
    vector = service.embed(query, user, limiter).vector
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


KINDS = ("collection", "search", "concept", "dataset")
FORMS = ("json", "csv", "parquet", "img2dataset")
MAX_NAME_LENGTH = 120  # characters
ALL = Filters()


@dataclass(frozen=True)
class ExportRequest:
    """An export as it was asked for; raises InvalidQuery for what there is not.

    `what` has JSON's own types alone. Of a collection: `collection`, `name`; of a
    search: `dataset`, `terms`, `field`, `mode`, `sort`, `filters`, `limit`; of a
    concept: `dataset`, `concept`, `embedding`, `field`, `at_least`, `filters`; of a
    dataset: `dataset`, `filters`.
    """

    kind: str
    form: str
    with_embeddings: bool = False
    what: Told = field(default_factory=dict)
    name: str = ""  # what it is called, at most MAX_NAME_LENGTH characters

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidQuery(f"What is exported is one of {', '.join(KINDS)}.")
        if self.form not in FORMS:
            raise InvalidQuery(f"The form of an export is one of {', '.join(FORMS)}.")
        if self.with_embeddings and self.form != "parquet":
            raise InvalidQuery("Embeddings are exported as Parquet alone.")
        if not all(map(_can_be_kept, _texts([self.what, self.name]))):
            raise InvalidQuery("The words hold characters that cannot be kept.")
        object.__setattr__(self, "name", _shortened(self.name))

    def as_json(self) -> Told:
        return asdict(self)

    @classmethod
    def from_json(cls, told: Any) -> Self:
        """What as_json told; raises InvalidQuery for anything else."""
        try:
            return cls(**told)
        except TypeError as error:
            raise InvalidQuery("This is not an export.") from error


def of_collection(
    user: Any, collection_id: UUID, form: str, with_embeddings: bool = False
) -> ExportRequest:
    """A collection that the user may see, with the notes if it is theirs.

    Raises NotFound; InvalidQuery for vectors of several lengths.
    """
    collection = find_readable(Collection, user, collection_id).object
    if with_embeddings:
        slugs = collection.items.values_list("dataset", flat=True).distinct()
        known = Dataset.objects.filter(slug__in=list(slugs.order_by()))
        if known.values("dimension").distinct().order_by().count() > 1:
            raise InvalidQuery(
                "These pictures are of datasets whose embeddings have different "
                "lengths: export them without."
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
    """The first `limit` results of a search, whose concepts are not resolved yet.

    Pictures are fetched and encoded now. Raises InvalidQuery, NotFound, CannotFetch,
    SearchUnavailable.
    """
    if not 1 <= limit <= MAX_RESULTS:
        raise InvalidQuery(f"A search is exported up to {MAX_RESULTS:,} results.")
    if not query.terms:
        raise InvalidQuery("There is nothing to search for.")
    Dataset.for_slug(query.dataset)
    terms, labels = [], []
    exclude = dict.fromkeys(query.filters.exclude)
    for term in query.terms:
        told, label, beside = term_to_dict(term, query.dataset, user, limiter)
        terms.append(told)
        labels.append(label)
        exclude |= dict.fromkeys(beside)
    filters = replace(query.filters, exclude=tuple(exclude)[:MAX_EXCLUDED])
    what = {
        "dataset": query.dataset,
        "terms": terms,
        "field": query.field,
        "mode": query.mode,
        "sort": query.sort,
        "filters": filters_to_dict(filters),
        "limit": limit,
    }
    return ExportRequest("search", form, with_embeddings, what, " ".join(labels))


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
    """All items at least so similar to a concept; every item is compared.

    Raises NotFound, InvalidQuery.
    """
    concept = Concept.objects.visible_to(user).filter(pk=concept_id).first()
    if concept is None:
        raise NotFound(NONE)
    concepts.find(str(concept.pk), user, dataset_slug)  # is it of the same model?
    if not (math.isfinite(at_least) and -1 <= at_least <= 1):
        raise InvalidQuery("The least similarity lies between −1 and 1.")
    if field not in FIELDS:
        raise InvalidQuery("The field to search is image, text or both.")
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
        "filters": filters_to_dict(_of_scan(filters)),
    }
    name = f"{concept.name} from {at_least:g}"
    return ExportRequest("concept", form, with_embeddings, what, name)


def of_dataset(
    slug: str,
    filters: Filters = ALL,
    form: str = "parquet",
    with_embeddings: bool = False,
) -> ExportRequest:
    """All items of a dataset that pass the filters. Raises NotFound, InvalidQuery."""
    dataset = Dataset.for_slug(slug)
    what = {"dataset": slug, "filters": filters_to_dict(_of_scan(filters))}
    return ExportRequest("dataset", form, with_embeddings, what, dataset.title)


def filters_of(asked: ExportRequest) -> Filters:
    return filters_from_dict(asked.what["filters"])


def search_query(asked: ExportRequest) -> SearchQuery:
    """The search that an export is of, with nothing left to be looked up for a user."""
    what = asked.what
    return SearchQuery(
        what["dataset"],
        tuple(map(term_from_dict, what["terms"])),
        field=what["field"],
        mode=what["mode"],
        filters=filters_of(asked),
        sort=what["sort"],
    )


def _of_scan(filters: Filters) -> Filters:
    """Every item is looked at by itself: near-duplicates are not folded."""
    if filters.cutoff is not None:
        raise InvalidQuery("A cutoff belongs to a search.")
    return replace(filters, dedupe=False)


def _texts(told: Any) -> Iterator[str]:
    if isinstance(told, str):
        yield told
    elif isinstance(told, dict):
        for name, value in told.items():
            yield from _texts([name, value])
    elif isinstance(told, list | tuple):
        for value in told:
            yield from _texts(value)


def _can_be_kept(text: str) -> bool:
    """Whether PostgreSQL takes it: neither NUL nor halves of characters."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _shortened(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"
