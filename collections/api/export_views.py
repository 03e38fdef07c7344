"""List, create, show, cancel and delete exports, and download their files."""

from uuid import UUID

from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
)
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from search.api.fields import Json, validated
from search.api.negotiation import IgnoreAcceptHeader
from search.request_bodies import MAX_IMAGE_BYTES

from ..export import services, storage
from ..models import Export
from ..pagination import COLLECTION_ORDERS, paginate
from .access import OwnerAccess
from .export_serializers import ExportPageSerializer, ExportSerializer, NewExport
from .serializers import PageParameters

TAGS = ["exports"]
FILE_TYPES = [
    kind.partition(";")[0]
    for kind in storage.CONTENT_TYPES.values()
    if "json" not in kind
]
FILE = (*FILE_TYPES, storage.OTHER_TYPE)
EXAMPLE_SEARCH = OpenApiExample(
    "The nearest 1,000, with their vectors",
    request_only=True,
    value={
        "kind": "search",
        "form": "parquet",
        "embeddings": True,
        "search": {
            "dataset": "postcards",
            "terms": [{"text": "a boat at night"}],
            "limit": 1_000,
        },
    },
)
EXAMPLE_DATASET = OpenApiExample(
    "Wide images, as a list for img2dataset",
    request_only=True,
    value={
        "kind": "dataset",
        "form": "img2dataset",
        "dataset": "postcards",
        "filters": {"min_width": 512},
    },
)


class Exports(OwnerAccess):
    max_body_bytes = MAX_IMAGE_BYTES

    def check_throttles(self, request: Request) -> None:
        """Limit creating exports more strictly than following them."""
        self.throttle_scope = "export" if request.method == "POST" else "item"
        super().check_throttles(request)

    @extend_schema(
        operation_id="exports_list",
        tags=TAGS,
        parameters=[PageParameters],
        responses=ExportPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List your exports, the latest first."""
        given = validated(PageParameters, request.query_params.dict())
        latest_first = COLLECTION_ORDERS["created"]
        mine = services.exports_of(request.user)
        page = paginate(mine, latest_first, given["cursor"], given["limit"])
        context = {"request": request}
        return Response(ExportPageSerializer(page, context=context).data)

    @extend_schema(
        operation_id="exports_create",
        tags=TAGS,
        request=NewExport,
        responses={
            201: OpenApiResponse(ExportSerializer, "It was small and is done."),
            202: OpenApiResponse(ExportSerializer, "It is being made."),
        },
        examples=[EXAMPLE_SEARCH, EXAMPLE_DATASET],
    )
    def post(self, request: Request) -> Response:
        """Export a collection, a search, a concept above a threshold, or a dataset.

        Up to 2,000 rows are written at once, and the response is 201. A worker writes
        exports that may have more: the response is 202, and `Location` is where to
        follow the progress. The files are kept for some days, until `expires_at`.
        """
        given = NewExport(data=request.data)
        given.is_valid(raise_exception=True)
        export = services.start(request.user, given.to_export_request(request))
        is_done = export.state not in services.AT_WORK
        location = reverse("api-export", args=[export.pk])
        return Response(
            _export_json(export, request),
            status=status.HTTP_201_CREATED if is_done else status.HTTP_202_ACCEPTED,
            headers={"Location": request.build_absolute_uri(location)},
        )


class ExportDetail(OwnerAccess):
    @extend_schema(
        operation_id="exports_retrieve", tags=TAGS, responses=ExportSerializer
    )
    def get(self, request: Request, export_id: UUID) -> Response:
        """Show one of your exports: its progress, or its files."""
        return Response(
            _export_json(services.find_owned(request.user, export_id), request)
        )

    @extend_schema(operation_id="exports_delete", tags=TAGS, responses={204: None})
    def delete(self, request: Request, export_id: UUID) -> Response:
        """Delete an export and its files; if it is being made, it is stopped."""
        services.delete(request.user, export_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class CancelExport(OwnerAccess):
    @extend_schema(
        operation_id="exports_cancel",
        tags=TAGS,
        request=None,
        responses=ExportSerializer,
    )
    def post(self, request: Request, export_id: UUID) -> Response:
        """Cancel an export that is waiting or being made, and delete its files."""
        return Response(_export_json(services.cancel(request.user, export_id), request))


class ExportFile(OwnerAccess):
    # A file has its own type, an error is JSON.
    content_negotiation_class = IgnoreAcceptHeader

    @extend_schema(
        operation_id="exports_file",
        tags=TAGS,
        parameters=[
            OpenApiParameter(
                "Range",
                str,
                OpenApiParameter.HEADER,
                description="A part of the file, such as `bytes=1000-`.",
            )
        ],
        responses={
            (200, "application/json"): OpenApiTypes.ANY,
            (200, *FILE): OpenApiTypes.BINARY,
            (206, "application/json", *FILE): OpenApiResponse(
                OpenApiTypes.BINARY, "The requested part."
            ),
            416: OpenApiResponse(
                description="The range is beyond the end of the file."
            ),
        },
    )
    def get(self, request: Request, export_id: UUID, name: str) -> HttpResponseBase:
        """Download a file of an export, or its `manifest.json`.

        The content type is that of the file: JSON, CSV or Parquet.
        """
        export = services.find_owned(request.user, export_id)
        return storage.serve(export, name, request.headers.get("Range", ""))


def _export_json(export: Export, request: Request) -> Json:
    return ExportSerializer(export, context={"request": request}).data
