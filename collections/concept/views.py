"""The pages of concepts: one's own, and one with what is nearest to it."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
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
from ..sharing import Access, find_readable
from . import files
from .services import openly

STRIP = 12
MAX_DATASETS = 6  # that a page asks for their nearest
MAX_VERSIONS = 100
MAX_SHOWN = 500
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Strip:
    """The nearest of a dataset; `address` is the search for all of them."""

    dataset: Dataset
    hits: tuple[Hit, ...]
    address: str


@dataclass(frozen=True)
class Version:
    """`likeness` is the cosine to the current version."""

    row: ConceptVersion
    likeness: float
    is_current: bool


@login_required
@require_safe
def mine(request: HttpRequest) -> HttpResponse:
    own = Concept.objects.owned_by(request.user)
    datasets = service.datasets()
    context = {
        "concepts": [
            {"concept": concept, "uses": _searches(concept, datasets)}
            for concept in own.defer("description")[:MAX_SHOWN]
        ],
        "datasets": datasets,
        "deleted": Concept.objects.deleted_by(request.user).order_by("-deleted_at")[
            :50
        ],
    }
    return render(request, "concept/concepts.html", context)


@require_safe
@limited("search")
def page(
    request: HttpRequest, key: UUID | None = None, token: str = ""
) -> HttpResponse:
    access = find_readable(Concept, request.user, key, token)
    concept = access.object
    context: dict[str, Any] = {
        "access": access,
        "concept": concept,
        "dimension": len(concept.embedding),
        "strips": list(_strips(access, request)),
        "versions": _versions(access),
        "as_npy": access.address("concept-npy"),
        "as_json": access.address("concept-json"),
        "copy_it": access.address("concept-copy"),
    }
    if access.is_mine:
        context |= {
            "choices": Concept.Visibility.choices,
            "link": request.build_absolute_uri(sharing.link_of(concept)),
        }
    response = render(request, "concept/concept.html", context)
    if token:
        # Whoever has the link has it from its owner, and not from a search engine.
        response["X-Robots-Tag"] = "noindex"
    return response


@require_safe
@limited("export")
def export(
    request: HttpRequest,
    form: str,
    key: UUID | None = None,
    token: str = "",
) -> HttpResponse:
    access = find_readable(Concept, request.user, key, token)
    concept = access.object
    if form == "npy":
        response = HttpResponse(
            files.npy(concept), content_type="application/octet-stream"
        )
    else:
        told = files.concept_json(concept, is_mine=access.is_mine)
        content = json.dumps(told, ensure_ascii=False, indent=2)
        response = HttpResponse(content, content_type="application/json")
    name = f"{slugify(concept.name)[:60] or 'concept'}-v{concept.version}.{form}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _searches(concept: Concept, datasets: list[Dataset]) -> list[dict[str, Any]]:
    return [
        {"dataset": each, "address": _search_with(concept, each)}
        for each in datasets
        if (each.model, each.weights) == (concept.model, concept.weights)
    ]


def _search_with(concept: Concept, dataset: Dataset) -> str:
    return search_url({"concept": str(concept.pk), "dataset": dataset.slug})


def _strips(access: Access[Concept], request: HttpRequest) -> Iterator[Strip]:
    """In each dataset of its model; one that does not answer is left out."""
    concept = access.object
    term = Term(embedding=tuple(concept.embedding.tolist()))
    of_model = [
        each
        for each in service.datasets()
        if (each.model, each.weights) == (concept.model, concept.weights)
    ]
    for dataset in of_model[:MAX_DATASETS]:
        address = _search_with(concept, dataset)
        if access.token:  # by the link alone, the search would not find the concept
            picture = shorten_embedding(concept.embedding)
            address = search_url({"embedding": picture, "dataset": dataset.slug})
        try:
            query = SearchQuery(dataset.slug, (term,), limit=STRIP)
            found = service.search(query, request.user, limiter(request))
        except SearchError as error:
            logger.warning("No hits of a concept in %s: %s", dataset, error.message)
            continue
        yield Strip(dataset, found.hits, address)


def _versions(access: Access[Concept]) -> list[Version]:
    concept = access.object
    rows = list(concept.versions.all()[:MAX_VERSIONS])
    if not access.is_mine:
        for row in rows:
            row.made_of = openly(row.made_of)
    return [
        Version(
            row,
            float(row.embedding @ concept.embedding),
            row.number == concept.version,
        )
        for row in rows
    ]
