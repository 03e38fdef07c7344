"""List, create, change, delete and run saved searches."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import transaction
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from search.api.errors import ERROR_RESPONSE
from search.api.fields import Json, validated
from search.api.item_serializers import SearchPageSerializer, page_context
from search.errors import NotFound
from search.rate_limits import limiter
from search.retrieval import service

from ..models import SavedSearch
from ..models.ownership import AnyUser
from ..pagination import Order, paginate
from ..saved_search import new_results, services
from ..saved_search.saved_query import SavedQuery, query_of, query_string
from ..saved_search.saved_query import checked as checked_search
from .access import OwnerAccess
from .search_serializers import (
    NewSearch,
    ResultParameters,
    SavedSearchDetailSerializer,
    SavedSearchPageSerializer,
    SavedSearchSerializer,
    SearchChange,
    SearchRow,
    search_rows,
)
from .serializers import PageParameters

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
        responses=SavedSearchPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List your saved searches in the order made by hand."""
        given = validated(PageParameters, request.query_params.dict())
        mine = services.saved_searches_of(request.user)
        page = paginate(mine, BY_HAND, given["cursor"], given["limit"])
        rows = search_rows(page.rows, page.start + 1, request.user)
        content = {"results": rows, "next": page.next}
        context = {"request": request}
        return Response(SavedSearchPageSerializer(content, context=context).data)

    @extend_schema(
        operation_id="searches_create",
        tags=TAGS,
        request=NewSearch,
        responses={
            200: SavedSearchSerializer,
            201: SavedSearchSerializer,
            404: ERROR_RESPONSE,
        },
        examples=[NEW],
    )
    def post(self, request: Request) -> Response:
        """Save a search, at the first place.

        A search that you have saved already is returned unchanged, with status 200.
        You can save up to 500.
        """
        given = validated(NewSearch, request.data)
        query = _read_query(given["search"], request.user)
        search, is_new = services.save(request.user, query, given["name"])
        done = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(_search_json(search, request), done)


class SearchDetail(OwnerAccess):
    @extend_schema(
        operation_id="saved_search_retrieve",
        tags=TAGS,
        responses=SavedSearchDetailSerializer,
    )
    def get(self, request: Request, key: UUID) -> Response:
        """Show a saved search, and how many of its hits are new.

        It is run only if items were added to its dataset since it was looked at.
        """
        search = _find_own(request, key)
        new = new_results.count_new(
            search,
            request.user,
            request.get_host(),
            limiter(request),
        )
        context = {"request": request, "new": new}
        row = _row(search, request.user)
        return Response(SavedSearchDetailSerializer(row, context=context).data)

    @extend_schema(
        operation_id="saved_search_update",
        tags=TAGS,
        request=SearchChange,
        responses=SavedSearchSerializer,
        examples=[
            OpenApiExample(
                "Another name, and first of all",
                request_only=True,
                value={"name": "Boats", "place": 1},
            )
        ],
    )
    def patch(self, request: Request, key: UUID) -> Response:
        """Rename a saved search, move it, or replace its query.

        Either all of it is changed or nothing. A place beyond the end means the last
        one.
        """
        with transaction.atomic():
            search = _find_own(request, key, locked=True)
            given = validated(SearchChange, request.data)
            if "search" in given:
                services.change(search, _read_query(given["search"], request.user))
            if "name" in given:
                services.rename(search, given["name"])
            if "place" in given:
                services.move_to(search, given["place"])
                search.refresh_from_db()
        return Response(_search_json(search, request))

    @extend_schema(operation_id="saved_search_delete", tags=TAGS, responses={204: None})
    def delete(self, request: Request, key: UUID) -> Response:
        """Delete a saved search for good."""
        services.delete(_find_own(request, key))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SearchResults(OwnerAccess):
    throttle_scope = "search"

    @extend_schema(
        operation_id="saved_search_results",
        tags=TAGS,
        parameters=[ResultParameters],
        # The words can hold URLs of images, which are fetched.
        responses={200: SearchPageSerializer}
        | dict.fromkeys((413, 415, 422), ERROR_RESPONSE),
    )
    def get(self, request: Request, key: UUID) -> Response:
        """Run a saved search.

        Its first page marks it as looked at: items added later are new.
        """
        search = _find_own(request, key)
        given = validated(ResultParameters, request.query_params.dict())
        saved = services.saved_query_of(search)
        query = replace(
            query_of(saved, request.get_host(), request.user),
            limit=given["limit"],
            cursor=given["cursor"],
        )
        page = service.search(query, request.user, limiter(request))
        if not query.cursor:
            services.mark_viewed(request.user, saved)
        context = page_context(page, query.dataset, given["include"], request)
        return Response(SearchPageSerializer(page, context=context).data)


def _read_query(search: str, user: AnyUser) -> SavedQuery:
    return checked_search(query_string(search), user)


def _find_own(request: Request, key: UUID, *, locked: bool = False) -> SavedSearch:
    """Return a search of the user, `locked` until the transaction ends if wanted.

    Raises NotFound.
    """
    mine = services.saved_searches_of(request.user)
    found = (mine.select_for_update() if locked else mine).filter(pk=key).first()
    if found is None:
        raise NotFound(NONE)
    return found


def _row(search: SavedSearch, user: Any) -> SearchRow:
    mine = services.saved_searches_of(user)
    ahead = mine.filter(position__lt=search.position).count()
    [row] = search_rows([search], ahead + 1, user)
    return row


def _search_json(search: SavedSearch, request: Request) -> Json:
    row = _row(search, request.user)
    return SavedSearchSerializer(row, context={"request": request}).data
