"""The JSON of exports."""

import math
from typing import Any, ClassVar

from django.urls import reverse
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.serializers import (
    BooleanField,
    CharField,
    ChoiceField,
    DateTimeField,
    FloatField,
    ListSerializer,
    UUIDField,
)

from search.api.fields import (
    AddressField,
    NextField,
    ResponseSerializer,
    StrictIntegerField,
    StrictSerializer,
    WordField,
    between,
    count_field,
)
from search.api.serializers import (
    FiltersSerializer,
    QuerySerializer,
    TermSerializer,
    terms_of,
)
from search.query.filters import SPECS, Filters
from search.query.model import FIELDS, MAX_RESULTS, MAX_TERMS, SearchQuery
from search.rate_limits import limiter

from ..export import export_request, storage
from ..export.export_request import KINDS, ExportRequest
from ..export.formats import FORMATS
from ..export.status import progress_share
from ..models import Export

# The keys that say what is exported, by kind: required and optional ones.
REQUIRED = {
    "collection": ("collection",),
    "search": ("search",),
    "concept": ("concept", "dataset", "at_least"),
    "dataset": ("dataset",),
}
OPTIONAL = {
    "collection": (),
    "search": (),
    "concept": ("field", "filters"),
    "dataset": ("filters",),
}
KIND_KEYS = sorted({name for names in REQUIRED.values() for name in names} | {"field"})
KIND_KEYS.append("filters")


def _foreign(kind: str) -> list[str]:
    """Return the keys that only other kinds have."""
    return [
        name for name in KIND_KEYS if name not in (*REQUIRED[kind], *OPTIONAL[kind])
    ]


class ExportedSearch(QuerySerializer):
    """A search as in POST /api/search/, of which more than a page is exported."""

    terms: ListSerializer[Any] = ListSerializer(
        child=TermSerializer(), min_length=1, max_length=MAX_TERMS
    )
    limit = StrictIntegerField(
        default=MAX_RESULTS, **between(1, MAX_RESULTS, "a number")
    )
    include = None  # type: ignore[assignment]  # removes the field

    @staticmethod
    def query_of(given: dict[str, Any]) -> SearchQuery:
        """Return the search in validated data, without its limit."""
        return SearchQuery(
            given["dataset"],
            terms_of(given["terms"]),
            field=given["field"],
            mode=given["mode"],
            recall=given["recall"],
            sort=given["sort"],
            filters=Filters(**given["filters"]),
        )


class NewExport(StrictSerializer):
    """The content and the format of an export."""

    more_of_schema: ClassVar[dict[str, Any]] = {
        "oneOf": [
            {
                "properties": {
                    "kind": {"const": kind},
                    **dict.fromkeys(_foreign(kind), False),
                },
                "required": ["kind", *REQUIRED[kind]],
            }
            for kind in KINDS
        ]
    }

    kind = WordField(KINDS, help_text="What is exported.")
    form = WordField(tuple(FORMATS), help_text="The file format.")
    embeddings = BooleanField(
        default=False, help_text="Whether to include vectors; only in Parquet."
    )
    collection = UUIDField(
        required=False, help_text="For the kind `collection`: one that you may see."
    )
    search = ExportedSearch(
        required=False, help_text="For the kind `search`: its nearest `limit` results."
    )
    concept = UUIDField(
        required=False, help_text="For the kind `concept`: one that you may see."
    )
    dataset = CharField(
        required=False,
        max_length=200,
        help_text="For the kinds `concept` and `dataset`: its slug.",
    )
    at_least = FloatField(
        required=False,
        help_text="For the kind `concept`: the minimum similarity. Every item of the "
        "dataset is compared.",
        **between(-1, 1),
    )
    field = WordField(
        FIELDS,
        required=False,
        help_text="For the kind `concept`: the embedding compared; by default `image`.",
    )
    filters = FiltersSerializer(
        required=False,
        help_text="For the kinds `concept` and `dataset`: those of a search, without "
        "`cutoff` and `dedupe`.",
    )

    def validate_at_least(self, least: float) -> float:
        if not math.isfinite(least):
            raise serializers.ValidationError("This lies between −1 and 1.")
        return least

    def validate_filters(self, filters: dict[str, Any]) -> dict[str, Any]:
        wrong = [name for name in filters if SPECS[name].ranked_only]
        if wrong:
            sentence = "This filter is one of searches alone."
            raise serializers.ValidationError(dict.fromkeys(wrong, [sentence]))
        return filters

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        kind = given["kind"]
        missing = [name for name in REQUIRED[kind] if name not in given]
        needed = f"An export of the kind {kind} needs this."
        foreign = [name for name in _foreign(kind) if name in given]
        unknown = f"An export of the kind {kind} has no such key."
        if wrong := dict.fromkeys(missing, [needed]) | dict.fromkeys(
            foreign, [unknown]
        ):
            raise serializers.ValidationError(wrong)
        return given

    def to_export_request(self, request: Request) -> ExportRequest:
        """Return what is to be exported.

        Raises InvalidQuery, NotFound, CannotFetch, SearchUnavailable.
        """
        given, user = self.validated_data, request.user
        how = {"form": given["form"], "with_embeddings": given["embeddings"]}
        if given["kind"] == "collection":
            return export_request.of_collection(user, given["collection"], **how)
        if given["kind"] == "search":
            query = ExportedSearch.query_of(given["search"])
            return export_request.of_search(
                query, user, limiter(request), **how, limit=given["search"]["limit"]
            )
        filters = Filters(**given.get("filters", {}))
        if given["kind"] == "dataset":
            return export_request.of_dataset(user, given["dataset"], filters, **how)
        return export_request.of_concept(
            user,
            given["concept"],
            given["dataset"],
            given["at_least"],
            given.get("field", "image"),
            filters,
            **how,
        )


# --- Responses


class ExportProgressSerializer(ResponseSerializer):
    """The progress of an export."""

    looked_at = count_field("Items scanned so far.")
    to_look_at = serializers.IntegerField(
        min_value=0, allow_null=True, help_text="null if not known yet."
    )
    rows = count_field("Written so far.")
    share = FloatField(
        min_value=0, max_value=1, allow_null=True, help_text="null if unknown."
    )

    def compute_share(self, export: Export) -> float | None:
        return progress_share(export)


class FileSerializer(ResponseSerializer):
    """A file of a finished export."""

    name = CharField()
    rows = count_field()
    bytes = count_field()
    sha256 = CharField()
    url = AddressField(
        source="path", help_text="Where it can be downloaded with the same token."
    )


class ExportSerializer(ResponseSerializer):
    """An export, and its files once it is done."""

    id = UUIDField(source="pk")
    name = CharField()
    kind = ChoiceField(KINDS, source="asked.kind")
    form = ChoiceField(tuple(FORMATS), source="asked.form")
    embeddings = BooleanField(source="asked.with_embeddings")
    state = ChoiceField(
        Export.State.values,
        help_text="`queued` and `running` proceed by themselves; of the others only "
        "`done` has files.",
    )
    progress = ExportProgressSerializer()
    bytes = count_field("Of all its files.")
    files = FileSerializer(many=True, help_text="All files except the manifest.")
    manifest = serializers.DictField(
        allow_null=True,
        help_text="What it contains and how it was made; null until it is done.",
    )
    manifest_url = AddressField(
        allow_null=True,
        help_text="The URL of the manifest as a file; null until it is done.",
    )
    error = CharField(help_text="Why it failed, or what it is waiting for; else empty.")
    page = AddressField(help_text="The URL of its page.")
    created_at = DateTimeField()
    finished_at = DateTimeField(allow_null=True)
    expires_at = DateTimeField(
        allow_null=True, help_text="When its files are deleted; null until it is done."
    )

    def compute_progress(self, export: Export) -> Export:
        return export

    def compute_files(self, export: Export) -> list[dict[str, Any]]:
        return [
            {**file, "path": _file_path(export, file["name"])}
            for file in storage.listed(export)
        ]

    def compute_manifest(self, export: Export) -> dict[str, Any] | None:
        return storage.manifest_of(export)

    def compute_manifest_url(self, export: Export) -> str | None:
        is_there = storage.manifest_of(export) is not None
        return _file_path(export, storage.MANIFEST) if is_there else None

    def compute_page(self, export: Export) -> str:
        return reverse("export", args=[export.pk])


def _file_path(export: Export, name: str) -> str:
    return reverse("api-export-file", args=[export.pk, name])


@extend_schema_serializer(component_name="ExportPage")
class ExportPageSerializer(ResponseSerializer):
    results = ExportSerializer(many=True, source="rows")
    next = NextField()
