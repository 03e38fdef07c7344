"""The items of a collection: listed, added, taken out, annotated and moved."""

from uuid import UUID

from django.db import transaction
from django.db.models import Q
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from search.errors import NotFound
from search.retrieval.items import check_item_id

from ..collection import members, services
from ..collection.item_keys import ItemKey, check_keys, rows_of
from ..models import Collection, CollectionItem
from ..pagination import ORDERS, paginate
from ..sharing import Access, find_owned, find_readable, lock_owned
from .access import NOT_INDEXED, UserAccess, parameters
from .representations import (
    AddedAnswer,
    MemberAnswer,
    MemberPage,
    RemovedAnswer,
    Told,
    members_json,
    page_json,
)
from .serializers import (
    ItemsGiven,
    ItemsRemoved,
    MemberChange,
    PageParameters,
    keys_of,
    validated,
)

TAGS = ["collections"]
TWO = OpenApiExample(
    "Two items",
    request_only=True,
    value={
        "items": [{"dataset": "postcards", "id": 7}, {"dataset": "postcards", "id": 42}]
    },
)


class Items(UserAccess):
    @extend_schema(
        operation_id="collection_items_list",
        tags=TAGS,
        parameters=[PageParameters],
        responses=MemberPage,
    )
    def get(self, request: Request, collection_id: UUID) -> Response:
        """List the items of a collection in the order made by hand."""
        return Response(
            _page(find_readable(Collection, request.user, collection_id), request)
        )

    @extend_schema(
        operation_id="collection_items_add",
        tags=TAGS,
        request=ItemsGiven,
        responses={200: AddedAnswer},
        examples=[TWO],
    )
    def post(self, request: Request, collection_id: UUID) -> Response:
        """Add items at the end of a collection.

        Up to 5,000 at once; a collection holds up to 50,000. An item that is in it
        already stays where it is.
        """
        find_owned(Collection, request.user, collection_id)
        given = validated(ItemsGiven, request.data)
        keys = check_keys(keys_of(given["items"]))
        added = members.add(request.user, collection_id, keys)
        services.record(added, given["words"])
        told = {
            "new": len(added.new),
            "there": added.there,
            "unknown": added.unknown,
            "size": find_owned(Collection, request.user, collection_id).size,
        }
        return Response(told)


class SharedItems(UserAccess):
    @extend_schema(
        operation_id="shared_collection_items_list",
        tags=TAGS,
        parameters=[PageParameters],
        responses=MemberPage,
    )
    def get(self, request: Request, token: str) -> Response:
        """List the items of a collection to whoever has its share token."""
        told = _page(find_readable(Collection, request.user, token=token), request)
        return Response(told, headers=NOT_INDEXED)


class ItemsRemove(UserAccess):
    @extend_schema(
        operation_id="collection_items_remove",
        tags=TAGS,
        request=ItemsRemoved,
        responses={200: RemovedAnswer},
        examples=[TWO],
    )
    def post(self, request: Request, collection_id: UUID) -> Response:
        """Take items out of a collection; those that are not in it do not count."""
        with transaction.atomic():
            collection = lock_owned(Collection, request.user, collection_id)
            keys = check_keys(keys_of(validated(ItemsRemoved, request.data)["items"]))
            gone = members.remove(collection, keys)
        return Response({"removed": len(gone), "size": collection.size})


class ItemDetail(UserAccess):
    @extend_schema(
        operation_id="collection_item_retrieve", tags=TAGS, responses=MemberAnswer
    )
    def get(
        self, request: Request, collection_id: UUID, dataset: str, item_id: int
    ) -> Response:
        """Show one item of a collection."""
        way = find_readable(Collection, request.user, collection_id)
        member = _member(way.object, ItemKey(dataset, item_id))
        return Response(_told(member, way, request))

    @extend_schema(
        operation_id="collection_item_update",
        tags=TAGS,
        request=MemberChange,
        responses=MemberAnswer,
        examples=[
            OpenApiExample(
                "Noted, and first of all",
                request_only=True,
                value={"note": "The best of them.", "place": 1},
            )
        ],
    )
    def patch(
        self, request: Request, collection_id: UUID, dataset: str, item_id: int
    ) -> Response:
        """Write the note under an item, or move it to another place.

        A place beyond the end is the last one.
        """
        key = ItemKey(dataset, item_id)
        with transaction.atomic():
            collection = lock_owned(Collection, request.user, collection_id)
            member = _member(collection, key)
            given = validated(MemberChange, request.data)
            if "note" in given:
                member.note = given["note"]
                member.save(update_fields=["note"])
            if "place" in given:
                members.move(collection, [key], "place", given["place"])
                member.refresh_from_db()
        return Response(_told(member, Access(collection, is_mine=True), request))

    @extend_schema(
        operation_id="collection_item_delete", tags=TAGS, responses={204: None}
    )
    def delete(
        self, request: Request, collection_id: UUID, dataset: str, item_id: int
    ) -> Response:
        """Take one item out of a collection."""
        key = ItemKey(dataset, item_id)
        with transaction.atomic():
            collection = lock_owned(Collection, request.user, collection_id)
            _member(collection, key)
            members.remove(collection, [key])
        return Response(status=status.HTTP_204_NO_CONTENT)


def _page(way: Access[Collection], request: Request) -> Told:
    given = validated(PageParameters, parameters(request))
    items = way.object.items.all()
    page = paginate(items, ORDERS["hand"], given["cursor"], given["limit"])
    told = members_json(page.rows, page.start + 1, way.is_mine, request)
    return page_json(told, page)


def _member(collection: Collection, key: ItemKey) -> CollectionItem:
    """Raises NotFound."""
    check_item_id(key.item)
    found = rows_of(collection.items.all(), [key]).first()
    if found is None:
        raise NotFound("This item is not in the collection.")
    return found


def _told(member: CollectionItem, way: Access[Collection], request: Request) -> Told:
    here, before = member.position, way.object.items
    ahead = Q(position__lt=here) | Q(position=here, pk__lt=member.pk)
    place = before.filter(ahead).count() + 1
    return members_json([member], place, way.is_mine, request)[0]
