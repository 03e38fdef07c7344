"""The import of a dataset for programs of the staff: its shards, and how it stands."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
)
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from search.clickhouse import client
from search.errors import NotFound, ShardUnreadable
from search.ingestion import control
from search.ingestion.progress import ImportProgress, pace, reasons, spans
from search.ingestion.sources.protocol import LAST_SHARD
from search.models import Dataset, Partition, Shard

from .errors import ERROR_RESPONSE
from .fields import StrictSerializer, WordField, between
from .permissions import StaffOnly
from .representations import count_field

State = Shard.State
ACTIONS = ("start", "pause", "resume", "cancel", "retry", "replace", "drop")
OTHER_NAMES = {"ingest": "start"}
DEFAULT_LIMIT, MAX_PER_PAGE = 40, 100
SLUG = OpenApiParameter("slug", OpenApiTypes.STR, OpenApiParameter.PATH)
ACTION = OpenApiParameter(
    "action",
    OpenApiTypes.STR,
    OpenApiParameter.PATH,
    enum=[*ACTIONS, *OTHER_NAMES],
    description="ingest is another name of start.",
)


class ShardsParameters(StrictSerializer):
    in_address = True
    state = WordField(State.values, required=False, help_text="Only those in it.")
    limit = serializers.IntegerField(default=DEFAULT_LIMIT, **between(1, MAX_PER_PAGE))
    cursor = serializers.RegexField(
        r"^[0-9]{1,9}$",
        required=False,
        help_text="`next` of the page before.",
        error_messages={"invalid": "This cursor is not one that a page gave out."},
    )


class ShardAnswer(serializers.ModelSerializer):
    """One numbered piece of the source, and how its import stands."""

    class Meta:
        model = Shard
        fields = [
            *("number", "state", "rows", "rows_done", "rows_kept", "rows_visible"),
            *("bytes", "bytes_done", "attempts", "failures", "error"),
            *("started_at", "finished_at", "published_at"),
        ]


class ShardsAnswer(serializers.Serializer):
    results = ShardAnswer(many=True)
    next = serializers.CharField(
        allow_null=True, help_text="The `cursor` of the next page; null at the end."
    )


class ShardActionsSerializer(StrictSerializer):
    shards = serializers.CharField(
        required=False,
        max_length=1_000,
        help_text="Numbers such as 0-9,12; all of them when left out.",
    )
    sure = serializers.BooleanField(
        default=False, help_text="What drop wants to be told."
    )


class ShardActionsAnswer(serializers.Serializer):
    action = serializers.ChoiceField(ACTIONS)
    shards = serializers.IntegerField(
        min_value=0, help_text="For how many there was something to do."
    )
    found = serializers.IntegerField(
        min_value=1,
        allow_null=True,
        help_text="How many the source has, where start has looked.",
    )


class Shards(APIView):
    permission_classes = [StaffOnly]
    throttle_scope = "item"

    @extend_schema(
        operation_id="shards_list",
        tags=["staff"],
        parameters=[SLUG, ShardsParameters],
        responses=ShardsAnswer,
    )
    def get(self, request: Request, slug: str) -> Response:
        """The shards of a dataset by their numbers."""
        dataset = Dataset.for_slug(slug)
        parameters = ShardsParameters(data=request.query_params.dict())
        parameters.is_valid(raise_exception=True)
        given = parameters.validated_data
        shards = dataset.shards.order_by("number")
        if "state" in given:
            shards = shards.filter(state=given["state"])
        if "cursor" in given:
            # No shard lies beyond, and the database may not know such numbers.
            last = min(int(given["cursor"]), LAST_SHARD)
            shards = shards.filter(number__gt=last)
        return Response(_page(shards, given["limit"]))


class ShardActions(APIView):
    permission_classes = [StaffOnly]
    throttle_scope = "item"

    @extend_schema(
        operation_id="shards_steer",
        tags=["staff"],
        parameters=[SLUG, ACTION],
        request=ShardActionsSerializer,
        responses={
            200: ShardActionsAnswer,
            422: OpenApiResponse(
                ERROR_RESPONSE, "The source, or the range of shards, cannot be read."
            ),
        },
        examples=[
            OpenApiExample("All", {}, request_only=True),
            OpenApiExample("Some", {"shards": "0-9,12"}, request_only=True),
            OpenApiExample("Drop", {"shards": "3", "sure": True}, request_only=True),
        ],
    )
    def post(self, request: Request, slug: str, action: str) -> Response:
        """Start, pause, resume, cancel, retry, replace or drop shards.

        `start` looks for new shards at the source and queues those that are not in
        yet; `replace` brings in again what is in. The work is done by workers: watch
        the progress.
        """
        dataset = Dataset.for_slug(slug)
        action = OTHER_NAMES.get(action, action)
        if action not in ACTIONS:
            raise NotFound(f"There is no such action; there are {', '.join(ACTIONS)}.")
        given = ShardActionsSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        found = _found(dataset) if action == "start" else None
        shards = control.shards_of(dataset, given.validated_data.get("shards", ""))
        if action == "drop" and not given.validated_data["sure"]:
            raise ValidationError({"sure": [_what_would_go(shards)]})
        if action in ("cancel", "drop"):
            client.ping()  # nothing is taken away by half
        count = control.apply_action(dataset, shards, action)
        return Response({"action": action, "shards": count, "found": found})


def _page(shards: QuerySet[Shard], limit: int) -> dict[str, Any]:
    """As ShardsAnswer; the cursor is the number of the last shard shown."""
    rows = list(shards[: limit + 1])
    shown = rows[:limit]
    following = str(shown[-1].number) if len(rows) > limit else None
    return {"results": ShardAnswer(shown, many=True).data, "next": following}


def _found(dataset: Dataset) -> int:
    found = control.discover_shards(dataset)
    if not found:
        raise ShardUnreadable(f"There are no shards in “{dataset.source}”.")
    return found


def _what_would_go(shards: QuerySet[Shard]) -> str:
    rows = list(control.droppable(shards).values_list("rows_visible", flat=True))
    return f"Write true to drop {len(rows):,} shards with {sum(rows):,} items."


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
        return Response(_told(Dataset.for_slug(slug)))


def _told(dataset: Dataset) -> dict[str, Any]:
    """As ProgressAnswer."""
    standing = ImportProgress.of(dataset)
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
