"""The description of the API in OpenAPI 3.1, as YAML and as JSON."""

from collections.abc import Iterable
from functools import cache

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular import renderers
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

RENDERERS = [
    renderers.OpenApiYamlRenderer,
    renderers.OpenApiYamlRenderer2,
    renderers.OpenApiJsonRenderer,
    renderers.OpenApiJsonRenderer2,
]


class ByParameter(DefaultContentNegotiation):
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


class Description(APIView):
    """This description of the API, as YAML or JSON.

    The header `Accept` chooses between them, or `format`, which goes before it.
    """

    throttle_scope = "item"
    renderer_classes = RENDERERS
    content_negotiation_class = ByParameter

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
