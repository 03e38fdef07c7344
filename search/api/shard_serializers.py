"""The JSON of a dataset's shards and of the progress of their import."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers
from rest_framework.serializers import (
    BooleanField,
    CharField,
    ChoiceField,
    DictField,
    FloatField,
    IntegerField,
    ListField,
)

from search.ingestion.progress import ImportProgress, reasons, spans
from search.models import Partition, Shard

from .fields import (
    NextField,
    ResponseSerializer,
    StrictSerializer,
    WordField,
    between,
    count_field,
)

ACTIONS = ("start", "pause", "resume", "cancel", "retry", "replace", "drop")
DEFAULT_LIMIT, MAX_PER_PAGE = 40, 100


# --- Requests


class ShardsParameters(StrictSerializer):
    in_address = True
    state = WordField(
        Shard.State.values, required=False, help_text="Only shards in this state."
    )
    limit = IntegerField(default=DEFAULT_LIMIT, **between(1, MAX_PER_PAGE))
    cursor = serializers.RegexField(
        r"^[0-9]{1,9}$",
        required=False,
        help_text="`next` of the page before.",
        error_messages={"invalid": "This cursor is not valid."},
    )


class ShardActionsSerializer(StrictSerializer):
    shards = CharField(
        required=False,
        max_length=1_000,
        help_text="Numbers such as 0-9,12; by default all of them.",
    )
    sure = BooleanField(default=False, help_text="Must be true for drop.")


# --- Responses


class ShardSerializer(ResponseSerializer, serializers.ModelSerializer):
    """One numbered piece of the source, and the state of its import."""

    notes = DictField(
        child=IntegerField(min_value=1),
        help_text="How rows were read, or what was changed in them: how many, by note.",
    )
    unknown_ratings = ListField(
        child=CharField(), help_text="Some of the ratings that are not known."
    )

    class Meta:
        model = Shard
        fields = [
            *("number", "state", "rows", "rows_done", "rows_kept", "rows_rejected"),
            *("rows_visible", "notes", "rows_unknown_rating", "unknown_ratings"),
            *("has_text_vectors", "bytes", "bytes_done"),
            *("attempts", "failures", "error"),
            *("started_at", "finished_at", "published_at"),
        ]


class ShardsSerializer(ResponseSerializer):
    results = ShardSerializer(many=True)
    next = NextField()


def page_of(shards: QuerySet[Shard], limit: int) -> dict[str, Any]:
    """Return the first shards; the next page's cursor is the last one's number."""
    rows = list(shards[: limit + 1])
    shown = rows[:limit]
    cursor = str(shown[-1].number) if len(rows) > limit else ""
    return {"results": shown, "next": cursor}


@extend_schema_serializer(component_name="ShardActionsAnswer")
class ShardActionResultSerializer(ResponseSerializer):
    action = ChoiceField(ACTIONS)
    shards = count_field("How many were affected.")
    found = IntegerField(
        min_value=1,
        allow_null=True,
        help_text="How many the source has, if start has looked.",
    )


class StatesSerializer(ResponseSerializer):
    """The number of shards in each state."""

    def get_fields(self) -> dict[str, serializers.Field]:
        return {state: count_field() for state in Shard.State.values}


class RowsSerializer(ResponseSerializer):
    done = count_field("Processed so far.", source="rows_done")
    expected = IntegerField(
        min_value=0,
        allow_null=True,
        help_text="In the whole source; null until a shard has been opened.",
        source="rows_expected",
    )
    estimated = BooleanField(
        help_text="Whether `expected` assumes the mean for shards not opened yet.",
        source="rows_estimated",
    )
    visible = count_field("Found by searches.", source="rows_visible")
    kept = count_field("Of those processed, the items.", source="rows_kept")
    left_out = count_field("Of those processed.", source="rows_rejected")
    unaccounted = count_field(
        "Of complete shards, rows neither kept nor left out: a fault unless 0.",
        source="rows_unaccounted",
    )
    unknown_rating = count_field(
        "Of those imported, whose rating is not known: they count as unrated.",
        source="rows_unknown_rating",
    )


class BytesSerializer(ResponseSerializer):
    done = count_field(source="bytes_done")
    expected = count_field(
        "Of the shards whose length is known.", source="bytes_expected"
    )


class ErrorSerializer(ResponseSerializer):
    error = CharField()
    count = IntegerField(min_value=1, help_text="Shards.")
    shards = CharField(help_text="Their numbers, as 0-9, 12.")


class PublicationSerializer(ResponseSerializer):
    """Shards whose index is being built or failed to build."""

    shards = CharField(help_text="Their numbers, as 0-3.")
    vectors = count_field("To be indexed; 0 while the rows are being merged.")
    vectors_done = count_field()
    error = CharField(allow_blank=True)

    def compute_shards(self, partition: Partition) -> str:
        size = partition.dataset.shards_per_partition
        first = partition.number * size
        return spans(range(first, first + size))


class NoteSerializer(ResponseSerializer):
    note = CharField(help_text="How rows were read, or what was changed in them.")
    rows = IntegerField(min_value=1)


class LeftOutSerializer(ResponseSerializer):
    reason = CharField()
    rows = IntegerField(min_value=1)


class ProgressSerializer(ResponseSerializer):
    # The context has `rows_per_second`: measuring it counts as a poll.
    dataset = CharField(source="dataset.slug")
    moving = BooleanField(help_text="Whether the import continues by itself.")
    shards = StatesSerializer(source="counts")
    rows = RowsSerializer()
    bytes = BytesSerializer()
    rows_per_second = FloatField(
        allow_null=True,
        help_text="Over the last minute in which the progress was requested; null at "
        "first, and while nothing is imported.",
    )
    seconds_left = FloatField(allow_null=True)
    errors = ErrorSerializer(  # type: ignore[assignment]  # a field, no validation errors
        many=True, help_text="The one with the most shards first."
    )
    indexes = PublicationSerializer(many=True, source="publications")
    notes = NoteSerializer(
        many=True, help_text="Such as the dialect of a list; most rows first."
    )
    unknown_ratings = ListField(
        child=CharField(), help_text="Some of the ratings that are not known."
    )
    left_out = LeftOutSerializer(
        many=True,
        allow_null=True,
        help_text="The most frequent reasons; null during the import.",
    )

    def compute_rows(self, progress: ImportProgress) -> ImportProgress:
        return progress

    def compute_bytes(self, progress: ImportProgress) -> ImportProgress:
        return progress

    def compute_rows_per_second(self, progress: ImportProgress) -> float | None:
        return self.context["rows_per_second"]

    def compute_seconds_left(self, progress: ImportProgress) -> float | None:
        return progress.seconds_left(self.context["rows_per_second"])

    def compute_errors(self, progress: ImportProgress) -> list[dict[str, Any]]:
        return [
            {"error": error, "count": len(numbers), "shards": spans(numbers)}
            for error, numbers in progress.errors
        ]

    def compute_notes(self, progress: ImportProgress) -> list[dict[str, Any]]:
        return [{"note": note, "rows": rows} for note, rows in progress.notes]

    def compute_left_out(self, progress: ImportProgress) -> list[dict[str, Any]] | None:
        return None if progress.moving else reasons(progress.dataset)
