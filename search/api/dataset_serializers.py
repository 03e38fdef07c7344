"""The JSON of datasets: their state, their latest evaluation, and their settings."""

from collections.abc import Collection
from dataclasses import fields
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.validators import RegexValidator
from django.db import IntegrityError, transaction
from django.db.models import Model
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.serializers import (
    BooleanField,
    CharField,
    ChoiceField,
    DateTimeField,
    DictField,
    FloatField,
    IntegerField,
    ListField,
    SkipField,
    SlugRelatedField,
)

from search.clickhouse.schema import VECTOR_COLUMNS
from search.clustering.curves import Curve
from search.evaluation.calibration import PICTURES, WORDS, fields_of
from search.ingestion import deletion, validation
from search.ingestion.setup import creation
from search.ingestion.sources.tables import NAMES
from search.models import Dataset, Evaluation, Training, Watch
from search.models.registry import SLUG, TERMS_OF_SLUG, own_field
from search.models.watching import MAX_INTERVAL_S, MIN_INTERVAL_S
from search.query.model import DEFAULT_RECALL, FIELDS
from search.query.ratings import NAMES as RATING_NAMES
from search.retrieval import popularity, service

from .fields import (
    ResponseSerializer,
    StrictIntegerField,
    StrictSerializer,
    WordField,
    count_field,
    id_field,
)
from .permissions import has_staff_permission

PARTITION_SIZES = [
    value for value, _ in own_field(Dataset, "shards_per_partition").choices or ()
]
ACCESS = ("allowed_users", "allowed_groups")
SOURCE = {"source", "kind", "model", "weights"}  # looked at when changed
SETTINGS = [
    *("slug", "title", "description", "license", "cover", "safety", "visibility"),
    *ACCESS,
    *("kind", "source", "shard_range", "columns"),
    "ratings",
    *("image_pattern", "text_pattern", "metadata_pattern", "keep_files"),
    *("without_removal_list", "model", "weights", "dimension", "metric"),
    "index",
    *("index_connections", "index_construction", "index_quantization"),
    "shards_per_partition",
]
NEW_DATASET = OpenApiExample(
    "LAION-400M",
    {
        "slug": "laion400m",
        "title": "LAION-400M",
        "source": "https://example.org/laion400m/embeddings",
        "shard_range": "0-409",
        "shards_per_partition": 32,
    },
    request_only=True,
)


# --- Settings, which a request sends and a response repeats


def _help(name: str) -> str:
    return str(own_field(Dataset, name).help_text)


def _names_field(model: type[Model], name: str, error: str) -> Any:
    """Return a field of a list of rows, by their names."""
    help_text = f"By their names. {_help(f'allowed_{model._meta.model_name}s')}"
    return SlugRelatedField(
        slug_field=name,
        queryset=model._default_manager.all(),
        many=True,
        required=False,
        help_text=help_text,
        error_messages={"does_not_exist": error},
    )


class ColumnsSerializer(StrictSerializer):
    """Which column of the source is what, where the names differ."""

    def get_fields(self) -> dict[str, serializers.Field]:
        return {role: CharField(required=False, max_length=200) for role in NAMES}


class RatingsSerializer(StrictSerializer):
    """The meaning of a dataset's ratings, where it is not known."""

    values = DictField(child=WordField(list(RATING_NAMES)), required=False)
    threshold = FloatField(
        required=False, help_text="The number from which on an image is unsafe."
    )


class SettingsSerializer(StrictSerializer, serializers.ModelSerializer):
    """The settings of a dataset; a response's may be sent back as a request's."""

    # search.ingestion.validation checks the values, as it does for the admin pages.
    serializer_field_mapping = {
        kind: StrictIntegerField if field is IntegerField else field
        for kind, field in serializers.ModelSerializer.serializer_field_mapping.items()
    }
    kind = WordField(Dataset.Kind.values, required=False)
    metric = WordField(Dataset.Metric.values, required=False)
    index = WordField(Dataset.Index.values, required=False, help_text=_help("index"))
    index_quantization = WordField(
        Dataset.Quantization.values,
        required=False,
        help_text=_help("index_quantization"),
    )
    columns = ColumnsSerializer(required=False, help_text=_help("columns"))
    ratings = RatingsSerializer(required=False, help_text=_help("ratings"))
    safety = WordField(Dataset.Safety.values, required=False, help_text=_help("safety"))
    visibility = WordField(
        Dataset.Visibility.values, required=False, help_text=_help("visibility")
    )
    allowed_users = _names_field(User, "username", "There is no user “{value}”.")
    allowed_groups = _names_field(Group, "name", "There is no group “{value}”.")

    class Meta:
        model = Dataset
        fields = SETTINGS
        extra_kwargs = {
            # Without the uniqueness check of REST framework: validation has its own.
            "slug": {"validators": [RegexValidator(SLUG, TERMS_OF_SLUG)]},
            "shards_per_partition": {
                "error_messages": {
                    "invalid_choice": f"This is one of {PARTITION_SIZES}."
                }
            },
        }

    def save(self, **kwargs: Any) -> Dataset:
        """Create or change the dataset. Raises ValidationError by field."""
        dataset = self.instance or Dataset()
        fixed, is_elsewhere = validation.fixed_fields(dataset), not dataset.pk
        given = {**self.validated_data, **kwargs}
        access = {name: given.pop(name) for name in ACCESS if name in given}
        for name, value in given.items():
            if name in fixed and value != getattr(dataset, name):
                raise ValidationError({name: ["This is fixed once there are shards."]})
            if name in SOURCE and value != getattr(dataset, name):
                is_elsewhere = True
            setattr(dataset, name, value)
        if found := validation.problems(dataset):
            raise ValidationError(found)
        if is_elsewhere:
            self._look(dataset, SETTINGS if dataset.pk else given)
        # Workers write to the row meanwhile, such as the mean of its vectors.
        changed = given.keys() - {*fixed} if dataset.pk else None
        if not dataset.pk:
            creation.name_tables(dataset)
        try:
            with transaction.atomic():
                dataset.save(update_fields=changed)
                for name, rows in access.items():
                    getattr(dataset, name).set(rows)
        except IntegrityError as error:
            raise ValidationError({"slug": [creation.SLUG_TAKEN]}) from error
        return dataset

    def _look(self, dataset: Dataset, given: Collection[str]) -> None:
        """Complete a dataset by its source and model. Raises ValidationError."""
        try:
            creation.complete(dataset, given, is_local=False)
        except creation.Refused as error:
            errors = {name: [sentence] for name, sentence in error.errors.items()}
            raise ValidationError(errors) from error


# --- Parameters


class DatasetsParameters(StrictSerializer):
    in_address = True
    all = BooleanField(default=False, help_text="Also those without items; for staff.")


class DropParameters(StrictSerializer):
    in_address = True
    sure = CharField(
        max_length=200,
        help_text="The dataset's slug again.",
        error_messages={"required": "Write the dataset's slug here once more."},
    )


# --- Responses


class CurveSerializer(ResponseSerializer):
    """The recall of searches by the share of the rows that they read."""

    # The instance is a curve.

    share = FloatField(
        min_value=0,
        max_value=1,
        help_text=f"Of the rows, to find {DEFAULT_RECALL} of the nearest.",
    )
    neighbours = count_field("The curve is of the recall of so many nearest.")
    shares = ListField(child=FloatField(min_value=0, max_value=1))
    recalls = ListField(
        child=FloatField(min_value=0, max_value=1), help_text="At each of the shares."
    )

    def compute_share(self, curve: Curve) -> float:
        return round(curve.share_for(DEFAULT_RECALL, min(curve.recalls)), 5)

    def compute_neighbours(self, curve: Curve) -> int:
        return min(curve.recalls)

    def compute_recalls(self, curve: Curve) -> list[float]:
        return list(curve.recalls[min(curve.recalls)])


class CalibrationSerializer(ResponseSerializer):
    """The share of the clusters that a search of one field reads."""

    # The instance is a mapping: what was measured, with `dataset` and `field`.

    field = ChoiceField(list(VECTOR_COLUMNS))
    rows = count_field("Of the dataset, when it was measured.")
    version = count_field("Of the clusters, when it was measured.")
    measured = DateTimeField()
    words = CurveSerializer(allow_null=True, help_text="Of searches by words.")
    images = CurveSerializer(allow_null=True, help_text="Of searches by an image.")

    def compute_measured(self, known: dict[str, Any]) -> datetime:
        return datetime.fromisoformat(known["measured"])

    def compute_words(self, known: dict[str, Any]) -> Curve | None:
        return known["dataset"].curve(known["field"], WORDS)

    def compute_images(self, known: dict[str, Any]) -> Curve | None:
        return known["dataset"].curve(known["field"], PICTURES)


def _training(dataset: Dataset) -> Training | None:
    """Return the clusters that a dataset is searched by, if it is."""
    if dataset.index != Dataset.Index.CLUSTERS:
        return None
    return Training.objects.filter(dataset=dataset).first()


class IndexSerializer(ResponseSerializer):
    """The clusters or graphs that a search uses, and how much of the data has them."""

    # The instance is a mapping: the `dataset`, and the `state` of its index.

    kind = ChoiceField(Dataset.Index.choices, source="dataset.index")
    clusters = count_field(
        "How many clusters of rows there are; null for graphs.", allow_null=True
    )
    version = count_field(
        "Of the clusters: another one divides the rows anew.", allow_null=True
    )
    calibration = CalibrationSerializer(
        many=True, help_text="By field; empty before it is measured, and for graphs."
    )
    metric = ChoiceField(Dataset.Metric.choices, source="dataset.metric")
    connections = count_field(
        "Neighbours of each point in the graph (M).", source="dataset.index_connections"
    )
    construction = count_field(
        "Candidates kept while the graph is built (ef_construction).",
        source="dataset.index_construction",
    )
    quantization = ChoiceField(
        Dataset.Quantization.choices, source="dataset.index_quantization"
    )
    parts = count_field(source="state.parts")
    parts_without_index = count_field(source="state.parts_without_index")
    rows_without_index = count_field(source="state.rows_without_index")
    bytes = count_field("On disk, all columns.", source="state.bytes")
    health = FloatField(
        min_value=0, max_value=1, help_text="The share of rows that are indexed."
    )

    def compute_clusters(self, index: dict[str, Any]) -> int | None:
        training = _training(index["dataset"])
        return training.clusters if training else None

    def compute_version(self, index: dict[str, Any]) -> int | None:
        training = _training(index["dataset"])
        return training.version if training else None

    def compute_calibration(self, index: dict[str, Any]) -> list[dict[str, Any]]:
        dataset = index["dataset"]
        if dataset.index != Dataset.Index.CLUSTERS:
            return []
        return [
            {"dataset": dataset, "field": field, **dataset.calibration[field]}
            for field in fields_of(dataset)
            if field in dataset.calibration
        ]

    def compute_health(self, index: dict[str, Any]) -> float:
        state = index["state"]
        return 1 - state["rows_without_index"] / max(state["rows"], 1)


class FiguresSerializer(ResponseSerializer):
    """One kind of search by the index, compared with the exact one.

    What begins with `wider` is of a search of more: null where it was not tried.
    """

    name = CharField()
    asked = ChoiceField(["words", "picture"])
    field = ChoiceField(["image", "text"])
    queries = count_field()
    width = count_field(
        "Candidates kept while a graph is searched (ef_search); null for clusters.",
        allow_null=True,
    )
    share = FloatField(
        allow_null=True,
        help_text="Of the rows that a search of clusters reads; null for graphs.",
    )
    recall_1 = FloatField(min_value=0, max_value=1)
    recall_10 = FloatField(min_value=0, max_value=1)
    recall_100 = FloatField(min_value=0, max_value=1)
    ann_p50_ms = FloatField()
    ann_p95_ms = FloatField()
    exact_p50_ms = FloatField()
    exact_p95_ms = FloatField()
    wider_width = IntegerField(allow_null=True)
    wider_share = FloatField(allow_null=True)
    wider_recall_10 = FloatField(allow_null=True)
    wider_p50_ms = FloatField(allow_null=True)


class EvaluationSerializer(ResponseSerializer):
    """The share of the exact result that the index found, and its speed."""

    created_at = DateTimeField()
    words = ChoiceField(Evaluation.Words.choices)
    rows = count_field()
    rows_without_index = count_field()
    figures = FiguresSerializer(many=True)


@extend_schema_serializer(component_name="SeenDatasetAnswer")
class DatasetSerializer(ResponseSerializer):
    """A dataset; with its settings for staff who may change it."""

    slug = CharField()
    title = CharField()
    description = CharField()
    license = CharField(help_text="Of the dataset as a whole; empty if not stated.")
    cover = id_field(allow_null=True)
    safety = ChoiceField(
        Dataset.Safety.choices,
        help_text="`safe` or `unsafe` where all its images count as that; `labelled` "
        "where each has a rating of its own, and counts as not safe without.",
    )
    items = count_field()
    model = CharField(help_text="The model that made the embeddings.")
    dimension = IntegerField(min_value=1, help_text="The length of an embedding.")
    fields_ = ListField(
        child=ChoiceField(FIELDS), help_text="The embeddings that can be searched."
    )
    columns = ListField(child=CharField(), help_text="The metadata of an item.")
    index = IndexSerializer()
    evaluation = EvaluationSerializer(
        allow_null=True, help_text="The latest one; null if there is none yet."
    )
    popularity = BooleanField(help_text="Whether picks of items are counted.")
    settings = SettingsSerializer(
        required=False, help_text="Only for staff who may change datasets."
    )

    def get_fields(self) -> dict[str, serializers.Field]:
        """Name the field `fields`, which is an attribute of every serializer."""
        fields = super().get_fields()
        return {name.removesuffix("_"): field for name, field in fields.items()}

    def compute_items(self, dataset: Dataset) -> int:
        return dataset.item_count()

    def compute_fields(self, dataset: Dataset) -> list[str]:
        return list(dataset.search_fields)

    def compute_columns(self, dataset: Dataset) -> list[str]:
        return [field.name for field in fields(service.Item)]

    def compute_index(self, dataset: Dataset) -> dict[str, Any]:
        """Return the state of the index. Raises SearchUnavailable."""
        return {"dataset": dataset, "state": service.index_state(dataset)}

    def compute_evaluation(self, dataset: Dataset) -> Evaluation | None:
        return dataset.evaluations.first()

    def compute_popularity(self, dataset: Dataset) -> bool:
        return popularity.is_known(dataset)

    def compute_settings(self, dataset: Dataset) -> Dataset:
        """Return the settings, for staff only: the source may be a server path."""
        if not has_staff_permission(self.context["request"].user, "change"):
            raise SkipField
        return dataset


@extend_schema_serializer(component_name="StaffDatasetAnswer")
class StaffDatasetSerializer(DatasetSerializer):
    """A dataset with its settings."""

    settings = SettingsSerializer()

    def compute_settings(self, dataset: Dataset) -> Dataset:
        return dataset


class DeletionSerializer(ResponseSerializer):
    """The consequences of deleting a dataset."""

    # The instance is a dataset.

    slug = CharField()
    title = CharField()
    goes = ListField(
        child=CharField(), help_text="Such as “1,200 images” and “3 saved searches”."
    )
    undone_for = CharField(help_text="For how long it can be restored.")

    def compute_goes(self, dataset: Dataset) -> list[str]:
        return deletion.consequences(dataset)

    def compute_undone_for(self, dataset: Dataset) -> str:
        return deletion.UNDONE_FOR


class WatchSerializer(ResponseSerializer):
    """Watching of a source, with what was found last."""

    # The instance is a Watch.

    active = BooleanField()
    every_s = count_field("The seconds between two looks at the source.")
    looked_at = DateTimeField(allow_null=True)
    changed_at = DateTimeField(
        allow_null=True, help_text="Of the last look that found something."
    )
    new = count_field("Files, or rows of a list, that it found.")
    removed = count_field("Files that it missed.")
    gone = count_field("Items that are hidden, since their files are gone.")
    fault = CharField(help_text="What keeps it from looking; empty if nothing does.")

    def compute_gone(self, watch: Watch) -> int:
        files = watch.dataset.source_files.filter(gone=True)
        return files.exclude(name="").count()


class WatchRequestSerializer(StrictSerializer):
    active = BooleanField()
    every_s = StrictIntegerField(
        min_value=MIN_INTERVAL_S, max_value=MAX_INTERVAL_S, required=False
    )


class DeletedDatasetSerializer(ResponseSerializer):
    """A deleted dataset."""

    # The instance is a dataset.

    number = IntegerField(source="pk", help_text="For the address that restores it.")
    slug = CharField(source="deleted_slug", help_text="That it had.")
    title = CharField()
    items = count_field()
    deleted_at = DateTimeField()
    restorable_until = DateTimeField()

    def compute_items(self, dataset: Dataset) -> int:
        return dataset.item_count()
