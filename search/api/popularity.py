"""Show how often items were picked after searches, and for which words."""

from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from search.models import Dataset, Viewer
from search.retrieval import popularity

from .fields import (
    ListInAddressField,
    ResponseSerializer,
    ShortListField,
    StrictIntegerField,
    StrictSerializer,
    validated,
)
from .serializers import IDS

MAX_ITEMS = 5_000
KEYWORDS = 10


@extend_schema_serializer(component_name="Popularity")
class PickedItemsSerializer(StrictSerializer):
    dataset = serializers.CharField(max_length=200, help_text="Its slug.")
    items: serializers.ListField = ShortListField(
        child=StrictIntegerField(**IDS),
        min_length=1,
        max_length=MAX_ITEMS,
        help_text="Ids of items.",
    )


class ItemsParameters(PickedItemsSerializer):
    in_address = True
    items = ListInAddressField(
        child=serializers.IntegerField(**IDS),
        min_length=1,
        max_length=MAX_ITEMS,
        help_text="Ids of items, separated by commas.",
    )


class KeywordSerializer(ResponseSerializer):
    words = serializers.CharField()
    count = serializers.IntegerField(min_value=1)


class PopularitySerializer(ResponseSerializer):
    """The counts of items picked after searches, and the most frequent words."""

    dataset = serializers.CharField()
    items = serializers.DictField(
        child=serializers.IntegerField(min_value=1),
        help_text="By item id; items that were never picked are left out.",
    )
    keywords = KeywordSerializer(many=True)


class Popularity(APIView):
    throttle_scope = "item"

    @extend_schema(
        operation_id="popularity_by_address",
        parameters=[ItemsParameters],
        responses=PopularitySerializer,
    )
    def get(self, request: Request) -> Response:
        """Show how often items were picked after searches, and for which words."""
        given = validated(ItemsParameters, request.query_params.dict())
        return _response(**given, user=request.user)

    @extend_schema(
        operation_id="popularity",
        request=PickedItemsSerializer,
        responses=PopularitySerializer,
    )
    def post(self, request: Request) -> Response:
        """Show the same for many items: how often they were picked, for which words."""
        given = validated(PickedItemsSerializer, request.data)
        return _response(**given, user=request.user)


def _response(dataset: str, items: list[int], user: Viewer) -> Response:
    """Return the counts, the most picked item first, and the most frequent keywords."""
    found = Dataset.for_slug(dataset, user)
    ids = list(dict.fromkeys(items))
    counts = popularity.counts(found, ids)
    order = sorted(counts, key=lambda item: (-counts[item], item))
    content = {
        "dataset": dataset,
        "items": {item: counts[item] for item in order},
        "keywords": [
            {"words": words, "count": count}
            for words, count in popularity.keywords(found, ids, KEYWORDS)
        ],
    }
    return Response(PopularitySerializer(content).data)
