"""What the API of a user's things takes, field by field."""

from typing import Any

from rest_framework import serializers
from rest_framework.serializers import (
    BooleanField,
    CharField,
    ListSerializer,
    UUIDField,
)

from search.api.fields import (
    ListInAddressField,
    ShortListField,
    StrictIntegerField,
    StrictSerializer,
    WordField,
    between,
)
from search.api.serializers import INCLUDED, MAX_NUMBERS
from search.query.filters import LAST_ITEM, MAX_TEXT_LENGTH
from search.query.model import DEFAULT_LIMIT, MAX_PER_PAGE

from ..collection.item_keys import MAX_AT_ONCE, ItemKey
from ..collection.members import MAX_MEMBERS
from ..concept.services import MAX_VERSIONS
from ..models.ownership import Shared
from ..pagination import COLLECTION_ORDERS
from ..saved_search.search_address import MAX_CHARACTERS
from ..saved_search.services import MAX_NAME_LENGTH, MAX_SAVED

MAX_ADDRESS_LENGTH = MAX_CHARACTERS + 2_000  # with what stands before the question mark
WHO_SEES = "`private`: you; `unlisted`: whoever has the link; `public`: everyone."
WORDS = "Words of the search that the items come from; they are picks for these."


def validated(
    serializer: type[serializers.Serializer], given: Any, **options: Any
) -> dict[str, Any]:
    """What was given, as the serializer reads it. Raises ValidationError."""
    reading = serializer(data=given, **options)
    reading.is_valid(raise_exception=True)
    return reading.validated_data


def _name(**options: Any) -> CharField:
    return CharField(max_length=120, **options)


def _description(**options: Any) -> CharField:
    return CharField(max_length=2_000, allow_blank=True, **options)


def _visibility(**options: Any) -> WordField:
    return WordField(Shared.Visibility.values, help_text=WHO_SEES, **options)


# --- In addresses


class PageParameters(StrictSerializer):
    in_address = True
    limit = serializers.IntegerField(default=DEFAULT_LIMIT, **between(1, MAX_PER_PAGE))
    cursor = CharField(
        default="", allow_blank=True, help_text="`next` of the answer before."
    )


class OpenOrMine(PageParameters):
    visibility = WordField(
        ["public"],
        required=False,
        help_text="`public`: everyone's that are public. If it is left out: yours.",
    )


class CollectionParameters(OpenOrMine):
    sort = WordField(
        list(COLLECTION_ORDERS),
        default="changed",
        help_text="What was changed last comes first, if nothing else is said.",
    )


class ResultParameters(PageParameters):
    include = ListInAddressField(
        child=serializers.ChoiceField(INCLUDED),
        required=False,
        default=list,
        help_text="What an answer holds of each item beside the facts.",
    )


# --- Collections


class ItemKeySerializer(StrictSerializer):
    """An item of a dataset."""

    dataset = CharField(max_length=200, help_text="Its slug.")
    id = StrictIntegerField(min_value=0, max_value=LAST_ITEM)


def keys_of(given: list[dict[str, Any]]) -> list[ItemKey]:
    """Items as ItemKey leaves them."""
    return [ItemKey(each["dataset"], each["id"]) for each in given]


class NewCollection(StrictSerializer):
    name = _name()
    description = _description(default="")
    visibility = _visibility(default=Shared.Visibility.PRIVATE.value)
    items: ListSerializer[Any] = ListSerializer(
        child=ItemKeySerializer(), required=False, default=list, max_length=MAX_AT_ONCE
    )
    words = CharField(
        default="", allow_blank=True, max_length=MAX_TEXT_LENGTH, help_text=WORDS
    )


class CollectionChange(StrictSerializer):
    """What is left out stays as it is."""

    name = _name(required=False)
    description = _description(required=False)
    visibility = _visibility(required=False)
    cover = ItemKeySerializer(
        required=False,
        allow_null=True,
        help_text="A member to stand for all; null for the first four.",
    )
    renew_link = BooleanField(
        required=False, help_text="true: the link given away before leads nowhere."
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
    """What is left out stays as it is."""

    note = CharField(required=False, allow_blank=True, max_length=2_000)
    place = StrictIntegerField(
        required=False,
        help_text="In the order made by hand, counted from 1.",
        **between(1, MAX_MEMBERS, "a place"),
    )


# --- Saved searches

SEARCH_HELP = (
    "The query string of the search page, `dataset=postcards&q=a+boat`, or its whole "
    "address. It takes what the page takes: `q`, `item`, `embedding` and `concept` as "
    "terms, `field`, `mode`, `sort` and the filters. What is not a part of a search, "
    "such as a cursor, is left out."
)


class NewSearch(StrictSerializer):
    search = CharField(max_length=MAX_ADDRESS_LENGTH, help_text=SEARCH_HELP)
    name = CharField(
        default="",
        allow_blank=True,
        max_length=MAX_NAME_LENGTH,
        help_text="Without one it is called by its words.",
    )


class SearchChange(StrictSerializer):
    """What is left out stays as it is."""

    search = CharField(
        required=False, max_length=MAX_ADDRESS_LENGTH, help_text=SEARCH_HELP
    )
    name = CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_NAME_LENGTH,
        help_text="Without one it is called by its words.",
    )
    place = StrictIntegerField(
        required=False,
        help_text="Among your saved searches, counted from 1.",
        **between(1, MAX_SAVED, "a place"),
    )


# --- Concepts


def _embedding() -> ShortListField:
    return ShortListField(
        child=serializers.FloatField(),
        min_length=1,
        max_length=MAX_NUMBERS,
        help_text="Of any length: its direction is kept.",
    )


class ConceptOfEmbedding(StrictSerializer):
    """A vector of your own, for searches in datasets of one model."""

    name = _name()
    description = _description(default="")
    visibility = _visibility(default=Shared.Visibility.PRIVATE.value)
    dataset = CharField(
        max_length=200, help_text="The slug of one whose model made the embedding."
    )
    embedding = _embedding()


class ConceptOfRound(StrictSerializer):
    """A round of refining that was made on the page."""

    name = _name()
    description = _description(default="")
    visibility = _visibility(default=Shared.Visibility.PRIVATE.value)
    round = UUIDField(help_text="The id of one of your rounds.")


class ConceptChange(StrictSerializer):
    """What is left out stays as it is."""

    name = _name(required=False)
    description = _description(required=False)
    visibility = _visibility(required=False)
    renew_link = BooleanField(
        required=False, help_text="true: the link given away before leads nowhere."
    )


class VersionOfEmbedding(StrictSerializer):
    embedding = _embedding()


class VersionOfRound(StrictSerializer):
    round = UUIDField(help_text="The id of one of your rounds.")


class VersionRestored(StrictSerializer):
    restore = StrictIntegerField(
        help_text="The number of an older version, to become the newest, too.",
        **between(1, MAX_VERSIONS, "the number of a version"),
    )
