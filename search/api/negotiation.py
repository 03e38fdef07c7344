"""Choose the format of a response: by a parameter, or always the same."""

from collections.abc import Iterable

from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class FormatParameter(DefaultContentNegotiation):
    """Let ?format=json or ?format=yaml override the Accept header."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        format_ = request.query_params.get("format")
        if format_ is None:
            return super().select_renderer(request, renderers)
        for renderer in renderers:
            if renderer.format == format_:
                return renderer, renderer.media_type
        raise NotAcceptable("The format is json or yaml.")


class IgnoreAcceptHeader(DefaultContentNegotiation):
    """Choose the first renderer whatever the Accept header says."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, first.media_type
