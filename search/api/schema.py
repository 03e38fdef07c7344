"""How drf-spectacular tells of the API: what all operations have in common."""

from collections.abc import Iterable
from functools import cache
from types import SimpleNamespace
from typing import Any, Literal

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from drf_spectacular import renderers
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import (
    ResolvedComponent,
    get_doc,
    get_lib_doc_excludes,
)
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import SAFE_METHODS
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.serializers import ListField, ListSerializer
from rest_framework.views import APIView

from .errors import REFUSALS, SHAPES
from .fields import StrictSerializer

Shape = dict[str, Any]
# By these names a request tells what may not be there.
FOUND_BY_NAME = {"dataset", "item", "items", "concept", "collection"}
# And by these, what is fetched and looked at; `q` may hold addresses of pictures.
PICTURES_BY_NAME = {"image", "image_url", "q"}
DONE = {"200": "What was asked for.", "201": "What was made.", "204": "It is done."}


def exclude_from_docs() -> list[type]:
    """The classes whose docstrings are for whoever writes serializers and views."""
    return [StrictSerializer, *get_lib_doc_excludes()]


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "rest_framework.authentication.TokenAuthentication"
    match_subclasses = True
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> Shape:
        told = "`Token` and a token that you have made on the page of your account."
        header = {"type": "apiKey", "in": "header", "name": "Authorization"}
        return {**header, "description": told}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "rest_framework.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> Shape:
        told = (
            "Of a browser that is signed in. What changes anything needs the header "
            f"X-CSRFToken, too, as the cookie {settings.CSRF_COOKIE_NAME} has it."
        )
        cookie = {"type": "apiKey", "in": "cookie"}
        return {**cookie, "name": settings.SESSION_COOKIE_NAME, "description": told}


class ApiSchema(AutoSchema):
    """Adds the refusals that each operation may answer with.

    A view says with `fetches = True` that it looks at pictures from outside though its
    request names none.
    """

    def get_summary(self) -> str:
        """The first paragraph of what the method, or else the view, says of itself."""
        first, _, _ = self._doc().partition("\n\n")
        return " ".join(first.split()).removesuffix(".")

    # As drf-spectacular declares it, and not the class that it is derived from.
    def get_description(self) -> str:  # type: ignore[override]
        _, _, rest = self._doc().partition("\n\n")
        return rest

    def _doc(self) -> str:
        method = getattr(self.view, self.method.lower(), None)
        return get_doc(method) or get_doc(type(self.view))

    def get_auth(self) -> list[Shape]:
        signed_in = [auth for auth in super().get_auth() if auth]
        return [*signed_in, {}] if self._may(AnonymousUser()) else signed_in

    def _may(self, user: Any) -> bool:
        asking: Any = SimpleNamespace(user=user, auth=None, method=self.method)
        return all(
            permission.has_permission(asking, self.view)
            for permission in self.view.get_permissions()
        )

    def _get_response_bodies(
        self, direction: Literal["request", "response"] = "response"
    ) -> Shape:
        bodies = super()._get_response_bodies(direction)
        for status, description in DONE.items():
            if status in bodies and not bodies[status].get("description"):
                bodies[status]["description"] = description
        for name, shape in SHAPES.items():
            self._register(name, ResolvedComponent.SCHEMA, shape)
        for code in self._refused_with():
            name, shape = REFUSALS[code]
            ref = self._register(name, ResolvedComponent.RESPONSE, shape)
            bodies.setdefault(str(code), ref)
        return dict(sorted(bodies.items()))

    def _register(self, name: str, kind: str, shape: Shape) -> Shape:
        component = ResolvedComponent(name, kind, shape, object=name)
        self.registry.register_on_missing(component)
        return component.ref

    def _refused_with(self) -> set[int]:
        """401 is for a token that is not valid, also where none is needed; 400 for an
        address of too many parameters, also where none is read; 503 at the least for
        the database."""
        statuses, names = {400, 401, 406, 503}, self._asked_names()
        unsafe = self.method not in SAFE_METHODS
        # By the session, what is unsafe needs a CSRF token.
        if unsafe or not self._may(get_user_model()()):
            statuses.add(403)
        if "{" in self.path or FOUND_BY_NAME & names:
            statuses.add(404)
        if self.method == "POST":
            statuses.add(413)
        if self._get_request_body():
            statuses |= {413, 415}
        if PICTURES_BY_NAME & names or getattr(self.view, "fetches", False):
            statuses |= {413, 415, 422}
        if getattr(self.view, "throttle_scope", "search") is not None:
            statuses.add(429)
        return statuses

    def _asked_names(self) -> set[str]:
        """The names of parameters, and of all that a body can hold."""
        names = {parameter["name"] for parameter in self._get_parameters()}
        seen: set[str] = set()
        self._collect(self._get_request_body(), names, seen)
        return names

    def _collect(self, shape: Any, names: set[str], seen: set[str]) -> None:
        if isinstance(shape, list):
            for part in shape:
                self._collect(part, names, seen)
        if not isinstance(shape, dict):
            return
        names |= set(shape.get("properties", ()))
        ref = shape.get("$ref")
        if isinstance(ref, str) and ref not in seen:
            seen.add(ref)
            key = ref.rpartition("/")[2], ResolvedComponent.SCHEMA
            self._collect(self.registry[key].schema, names, seen)
        for part in shape.values():
            self._collect(part, names, seen)

    def _get_parameters(self) -> list[Shape]:
        """Lists in addresses stand between commas."""
        parameters = super()._get_parameters()
        for each in parameters:
            if each["in"] == "query" and each["schema"].get("type") == "array":
                each.update(style="form", explode=False)
        return parameters

    def _map_serializer(
        self, serializer: Any, direction: str, bypass_extensions: bool = False
    ) -> Shape:
        shape = super()._map_serializer(serializer, direction, bypass_extensions)
        if direction == "request" and isinstance(serializer, StrictSerializer):
            shape["additionalProperties"] = False
            shape |= serializer.more_of_schema
            for name, more in serializer.more_of_fields.items():
                shape["properties"][name] |= more
        return shape

    def _map_serializer_field(
        self, field: Any, direction: str, bypass_extensions: bool = False
    ) -> Shape:
        shape = super()._map_serializer_field(field, direction, bypass_extensions)
        if isinstance(field, ListSerializer) and shape:
            limits = {
                "maxItems": getattr(field, "max_length", None),
                "minItems": getattr(field, "min_length", None),
            }
            shape |= {name: most for name, most in limits.items() if most is not None}
        if isinstance(field, ListSerializer | ListField) and not field.allow_empty:
            shape.setdefault("minItems", 1)
        return shape


def postprocess_schema(result: Shape, **_: Any) -> Shape:
    """Takes out what only the library's own tools need; runs after all else."""
    return _without(result, "x-spec-enum-id")


def _without(told: Any, key: str) -> Any:
    if isinstance(told, dict):
        return {name: _without(part, key) for name, part in told.items() if name != key}
    if isinstance(told, list | tuple):
        return [_without(part, key) for part in told]
    return told


RENDERERS = [
    renderers.OpenApiYamlRenderer,
    renderers.OpenApiYamlRenderer2,
    renderers.OpenApiJsonRenderer,
    renderers.OpenApiJsonRenderer2,
]


class FormatParameter(DefaultContentNegotiation):
    """?format=json or ?format=yaml goes before the header Accept."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        wanted = request.query_params.get("format")
        if wanted is None:
            return super().select_renderer(request, renderers)
        for renderer in renderers:
            if renderer.format == wanted:
                return renderer, renderer.media_type
        raise NotAcceptable("The format is json or yaml.")


class SchemaView(APIView):
    """This description of the API, as YAML or JSON.

    The header `Accept` chooses between them, or `format`, which goes before it.
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
        told = _rendered(RENDERERS.index(renderer), settings.SEARCH_ANONYMOUS)
        return HttpResponse(told, content_type=renderer.media_type)


@cache
def _rendered(renderer: int, anonymous: bool) -> str | bytes:
    """Once in a process; what may be done without signing in is a part of it."""
    told = SchemaGenerator().get_schema(request=None, public=True)
    return RENDERERS[renderer]().render(told, renderer_context={})
