"""The list of the user's concepts, the page of a concept, and its downloads."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.text import slugify
from django.views.decorators.http import require_safe

from search.errors import SearchError
from search.models import Dataset
from search.query.model import SearchQuery, Term, shorten_embedding
from search.query.url_params import search_url
from search.rate_limits import limited, limiter
from search.retrieval import service
from search.retrieval.items import Hit

from .. import sharing
from ..models import Concept, ConceptVersion
from ..models.ownership import AnyUser
from ..sharing import Access, find_readable
from . import files
from .services import datasets_of, without_private

HITS_PER_DATASET = 12
MAX_DATASETS = 6  # that the page of a concept searches
MAX_VERSIONS = 100
MAX_SHOWN = 500
MAX_DELETED = 50

logger = logging.getLogger(__name__)


# --- The user's concepts


@dataclass(frozen=True)
class Use:
    """A search by a concept."""

    dataset: Dataset
    address: str


@dataclass(frozen=True)
class Row:
    concept: Concept
    uses: list[Use]


@dataclass(frozen=True, kw_only=True)
class ListContext:
    """The context of concept/concepts.html."""

    concepts: list[Row]
    datasets: list[Dataset]
    deleted: QuerySet[Concept]


@login_required
@require_safe
def mine(request: HttpRequest) -> HttpResponse:
    concepts = Concept.objects.owned_by(request.user).defer("description")[:MAX_SHOWN]
    datasets = service.datasets(request.user)
    deleted = Concept.objects.deleted_by(request.user).order_by("-deleted_at")
    context = ListContext(
        concepts=[Row(each, _uses(each, datasets)) for each in concepts],
        datasets=datasets,
        deleted=deleted[:MAX_DELETED],
    )
    return render(request, "concept/concepts.html", vars(context))


def _uses(concept: Concept, datasets: Sequence[Dataset]) -> list[Use]:
    return [
        Use(each, _search_address(concept, each))
        for each in datasets_of(concept, datasets)
    ]


def _search_address(concept: Concept, dataset: Dataset) -> str:
    return search_url({"concept": str(concept.pk), "dataset": dataset.slug})


# --- The page of a concept


@dataclass(frozen=True)
class Strip:
    """The nearest items of a dataset; `address` is the search for all of them."""

    dataset: Dataset
    hits: tuple[Hit, ...]
    address: str


@dataclass(frozen=True)
class Version:
    """A version; `likeness` is its cosine similarity to the current one."""

    row: ConceptVersion
    likeness: float
    is_current: bool


@dataclass(frozen=True, kw_only=True)
class PageContext:
    """The context of concept/concept.html; some of it for the owner only."""

    access: Access[Concept]
    concept: Concept
    dimension: int
    strips: list[Strip]
    versions: list[Version]
    as_npy: str
    as_json: str
    copy_it: str
    choices: Sequence[tuple[str, str]] = ()  # of the visibility
    link: str = ""


@require_safe
@limited("search")
def page(
    request: HttpRequest, key: UUID | None = None, token: str = ""
) -> HttpResponse:
    access = find_readable(Concept, request.user, key, token)
    concept = access.object
    context = PageContext(
        access=access,
        concept=concept,
        dimension=len(concept.embedding),
        strips=list(_strips(request, access)),
        versions=_versions(access, request.user),
        as_npy=access.address("concept-npy"),
        as_json=access.address("concept-json"),
        copy_it=access.address("concept-copy"),
    )
    if access.is_mine:
        link = request.build_absolute_uri(sharing.link_of(concept))
        context = replace(context, choices=Concept.Visibility.choices, link=link)
    response = render(request, "concept/concept.html", vars(context))
    if token:
        # The link is a secret of the owner's; search engines must not list it.
        response["X-Robots-Tag"] = "noindex"
    return response


def _strips(request: HttpRequest, access: Access[Concept]) -> Iterator[Strip]:
    """Search the datasets of the concept's model; those that fail are left out."""
    concept = access.object
    term = Term(embedding=tuple(concept.embedding.tolist()))
    datasets = datasets_of(concept, service.datasets(request.user))
    for dataset in datasets[:MAX_DATASETS]:
        address = _search_address(concept, dataset)
        if access.token:  # the search would not find the concept by its id
            embedding = shorten_embedding(concept.embedding)
            address = search_url({"embedding": embedding, "dataset": dataset.slug})
        query = SearchQuery(dataset.slug, (term,), limit=HITS_PER_DATASET)
        try:
            found = service.search(query, request.user, limiter(request), veils=True)
        except SearchError as error:
            logger.warning("No hits of a concept in %s: %s", dataset, error.message)
            continue
        yield Strip(dataset, found.hits, address)


def _versions(access: Access[Concept], user: AnyUser) -> list[Version]:
    concept = access.object
    rows = list(concept.versions.all()[:MAX_VERSIONS])
    if not access.is_mine:
        for row in rows:
            row.made_of = without_private(row.made_of, user)
    return [
        Version(
            row,
            float(row.embedding @ concept.embedding),
            row.number == concept.version,
        )
        for row in rows
    ]


@require_safe
@limited("export")
def export(
    request: HttpRequest, form: str, key: UUID | None = None, token: str = ""
) -> HttpResponse:
    """Download the concept as .npy or .json."""
    access = find_readable(Concept, request.user, key, token)
    concept = access.object
    if form == "npy":
        response = HttpResponse(
            files.npy(concept), content_type="application/octet-stream"
        )
    else:
        data = files.concept_json(concept, request.user, is_mine=access.is_mine)
        content = json.dumps(data, ensure_ascii=False, indent=2)
        response = HttpResponse(content, content_type="application/json")
    name = f"{slugify(concept.name)[:60] or 'concept'}-v{concept.version}.{form}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
