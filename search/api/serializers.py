"""The API's words, turned into a SearchQuery; what is not known is refused."""

import base64
import binascii
from typing import Any

from rest_framework import serializers

from search.errors import InvalidQuery, PictureTooLarge
from search.images.decode import MAX_BYTES
from search.query.model import (
    DEFAULT_LIMIT,
    FIELDS,
    LAST_ITEM,
    MAX_EXCLUDED,
    MAX_PER_PAGE,
    MAX_SIDE_PX,
    MAX_TERMS,
    MAX_TEXT_LENGTH,
    MAX_URL_LENGTH,
    MAX_WEIGHT,
    MODES,
    NSFW,
    ORIENTATIONS,
    SORTS,
    Filters,
    SearchQuery,
    Term,
    decode_embedding,
)
from search.retrieval import query_reader

from .fields import (
    ListInAddressField,
    ShortListField,
    StrictIntegerField,
    StrictSerializer,
    WordField,
    between,
)

MAX_NUMBERS = 16_384  # of an embedding; models have up to a few thousand
INCLUDED = ("embedding",)  # what an answer can hold beside the facts of an item
KINDS = ("text", "image", "image_url", "item", "embedding", "concept")
PAGE = between(1, MAX_PER_PAGE, "a number")
PIXELS = between(0, MAX_SIDE_PX, "a number of pixels,")
IDS: dict[str, Any] = {"min_value": 0, "max_value": LAST_ITEM}


class TermSerializer(StrictSerializer):
    """One part of a query: exactly one kind of thing, and its weight."""

    more_of_schema = {"oneOf": [{"required": [kind]} for kind in KINDS]}
    more_of_fields = {"text": {"minLength": 1, "maxLength": MAX_TEXT_LENGTH}}

    text = serializers.CharField(required=False, allow_blank=True)
    image = serializers.CharField(
        required=False, help_text="The picture's bytes in base64."
    )
    image_url = serializers.CharField(
        required=False,
        max_length=MAX_URL_LENGTH,
        help_text="Where the picture is fetched.",
    )
    item = StrictIntegerField(required=False, help_text="The id of an item.")
    embedding = ShortListField(
        child=serializers.FloatField(),
        required=False,
        min_length=1,
        max_length=MAX_NUMBERS,
        help_text="As many numbers as the dataset has dimensions.",
    )
    concept = serializers.CharField(
        required=False, max_length=100, help_text="The id of a Concept you may see."
    )
    weight = serializers.FloatField(
        default=1.0,
        help_text="What is below 0 pushes away.",
        **between(-MAX_WEIGHT, MAX_WEIGHT),
    )

    def validate_image(self, text: str) -> bytes:
        return image_bytes(text)


class FiltersSerializer(StrictSerializer):
    """Which items may be among the results."""

    nsfw = WordField(NSFW, required=False, help_text="`safe`, if it is left out.")
    min_width = StrictIntegerField(required=False, **PIXELS)
    max_width = StrictIntegerField(required=False, **PIXELS)
    min_height = StrictIntegerField(required=False, **PIXELS)
    max_height = StrictIntegerField(required=False, **PIXELS)
    orientation = WordField(ORIENTATIONS, required=False, allow_blank=True)
    min_similarity = serializers.FloatField(
        required=False,
        help_text="Of the dataset's own score of image and caption.",
        **between(-1, 1),
    )
    license = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_TEXT_LENGTH
    )
    caption = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_TEXT_LENGTH,
        help_text="Words that must all occur.",
    )
    site = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_TEXT_LENGTH,
        help_text="A host such as flickr.com; its subdomains are taken along.",
    )
    exclude: serializers.ListField = ShortListField(
        child=StrictIntegerField(**IDS),
        required=False,
        max_length=MAX_EXCLUDED,
        help_text="Ids of items that are left out.",
    )
    dedupe = serializers.BooleanField(
        required=False, help_text="Whether near-duplicates are folded: true by itself."
    )
    cutoff = serializers.FloatField(
        required=False,
        help_text="The least similarity to the query.",
        **between(-1, 1),
    )

    def validate_exclude(self, ids: list[int]) -> tuple[int, ...]:
        return tuple(ids)


class QuerySerializer(StrictSerializer):
    """What is searched for in a dataset, and how: common to searching and refining."""

    dataset = serializers.CharField(max_length=200, help_text="Its slug.")
    # With many=True it takes max_length, too; the stubs do not know.
    terms: serializers.BaseSerializer = TermSerializer(  # type: ignore[call-arg]
        many=True, required=False, default=list, max_length=MAX_TERMS
    )
    field = WordField(FIELDS, default="image", help_text="The embedding searched.")
    mode = WordField(MODES, default="ann", help_text="`exact` compares every item.")
    sort = WordField(SORTS, default="similarity", help_text="Among the hits.")
    filters = FiltersSerializer(required=False, default=dict)
    limit = StrictIntegerField(default=DEFAULT_LIMIT, **PAGE)
    include = ShortListField(
        child=serializers.ChoiceField(INCLUDED),
        required=False,
        default=list,
        max_length=len(INCLUDED),
        help_text="What an answer holds of each item beside the facts.",
    )


class SearchSerializer(QuerySerializer):
    """A search: terms, or the cursor of an earlier one for its next page."""

    more_of_schema = {
        "anyOf": [
            {"required": ["terms"], "properties": {"terms": {"minItems": 1}}},
            {"required": ["cursor"], "properties": {"cursor": {"minLength": 1}}},
        ]
    }

    cursor = serializers.CharField(
        default="",
        allow_blank=True,
        allow_null=True,
        help_text="`next` of the answer before; terms and filters are those of then.",
    )

    def query(self) -> SearchQuery:
        given = dict(self.validated_data)
        del given["include"]
        terms = terms_of(given.pop("terms"))
        filters = Filters(**given.pop("filters"))
        given["cursor"] = given["cursor"] or ""
        return SearchQuery(terms=terms, filters=filters, **given)


class SearchParametersSerializer(FiltersSerializer):
    """The parameters of GET /api/search/; `q` is in the language of the search box."""

    in_address = True

    dataset = serializers.CharField(max_length=200, help_text="Its slug.")
    # As it stands, since errors tell places in it.
    q = serializers.CharField(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        help_text="As in the search box: red house -car width>512.",
    )
    embedding = serializers.CharField(
        required=False, help_text="base64url of the float32 little-endian vector."
    )
    field = WordField(FIELDS, default="image", help_text="The embedding searched.")
    mode = WordField(MODES, default="ann", help_text="`exact` compares every item.")
    sort = WordField(SORTS, default="similarity", help_text="Among the hits.")
    limit = serializers.IntegerField(default=DEFAULT_LIMIT, **PAGE)
    cursor = serializers.CharField(
        default="", allow_blank=True, help_text="`next` of the answer before."
    )
    exclude = ListInAddressField(
        child=serializers.IntegerField(**IDS),
        required=False,
        max_length=MAX_EXCLUDED,
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
        names = FiltersSerializer().get_fields()
        filters = {name: given.pop(name) for name in names if name in given}
        asked = query_reader.read(words, given["dataset"], host)
        terms = (
            (Term(embedding=decode_embedding(vector)),) if vector is not None else ()
        )
        return query_reader.query(asked=asked, terms=terms, filters=filters, **given)


def terms_of(given: list[dict[str, Any]]) -> tuple[Term, ...]:
    """Terms as TermSerializer leaves them. Raises InvalidQuery."""
    return tuple(Term(**_term(term)) for term in given)


def _term(given: dict[str, Any]) -> dict[str, Any]:
    if "embedding" in given:
        return {**given, "embedding": tuple(given["embedding"])}
    return given


def image_bytes(text: str) -> bytes:
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise PictureTooLarge(f"The picture is larger than {MAX_BYTES // 2**20} MB.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidQuery("The image is not valid base64.") from error
