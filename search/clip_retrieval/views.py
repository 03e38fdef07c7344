"""The three endpoints of clip-retrieval."""

from typing import Any

from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from search.api.negotiation import IgnoreAcceptHeader
from search.errors import NotFound
from search.models import Dataset, Viewer
from search.query.filters import Filters
from search.query.model import SearchQuery
from search.rate_limits import limiter
from search.request_bodies import MAX_BYTES, MAX_IMAGE_BYTES
from search.retrieval import service
from search.retrieval.items import Hit

from .compat import (
    KnnSerializer,
    ids_of,
    parse_body,
    shown_url,
    with_stored_embedding,
)

# The stubs declare the dotted names rather than the classes.
AUTHENTICATORS: Any = api_settings.DEFAULT_AUTHENTICATION_CLASSES


class Endpoint(APIView):
    """Base view, open to pages of any origin: with tokens, never with a session."""

    schema = None  # another project's API, documented there
    content_negotiation_class = IgnoreAcceptHeader
    authentication_classes = [
        each for each in AUTHENTICATORS if not issubclass(each, SessionAuthentication)
    ]


class IndicesList(Endpoint):
    """List the datasets; the first one is the default."""

    throttle_scope = "item"

    def get(self, request: Request) -> Response:
        return Response([dataset.slug for dataset in service.datasets(request.user)])


class KnnService(Endpoint):
    """Find the nearest items of a text, an image or an embedding."""

    throttle_scope = "search"
    max_body_bytes = MAX_IMAGE_BYTES

    def post(self, request: Request) -> Response:
        given = KnnSerializer(data=parse_body(request.body, MAX_IMAGE_BYTES))
        given.is_valid(raise_exception=True)
        slug = _dataset(given.validated_data["indice_name"], request.user)
        term, count = given.term(), limiter(request)
        looked_up = with_stored_embedding(term, slug, request)
        if looked_up is not term:  # it counts as if the image had been fetched
            count("image")
        query = SearchQuery(
            dataset=slug,
            terms=(looked_up,),
            field=given.field,
            filters=Filters(
                nsfw=given.nsfw, dedupe=bool(given.validated_data["deduplicate"])
            ),
        )
        ranked = service.rank(query, request.user, count, given.count)
        ids = ranked.ids.tolist()
        first = service.hits_by_id(slug, ids[: given.detailed_count], request.user)
        rows = []
        for place, item_id in enumerate(ids):
            row = {"id": item_id, "similarity": float(ranked.similarities[place])}
            if place >= given.detailed_count:
                rows.append(row)
            elif item_id in first:  # unless it was removed meanwhile
                rows.append({**_columns(first[item_id], request), **row})
        return Response(rows)


class Metadata(Endpoint):
    """Return the metadata of items by their ids, without those that do not exist."""

    throttle_scope = "item"

    def post(self, request: Request) -> Response:
        body = parse_body(request.body, MAX_BYTES)
        ids = ids_of(body)
        if not ids:
            return Response([])
        slug = _dataset(body.get("indice_name"), request.user)
        found = service.hits_by_id(
            slug, {i for i in ids if i is not None}, request.user
        )
        return Response(
            [
                {"id": item_id, "metadata": _columns(found[item_id], request)}
                for item_id in ids
                if item_id in found
            ]
        )


def _dataset(name: Any, user: Viewer) -> str:
    """Return the slug of the dataset of this name, or of the first one."""
    if name:
        return Dataset.for_slug(str(name), user).slug
    for dataset in service.datasets(user):
        return dataset.slug
    raise NotFound("There is no dataset yet.")


def _columns(hit: Hit, request: Request) -> dict[str, str]:
    """Return the metadata under clip-retrieval's names of LAION's columns."""
    return {
        "url": shown_url(hit.url, request),
        "caption": hit.caption,
        "NSFW": hit.nsfw,
    }
