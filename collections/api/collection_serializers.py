"""The JSON of collections and their items."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_serializer
from rest_framework.request import Request
from rest_framework.serializers import (
    BooleanField,
    CharField,
    ChoiceField,
    DateTimeField,
    IntegerField,
    ListSerializer,
)

from search.api.fields import (
    AddressField,
    NextField,
    ResponseSerializer,
    StrictIntegerField,
    StrictSerializer,
    WordField,
    between,
    count_field,
    id_field,
)
from search.api.item_serializers import SafeField, ThumbnailSerializer
from search.query.filters import LAST_ITEM, MAX_TEXT_LENGTH
from search.retrieval.item_lookup import ItemState

from ..collection.item_keys import MAX_AT_ONCE, ItemKey
from ..collection.members import MAX_MEMBERS
from ..collection.rows import rate, states_of
from ..collection.services import subtract_hidden
from ..models import Collection, CollectionItem
from ..models.ownership import Shared
from ..pagination import COLLECTION_ORDERS, Page
from ..sharing import Access, access_of
from .serializers import (
    OpenOrMine,
    SharedSerializer,
    description_field,
    name_field,
    visibility_field,
)

WORDS = "Words of the search that the items come from; they are picks for these."


# --- Requests


class CollectionParameters(OpenOrMine):
    sort = WordField(
        list(COLLECTION_ORDERS),
        default="changed",
        help_text="By default the last changed one comes first.",
    )


class ItemKeySerializer(StrictSerializer):
    """An item of a dataset."""

    dataset = CharField(max_length=200, help_text="Its slug.")
    id = StrictIntegerField(min_value=0, max_value=LAST_ITEM)


def keys_of(given: list[dict[str, Any]]) -> list[ItemKey]:
    """Return the validated data of many ItemKeySerializer as keys."""
    return [ItemKey(each["dataset"], each["id"]) for each in given]


class NewCollection(StrictSerializer):
    name = name_field()
    description = description_field(default="")
    visibility = visibility_field(default=Shared.Visibility.PRIVATE.value)
    items: ListSerializer[Any] = ListSerializer(
        child=ItemKeySerializer(), required=False, default=list, max_length=MAX_AT_ONCE
    )
    words = CharField(
        default="", allow_blank=True, max_length=MAX_TEXT_LENGTH, help_text=WORDS
    )


class CollectionChange(StrictSerializer):
    """Keys that are left out stay unchanged."""

    name = name_field(required=False)
    description = description_field(required=False)
    visibility = visibility_field(required=False)
    cover = ItemKeySerializer(
        required=False,
        allow_null=True,
        help_text="A member to represent the collection; null for the first four.",
    )
    renew_link = BooleanField(
        required=False, help_text="true revokes the current link and makes a new one."
    )


class ItemsGiven(StrictSerializer):
    items: ListSerializer[Any] = ListSerializer(
        child=ItemKeySerializer(), allow_empty=False, max_length=MAX_AT_ONCE
    )
    words = CharField(
        default="", allow_blank=True, max_length=MAX_TEXT_LENGTH, help_text=WORDS
    )


class ItemsRemoved(StrictSerializer):
    items: ListSerializer[Any] = ListSerializer(
        child=ItemKeySerializer(), allow_empty=False, max_length=MAX_AT_ONCE
    )


class MemberChange(StrictSerializer):
    """Keys that are left out stay unchanged."""

    note = CharField(required=False, allow_blank=True, max_length=2_000)
    place = StrictIntegerField(
        required=False,
        help_text="In the manual order, counted from 1.",
        **between(1, MAX_MEMBERS, "a place"),
    )


# --- Responses of collections


class KeySerializer(ResponseSerializer):
    """An item of a dataset."""

    dataset = CharField()
    id = id_field(source="item")


class CollectionSerializer(SharedSerializer):
    """A named set of items in a manual order."""

    # The context has `covers`, members by their keys: see collection_context.
    size = count_field("How many items are in it.", source="object.size")
    cover = KeySerializer(
        allow_null=True, help_text="The item chosen to represent it, if any."
    )

    def compute_cover(self, access: Access[Collection]) -> CollectionItem | None:
        return self.context["covers"].get(access.object.cover_id)


@extend_schema_serializer(component_name="CollectionPage")
class CollectionPageSerializer(ResponseSerializer):
    results = CollectionSerializer(many=True)
    next = NextField()

    def compute_results(self, page: Page) -> list[Access[Collection]]:
        return [access_of(each, self.context["request"].user) for each in page.rows]


def collection_context(
    collections: Sequence[Collection], request: Request
) -> dict[str, Any]:
    """Return the context of the serializers of these collections.

    The sizes become those of what the user sees.
    """
    subtract_hidden(collections, request.user)
    chosen = {collection.cover_id for collection in collections} - {None}
    # A cover that is no longer a member is missing here.
    members = CollectionItem.objects.visible_to(request.user)
    return {"request": request, "covers": members.in_bulk(chosen)}


def collection_json(access: Access[Collection], request: Request) -> dict[str, Any]:
    context = collection_context([access.object], request)
    return CollectionSerializer(access, context=context).data


# --- Responses of items


@dataclass(frozen=True)
class MemberRow:
    """An item of a collection as a response shows it."""

    member: CollectionItem
    place: int  # counted from 1
    state: ItemState
    is_mine: bool

    @property
    def facts(self) -> CollectionItem:
        """Return the member, or an empty one for what must not be shown."""
        return CollectionItem() if self.state is ItemState.REMOVED else self.member


def member_rows(
    members: Sequence[CollectionItem], first: int, is_mine: bool
) -> list[MemberRow]:
    """Return members in their order, of which the first one has the place `first`.

    Raises SearchUnavailable, since the engine knows what must not be shown.
    """
    states = states_of(list(members))
    rate(members)
    return [
        MemberRow(member, place, states[member.dataset, member.item], is_mine)
        for place, member in enumerate(members, first)
    ]


class MemberSerializer(ThumbnailSerializer):
    """An item of a collection, with its metadata from when it was added."""

    dataset = CharField(source="member.dataset")
    id = id_field(source="member.item")
    standing = ChoiceField(
        [state.value for state in ItemState],
        source="state.value",
        help_text="`there`: it exists. `gone`: its dataset no longer has it. "
        "`removed`: it must not be shown, and its metadata is empty.",
    )
    url = CharField(
        source="facts.url",
        help_text="Where the image was found; it may no longer be there.",
    )
    caption = CharField(source="facts.caption")
    width = count_field("Pixels; 0 if unknown.", source="facts.width")
    height = count_field("Pixels; 0 if unknown.", source="facts.height")
    nsfw = CharField(
        source="facts.nsfw",
        help_text="UNLIKELY, UNSURE or NSFW, and empty for what is not rated.",
    )
    safe = SafeField(source="facts.nsfw")
    license = CharField(source="facts.license")
    added_at = DateTimeField(source="member.added_at")
    thumbnail = AddressField(
        allow_null=True,
        help_text="The URL of a thumbnail; null if there can be none.",
    )
    page = AddressField(
        allow_null=True, help_text="The URL of the item's page, if it exists."
    )
    place = IntegerField(min_value=1, help_text="In the manual order, counted from 1.")
    note = CharField(allow_null=True, help_text="null in what is not yours.")

    def compute_thumbnail(self, row: MemberRow) -> str | None:
        if row.state is not ItemState.THERE:
            return None
        member = row.member
        return self.thumbnail_path(member.dataset, member.item, member.url)

    def compute_page(self, row: MemberRow) -> str | None:
        if row.state is not ItemState.THERE:
            return None
        return reverse("item", args=[row.member.dataset, row.member.item])

    def compute_note(self, row: MemberRow) -> str | None:
        return row.member.note if row.is_mine else None


@extend_schema_serializer(component_name="MemberPage")
class MemberPageSerializer(ResponseSerializer):
    results = MemberSerializer(many=True)
    next = NextField()


class AddedSerializer(ResponseSerializer):
    """The result of adding items."""

    new = count_field("How many were added.")
    there = count_field("How many were in it before.")
    unknown = count_field("How many are not in their datasets.")
    size = count_field("How many items are in it now.")


class RemovedSerializer(ResponseSerializer):
    removed = count_field("How many were in it before.")
    size = count_field("How many items are in it now.")
