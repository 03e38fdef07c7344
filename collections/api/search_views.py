"""Saved searches: kept, listed, changed, and run."""

from dataclasses import replace
from uuid import UUID

from django.db import transaction
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from search import rate_limits
from search.api.errors import REFUSAL
from search.api.representations import SearchAnswer
from search.api.representations import told_page as told_results
from search.errors import NotFound
from search.query.concepts import resolved
from search.retrieval import service

from ..models import SavedSearch
from ..pagination import Order, cut
from ..saved_search import new_results, services
from ..saved_search.search_address import Asking, query_of, query_string
from ..saved_search.search_address import checked as checked_search
from .access import OfOneUser, parameters
from .representations import (
    SavedSearchAnswer,
    SavedSearchDetail,
    SavedSearchPage,
    Told,
    told_page,
    told_searches,
)
from .serializers import (
    NewSearch,
    PageParameters,
    ResultParameters,
    SearchChange,
    checked,
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


class Searches(OfOneUser):
    @extend_schema(
        operation_id="searches_list",
        tags=TAGS,
        parameters=[PageParameters],
        responses=SavedSearchPage,
    )
    def get(self, request: Request) -> Response:
        """List your saved searches in the order made by hand."""
        given = checked(PageParameters, parameters(request))
        mine = services.of(request.user)
        page = cut(mine, BY_HAND, given["cursor"], given["limit"])
        told = told_searches(page.rows, page.start + 1, request)
        return Response(told_page(told, page))

    @extend_schema(
        operation_id="searches_create",
        tags=TAGS,
        request=NewSearch,
        responses={200: SavedSearchAnswer, 201: SavedSearchAnswer, 404: REFUSAL},
        examples=[NEW],
    )
    def post(self, request: Request) -> Response:
        """Save a search, as the first of yours.

        One that you have saved already is answered as it is, with status 200. There
        are up to 500.
        """
        given = checked(NewSearch, request.data)
        asking = _asking(given["search"])
        search, is_new = services.save(request.user, asking, given["name"])
        done = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(_told(search, request), done)


class SearchDetail(OfOneUser):
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
            before=lambda: rate_limits.check(request, "search"),
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
            given = checked(SearchChange, request.data)
            if "search" in given:
                services.change(search, _asking(given["search"]))
            if "name" in given:
                services.rename(search, given["name"])
            if "place" in given:
                services.put_at(search, given["place"])
                search.refresh_from_db()
        return Response(_told(search, request))

    @extend_schema(operation_id="saved_search_delete", tags=TAGS, responses={204: None})
    def delete(self, request: Request, key: UUID) -> Response:
        """Delete a saved search, for good."""
        services.delete(_mine(request, key))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SearchResults(OfOneUser):
    throttle_scope = "search"

    @extend_schema(
        operation_id="saved_search_results",
        tags=TAGS,
        parameters=[ResultParameters],
        # Words can name pictures by their addresses, which are fetched.
        responses={200: SearchAnswer} | dict.fromkeys((413, 415, 422), REFUSAL),
    )
    def get(self, request: Request, key: UUID) -> Response:
        """Run a saved search.

        With its first page it has been looked at: what comes in later is new.
        """
        search = _mine(request, key)
        given = checked(ResultParameters, parameters(request))
        asking = services.asking_of(search)
        query = replace(
            query_of(asking, request.get_host()),
            limit=given["limit"],
            cursor=given["cursor"],
        )
        rate_limits.check_pictures(request, query)
        page = service.find(resolved(query, request.user))
        if not query.cursor:
            services.look_at(request.user, asking)
        told = told_results(page, query.dataset, given["include"], request)
        return Response(told)


def _asking(search: str) -> Asking:
    return checked_search(query_string(search))


def _mine(request: Request, key: UUID, *, locked: bool = False) -> SavedSearch:
    """If `locked`, kept from other changes until the transaction ends.

    Raises NotFound.
    """
    mine = services.of(request.user)
    found = (mine.select_for_update() if locked else mine).filter(pk=key).first()
    if found is None:
        raise NotFound(NONE)
    return found


def _told(search: SavedSearch, request: Request) -> Told:
    ahead = services.of(request.user).filter(position__lt=search.position).count()
    return told_searches([search], ahead + 1, request)[0]
