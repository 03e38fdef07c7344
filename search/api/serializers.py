"""The API's words, turned into a SearchQuery; what is not known is refused."""

import base64
import binascii
from typing import Any

from rest_framework import serializers

from search import asking
from search.errors import InvalidQuery, PictureTooLarge
from search.pictures import MOST_BYTES
from search.query import (
    DEFAULT_LIMIT,
    LAST_ITEM,
    MOST_EXCLUDED,
    MOST_TERMS,
    Filters,
    SearchQuery,
    Term,
    decode_embedding,
)

MOST_NUMBERS = 16_384  # of an embedding; models have up to a few thousand
INCLUDED = ("embedding",)  # what an answer can hold beside the facts of an item


class StrictSerializer(serializers.Serializer):
    """Refuses keys that it does not know, by name."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        unknown = set(data) - set(self.fields) if hasattr(data, "keys") else set()
        if unknown:
            raise serializers.ValidationError(
                {_readable(name): ["This key is not known."] for name in unknown}
            )
        return super().to_internal_value(data)


def _readable(key: Any) -> str:
    """Half a character, which JSON can carry, cannot be sent back."""
    return str(key)[:100].encode("utf-8", "replace").decode()


class StrictIntegerField(serializers.IntegerField):
    """Takes 3, but neither true nor 3.5."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class ListInAddressField(serializers.ListField):
    """3,17,42: a list between commas; an empty text is an empty list."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, str):
            data = [part.strip() for part in data.split(",")] if data.strip() else []
        return super().to_internal_value(data)


class ShortListField(serializers.ListField):
    """Refuses a list that is too long before it looks at what is in it."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list) and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return super().to_internal_value(data)

    default_error_messages = {"max_length": "At most {max_length:,} are taken."}


class TermSerializer(StrictSerializer):
    text = serializers.CharField(required=False, allow_blank=True)
    image = serializers.CharField(
        required=False, help_text="The picture's bytes in base64."
    )
    image_url = serializers.CharField(
        required=False, help_text="Where the picture is fetched from."
    )
    item = StrictIntegerField(required=False)
    embedding = ShortListField(
        child=serializers.FloatField(), required=False, max_length=MOST_NUMBERS
    )
    concept = serializers.CharField(
        required=False, max_length=100, help_text="The id of a Concept you may see."
    )
    weight = serializers.FloatField(default=1.0)

    def validate_image(self, text: str) -> bytes:
        return picture_bytes(text)


class FiltersSerializer(StrictSerializer):
    """As query.Filters, which has the last word on the values."""

    nsfw = serializers.CharField(required=False)
    min_width = StrictIntegerField(required=False)
    max_width = StrictIntegerField(required=False)
    min_height = StrictIntegerField(required=False)
    max_height = StrictIntegerField(required=False)
    orientation = serializers.CharField(required=False, allow_blank=True)
    min_similarity = serializers.FloatField(required=False)
    license = serializers.CharField(required=False, allow_blank=True)
    caption = serializers.CharField(required=False, allow_blank=True)
    site = serializers.CharField(required=False, allow_blank=True)
    exclude = ShortListField(
        child=StrictIntegerField(min_value=0, max_value=LAST_ITEM),
        required=False,
        max_length=MOST_EXCLUDED,
    )
    dedupe = serializers.BooleanField(required=False)
    cutoff = serializers.FloatField(required=False)

    def validate_exclude(self, ids: list[int]) -> tuple[int, ...]:
        return tuple(ids)


class SearchSerializer(StrictSerializer):
    """The body of POST /api/search/."""

    dataset = serializers.CharField(max_length=200)
    terms = TermSerializer(
        many=True, required=False, default=list, max_length=MOST_TERMS
    )
    field = serializers.CharField(default="image")
    mode = serializers.CharField(default="ann")
    sort = serializers.CharField(default="similarity")
    filters = FiltersSerializer(required=False, default=dict)
    limit = StrictIntegerField(default=DEFAULT_LIMIT)
    cursor = serializers.CharField(default="", allow_blank=True, allow_null=True)
    include = ShortListField(
        child=serializers.ChoiceField(INCLUDED),
        required=False,
        default=list,
        max_length=len(INCLUDED),
    )

    def query(self) -> SearchQuery:
        given = dict(self.validated_data)
        del given["include"]
        terms = tuple(Term(**_term(term)) for term in given.pop("terms"))
        filters = Filters(**given.pop("filters"))
        given["cursor"] = given["cursor"] or ""
        return SearchQuery(terms=terms, filters=filters, **given)


class SearchParametersSerializer(FiltersSerializer):
    """The parameters of GET /api/search/; `q` is in the language of the search box."""

    dataset = serializers.CharField(max_length=200)
    # As it stands, since errors tell places in it.
    q = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    embedding = serializers.CharField(
        required=False, help_text="base64url of the float32 little-endian vector."
    )
    field = serializers.CharField(default="image")
    mode = serializers.CharField(default="ann")
    sort = serializers.CharField(default="similarity")
    limit = serializers.IntegerField(default=DEFAULT_LIMIT)
    cursor = serializers.CharField(default="", allow_blank=True)
    exclude = ListInAddressField(
        child=serializers.IntegerField(min_value=0, max_value=LAST_ITEM),
        required=False,
        max_length=MOST_EXCLUDED,
        help_text="Ids of items between commas.",
    )
    include = ListInAddressField(
        child=serializers.ChoiceField(INCLUDED), required=False, default=list
    )

    def query(self, host: str) -> SearchQuery:
        """`host` is the one that our own pages are under, for addresses in `q`."""
        given = dict(self.validated_data)
        del given["include"]
        words, vector = given.pop("q", ""), given.pop("embedding", None)
        names = FiltersSerializer().fields
        filters = {name: given.pop(name) for name in names if name in given}
        asked = asking.read(words, given["dataset"], host)
        terms = (
            (Term(embedding=decode_embedding(vector)),) if vector is not None else ()
        )
        return asking.query(asked=asked, terms=terms, filters=filters, **given)


def _term(given: dict[str, Any]) -> dict[str, Any]:
    if "embedding" in given:
        return {**given, "embedding": tuple(given["embedding"])}
    return given


def picture_bytes(text: str) -> bytes:
    if len(text) > MOST_BYTES * 4 // 3 + 4:
        raise PictureTooLarge(f"The picture is larger than {MOST_BYTES // 2**20} MB.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidQuery("The image is not valid base64.") from error
