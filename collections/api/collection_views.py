"""List, create, show, change and delete collections."""

from typing import Any
from uuid import UUID

from django.db import transaction
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from search.api.fields import validated
from search.request_bodies import MAX_LIST_BYTES

from .. import sharing
from ..collection import services
from ..collection.item_keys import check_keys
from ..collection.views import public_collections
from ..models import Collection
from ..models.ownership import AnyUser
from ..pagination import COLLECTION_ORDERS, paginate, with_sorted_name
from ..sharing import Access, find_readable, lock_owned
from .access import NOT_INDEXED, UserAccess
from .collection_serializers import (
    CollectionChange,
    CollectionPageSerializer,
    CollectionParameters,
    CollectionSerializer,
    NewCollection,
    collection_context,
    collection_json,
    keys_of,
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
    "Open to everyone with the link",
    request_only=True,
    value={"name": "Boats at night", "visibility": "unlisted"},
)


class CollectionList(UserAccess):
    max_body_bytes = MAX_LIST_BYTES

    @extend_schema(
        operation_id="collections_list",
        tags=TAGS,
        parameters=[CollectionParameters],
        responses=CollectionPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List your collections, or everyone's public ones.

        The public ones are listed when they have items.
        """
        given = validated(CollectionParameters, request.query_params.dict())
        if given.get("visibility"):
            found = public_collections(request.user)
        else:
            self.wants_user(request)
            found = Collection.objects.owned_by(request.user)
        order = COLLECTION_ORDERS[given["sort"]]
        page = paginate(with_sorted_name(found), order, given["cursor"], given["limit"])
        context = collection_context(page.rows, request)
        return Response(CollectionPageSerializer(page, context=context).data)

    @extend_schema(
        operation_id="collections_create",
        tags=TAGS,
        request=NewCollection,
        responses={201: CollectionSerializer},
        examples=[NEW],
    )
    def post(self, request: Request) -> Response:
        """Create a collection, with items in it or empty.

        Items that are not in their datasets are left out: `size` is how many were
        added. When the items cannot be added, the collection is not created.
        """
        given = validated(NewCollection, request.data)
        keys = check_keys(keys_of(given.pop("items")))
        words = given.pop("words")
        collection = services.create(request.user, Collection(**given), keys, words)
        content = collection_json(Access(collection, is_mine=True), request)
        return Response(content, status.HTTP_201_CREATED)


class CollectionDetail(UserAccess):
    @extend_schema(
        operation_id="collection_retrieve", tags=TAGS, responses=CollectionSerializer
    )
    def get(self, request: Request, collection_id: UUID) -> Response:
        """Show a collection of yours, or one that is public."""
        access = find_readable(Collection, request.user, collection_id)
        return Response(collection_json(access, request))

    @extend_schema(
        operation_id="collection_update",
        tags=TAGS,
        request=CollectionChange,
        responses=CollectionSerializer,
        examples=[CHANGE],
    )
    def patch(self, request: Request, collection_id: UUID) -> Response:
        """Change the name, the description, the cover, or who sees it.

        Either all of it is changed or nothing.
        """
        with transaction.atomic():
            collection = lock_owned(Collection, request.user, collection_id)
            given = validated(CollectionChange, request.data)
            _change(collection, given, request.user)
        content = collection_json(Access(collection, is_mine=True), request)
        return Response(content)

    @extend_schema(operation_id="collection_delete", tags=TAGS, responses={204: None})
    def delete(self, request: Request, collection_id: UUID) -> Response:
        """Delete a collection.

        For 30 days it can be restored on the page of your collections.
        """
        with transaction.atomic():
            sharing.delete(lock_owned(Collection, request.user, collection_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SharedCollection(UserAccess):
    @extend_schema(
        operation_id="shared_collection_retrieve",
        tags=TAGS,
        responses=CollectionSerializer,
    )
    def get(self, request: Request, token: str) -> Response:
        """Show a collection by its share token."""
        content = collection_json(
            find_readable(Collection, request.user, token=token), request
        )
        return Response(content, headers=NOT_INDEXED)


def _change(collection: Collection, given: dict[str, Any], user: AnyUser) -> None:
    """Apply the changes to a locked collection. Raises InvalidQuery."""
    for name in ("name", "description"):
        setattr(collection, name, given.get(name, getattr(collection, name)))
    if "name" in given or "description" in given:
        sharing.rename(collection)
    if "cover" in given:
        cover = given["cover"]
        key = keys_of([cover])[0] if cover else None
        services.choose_cover(collection, key, user)
    if "visibility" in given:
        sharing.set_visibility(collection, given["visibility"])
    if given.get("renew_link"):
        sharing.renew_link(collection)
