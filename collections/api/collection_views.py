"""Collections: made, listed, shown, changed and deleted."""

from typing import Any
from uuid import UUID

from django.db import transaction
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from .. import sharing
from ..collection import services
from ..collection.item_keys import check_keys
from ..collection.views import public_collections
from ..models import Collection
from ..pagination import COLLECTION_ORDERS, paginate, with_sorted_name
from ..sharing import Access, access_of, find_readable, lock_owned
from .access import NOT_INDEXED, UserAccess, parameters
from .representations import (
    CollectionAnswer,
    CollectionPage,
    collection_json,
    collections_json,
    page_json,
)
from .serializers import (
    CollectionChange,
    CollectionParameters,
    NewCollection,
    keys_of,
    validated,
)

TAGS = ["collections"]
NEW = OpenApiExample(
    "Two items",
    request_only=True,
    value={
        "name": "Boats",
        "description": "At sea and in harbours.",
        "items": [
            {"dataset": "postcards", "id": 7},
            {"dataset": "postcards", "id": 42},
        ],
    },
)
CHANGE = OpenApiExample(
    "Open to whoever has the link",
    request_only=True,
    value={"name": "Boats at night", "visibility": "unlisted"},
)


class CollectionList(UserAccess):
    @extend_schema(
        operation_id="collections_list",
        tags=TAGS,
        parameters=[CollectionParameters],
        responses=CollectionPage,
    )
    def get(self, request: Request) -> Response:
        """List your collections, or everyone's public ones.

        The public ones are listed when they have items.
        """
        given = validated(CollectionParameters, parameters(request))
        if given.get("visibility"):
            found = public_collections()
        else:
            self.wants_user(request)
            found = Collection.objects.owned_by(request.user)
        order = COLLECTION_ORDERS[given["sort"]]
        page = paginate(with_sorted_name(found), order, given["cursor"], given["limit"])
        ways = [access_of(each, request.user) for each in page.rows]
        return Response(page_json(collections_json(ways, request), page))

    @extend_schema(
        operation_id="collections_create",
        tags=TAGS,
        request=NewCollection,
        responses={201: CollectionAnswer},
        examples=[NEW],
    )
    def post(self, request: Request) -> Response:
        """Make a collection, with items in it or empty.

        Items that are not in their datasets are left out: `size` tells how many came
        in. When it cannot be made with its items, it is not made at all.
        """
        given = validated(NewCollection, request.data)
        keys = check_keys(keys_of(given.pop("items")))
        words = given.pop("words")
        made = services.create(request.user, Collection(**given), keys, words)
        told = collection_json(Access(made, is_mine=True), request)
        return Response(told, status.HTTP_201_CREATED)


class CollectionDetail(UserAccess):
    @extend_schema(
        operation_id="collection_retrieve", tags=TAGS, responses=CollectionAnswer
    )
    def get(self, request: Request, collection_id: UUID) -> Response:
        """Show a collection of yours, or one that is public."""
        way = find_readable(Collection, request.user, collection_id)
        return Response(collection_json(way, request))

    @extend_schema(
        operation_id="collection_update",
        tags=TAGS,
        request=CollectionChange,
        responses=CollectionAnswer,
        examples=[CHANGE],
    )
    def patch(self, request: Request, collection_id: UUID) -> Response:
        """Change the name, the description, the cover, or who sees it.

        All of it is changed, or nothing.
        """
        with transaction.atomic():
            collection = lock_owned(Collection, request.user, collection_id)
            _change(collection, validated(CollectionChange, request.data))
        told = collection_json(Access(collection, is_mine=True), request)
        return Response(told)

    @extend_schema(operation_id="collection_delete", tags=TAGS, responses={204: None})
    def delete(self, request: Request, collection_id: UUID) -> Response:
        """Delete a collection.

        For 30 days it can be brought back on the page of your collections.
        """
        with transaction.atomic():
            sharing.delete(lock_owned(Collection, request.user, collection_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SharedCollection(UserAccess):
    @extend_schema(
        operation_id="shared_collection_retrieve",
        tags=TAGS,
        responses=CollectionAnswer,
    )
    def get(self, request: Request, token: str) -> Response:
        """Show a collection to whoever has its share token."""
        told = collection_json(
            find_readable(Collection, request.user, token=token), request
        )
        return Response(told, headers=NOT_INDEXED)


def _change(collection: Collection, given: dict[str, Any]) -> None:
    """Makes the changes to a locked collection. Raises InvalidQuery."""
    for name in ("name", "description"):
        setattr(collection, name, given.get(name, getattr(collection, name)))
    if "name" in given or "description" in given:
        sharing.rename(collection)
    if "cover" in given:
        cover = given["cover"]
        services.choose_cover(collection, keys_of([cover])[0] if cover else None)
    if "visibility" in given:
        sharing.set_visibility(collection, given["visibility"])
    if given.get("renew_link"):
        sharing.renew_link(collection)
