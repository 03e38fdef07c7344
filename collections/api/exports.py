"""Exports: asked for, watched, taken, stopped and deleted."""

from collections.abc import Iterable
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
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from search.api.fields import Json as Told

from ..export import services, storage
from ..export.status import progress_share
from ..models import Export
from ..pagination import COLLECTION_ORDERS, paginate
from .access import OwnerAccess, parameters
from .export_serializers import ExportAnswer, ExportPage, NewExport
from .representations import page_json
from .serializers import PageParameters, validated

TAGS = ["exports"]
FILE_FIELDS = ("name", "rows", "bytes", "sha256")
KINDS = [
    kind.partition(";")[0]
    for kind in storage.CONTENT_TYPES.values()
    if "json" not in kind
]
FILE = (*KINDS, storage.OTHER_TYPE)
OF_A_SEARCH = OpenApiExample(
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
OF_A_DATASET = OpenApiExample(
    "Whatever is wide, as a list for img2dataset",
    request_only=True,
    value={
        "kind": "dataset",
        "form": "img2dataset",
        "dataset": "postcards",
        "filters": {"min_width": 512},
    },
)


class Exports(OwnerAccess):
    def check_throttles(self, request: Request) -> None:
        """Having one made costs; looking how far it is costs little."""
        self.throttle_scope = "export" if request.method == "POST" else "item"
        super().check_throttles(request)

    @extend_schema(
        operation_id="exports_list",
        tags=TAGS,
        parameters=[PageParameters],
        responses=ExportPage,
    )
    def get(self, request: Request) -> Response:
        """List your exports, the latest first."""
        given = validated(PageParameters, parameters(request))
        latest_first = COLLECTION_ORDERS["created"]
        mine = services.exports_of(request.user)
        page = paginate(mine, latest_first, given["cursor"], given["limit"])
        return Response(
            page_json([export_json(row, request) for row in page.rows], page)
        )

    @extend_schema(
        operation_id="exports_create",
        tags=TAGS,
        request=NewExport,
        responses={
            201: OpenApiResponse(ExportAnswer, "It was small, and has been made."),
            202: OpenApiResponse(ExportAnswer, "It is being made."),
        },
        examples=[OF_A_SEARCH, OF_A_DATASET],
    )
    def post(self, request: Request) -> Response:
        """Export a collection, a search, a concept above a threshold, or a dataset.

        What has up to 2,000 rows is written at once, and the answer is 201. What may
        have more is written by a worker: the answer is 202, and `Location` is where to
        look how far it is. The files are kept for some days, until `expires_at`.
        """
        given = NewExport(data=request.data)
        given.is_valid(raise_exception=True)
        export = services.start(request.user, given.asked(request))
        is_made = export.state not in services.AT_WORK
        where = reverse("api-export", args=[export.pk])
        return Response(
            export_json(export, request),
            status=status.HTTP_201_CREATED if is_made else status.HTTP_202_ACCEPTED,
            headers={"Location": request.build_absolute_uri(where)},
        )


class OneExport(OwnerAccess):
    @extend_schema(operation_id="exports_retrieve", tags=TAGS, responses=ExportAnswer)
    def get(self, request: Request, export_id: UUID) -> Response:
        """Read one of your exports: how far it is, or its files."""
        return Response(
            export_json(services.find_owned(request.user, export_id), request)
        )

    @extend_schema(operation_id="exports_delete", tags=TAGS, responses={204: None})
    def delete(self, request: Request, export_id: UUID) -> Response:
        """Delete an export and its files; one that is being made stops."""
        services.delete(request.user, export_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class CancelExport(OwnerAccess):
    @extend_schema(
        operation_id="exports_cancel", tags=TAGS, request=None, responses=ExportAnswer
    )
    def post(self, request: Request, export_id: UUID) -> Response:
        """Stop an export that waits or is being made; its files are deleted."""
        return Response(export_json(services.cancel(request.user, export_id), request))


class OfItsOwnKind(DefaultContentNegotiation):
    """A file is of its kind, whatever is accepted; what is refused is JSON."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str | None]:
        first = next(iter(renderers))
        return first, first.media_type


class ExportFile(OwnerAccess):
    content_negotiation_class = OfItsOwnKind

    @extend_schema(
        operation_id="exports_file",
        tags=TAGS,
        parameters=[
            OpenApiParameter(
                "Range",
                str,
                OpenApiParameter.HEADER,
                description="Which part of it, such as `bytes=1000-`; else all of it.",
            )
        ],
        responses={
            (200, "application/json"): OpenApiTypes.ANY,
            (200, *FILE): OpenApiTypes.BINARY,
            (206, "application/json", *FILE): OpenApiResponse(
                OpenApiTypes.BINARY, "The part that was asked for."
            ),
            416: OpenApiResponse(description="The file does not go so far."),
        },
    )
    def get(self, request: Request, export_id: UUID, name: str) -> HttpResponseBase:
        """Download a file of an export, or its `manifest.json`.

        The type of the answer is that of the file: JSON, CSV or Parquet.
        """
        export = services.find_owned(request.user, export_id)
        return storage.serve(export, name, request.headers.get("Range", ""))


def export_json(export: Export, request: Request) -> Told:
    """As ExportAnswer."""

    def url(view: str, *more: str) -> str:
        address = reverse(view, args=[export.pk, *more])
        return request.build_absolute_uri(address)

    is_done = export.state == Export.State.DONE
    return {
        "id": export.pk,
        "name": export.name,
        "kind": export.asked["kind"],
        "form": export.asked["form"],
        "embeddings": export.asked["with_embeddings"],
        "state": export.state,
        "progress": {
            "looked_at": export.looked_at,
            "to_look_at": export.to_look_at,
            "rows": export.rows,
            "share": progress_share(export),
        },
        "bytes": export.bytes,
        "files": [
            {name: file[name] for name in FILE_FIELDS}
            | {"url": url("api-export-file", file["name"])}
            for file in storage.listed(export)
        ],
        "manifest": export.manifest if is_done else None,
        "manifest_url": url("api-export-file", storage.MANIFEST) if is_done else None,
        "error": export.error,
        "page": url("export"),
        "created_at": export.created_at,
        "finished_at": export.finished_at,
        "expires_at": export.expires_at,
    }
