"""Search, and show one item."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from search.errors import NotFound
from search.query.model import SearchQuery
from search.rate_limits import limiter
from search.request_bodies import MAX_IMAGE_BYTES
from search.retrieval import service

from .item_serializers import ItemSerializer, SearchPageSerializer, page_context
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
    throttle_scope = "item"

    @extend_schema(operation_id="item_retrieve", responses=ItemSerializer)
    def get(self, request: Request, slug: str, item_id: int) -> Response:
        """Show one item with all its metadata."""
        item = service.item(slug, item_id, request.user)
        return Response(ItemSerializer(item, context={"request": request}).data)


class Search(APIView):
    max_body_bytes = MAX_IMAGE_BYTES

    @extend_schema(
        operation_id="search_by_address",
        parameters=[SearchParametersSerializer],
        responses=SearchPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """Search by words in the language of the search box, or by a vector.

        Give one of `q`, `embedding` and `cursor`.
        """
        given = SearchParametersSerializer(data=request.query_params.dict())
        given.is_valid(raise_exception=True)
        query = given.query(request.get_host(), request.user)
        return _search(query, given.validated_data["include"], request)

    @extend_schema(
        operation_id="search",
        request=SearchSerializer,
        responses=SearchPageSerializer,
        examples=[EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Search by words, images, items, vectors and concepts, with weights.

        The terms' unit vectors are added with their weights; the items nearest to the
        sum come first. Text is plain words here, not the language of the search box.
        """
        given = SearchSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        query = given.query()
        return _search(query, given.validated_data["include"], request)


class Unknown(APIView):
    """Any other path under /api/: 404, and absent from the OpenAPI document."""

    throttle_scope = None
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        hint = "" if request.path.endswith("/") else " All of them end with a slash."
        raise NotFound(f"There is no such address in the API.{hint}")


def _search(query: SearchQuery, include: list[str], request: Request) -> Response:
    page = service.search(query, request.user, limiter(request))
    context = page_context(page, query.dataset, include, request)
    return Response(SearchPageSerializer(page, context=context).data)
