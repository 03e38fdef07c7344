"""The OpenAPI document: what operations have in common, and the view serving it.

Uses drf-spectacular's extensions and hooks, and overrides its public methods only.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from drf_spectacular import renderers
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
)
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import (
    ComponentRegistry,
    ResolvedComponent,
    get_doc,
    get_lib_doc_excludes,
)
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.serializers import ListField, ListSerializer
from rest_framework.views import APIView

from search.api.negotiation import FormatParameter

from .errors import ERROR_RESPONSES, ERROR_SCHEMAS
from .fields import ResponseSerializer, StrictSerializer

Shape = dict[str, Any]
# Parameters and fields by which a request names what may not exist,
NAMES_OF_OBJECTS = {"dataset", "item", "items", "concept", "collection"}
# and those that hold images to decode; `q` may hold URLs of images.
NAMES_OF_IMAGES = {"image", "image_url", "q"}
SUCCESSES = {
    "200": "The result.",
    "201": "Created.",
    "204": "Done.",
}


def exclude_from_docs() -> list[type]:
    """Return the classes whose docstrings are for developers of this site."""
    return [StrictSerializer, ResponseSerializer, *get_lib_doc_excludes()]


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "rest_framework.authentication.TokenAuthentication"
    match_subclasses = True
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> Shape:
        text = "`Token` and a token that you created on the page of your account."
        header = {"type": "apiKey", "in": "header", "name": "Authorization"}
        return {**header, "description": text}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "rest_framework.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> Shape:
        text = (
            "Of a browser that is signed in. Unsafe methods also need the header "
            f"X-CSRFToken with the value of the cookie {settings.CSRF_COOKIE_NAME}."
        )
        cookie = {"type": "apiKey", "in": "cookie"}
        return {**cookie, "name": settings.SESSION_COOKIE_NAME, "description": text}


class StrictSerializerExtension(OpenApiSerializerExtension):
    """Document what StrictSerializer and its lists refuse."""

    target_class = "search.api.fields.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> Shape:
        serializer = self.target
        shape = auto_schema._map_serializer(
            serializer, direction, bypass_extensions=True
        )
        if direction != "request":
            return shape
        for name, property_ in shape["properties"].items():
            property_ |= _list_limits(serializer.fields[name])
            property_ |= serializer.more_of_fields.get(name, {})
        return {**shape, "additionalProperties": False, **serializer.more_of_schema}


def _list_limits(field: Any) -> Shape:
    """Return the limits of a list that drf-spectacular does not know of."""
    limits: Shape = {}
    if isinstance(field, ListField | ListSerializer) and not field.allow_empty:
        limits["minItems"] = 1
    if isinstance(field, ListSerializer):
        for name, option in (("maxItems", "max_length"), ("minItems", "min_length")):
            # The stubs lack both attributes.
            if (limit := getattr(field, option)) is not None:
                limits[name] = limit
    return limits


class ApiSchema(AutoSchema):
    """Add to each operation the errors that it may respond with.

    A view sets `fetches = True` if it decodes images though its request names none.
    """

    def get_summary(self) -> str:
        """Return the first paragraph of the docstring of the method, or of the view."""
        first, _, _ = self._doc().partition("\n\n")
        return " ".join(first.split()).removesuffix(".")

    # As drf-spectacular declares it, and not the class that it is derived from.
    def get_description(self) -> str:  # type: ignore[override]
        _, _, rest = self._doc().partition("\n\n")
        return rest

    def _doc(self) -> str:
        method = getattr(self.view, self.method.lower(), None)
        return get_doc(method) or get_doc(type(self.view))

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        name = super().get_serializer_name(serializer, direction)
        if isinstance(serializer, ResponseSerializer):
            return f"{name.removesuffix('Serializer')}Answer"
        return name

    def get_auth(self) -> list[Shape]:
        signed_in = [auth for auth in super().get_auth() if auth]
        return [*signed_in, {}] if self._is_allowed(AnonymousUser()) else signed_in

    def _is_allowed(self, user: Any) -> bool:
        request: Any = SimpleNamespace(user=user, auth=None, method=self.method)
        return all(
            permission.has_permission(request, self.view)
            for permission in self.view.get_permissions()
        )

    def get_operation(
        self,
        path: str,
        path_regex: str,
        path_prefix: str,
        method: str,
        registry: ComponentRegistry,
    ) -> Shape | None:
        operation = super().get_operation(
            path, path_regex, path_prefix, method, registry
        )
        if operation is None:
            return None
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query" and parameter["schema"]["type"] == "array":
                parameter |= {"style": "form", "explode": False}  # between commas
        responses = operation["responses"]
        for status, description in SUCCESSES.items():
            if status in responses and not responses[status].get("description"):
                responses[status]["description"] = description
        for name, shape in ERROR_SCHEMAS.items():
            self._register(name, ResolvedComponent.SCHEMA, shape)
        for code in self._error_statuses(operation):
            name, shape = ERROR_RESPONSES[code]
            ref = self._register(name, ResolvedComponent.RESPONSE, shape)
            responses.setdefault(str(code), ref)
        operation["responses"] = dict(sorted(responses.items()))
        return operation

    def _register(self, name: str, kind: str, shape: Shape) -> Shape:
        component = ResolvedComponent(name, kind, shape, object=name)
        self.registry.register_on_missing(component)
        return component.ref

    def _error_statuses(self, operation: Shape) -> set[int]:
        # Always: 400 for too many parameters, 401 for an invalid token, 503 for the
        # database.
        # Every view is limited: by a scope of its own, or as a page.
        statuses = {400, 401, 406, 429, 503}
        names = self._names_in_request(operation)
        is_unsafe = self.method not in SAFE_METHODS
        # With a session, unsafe methods need a CSRF token.
        if is_unsafe or not self._is_allowed(get_user_model()()):
            statuses.add(403)
        if "{" in self.path or NAMES_OF_OBJECTS & names:
            statuses.add(404)
        if self.method == "POST":
            statuses.add(413)
        if "requestBody" in operation:
            statuses |= {413, 415}
        if NAMES_OF_IMAGES & names or getattr(self.view, "fetches", False):
            statuses |= {413, 415, 422}
        return statuses

    def _names_in_request(self, operation: Shape) -> set[str]:
        """Return the names of parameters, and of all fields that a body can hold."""
        names = {parameter["name"] for parameter in operation.get("parameters", ())}
        self._collect_names(operation.get("requestBody"), names, set())
        return names

    def _collect_names(self, shape: Any, names: set[str], seen: set[str]) -> None:
        if isinstance(shape, list):
            for part in shape:
                self._collect_names(part, names, seen)
        if not isinstance(shape, dict):
            return
        names |= set(shape.get("properties", ()))
        ref = shape.get("$ref")
        if isinstance(ref, str) and ref not in seen:
            seen.add(ref)
            key = ref.rpartition("/")[2], ResolvedComponent.SCHEMA
            self._collect_names(self.registry[key].schema, names, seen)
        for part in shape.values():
            self._collect_names(part, names, seen)


def postprocess_schema(result: Shape, **_: Any) -> Shape:
    """Remove what only drf-spectacular's own hooks need."""
    return _without(result, "x-spec-enum-id")


def _without(shape: Any, key: str) -> Any:
    if isinstance(shape, dict):
        names = (name for name in shape if name != key)
        return {name: _without(shape[name], key) for name in names}
    if isinstance(shape, list | tuple):
        return [_without(each, key) for each in shape]
    return shape


RENDERERS = [
    renderers.OpenApiYamlRenderer,
    renderers.OpenApiYamlRenderer2,
    renderers.OpenApiJsonRenderer,
    renderers.OpenApiJsonRenderer2,
]


class SchemaView(APIView):
    """Get this description of the API, as YAML or JSON.

    The header `Accept` chooses between them, or `format`, which overrides it.
    """

    throttle_scope = "item"
    renderer_classes = RENDERERS
    content_negotiation_class = FormatParameter

    @extend_schema(
        operation_id="schema_retrieve",
        parameters=[OpenApiParameter("format", enum=["json", "yaml"])],
        responses={200: {"type": "object", "required": ["openapi", "info", "paths"]}},
    )
    def get(self, request: Request) -> HttpResponse:
        renderer = type(request.accepted_renderer)
        document = _rendered(RENDERERS.index(renderer), settings.SEARCH_ANONYMOUS)
        return HttpResponse(document, content_type=renderer.media_type)


@cache
def _rendered(renderer: int, anonymous: bool) -> str | bytes:
    """Return the document, which depends on what visitors may do, from a cache."""
    document = SchemaGenerator().get_schema(request=None, public=True)
    return RENDERERS[renderer]().render(document, renderer_context={})
