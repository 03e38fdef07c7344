"""The API's words, turned into a SearchQuery; what is not known is refused."""

import base64
import binascii
from typing import Any

from rest_framework import serializers

from search.errors import InvalidQuery, PictureTooLarge
from search.pictures import MOST_BYTES
from search.query import DEFAULT_LIMIT, SearchQuery, Term, decode_embedding

MOST_NUMBERS = 16_384  # of an embedding; models have up to a few thousand


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


class TermSerializer(StrictSerializer):
    text = serializers.CharField(required=False, allow_blank=True)
    image = serializers.CharField(
        required=False, help_text="The picture's bytes in base64."
    )
    item = StrictIntegerField(required=False)
    embedding = serializers.ListField(
        child=serializers.FloatField(), required=False, max_length=MOST_NUMBERS
    )
    weight = serializers.FloatField(default=1.0)

    def validate_image(self, text: str) -> bytes:
        return picture_bytes(text)


class SearchSerializer(StrictSerializer):
    """The body of POST /api/search/."""

    dataset = serializers.CharField(max_length=200)
    terms = TermSerializer(many=True, required=False, default=list)
    field = serializers.CharField(default="image")
    mode = serializers.CharField(default="ann")
    limit = StrictIntegerField(default=DEFAULT_LIMIT)
    cursor = serializers.CharField(default="", allow_blank=True, allow_null=True)

    def query(self) -> SearchQuery:
        given = dict(self.validated_data)
        terms = tuple(Term(**_term(term)) for term in given.pop("terms"))
        given["cursor"] = given["cursor"] or ""
        return SearchQuery(terms=terms, **given)


class SearchParametersSerializer(StrictSerializer):
    """The parameters of GET /api/search/."""

    dataset = serializers.CharField(max_length=200)
    q = serializers.CharField(required=False, allow_blank=True)
    embedding = serializers.CharField(
        required=False, help_text="base64url of the float32 little-endian vector."
    )
    field = serializers.CharField(default="image")
    mode = serializers.CharField(default="ann")
    limit = serializers.IntegerField(default=DEFAULT_LIMIT)
    cursor = serializers.CharField(default="", allow_blank=True)

    def query(self) -> SearchQuery:
        given = dict(self.validated_data)
        words, vector = given.pop("q", None), given.pop("embedding", None)
        terms = []
        if words is not None:
            terms.append(Term(text=words))
        if vector is not None:
            terms.append(Term(embedding=decode_embedding(vector)))
        return SearchQuery(terms=tuple(terms), **given)


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
