"""The datasets: for everyone to see, for staff to enter, change and drop."""

from collections.abc import Iterable
from typing import Any

from django.core.validators import RegexValidator
from django.db import IntegrityError, transaction
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from search.clickhouse import client
from search.errors import NotFound
from search.ingestion import control, validation
from search.ingestion.sources.tables import NAMES
from search.models import Dataset
from search.models.registry import SLUG, TERMS_OF_SLUG, own_field
from search.retrieval import service

from .errors import ERROR_RESPONSE
from .fields import StrictIntegerField, StrictSerializer, WordField
from .permissions import FOR_STAFF, StaffWrites, has_staff_permission
from .representations import DatasetAnswer, dataset_json

SIZES = [value for value, _ in own_field(Dataset, "shards_per_partition").choices or ()]
TAKEN = "There is a dataset of this name already."
ENTERED = [
    *("slug", "title", "kind", "source", "shard_range", "columns"),
    *("image_pattern", "text_pattern", "metadata_pattern", "keep_files"),
    *("without_removal_list", "model", "weights", "dimension", "metric"),
    *("index_connections", "index_construction", "index_quantization"),
    "shards_per_partition",
]


def _help(name: str) -> str:
    return str(own_field(Dataset, name).help_text)


class ColumnsSerializer(StrictSerializer):
    """Which column of the source is what, where the names differ."""

    def get_fields(self) -> dict[str, serializers.Field]:
        return {
            role: serializers.CharField(required=False, max_length=200)
            for role in NAMES
        }


class SettingsSerializer(StrictSerializer, serializers.ModelSerializer):
    """What is entered of a dataset; as it is told, it may be sent back."""

    # ingestion.checks has the last word on the values, as for the admin's pages.
    serializer_field_mapping = {
        kind: StrictIntegerField if field is serializers.IntegerField else field
        for kind, field in serializers.ModelSerializer.serializer_field_mapping.items()
    }
    kind = WordField(Dataset.Kind.values, required=False)
    metric = WordField(Dataset.Metric.values, required=False)
    index_quantization = WordField(
        Dataset.Quantization.values,
        required=False,
        help_text=_help("index_quantization"),
    )
    columns = ColumnsSerializer(required=False, help_text=_help("columns"))

    class Meta:
        model = Dataset
        fields = ENTERED
        extra_kwargs = {
            # That it is the only one of its name is checked with all else.
            "slug": {"validators": [RegexValidator(SLUG, TERMS_OF_SLUG)]},
            "shards_per_partition": {
                "error_messages": {"invalid_choice": f"This is one of {SIZES}."}
            },
        }

    def save(self, **kwargs: Any) -> Dataset:
        """Enters the dataset or changes it; raises ValidationError by field."""
        dataset = self.instance or Dataset()
        fixed = validation.fixed_fields(dataset)
        for name, value in {**self.validated_data, **kwargs}.items():
            if name in fixed and value != getattr(dataset, name):
                raise ValidationError({name: ["This is fixed once there are shards."]})
            setattr(dataset, name, value)
        if found := validation.problems(dataset):
            raise ValidationError(found)
        try:
            with transaction.atomic():
                dataset.save()
        except IntegrityError as error:
            raise ValidationError({"slug": [TAKEN]}) from error
        return dataset


class SeenDatasetAnswer(DatasetAnswer):
    """A dataset as whoever asks sees it."""

    settings = SettingsSerializer(
        required=False, help_text="For staff who may change datasets alone."
    )


class StaffDatasetAnswer(DatasetAnswer):
    """A dataset as staff sees it."""

    settings = SettingsSerializer()


EXAMPLE = OpenApiExample(
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


class DatasetsParameters(StrictSerializer):
    in_address = True
    all = serializers.BooleanField(
        default=False, help_text="Those without items, too: for staff."
    )


class DropParameters(StrictSerializer):
    in_address = True
    sure = serializers.CharField(
        max_length=200,
        help_text="The dataset's slug once more.",
        error_messages={"required": "Write the dataset's slug here once more."},
    )


class Datasets(APIView):
    permission_classes = [*APIView.permission_classes, StaffWrites]
    throttle_scope = "item"

    @extend_schema(
        operation_id="datasets_list",
        tags=["datasets"],
        parameters=[DatasetsParameters],
        responses={
            200: SeenDatasetAnswer(many=True),
            403: OpenApiResponse(ERROR_RESPONSE, "All of them are for staff."),
        },
    )
    def get(self, request: Request) -> Response:
        """The datasets that can be searched."""
        given = _parameters(DatasetsParameters, request)
        datasets: Iterable[Dataset]
        if not given["all"]:
            datasets = service.datasets()
        elif has_staff_permission(request.user, "change"):
            datasets = Dataset.objects.all()
        else:
            self.permission_denied(request, FOR_STAFF.format("change"))
        return Response([_seen(dataset, request.user) for dataset in datasets])

    @extend_schema(
        operation_id="dataset_create",
        tags=["staff"],
        request=SettingsSerializer,
        responses={201: StaffDatasetAnswer},
        examples=[EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Enter a dataset.

        Nothing is brought in yet: `start` its shards for that.
        """
        given = SettingsSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        with transaction.atomic():  # nothing is entered that could not be told
            told = _told(given.save())
        return Response(told, status=201)


class DatasetDetail(APIView):
    permission_classes = [*APIView.permission_classes, StaffWrites]
    throttle_scope = "item"

    @extend_schema(
        operation_id="dataset_retrieve", tags=["datasets"], responses=SeenDatasetAnswer
    )
    def get(self, request: Request, slug: str) -> Response:
        """One dataset, with items or without."""
        return Response(_seen(Dataset.for_slug(slug), request.user))

    @extend_schema(
        operation_id="dataset_update",
        tags=["staff"],
        request=SettingsSerializer,
        responses=StaffDatasetAnswer,
    )
    def patch(self, request: Request, slug: str) -> Response:
        """Change the settings of a dataset.

        What decides its table (slug, dimension, metric, the index and
        shards_per_partition) is fixed once there are shards.
        """
        with transaction.atomic():
            dataset = _locked(slug)
            given = SettingsSerializer(dataset, data=request.data, partial=True)
            given.is_valid(raise_exception=True)
            told = _told(given.save())
        return Response(told)

    @extend_schema(
        operation_id="dataset_destroy",
        tags=["staff"],
        parameters=[DropParameters],
        responses={204: None},
    )
    def delete(self, request: Request, slug: str) -> Response:
        """Drop a dataset with all its items.

        Nobody does so by a slip: `sure` names it again.
        """
        dataset = Dataset.for_slug(slug)
        given = _parameters(DropParameters, request)
        if given["sure"] != slug:
            sentence = (
                f"Write sure={slug} to drop the dataset and its "
                f"{dataset.item_count():,} items."
            )
            raise ValidationError({"sure": [sentence]})
        client.ping()  # nothing is dropped by half
        control.drop_dataset(dataset)
        return Response(status=204)


def _parameters(kind: type[serializers.Serializer], request: Request) -> dict[str, Any]:
    given = kind(data=request.query_params.dict())
    given.is_valid(raise_exception=True)
    return given.validated_data


def _locked(slug: str) -> Dataset:
    """Nobody enters shards of it meanwhile, which would fix its table."""
    dataset = Dataset.for_slug(slug)
    locked = Dataset.objects.select_for_update().filter(pk=dataset.pk).first()
    if locked is None:
        raise NotFound(f"There is no dataset named “{slug}”.")
    return locked


def _seen(dataset: Dataset, user: Any) -> dict[str, Any]:
    """Where things lie on the server is for staff alone."""
    return (
        _told(dataset)
        if has_staff_permission(user, "change")
        else dataset_json(dataset)
    )


def _told(dataset: Dataset) -> dict[str, Any]:
    return {**dataset_json(dataset), "settings": SettingsSerializer(dataset).data}
