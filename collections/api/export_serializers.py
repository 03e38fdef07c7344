"""What the API of exports takes and answers, field by field."""

import math
from typing import Any, ClassVar

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

from ..export import export_request
from ..export.export_request import FORMS, KINDS, ExportRequest
from ..models import Export

# The keys that say what an export is of, by its kind: what it needs, and may have.
NEEDED = {
    "collection": ("collection",),
    "search": ("search",),
    "concept": ("concept", "dataset", "at_least"),
    "dataset": ("dataset",),
}
ALLOWED = {
    "collection": (),
    "search": (),
    "concept": ("field", "filters"),
    "dataset": ("filters",),
}
OF_SOME = sorted({name for names in NEEDED.values() for name in names} | {"field"})
OF_SOME.append("filters")


def _foreign(kind: str) -> list[str]:
    """The keys of other kinds alone."""
    return [name for name in OF_SOME if name not in (*NEEDED[kind], *ALLOWED[kind])]


class ExportedSearch(QuerySerializer):
    """A search as in POST /api/search/, of which more than a page is taken."""

    terms: ListSerializer[Any] = ListSerializer(
        child=TermSerializer(), min_length=1, max_length=MAX_TERMS
    )
    limit = StrictIntegerField(
        default=MAX_RESULTS, **between(1, MAX_RESULTS, "a number")
    )
    include = None  # type: ignore[assignment]  # so REST framework takes it away

    @staticmethod
    def query_of(given: dict[str, Any]) -> SearchQuery:
        """The search in validated data; its limit is looked at elsewhere."""
        return SearchQuery(
            given["dataset"],
            terms_of(given["terms"]),
            field=given["field"],
            mode=given["mode"],
            sort=given["sort"],
            filters=Filters(**given["filters"]),
        )


class NewExport(StrictSerializer):
    """What is to be exported, and as what."""

    more_of_schema: ClassVar[dict[str, Any]] = {
        "oneOf": [
            {
                "properties": {
                    "kind": {"const": kind},
                    **dict.fromkeys(_foreign(kind), False),
                },
                "required": ["kind", *NEEDED[kind]],
            }
            for kind in KINDS
        ]
    }

    kind = WordField(KINDS, help_text="What is exported.")
    form = WordField(FORMS, help_text="The files that are made of it.")
    embeddings = BooleanField(
        default=False, help_text="Whether vectors are in it, too: of Parquet alone."
    )
    collection = UUIDField(
        required=False, help_text="Of the kind `collection`: one that you may see."
    )
    search = ExportedSearch(
        required=False, help_text="Of the kind `search`: its nearest `limit` results."
    )
    concept = UUIDField(
        required=False, help_text="Of the kind `concept`: one that you may see."
    )
    dataset = CharField(
        required=False,
        max_length=200,
        help_text="Of the kinds `concept` and `dataset`: its slug.",
    )
    at_least = FloatField(
        required=False,
        help_text="Of the kind `concept`: how similar an item has to be. Every item of "
        "the dataset is compared.",
        **between(-1, 1),
    )
    field = WordField(
        FIELDS,
        required=False,
        help_text="Of the kind `concept`: the embedding compared; `image`, if it is "
        "left out.",
    )
    filters = FiltersSerializer(
        required=False,
        help_text="Of the kinds `concept` and `dataset`: as those of a search, without "
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
        missing = [name for name in NEEDED[kind] if name not in given]
        needed = f"An export of the kind {kind} needs this."
        foreign = [name for name in _foreign(kind) if name in given]
        unknown = f"An export of the kind {kind} has no such key."
        if wrong := dict.fromkeys(missing, [needed]) | dict.fromkeys(
            foreign, [unknown]
        ):
            raise serializers.ValidationError(wrong)
        return given

    def asked(self, request: Request) -> ExportRequest:
        """Raises InvalidQuery, NotFound, CannotFetch, SearchUnavailable."""
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
            return export_request.of_dataset(given["dataset"], filters, **how)
        return export_request.of_concept(
            user,
            given["concept"],
            given["dataset"],
            given["at_least"],
            given.get("field", "image"),
            filters,
            **how,
        )


# --- Answers


class ExportProgressAnswer(serializers.Serializer):
    """How far an export is."""

    looked_at = count_field("Items looked at so far.")
    to_look_at = serializers.IntegerField(
        min_value=0, allow_null=True, help_text="null where it is not known yet."
    )
    rows = count_field("Written so far.")
    share = FloatField(
        min_value=0, max_value=1, allow_null=True, help_text="null where not known."
    )


class FileAnswer(serializers.Serializer):
    """A file of an export that is done."""

    name = CharField()
    rows = count_field()
    bytes = count_field()
    sha256 = CharField()
    url = CharField(help_text="Where it is downloaded from, with the same token.")


class ExportAnswer(serializers.Serializer):
    """An export, and its files once it is done."""

    id = UUIDField()
    name = CharField()
    kind = ChoiceField(KINDS)
    form = ChoiceField(FORMS)
    embeddings = BooleanField()
    state = ChoiceField(
        Export.State.values,
        help_text="`queued` and `running` get on by themselves; of the others only "
        "`done` has files.",
    )
    progress = ExportProgressAnswer()
    bytes = count_field("Of all its files.")
    files = FileAnswer(many=True, help_text="All but the manifest.")
    manifest = serializers.DictField(
        allow_null=True,
        help_text="What it holds and how it came about; null until it is done.",
    )
    manifest_url = CharField(
        allow_null=True, help_text="The same as a file; null until it is done."
    )
    error = CharField(help_text="Why it failed, or what it waits for; or empty.")
    page = CharField(help_text="The address of the page it is on.")
    created_at = DateTimeField()
    finished_at = DateTimeField(allow_null=True)
    expires_at = DateTimeField(
        allow_null=True, help_text="When its files are deleted; null until it is done."
    )


class ExportPage(serializers.Serializer):
    results = ExportAnswer(many=True)
    next = CharField(
        allow_null=True, help_text="The `cursor` of the next page; null at the end."
    )
