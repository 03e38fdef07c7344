"""Upload the files of a dataset in chunks (staff)."""

from typing import IO, Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BooleanField, CharField, IntegerField, SkipField
from rest_framework.views import APIView

from search.errors import InvalidQuery
from search.ingestion.setup import fetching, uploads
from search.ingestion.setup.uploads import MAX_FILE_BYTES, Chunk, Upload, UploadedFile
from search.request_bodies import MAX_IMAGE_BYTES

from .errors import ERROR_RESPONSE
from .fields import (
    ResponseSerializer,
    StrictIntegerField,
    StrictSerializer,
    count_field,
    validated,
)
from .permissions import StaffAdds

KEY = OpenApiParameter("key", OpenApiTypes.STR, OpenApiParameter.PATH)
CONFLICT = OpenApiResponse(
    ERROR_RESPONSE,
    "The file does not end where the chunk begins, or another one has its name. Show "
    "the upload to see how much of each file is there.",
)


class NewUploadSerializer(StrictSerializer):
    """The size of an upload, which is refused early if it does not fit."""

    files = StrictIntegerField(
        required=False,
        min_value=0,
        max_value=10**9,
        help_text=f"An upload has up to {uploads.MAX_FILES:,}; more are refused (413).",
    )
    bytes = StrictIntegerField(
        required=False,
        min_value=0,
        max_value=10**15,
        help_text="More than the disk has room for are refused (413).",
    )


class ChunkParameters(StrictSerializer):
    in_address = True
    name = CharField(
        max_length=1_000,
        help_text="Of the file, perhaps with folders: trip/boat.jpg. Characters that a "
        "name cannot have are left out.",
    )
    size = IntegerField(
        min_value=0, max_value=MAX_FILE_BYTES, help_text="Bytes of the whole file."
    )
    offset = IntegerField(
        min_value=0, max_value=MAX_FILE_BYTES, help_text="Where the chunk begins."
    )
    version = CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=40,
        help_text="What differs when the file was changed, such as the time of its "
        "modification: chunks of two versions are never joined.",
    )


class UploadedFileSerializer(ResponseSerializer):
    """A file of an upload."""

    name = CharField()
    size = count_field("Bytes of the whole file.")
    offset = count_field("Bytes that are here: the next chunk begins there.")
    version = CharField()
    complete = BooleanField(source="is_complete")


class UploadSerializer(ResponseSerializer):
    """An upload, deleted a day after its last change unless a dataset uses it."""

    key = CharField()
    # REST framework takes it out of the class, whose attribute it would hide.
    source = CharField(  # type: ignore[assignment]
        allow_null=True,
        help_text="The `source` of a dataset of the complete files; null without any.",
    )
    complete = BooleanField(
        source="is_complete", help_text="Whether all files that were begun are here."
    )
    bytes = count_field("Of all files that were begun.")
    bytes_done = count_field("Of these, how many are here.")
    chunk_bytes = count_field("Of a chunk, at most; a few times less also works.")
    files = UploadedFileSerializer(
        many=True, required=False, help_text="Not in the list of uploads."
    )

    def compute_source(self, upload: Upload) -> str | None:
        try:
            return upload.source
        except InvalidQuery:
            return None

    def compute_chunk_bytes(self, upload: Upload) -> int:
        return uploads.CHUNK_BYTES

    def compute_files(self, upload: Upload) -> list[UploadedFile]:
        if self.context.get("brief"):
            raise SkipField
        return upload.files


class FetchSerializer(StrictSerializer):
    """The address of a file."""

    url = CharField(max_length=4_000)


class FetchedFileSerializer(ResponseSerializer):
    """A file as far as it was fetched."""

    name = CharField()
    size = count_field("Bytes of the whole file, if known.", allow_null=True)
    offset = count_field("Bytes that are here.")
    complete = BooleanField(source="is_complete")


class OctetParser(BaseParser):
    """Reads the bytes of a body, up to the size that any request may have."""

    media_type = "application/octet-stream"

    def parse(
        self, stream: IO, media_type: str | None = None, context: Any = None
    ) -> dict[str, bytes]:
        return {"content": context["request"]._request.body}


class UploadView(APIView):
    permission_classes: list[type[BasePermission]] = [StaffAdds]
    throttle_scope = None


class Uploads(UploadView):
    @extend_schema(
        operation_id="uploads_list",
        tags=["staff"],
        responses=UploadSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List your uploads that no dataset uses yet, the newest first."""
        found = uploads.unused(request.user.pk)
        context = {"brief": True}
        return Response(UploadSerializer(found, many=True, context=context).data)

    @extend_schema(
        operation_id="upload_create",
        tags=["staff"],
        request=NewUploadSerializer,
        responses={201: UploadSerializer},
    )
    def post(self, request: Request) -> Response:
        """Create an upload, to which files are sent.

        Send each file in chunks, then create a dataset with the `source` of the upload.
        """
        given = validated(NewUploadSerializer, request.data)
        files, size = given.get("files", 0), given.get("bytes", 0)
        upload = uploads.create(request.user.pk, files, size)
        return Response(UploadSerializer(upload).data, status=201)


class UploadDetail(UploadView):
    @extend_schema(
        operation_id="upload_retrieve",
        tags=["staff"],
        parameters=[KEY],
        responses=UploadSerializer,
    )
    def get(self, request: Request, key: str) -> Response:
        """Show an upload, and how much of each file is there."""
        return Response(UploadSerializer(uploads.find(request.user.pk, key)).data)

    @extend_schema(
        operation_id="upload_destroy",
        tags=["staff"],
        parameters=[KEY],
        responses={
            204: None,
            409: OpenApiResponse(ERROR_RESPONSE, "A dataset uses it."),
        },
    )
    def delete(self, request: Request, key: str) -> Response:
        """Delete an upload that no dataset uses."""
        uploads.discard(request.user.pk, key)
        return Response(status=204)


class UploadFile(UploadView):
    parser_classes = [OctetParser]
    max_body_bytes = MAX_IMAGE_BYTES

    @extend_schema(
        operation_id="upload_chunk",
        tags=["staff"],
        parameters=[KEY, ChunkParameters],
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses={200: UploadedFileSerializer, 409: CONFLICT},
    )
    def put(self, request: Request, key: str) -> Response:
        """Append a chunk to a file of an upload.

        The first chunk of a file has the offset 0, each other one that of the answer
        before. After an error, continue from the offset that the upload shows.
        """
        data = request.data  # without a body, what REST framework has in its place
        content = data.get("content", b"") if isinstance(data, dict) else b""
        given = validated(ChunkParameters, request.query_params.dict())
        upload = uploads.find(request.user.pk, key)
        chunk = Chunk(content=content, **given)
        return Response(UploadedFileSerializer(upload.receive(chunk)).data)


class UploadFetch(UploadView):
    @extend_schema(
        operation_id="upload_fetch",
        tags=["staff"],
        parameters=[KEY],
        request=FetchSerializer,
        responses={
            200: FetchedFileSerializer,
            422: OpenApiResponse(ERROR_RESPONSE, "The file cannot be fetched."),
        },
    )
    def post(self, request: Request, key: str) -> Response:
        """Fetch a file at an address into an upload, for some seconds.

        Ask again with the same address until it is complete.
        """
        given = validated(FetchSerializer, request.data)
        upload = uploads.find(request.user.pk, key)
        fetched = fetching.fetch_step(upload, given["url"])
        return Response(FetchedFileSerializer(fetched).data)
