"""List, add, remove, annotate and move the items of a collection."""

from uuid import UUID

from django.db import transaction
from django.db.models import Q
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from search.api.fields import Json, validated
from search.errors import NotFound
from search.request_bodies import MAX_LIST_BYTES
from search.retrieval.items import check_item_id

from ..collection import members, services
from ..collection.item_keys import ItemKey, check_keys, rows_of
from ..models import Collection, CollectionItem
from ..models.ownership import AnyUser
from ..pagination import ORDERS, paginate
from ..sharing import Access, find_owned, find_readable, lock_owned
from .access import NOT_INDEXED, UserAccess
from .collection_serializers import (
    AddedSerializer,
    ItemsGiven,
    ItemsRemoved,
    MemberChange,
    MemberPageSerializer,
    MemberSerializer,
    RemovedSerializer,
    keys_of,
    member_rows,
)
from .serializers import PageParameters

TAGS = ["collections"]
TWO = OpenApiExample(
    "Two items",
    request_only=True,
    value={
        "items": [{"dataset": "postcards", "id": 7}, {"dataset": "postcards", "id": 42}]
    },
)


class Items(UserAccess):
    max_body_bytes = MAX_LIST_BYTES

    @extend_schema(
        operation_id="collection_items_list",
        tags=TAGS,
        parameters=[PageParameters],
        responses=MemberPageSerializer,
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
        responses={200: AddedSerializer},
        examples=[TWO],
    )
    def post(self, request: Request, collection_id: UUID) -> Response:
        """Add items at the end of a collection.

        Up to 5,000 at once; a collection holds up to 50,000. Items that are in it
        already keep their places.
        """
        find_owned(Collection, request.user, collection_id)
        given = validated(ItemsGiven, request.data)
        keys = check_keys(keys_of(given["items"]))
        added = members.add(request.user, collection_id, keys)
        services.record(added, given["words"], request.user)
        content = {
            "new": len(added.new),
            "there": added.already_present,
            "unknown": added.unknown,
            "size": find_owned(Collection, request.user, collection_id).size,
        }
        return Response(AddedSerializer(content).data)


class SharedItems(UserAccess):
    @extend_schema(
        operation_id="shared_collection_items_list",
        tags=TAGS,
        parameters=[PageParameters],
        responses=MemberPageSerializer,
    )
    def get(self, request: Request, token: str) -> Response:
        """List the items of a collection by its share token."""
        content = _page(find_readable(Collection, request.user, token=token), request)
        return Response(content, headers=NOT_INDEXED)


class ItemsRemove(UserAccess):
    max_body_bytes = MAX_LIST_BYTES

    @extend_schema(
        operation_id="collection_items_remove",
        tags=TAGS,
        request=ItemsRemoved,
        responses={200: RemovedSerializer},
        examples=[TWO],
    )
    def post(self, request: Request, collection_id: UUID) -> Response:
        """Remove items from a collection; those that are not in it are ignored."""
        with transaction.atomic():
            collection = lock_owned(Collection, request.user, collection_id)
            keys = check_keys(keys_of(validated(ItemsRemoved, request.data)["items"]))
            removed = members.remove(collection, keys)
        content = {"removed": len(removed), "size": collection.size}
        return Response(RemovedSerializer(content).data)


class ItemDetail(UserAccess):
    @extend_schema(
        operation_id="collection_item_retrieve", tags=TAGS, responses=MemberSerializer
    )
    def get(
        self, request: Request, collection_id: UUID, dataset: str, item_id: int
    ) -> Response:
        """Show one item of a collection."""
        access = find_readable(Collection, request.user, collection_id)
        key = ItemKey(dataset, item_id)
        member = _member(access.object, key, request.user)
        return Response(_member_json(member, access, request))

    @extend_schema(
        operation_id="collection_item_update",
        tags=TAGS,
        request=MemberChange,
        responses=MemberSerializer,
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

        A place beyond the end means the last one.
        """
        key = ItemKey(dataset, item_id)
        with transaction.atomic():
            collection = lock_owned(Collection, request.user, collection_id)
            member = _member(collection, key, request.user)
            given = validated(MemberChange, request.data)
            if "note" in given:
                member.note = given["note"]
                member.save(update_fields=["note"])
            if "place" in given:
                members.move(collection, [key], "place", given["place"])
                member.refresh_from_db()
        return Response(_member_json(member, Access(collection, is_mine=True), request))

    @extend_schema(
        operation_id="collection_item_delete", tags=TAGS, responses={204: None}
    )
    def delete(
        self, request: Request, collection_id: UUID, dataset: str, item_id: int
    ) -> Response:
        """Remove one item from a collection."""
        key = ItemKey(dataset, item_id)
        with transaction.atomic():
            collection = lock_owned(Collection, request.user, collection_id)
            _member(collection, key, request.user)
            members.remove(collection, [key])
        return Response(status=status.HTTP_204_NO_CONTENT)


def _page(access: Access[Collection], request: Request) -> Json:
    given = validated(PageParameters, request.query_params.dict())
    items = access.object.items.visible_to(request.user)
    page = paginate(items, ORDERS["hand"], given["cursor"], given["limit"])
    rows = member_rows(page.rows, page.start + 1, access.is_mine)
    content = {"results": rows, "next": page.next}
    return MemberPageSerializer(content, context={"request": request}).data


def _member(collection: Collection, key: ItemKey, user: AnyUser) -> CollectionItem:
    """Return an item of the collection. Raises NotFound."""
    check_item_id(key.item)
    found = rows_of(collection.items.visible_to(user), [key]).first()
    if found is None:
        raise NotFound("This item is not in the collection.")
    return found


def _member_json(
    member: CollectionItem, access: Access[Collection], request: Request
) -> Json:
    position, items = member.position, access.object.items.visible_to(request.user)
    ahead = Q(position__lt=position) | Q(position=position, pk__lt=member.pk)
    place = items.filter(ahead).count() + 1
    [row] = member_rows([member], place, access.is_mine)
    return MemberSerializer(row, context={"request": request}).data
