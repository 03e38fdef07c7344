"""The settings of a dataset as staff enter, change and see them."""

from typing import Any

from django.core.validators import RegexValidator
from django.db import IntegrityError, transaction
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from search.ingestion import validation
from search.ingestion.sources.tables import NAMES
from search.models import Dataset
from search.models.registry import SLUG, TERMS_OF_SLUG, own_field

from .answers import DatasetAnswer
from .strict import StrictIntegerField, StrictSerializer, WordField

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
