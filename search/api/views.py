from dataclasses import asdict, fields
from typing import Any

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from search import popularity, service
from search.concepts import resolved
from search.errors import NotFound
from search.limits import check_pictures
from search.links import safe_url
from search.models import Dataset
from search.query import FIELDS, SearchQuery
from search.thumbnails import address

from .serializers import SearchParametersSerializer, SearchSerializer

THUMBNAIL = 320  # pixels across, at most


class DatasetList(APIView):
    """The datasets that can be searched."""

    throttle_scope = "item"

    def get(self, request: Request) -> Response:
        return Response([_dataset(dataset) for dataset in service.datasets()])


class ItemDetail(APIView):
    """One item with all its metadata."""

    throttle_scope = "item"

    def get(self, request: Request, slug: str, item_id: int) -> Response:
        item = service.item(slug, item_id)
        shown = _item(item, slug, request)
        for of_a_search in ("similarity", "similar"):
            del shown[of_a_search]
        return Response({**shown, "metadata": item.metadata})


class Search(APIView):
    """Search by words, pictures, items and embeddings."""

    def get(self, request: Request) -> Response:
        given = SearchParametersSerializer(data=request.query_params.dict())
        given.is_valid(raise_exception=True)
        query = given.query(request.get_host())
        return _answer(query, given.validated_data["include"], request)

    def post(self, request: Request) -> Response:
        given = SearchSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        query = given.query()
        return _answer(query, given.validated_data["include"], request)


class Unknown(APIView):
    """Any other address of the API."""

    throttle_scope = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound("There is no such address in the API.")

    get = post = lambda self, request: None


def _answer(query: SearchQuery, include: list[str], request: Request) -> Response:
    check_pictures(request, query)
    page = service.find(resolved(query, request.user))
    results = [_item(hit, query.dataset, request) for hit in page.hits]
    if "embedding" in include:
        _add_embeddings(results, query.dataset, page.field)
    return Response(
        {
            "dataset": query.dataset,
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
    )


def _add_embeddings(results: list[dict[str, Any]], slug: str, field: str) -> None:
    """Those of the field that is searched; null for an item that has gone meanwhile."""
    ids = [result["id"] for result in results]
    found = service.embeddings(slug, field, ids)
    for result in results:
        vector = found.get(result["id"])
        result["embedding"] = None if vector is None else vector.tolist()


def _item(hit: service.Hit, slug: str, request: Request) -> dict[str, Any]:
    shown = asdict(hit)
    shown.pop("metadata", None)
    picture = address(slug, hit.id, THUMBNAIL) if safe_url(hit.url) else None
    return {
        **shown,
        "thumbnail": request.build_absolute_uri(picture) if picture else None,
        "page": request.build_absolute_uri(reverse("item", args=[slug, hit.id])),
    }


def _dataset(dataset: Dataset) -> dict[str, Any]:
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


def _evaluation(dataset: Dataset) -> dict[str, Any] | None:
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
