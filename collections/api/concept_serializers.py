"""The JSON of concepts and their versions."""

from typing import Any

import numpy as np
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers
from rest_framework.serializers import (
    BooleanField,
    CharField,
    DateTimeField,
    DictField,
    FloatField,
    IntegerField,
    UUIDField,
)

from search.api.fields import (
    NextField,
    ResponseSerializer,
    ShortListField,
    StrictIntegerField,
    StrictSerializer,
    VectorField,
    between,
)
from search.api.serializers import MAX_NUMBERS

from ..concept import services
from ..concept.services import MAX_VERSIONS
from ..models import Concept, ConceptVersion
from ..models.ownership import Shared
from ..pagination import Page
from ..sharing import Access, access_of
from .serializers import (
    SharedSerializer,
    description_field,
    name_field,
    visibility_field,
)

MADE_OF = (
    "Where the vector comes from, as far as known: `dataset`, `search`, `words`, "
    "`rounds`, `good`, `bad`, `strength`, `file`, `restored_from`. Of what is not "
    "yours, neither the search nor the marks."
)


# --- Requests


def _embedding() -> ShortListField:
    return ShortListField(
        child=serializers.FloatField(),
        min_length=1,
        max_length=MAX_NUMBERS,
        help_text="Its length does not matter: it is normalized.",
    )


class ConceptOfEmbedding(StrictSerializer):
    """A vector of your own, for searches in datasets of one model."""

    name = name_field()
    description = description_field(default="")
    visibility = visibility_field(default=Shared.Visibility.PRIVATE.value)
    dataset = CharField(
        max_length=200, help_text="The slug of one whose model made the embedding."
    )
    embedding = _embedding()


class ConceptOfRound(StrictSerializer):
    """A round of refining made on the page."""

    name = name_field()
    description = description_field(default="")
    visibility = visibility_field(default=Shared.Visibility.PRIVATE.value)
    round = UUIDField(help_text="The id of one of your rounds.")


class ConceptChange(StrictSerializer):
    """Keys that are left out stay unchanged."""

    name = name_field(required=False)
    description = description_field(required=False)
    visibility = visibility_field(required=False)
    renew_link = BooleanField(
        required=False, help_text="true revokes the current link and makes a new one."
    )


class VersionOfEmbedding(StrictSerializer):
    embedding = _embedding()


class VersionOfRound(StrictSerializer):
    round = UUIDField(help_text="The id of one of your rounds.")


class VersionRestored(StrictSerializer):
    restore = StrictIntegerField(
        help_text="The number of an older version, to be copied to the newest.",
        **between(1, MAX_VERSIONS, "the number of a version"),
    )


# --- Responses


@extend_schema_serializer(component_name="ConceptRow")
class ConceptSummarySerializer(SharedSerializer):
    """A named embedding, to be used as a term in searches of its model's datasets."""

    model = CharField(
        source="object.model", help_text="The model that made the embedding."
    )
    weights = CharField(
        source="object.weights",
        help_text="The model's weights; empty if it has only one set.",
    )
    dimension = IntegerField(min_value=1, help_text="Numbers of the embedding.")
    version = IntegerField(
        source="object.version",
        min_value=1,
        help_text="The number of the current version.",
    )

    def compute_dimension(self, access: Access[Concept]) -> int:
        return len(access.object.embedding)


@extend_schema_serializer(component_name="ConceptPage")
class ConceptPageSerializer(ResponseSerializer):
    results = ConceptSummarySerializer(many=True)
    next = NextField()

    def compute_results(self, page: Page) -> list[Access[Concept]]:
        return [access_of(each, self.context["request"].user) for each in page.rows]


@extend_schema_serializer(component_name="ConceptAnswer")
class ConceptSerializer(ConceptSummarySerializer):
    made_of = DictField(help_text=MADE_OF)
    embedding = VectorField(
        source="object.embedding",
        help_text="The current version's, of unit length.",
    )

    def compute_made_of(self, access: Access[Concept]) -> dict[str, Any]:
        user = self.context["request"].user
        return services.provenance_of(access.object, user, is_mine=access.is_mine)


class VersionSerializer(ResponseSerializer):
    """A current or former vector of a concept."""

    # The context has the `request`, and `access`, that to the concept.
    number = IntegerField(min_value=1)
    created_at = DateTimeField()
    is_current = BooleanField()
    likeness = FloatField(help_text="The cosine similarity to the current version.")
    made_of = DictField(help_text=MADE_OF)

    def compute_is_current(self, version: ConceptVersion) -> bool:
        return version.number == self.context["access"].object.version

    def compute_likeness(self, version: ConceptVersion) -> np.float32:
        return version.embedding @ self.context["access"].object.embedding

    def compute_made_of(self, version: ConceptVersion) -> dict[str, Any]:
        if self.context["access"].is_mine:
            return version.made_of
        user = self.context["request"].user
        return services.without_private(version.made_of, user)


@extend_schema_serializer(component_name="VersionPage")
class VersionPageSerializer(ResponseSerializer):
    results = VersionSerializer(many=True, source="rows")
    next = NextField()
