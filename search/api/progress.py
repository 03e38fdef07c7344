"""How the import of a dataset stands, as the staff's page shows it."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from search.ingestion.progress import Standing, pace, reasons, spans
from search.models import Dataset, Partition, Shard
from search.retrieval import service

from .answers import count_field
from .permissions import StaffOnly


class StatesAnswer(serializers.Serializer):
    """How many shards are in each state."""

    def get_fields(self) -> dict[str, serializers.Field]:
        return {state: count_field() for state in Shard.State.values}


class RowsAnswer(serializers.Serializer):
    done = count_field("Gone through.")
    expected = serializers.IntegerField(
        min_value=0,
        allow_null=True,
        help_text="Of the whole source; null until a shard was opened.",
    )
    estimated = serializers.BooleanField(
        help_text="Whether `expected` takes shards not opened yet for the mean one."
    )
    visible = count_field("Found by searches.")
    left_out = count_field("Of those gone through.")


class BytesAnswer(serializers.Serializer):
    done = count_field()
    expected = count_field("Of the shards whose length is known.")


class ErrorAnswer(serializers.Serializer):
    error = serializers.CharField()
    count = serializers.IntegerField(min_value=1, help_text="Shards.")
    shards = serializers.CharField(help_text="Their numbers, as 0-9, 12.")


class PublicationAnswer(serializers.Serializer):
    """Shards whose search index is being built, or could not be."""

    shards = serializers.CharField(help_text="Their numbers, as 0-3.")
    vectors = count_field("To be indexed; 0 while the rows are put together.")
    vectors_done = count_field()
    error = serializers.CharField(allow_blank=True)


class LeftOutAnswer(serializers.Serializer):
    reason = serializers.CharField()
    rows = serializers.IntegerField(min_value=1)


class ProgressAnswer(serializers.Serializer):
    dataset = serializers.CharField()
    moving = serializers.BooleanField(
        help_text="Whether anything changes without somebody's doing."
    )
    shards = StatesAnswer()
    rows = RowsAnswer()
    bytes = BytesAnswer()
    rows_per_second = serializers.FloatField(
        allow_null=True,
        help_text="Over the last minute in which the progress was asked for; null at "
        "first, and at rest.",
    )
    seconds_left = serializers.FloatField(allow_null=True)
    errors = ErrorAnswer(  # type: ignore[assignment]  # of the answer, not of checking
        many=True, help_text="The one of the most shards first."
    )
    indexes = PublicationAnswer(many=True)
    left_out = LeftOutAnswer(
        many=True,
        allow_null=True,
        help_text="The most frequent reasons; null while rows come in.",
    )


class Progress(APIView):
    permission_classes = [StaffOnly]
    throttle_scope = "item"

    @extend_schema(
        operation_id="progress_retrieve", tags=["staff"], responses=ProgressAnswer
    )
    def get(self, request: Request, slug: str) -> Response:
        """How far the import of a dataset is."""
        return Response(_told(service.dataset_named(slug)))


def _told(dataset: Dataset) -> dict[str, Any]:
    """As ProgressAnswer."""
    standing = Standing.of(dataset)
    speed = pace(dataset, standing.rows_done) if standing.moving else None
    return {
        "dataset": dataset.slug,
        "moving": standing.moving,
        "shards": standing.counts,
        "rows": {
            "done": standing.rows_done,
            "expected": standing.rows_expected,
            "estimated": standing.rows_estimated,
            "visible": standing.rows_visible,
            "left_out": standing.rows_rejected,
        },
        "bytes": {"done": standing.bytes_done, "expected": standing.bytes_expected},
        "rows_per_second": speed,
        "seconds_left": standing.seconds_left(speed),
        "errors": [
            {"error": error, "count": len(numbers), "shards": spans(numbers)}
            for error, numbers in standing.errors
        ],
        "indexes": [_publication(each, dataset) for each in standing.publications],
        "left_out": None if standing.moving else reasons(dataset),
    }


def _publication(partition: Partition, dataset: Dataset) -> dict[str, Any]:
    first = partition.number * dataset.shards_per_partition
    return {
        "shards": spans(range(first, first + dataset.shards_per_partition)),
        "vectors": partition.vectors,
        "vectors_done": partition.vectors_done,
        "error": partition.error,
    }
