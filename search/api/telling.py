"""Datasets, items and pages of results as the API tells them; shapes in answers.py."""

from dataclasses import asdict, fields
from typing import Any, Protocol

from django.urls import reverse

from search.models import Dataset
from search.query.model import FIELDS
from search.query.url_params import safe_url
from search.retrieval import popularity, service
from search.thumbnails import address

THUMBNAIL = 320  # pixels across, at most

Told = dict[str, Any]


class Addresses(Protocol):
    """What of a request is needed to tell whole addresses."""

    def build_absolute_uri(self, location: str, /) -> str: ...


def told_dataset(dataset: Dataset) -> Told:
    """As answers.DatasetAnswer. Raises SearchUnavailable."""
    state = service.index_state(dataset)
    return {
        "slug": dataset.slug,
        "title": dataset.title,
        "items": dataset.item_count(),
        "model": dataset.model,
        "dimension": dataset.dimension,
        "fields": list(FIELDS),
        "columns": [field.name for field in fields(service.Item)],
        "index": {
            "metric": dataset.metric,
            "connections": dataset.index_connections,
            "construction": dataset.index_construction,
            "quantization": dataset.index_quantization,
            "parts": state["parts"],
            "parts_without_index": state["parts_without_index"],
            "rows_without_index": state["rows_without_index"],
            "bytes": state["bytes"],
            "health": 1 - state["rows_without_index"] / max(state["rows"], 1),
        },
        "evaluation": _evaluation(dataset),
        "popularity": popularity.is_known(dataset),
    }


def _evaluation(dataset: Dataset) -> Told | None:
    """The latest; null when the recall was not measured yet."""
    evaluation = dataset.evaluations.first()
    if evaluation is None:
        return None
    return {
        "created_at": evaluation.created_at,
        "words": evaluation.words,
        "rows": evaluation.rows,
        "rows_without_index": evaluation.rows_without_index,
        "figures": evaluation.figures,
    }


def told_item(item: service.Item, slug: str, request: Addresses) -> Told:
    """As answers.ItemAnswer."""
    told = told_hit(item, slug, request)
    for of_a_search in ("similarity", "similar"):
        del told[of_a_search]
    return {**told, "metadata": item.metadata}


def told_hit(hit: service.Hit, slug: str, request: Addresses) -> Told:
    """As answers.ResultAnswer."""
    told = asdict(hit)
    told.pop("metadata", None)
    picture = address(slug, hit.id, THUMBNAIL) if safe_url(hit.url) else None
    return {
        **told,
        "thumbnail": request.build_absolute_uri(picture) if picture else None,
        "page": request.build_absolute_uri(reverse("item", args=[slug, hit.id])),
    }


def told_page(
    page: service.Page, slug: str, include: list[str], request: Addresses
) -> Told:
    """As answers.SearchAnswer."""
    results = [told_hit(hit, slug, request) for hit in page.hits]
    if "embedding" in include:
        _add_embeddings(results, slug, page.field)
    return {
        "dataset": slug,
        "results": results,
        "next": page.next or None,
        "hidden": asdict(page.hidden),
        "matching": asdict(page.matching) if page.matching else None,
        "exact": page.exact,
        "timing": {
            "encode_ms": round(page.encode_ms, 2),
            "search_ms": round(page.search_ms, 2),
            "total_ms": round(page.encode_ms + page.search_ms, 2),
        },
    }


def _add_embeddings(results: list[Told], slug: str, field: str) -> None:
    """Those of the field that is searched; null for an item that has gone meanwhile."""
    ids = [result["id"] for result in results]
    found = service.embeddings(slug, field, ids)
    for result in results:
        vector = found.get(result["id"])
        result["embedding"] = None if vector is None else vector.tolist()
