"""List, start, stop and drop the shards of a dataset, and show its progress (staff)."""

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
)
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from search.clickhouse import client
from search.errors import NotFound, ShardUnreadable
from search.ingestion import control, notices
from search.ingestion.control import STARTED_FROM
from search.ingestion.progress import ImportProgress, pace
from search.ingestion.sources.protocol import LAST_SHARD
from search.models import Dataset, Shard

from .errors import ERROR_RESPONSE
from .fields import validated
from .permissions import StaffOnly
from .shard_serializers import (
    ACTIONS,
    ProgressSerializer,
    ShardActionResultSerializer,
    ShardActionsSerializer,
    ShardsParameters,
    ShardsSerializer,
    page_of,
)

ALIASES = {"ingest": "start"}
SLUG = OpenApiParameter("slug", OpenApiTypes.STR, OpenApiParameter.PATH)
ACTION = OpenApiParameter(
    "action",
    OpenApiTypes.STR,
    OpenApiParameter.PATH,
    enum=[*ACTIONS, *ALIASES],
    description="ingest is another name of start.",
)


class Shards(APIView):
    permission_classes = [StaffOnly]
    throttle_scope = "item"

    @extend_schema(
        operation_id="shards_list",
        tags=["staff"],
        parameters=[SLUG, ShardsParameters],
        responses=ShardsSerializer,
    )
    def get(self, request: Request, slug: str) -> Response:
        """List the shards of a dataset by their numbers."""
        dataset = Dataset.for_slug(slug, request.user)
        given = validated(ShardsParameters, request.query_params.dict())
        shards = dataset.shards.order_by("number")
        if "state" in given:
            shards = shards.filter(state=given["state"])
        if "cursor" in given:
            # A larger number may not fit the database's column.
            last = min(int(given["cursor"]), LAST_SHARD)
            shards = shards.filter(number__gt=last)
        return Response(ShardsSerializer(page_of(shards, given["limit"])).data)


class ShardActions(APIView):
    permission_classes = [StaffOnly]
    throttle_scope = "item"

    @extend_schema(
        operation_id="shards_steer",
        tags=["staff"],
        parameters=[SLUG, ACTION],
        request=ShardActionsSerializer,
        responses={
            200: ShardActionResultSerializer,
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

        `start` looks for new shards at the source and queues those that are not
        imported yet; `replace` imports again those that are. Workers do the work:
        follow it by the progress.
        """
        dataset = Dataset.for_slug(slug, request.user)
        action = ALIASES.get(action, action)
        if action not in ACTIONS:
            raise NotFound(f"There is no such action; there are {', '.join(ACTIONS)}.")
        given = validated(ShardActionsSerializer, request.data)
        found = _discover(dataset) if action == "start" else None
        shards = control.shards_of(dataset, given.get("shards", ""))
        if action == "drop" and not given["sure"]:
            raise ValidationError({"sure": [_drop_warning(shards)]})
        if action in ("cancel", "drop"):
            client.ping()  # before anything is removed
        count = control.apply_action(dataset, shards, action)
        if count and action in STARTED_FROM:
            notices.subscribe(dataset, request.user)
        result = {"action": action, "shards": count, "found": found}
        return Response(ShardActionResultSerializer(result).data)


def _discover(dataset: Dataset) -> int:
    found = control.discover_shards(dataset)
    if not found:
        raise ShardUnreadable(f"There are no shards in “{dataset.source}”.")
    return found


def _drop_warning(shards: QuerySet[Shard]) -> str:
    rows = list(control.droppable(shards).values_list("rows_visible", flat=True))
    return f"Write true to drop {len(rows):,} shards with {sum(rows):,} items."


class Progress(APIView):
    permission_classes = [StaffOnly]
    throttle_scope = "item"

    @extend_schema(
        operation_id="progress_retrieve", tags=["staff"], responses=ProgressSerializer
    )
    def get(self, request: Request, slug: str) -> Response:
        """Show the progress of a dataset's import."""
        progress = ImportProgress.of(Dataset.for_slug(slug, request.user))
        moving = progress.moving
        speed = pace(progress.dataset, progress.rows_done) if moving else None
        context = {"rows_per_second": speed}
        return Response(ProgressSerializer(progress, context=context).data)
