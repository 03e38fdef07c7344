"""List, create, show, change and delete concepts and their versions."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import (
    OpenApiExample,
    PolymorphicProxySerializer,
    extend_schema,
)
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from search.api.errors import ERROR_RESPONSE
from search.api.fields import Json, validated
from search.errors import check_form
from search.models import Dataset
from search.query.model import unit_vector

from .. import sharing
from ..concept import rounds, services
from ..concept.visitor import visitor
from ..forms import ConceptForm
from ..models import Concept
from ..pagination import Order, paginate, with_sorted_name
from ..sharing import Access, find_owned, find_readable, lock_owned
from .access import NOT_INDEXED, UserAccess
from .concept_serializers import (
    ConceptChange,
    ConceptOfEmbedding,
    ConceptOfRound,
    ConceptPageSerializer,
    ConceptSerializer,
    VersionOfEmbedding,
    VersionOfRound,
    VersionPageSerializer,
    VersionRestored,
    VersionSerializer,
)
from .serializers import OpenOrMine, PageParameters

TAGS = ["concepts"]
BY_NAME = Order("Name", ("sorted_name", "pk"))
NEWEST = Order("Newest first", ("number",), descending=True)


def _either(name: str, *serializers: type) -> PolymorphicProxySerializer:
    return PolymorphicProxySerializer(
        component_name=name, serializers=serializers, resource_type_field_name=None
    )


class ConceptList(UserAccess):
    @extend_schema(
        operation_id="concepts_list",
        tags=TAGS,
        parameters=[OpenOrMine],
        responses=ConceptPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List your concepts by name, or everyone's public ones."""
        given = validated(OpenOrMine, request.query_params.dict())
        found: QuerySet[Concept]
        if given.get("visibility"):
            found = Concept.objects.public()
        else:
            self.wants_user(request)
            found = Concept.objects.owned_by(request.user)
        page = paginate(
            with_sorted_name(found), BY_NAME, given["cursor"], given["limit"]
        )
        content = ConceptPageSerializer(page, context={"request": request}).data
        return Response(content)

    @extend_schema(
        operation_id="concepts_create",
        tags=TAGS,
        request=_either("NewConcept", ConceptOfEmbedding, ConceptOfRound),
        responses={201: ConceptSerializer, 404: ERROR_RESPONSE},
    )
    def post(self, request: Request) -> Response:
        """Create a concept from an embedding or from a round of refining.

        An embedding is normalized to unit length, for searches in all datasets that
        have the model of the named dataset.
        """
        given = validated(
            _choose_serializer(request, round=ConceptOfRound) or ConceptOfEmbedding,
            request.data,
        )
        form = ConceptForm({"name": given["name"], "description": given["description"]})
        check_form(form)
        with transaction.atomic():
            concept = self._create(request, form, given)
            sharing.set_visibility(concept, given["visibility"])
        content = _concept_json(Access(concept, is_mine=True), request)
        return Response(content, status.HTTP_201_CREATED)

    def _create(
        self, request: Request, form: ConceptForm, given: dict[str, Any]
    ) -> Concept:
        if "round" in given:
            found = rounds.find_own_round(visitor(request), given["round"])
            return services.of_round(request.user, form, found)
        dataset = Dataset.for_slug(given["dataset"], request.user)
        others = f"vectors of {dataset.title}"
        return services.new(
            request.user,
            form,
            unit_vector(given["embedding"], dataset.dimension, "vector", others),
            model=dataset.model,
            weights=dataset.weights,
            made_of={"dataset": dataset.slug},
        )


class ConceptDetail(UserAccess):
    @extend_schema(
        operation_id="concept_retrieve", tags=TAGS, responses=ConceptSerializer
    )
    def get(self, request: Request, concept_id: UUID) -> Response:
        """Show a concept of yours, or one that is public, with its embedding."""
        return Response(
            _concept_json(find_readable(Concept, request.user, concept_id), request)
        )

    @extend_schema(
        operation_id="concept_update",
        tags=TAGS,
        request=ConceptChange,
        responses=ConceptSerializer,
        examples=[
            OpenApiExample(
                "Open to everyone",
                request_only=True,
                value={"name": "Boats at night", "visibility": "public"},
            )
        ],
    )
    def patch(self, request: Request, concept_id: UUID) -> Response:
        """Change the name, the description, or who sees it.

        Either all of it is changed or nothing.
        """
        with transaction.atomic():
            concept = lock_owned(Concept, request.user, concept_id)
            _change(concept, validated(ConceptChange, request.data))
        return Response(_concept_json(Access(concept, is_mine=True), request))

    @extend_schema(operation_id="concept_delete", tags=TAGS, responses={204: None})
    def delete(self, request: Request, concept_id: UUID) -> Response:
        """Delete a concept.

        For 30 days it can be restored on the page of your concepts.
        """
        with transaction.atomic():
            sharing.delete(lock_owned(Concept, request.user, concept_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SharedConcept(UserAccess):
    @extend_schema(
        operation_id="shared_concept_retrieve", tags=TAGS, responses=ConceptSerializer
    )
    def get(self, request: Request, token: str) -> Response:
        """Show a concept by its share token."""
        content = _concept_json(
            find_readable(Concept, request.user, token=token), request
        )
        return Response(content, headers=NOT_INDEXED)


class Versions(UserAccess):
    @extend_schema(
        operation_id="concept_versions_list",
        tags=TAGS,
        parameters=[PageParameters],
        responses=VersionPageSerializer,
    )
    def get(self, request: Request, concept_id: UUID) -> Response:
        """List the versions of a concept, the newest first."""
        access = find_readable(Concept, request.user, concept_id)
        given = validated(PageParameters, request.query_params.dict())
        versions = access.object.versions.all()
        page = paginate(versions, NEWEST, given["cursor"], given["limit"])
        context = {"access": access, "request": request}
        content = VersionPageSerializer(page, context=context).data
        return Response(content)

    @extend_schema(
        operation_id="concept_versions_create",
        tags=TAGS,
        request=_either(
            "NewVersion", VersionOfEmbedding, VersionOfRound, VersionRestored
        ),
        responses={201: VersionSerializer},
        examples=[
            OpenApiExample("Back to the first", request_only=True, value={"restore": 1})
        ],
    )
    def post(self, request: Request, concept_id: UUID) -> Response:
        """Add a version to a concept: an embedding, a round, or an older version.

        The older versions are kept; a concept has up to 1,000.
        """
        find_owned(Concept, request.user, concept_id)
        chosen = _choose_serializer(
            request, round=VersionOfRound, restore=VersionRestored
        )
        given = validated(chosen or VersionOfEmbedding, request.data)
        with transaction.atomic():
            concept = self._add_version(request, concept_id, given)
            version = concept.versions.get(number=concept.version)
        access = Access(concept, is_mine=True)
        context = {"access": access, "request": request}
        content = VersionSerializer(version, context=context).data
        return Response(content, status.HTTP_201_CREATED)

    def _add_version(
        self, request: Request, concept_id: UUID, given: dict[str, Any]
    ) -> Concept:
        user = request.user
        if "round" in given:
            found = rounds.find_own_round(visitor(request), given["round"])
            return services.next_version(user, concept_id, found)
        if "restore" in given:
            return services.restore(user, concept_id, given["restore"])
        concept = find_owned(Concept, user, concept_id)
        dimension, others = len(concept.embedding), f"versions of “{concept.name}”"
        vector = unit_vector(given["embedding"], dimension, "vector", others)
        return services.next_vector(user, concept_id, vector, {})


def _choose_serializer(request: Request, **serializers: type) -> type | None:
    """Return the serializer of the first of these keys that the body has."""
    given = request.data if isinstance(request.data, dict) else {}
    return next((each for key, each in serializers.items() if key in given), None)


def _concept_json(access: Access[Concept], request: Request) -> Json:
    return ConceptSerializer(access, context={"request": request}).data


def _change(concept: Concept, given: dict[str, Any]) -> None:
    """Apply the changes to a locked concept. Raises InvalidQuery."""
    for name in ("name", "description"):
        setattr(concept, name, given.get(name, getattr(concept, name)))
    if "name" in given or "description" in given:
        sharing.rename(concept)
    if "visibility" in given:
        sharing.set_visibility(concept, given["visibility"])
    if given.get("renew_link"):
        sharing.renew_link(concept)
