"""Saved searches: kept, listed, changed, and run."""

from dataclasses import replace
from uuid import UUID

from django.db import transaction
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from search.api.errors import ERROR_RESPONSE
from search.api.item_serializers import SearchPageSerializer, page_context
from search.errors import NotFound
from search.rate_limits import limiter
from search.retrieval import service

from ..models import SavedSearch
from ..pagination import Order, paginate
from ..saved_search import new_results, services
from ..saved_search.search_address import SavedQuery, query_of, query_string
from ..saved_search.search_address import checked as checked_search
from .access import OwnerAccess, parameters
from .representations import (
    SavedSearchAnswer,
    SavedSearchDetail,
    SavedSearchPage,
    Told,
    page_json,
    searches_json,
)
from .serializers import (
    NewSearch,
    PageParameters,
    ResultParameters,
    SearchChange,
    validated,
)

TAGS = ["searches"]
NONE = "There is no such search among yours."
BY_HAND = Order("By hand", ("position", "pk"))
NEW = OpenApiExample(
    "Boats at night, wide ones",
    request_only=True,
    value={
        "name": "Night boats",
        "search": "dataset=postcards&q=boats+at+night&min_width=512",
    },
)


class Searches(OwnerAccess):
    @extend_schema(
        operation_id="searches_list",
        tags=TAGS,
        parameters=[PageParameters],
        responses=SavedSearchPage,
    )
    def get(self, request: Request) -> Response:
        """List your saved searches in the order made by hand."""
        given = validated(PageParameters, parameters(request))
        mine = services.saved_searches_of(request.user)
        page = paginate(mine, BY_HAND, given["cursor"], given["limit"])
        told = searches_json(page.rows, page.start + 1, request)
        return Response(page_json(told, page))

    @extend_schema(
        operation_id="searches_create",
        tags=TAGS,
        request=NewSearch,
        responses={200: SavedSearchAnswer, 201: SavedSearchAnswer, 404: ERROR_RESPONSE},
        examples=[NEW],
    )
    def post(self, request: Request) -> Response:
        """Save a search, as the first of yours.

        One that you have saved already is answered as it is, with status 200. There
        are up to 500.
        """
        given = validated(NewSearch, request.data)
        asking = _asking(given["search"])
        search, is_new = services.save(request.user, asking, given["name"])
        done = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(_told(search, request), done)


class SearchDetail(OwnerAccess):
    @extend_schema(
        operation_id="saved_search_retrieve", tags=TAGS, responses=SavedSearchDetail
    )
    def get(self, request: Request, key: UUID) -> Response:
        """Show a saved search, and how many of its hits are new.

        Only where something came in since it was looked at is it searched for that.
        """
        search = _mine(request, key)
        new = new_results.count_new(
            search,
            request.user,
            request.get_host(),
            limiter(request),
        )
        return Response(_told(search, request) | {"new": new})

    @extend_schema(
        operation_id="saved_search_update",
        tags=TAGS,
        request=SearchChange,
        responses=SavedSearchAnswer,
        examples=[
            OpenApiExample(
                "Another name, and first of all",
                request_only=True,
                value={"name": "Boats", "place": 1},
            )
        ],
    )
    def patch(self, request: Request, key: UUID) -> Response:
        """Rename a saved search, move it, or have it ask for something else.

        All of it is changed, or nothing. A place beyond the end is the last one.
        """
        with transaction.atomic():
            search = _mine(request, key, locked=True)
            given = validated(SearchChange, request.data)
            if "search" in given:
                services.change(search, _asking(given["search"]))
            if "name" in given:
                services.rename(search, given["name"])
            if "place" in given:
                services.place_at(search, given["place"])
                search.refresh_from_db()
        return Response(_told(search, request))

    @extend_schema(operation_id="saved_search_delete", tags=TAGS, responses={204: None})
    def delete(self, request: Request, key: UUID) -> Response:
        """Delete a saved search, for good."""
        services.delete(_mine(request, key))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SearchResults(OwnerAccess):
    throttle_scope = "search"

    @extend_schema(
        operation_id="saved_search_results",
        tags=TAGS,
        parameters=[ResultParameters],
        # Words can name pictures by their addresses, which are fetched.
        responses={200: SearchPageSerializer}
        | dict.fromkeys((413, 415, 422), ERROR_RESPONSE),
    )
    def get(self, request: Request, key: UUID) -> Response:
        """Run a saved search.

        With its first page it has been looked at: what comes in later is new.
        """
        search = _mine(request, key)
        given = validated(ResultParameters, parameters(request))
        asking = services.saved_query_of(search)
        query = replace(
            query_of(asking, request.get_host()),
            limit=given["limit"],
            cursor=given["cursor"],
        )
        page = service.search(query, request.user, limiter(request))
        if not query.cursor:
            services.mark_viewed(request.user, asking)
        context = page_context(page, query.dataset, given["include"], request)
        return Response(SearchPageSerializer(page, context=context).data)


def _asking(search: str) -> SavedQuery:
    return checked_search(query_string(search))


def _mine(request: Request, key: UUID, *, locked: bool = False) -> SavedSearch:
    """If `locked`, kept from other changes until the transaction ends.

    Raises NotFound.
    """
    mine = services.saved_searches_of(request.user)
    found = (mine.select_for_update() if locked else mine).filter(pk=key).first()
    if found is None:
        raise NotFound(NONE)
    return found


def _told(search: SavedSearch, request: Request) -> Told:
    ahead = (
        services.saved_searches_of(request.user)
        .filter(position__lt=search.position)
        .count()
    )
    return searches_json([search], ahead + 1, request)[0]
