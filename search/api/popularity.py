"""How often items were picked, and for which words."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from search.models import Dataset
from search.retrieval import popularity

from .fields import (
    ListInAddressField,
    ShortListField,
    StrictIntegerField,
    StrictSerializer,
)
from .representations import PopularityAnswer
from .serializers import IDS

MAX_ITEMS = 5_000
KEYWORDS = 10


class PopularitySerializer(StrictSerializer):
    dataset = serializers.CharField(max_length=200, help_text="Its slug.")
    items: serializers.ListField = ShortListField(
        child=StrictIntegerField(**IDS),
        min_length=1,
        max_length=MAX_ITEMS,
        help_text="Ids of items.",
    )


class PopularityParametersSerializer(PopularitySerializer):
    in_address = True
    items = ListInAddressField(
        child=serializers.IntegerField(**IDS),
        min_length=1,
        max_length=MAX_ITEMS,
        help_text="Ids of items between commas.",
    )


class Popularity(APIView):
    throttle_scope = "item"

    @extend_schema(
        operation_id="popularity_by_address",
        parameters=[PopularityParametersSerializer],
        responses=PopularityAnswer,
    )
    def get(self, request: Request) -> Response:
        """How often items were picked after searches, and for which words."""
        given = PopularityParametersSerializer(data=request.query_params.dict())
        given.is_valid(raise_exception=True)
        return Response(_told(**given.validated_data))

    @extend_schema(
        operation_id="popularity",
        request=PopularitySerializer,
        responses=PopularityAnswer,
    )
    def post(self, request: Request) -> Response:
        """The same for many items: how often they were picked, and for which words."""
        given = PopularitySerializer(data=request.data)
        given.is_valid(raise_exception=True)
        return Response(_told(**given.validated_data))


def _told(dataset: str, items: list[int]) -> dict[str, Any]:
    """As answers.PopularityAnswer; the most picked comes first."""
    found = Dataset.for_slug(dataset)
    ids = list(dict.fromkeys(items))
    counts = popularity.counts(found, ids)
    order = sorted(counts, key=lambda item: (-counts[item], item))
    return {
        "dataset": dataset,
        "items": {str(item): counts[item] for item in order},
        "keywords": [
            {"words": words, "count": count}
            for words, count in popularity.keywords(found, ids, KEYWORDS)
        ],
    }
