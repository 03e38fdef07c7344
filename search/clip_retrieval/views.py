from collections.abc import Iterable
from typing import Any

from rest_framework.authentication import SessionAuthentication
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from search.errors import NotFound
from search.models import Dataset
from search.query.filters import Filters
from search.query.model import SearchQuery
from search.rate_limits import limiter
from search.retrieval import service
from search.retrieval.items import Hit

from .compat import KnnSerializer, body_of, ids_of, known, shown_url


class JsonAlone(BaseContentNegotiation):
    """Whatever a client says that it accepts."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, first.media_type


# Classes; the stubs take them for their names.
WAYS: Any = api_settings.DEFAULT_AUTHENTICATION_CLASSES


class Endpoint(APIView):
    """Open to pages of any origin, and therefore to no session: tokens alone count."""

    schema = None  # it is another project's interface, and described there
    content_negotiation_class = JsonAlone
    authentication_classes = [
        way for way in WAYS if not issubclass(way, SessionAuthentication)
    ]


class IndicesList(Endpoint):
    """The names of the datasets; the first is searched when none is named."""

    throttle_scope = "item"

    def get(self, request: Request) -> Response:
        return Response([dataset.slug for dataset in service.datasets()])


class KnnService(Endpoint):
    """The nearest items of a text, a picture or an embedding."""

    throttle_scope = "search"

    def post(self, request: Request) -> Response:
        asked = KnnSerializer(data=body_of(request.body))
        asked.is_valid(raise_exception=True)
        slug = _dataset(asked.validated_data["indice_name"])
        term, count = asked.term(), limiter(request)
        looked_up = known(term, slug, request)
        if looked_up is not term:  # it counts as if the image had been fetched
            count("image")
        query = SearchQuery(
            dataset=slug,
            terms=(looked_up,),
            field=asked.field,
            filters=Filters(
                nsfw=asked.nsfw, dedupe=bool(asked.validated_data["deduplicate"])
            ),
        )
        ranked = service.rank(query, request.user, count, asked.count)
        ids = ranked.ids.tolist()
        first = service.hits_by_id(slug, ids[: asked.described])
        rows = []
        for place, item_id in enumerate(ids):
            row = {"id": item_id, "similarity": float(ranked.similarities[place])}
            if place >= asked.described:
                rows.append(row)
            elif item_id in first:  # else it has been removed meanwhile
                rows.append({**_columns(first[item_id], request), **row})
        return Response(rows)


class Metadata(Endpoint):
    """What is known of items by their ids; what is not there is left out."""

    throttle_scope = "item"

    def post(self, request: Request) -> Response:
        asked = body_of(request.body)
        ids = ids_of(asked)
        if not ids:
            return Response([])
        slug = _dataset(asked.get("indice_name"))
        found = service.hits_by_id(slug, {i for i in ids if i is not None})
        return Response(
            [
                {"id": item_id, "metadata": _columns(found[item_id], request)}
                for item_id in ids
                if item_id in found
            ]
        )


def _dataset(name: Any) -> str:
    """The slug of the dataset of this name, or of the first one."""
    if name:
        return Dataset.for_slug(str(name)).slug
    for dataset in service.datasets():
        return dataset.slug
    raise NotFound("There is no dataset yet.")


def _columns(hit: Hit, request: Request) -> dict[str, str]:
    """By the names that clip-retrieval gives the columns of LAION."""
    return {
        "url": shown_url(hit.url, request),
        "caption": hit.caption,
        "NSFW": hit.nsfw,
    }
