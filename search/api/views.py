"""Searching, and items."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from search.errors import NotFound
from search.query.concepts import resolve
from search.query.model import SearchQuery
from search.rate_limits import check_images
from search.retrieval import service

from .representations import ItemAnswer, SearchAnswer, item_json, page_json
from .serializers import SearchParametersSerializer, SearchSerializer

EXAMPLE = OpenApiExample(
    "A house by night, but no car",
    value={
        "dataset": "postcards",
        "terms": [{"text": "a house at night"}, {"text": "a car", "weight": -0.5}],
        "filters": {"min_width": 512},
        "limit": 20,
    },
    request_only=True,
)


class ItemDetail(APIView):
    """One item with all its metadata."""

    throttle_scope = "item"

    @extend_schema(operation_id="item_retrieve", responses=ItemAnswer)
    def get(self, request: Request, slug: str, item_id: int) -> Response:
        return Response(item_json(service.item(slug, item_id), slug, request))


class Search(APIView):
    @extend_schema(
        operation_id="search_by_address",
        parameters=[SearchParametersSerializer],
        responses=SearchAnswer,
    )
    def get(self, request: Request) -> Response:
        """Search by words in the language of the search box, or by a vector.

        One of `q`, `embedding` and `cursor` says what is looked for.
        """
        given = SearchParametersSerializer(data=request.query_params.dict())
        given.is_valid(raise_exception=True)
        query = given.query(request.get_host())
        return _answer(query, given.validated_data["include"], request)

    @extend_schema(
        operation_id="search",
        request=SearchSerializer,
        responses=SearchAnswer,
        examples=[EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Search by words, pictures, items, vectors and concepts, with weights.

        The terms' unit vectors are added by their weights; what is nearest to the sum
        comes first. Text is words here, not the language of the search box.
        """
        given = SearchSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        query = given.query()
        return _answer(query, given.validated_data["include"], request)


class Unknown(APIView):
    """Any other address of the API; the schema does not tell of it."""

    throttle_scope = None
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        hint = "" if request.path.endswith("/") else " All of them end with a slash."
        raise NotFound(f"There is no such address in the API.{hint}")


def _answer(query: SearchQuery, include: list[str], request: Request) -> Response:
    check_images(request, query)
    page = service.find(resolve(query, request.user))
    return Response(page_json(page, query.dataset, include, request))
