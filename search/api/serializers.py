"""Serializers of searches: from JSON or URL parameters to a SearchQuery."""

import base64
import binascii
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from search.errors import ImageTooLarge, InvalidQuery
from search.images.formats import MAX_BYTES
from search.models import Viewer
from search.query.filters import (
    LAST_ITEM,
    MAX_EXCLUDED,
    MAX_TEXT_LENGTH,
    SPECS,
    Choice,
    Filters,
    FilterSpec,
    Ids,
    Number,
    Switch,
    Text,
    Whole,
)
from search.query.model import (
    DEFAULT_LIMIT,
    DEFAULT_RECALL,
    FIELDS,
    MAX_DATASETS,
    MAX_PER_PAGE,
    MAX_RECALL,
    MAX_TERMS,
    MAX_URL_LENGTH,
    MAX_WEIGHT,
    MIN_RECALL,
    MODES,
    SORTS,
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
INCLUDED = ("embedding",)  # optional parts of an item in an answer
KINDS = ("text", "image", "image_url", "item", "embedding", "concept")
PAGE = between(1, MAX_PER_PAGE, "a number")
RECALL: dict[str, Any] = {
    "default": DEFAULT_RECALL,
    "help_text": "The share of the true nearest that an approximate search is to "
    "find, where the dataset is calibrated.",
    **between(MIN_RECALL, MAX_RECALL),
}
IDS: dict[str, Any] = {"min_value": 0, "max_value": LAST_ITEM}


class TermSerializer(StrictSerializer):
    """One part of a query: exactly one kind of thing, and its weight."""

    more_of_schema = {"oneOf": [{"required": [kind]} for kind in KINDS]}
    more_of_fields = {"text": {"minLength": 1, "maxLength": MAX_TEXT_LENGTH}}

    text = serializers.CharField(required=False, allow_blank=True)
    image = serializers.CharField(
        required=False, help_text="The image's bytes in base64."
    )
    image_url = serializers.CharField(
        required=False,
        max_length=MAX_URL_LENGTH,
        help_text="The URL of the image to fetch.",
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


def filter_field(spec: FilterSpec, in_address: bool) -> serializers.Field:
    """Return the field of a filter, for a body or for the parameters of an address."""
    options: dict[str, Any] = {"required": False, "help_text": spec.api_help}
    match spec.type:
        case Whole(minimum=least, maximum=most, noun=noun):
            limits = between(least, most, f"{noun},")
            return StrictIntegerField(**options, **limits)
        case Number(minimum=lowest, maximum=highest):
            return serializers.FloatField(**options, **between(lowest, highest))
        case Text():
            options |= {"allow_blank": True, "max_length": MAX_TEXT_LENGTH}
            return serializers.CharField(**options)
        case Choice(default=default) as choice:
            return WordField(choice.values, allow_blank=default == "", **options)
        case Switch():
            return serializers.BooleanField(**options)
        case Ids():
            options["max_length"] = MAX_EXCLUDED
            if in_address:
                child: serializers.Field = serializers.IntegerField(**IDS)
                options["help_text"] = "Ids of items between commas."
                return ListInAddressField(child=child, **options)
            return ShortListField(child=StrictIntegerField(**IDS), **options)


class FiltersSerializer(StrictSerializer):
    """Which items may be among the results."""

    def get_fields(self) -> dict[str, serializers.Field]:
        filters = {
            spec.name: filter_field(spec, self.in_address) for spec in SPECS.values()
        }
        return filters | super().get_fields()


SLUG = {"type": "string", "minLength": 1, "maxLength": 200}
SLUGS = {"type": "array", "items": SLUG, "minItems": 1, "maxItems": MAX_DATASETS}


@extend_schema_field({"oneOf": [SLUG, SLUGS]})
class DatasetsField(serializers.Field):
    """The slug of a dataset, or of several: a list, or a text with commas."""

    default_error_messages = {
        "invalid": f"This is the slug of a dataset, or of up to {MAX_DATASETS}."
    }

    def __init__(self, **options: Any):
        text = (
            "Its slug. Of several datasets of one model, a list of their slugs, or "
            "these with commas between: their results are merged."
        )
        super().__init__(help_text=text, **options)

    def to_internal_value(self, data: Any) -> str:
        slugs = data if isinstance(data, list) else [data]
        fit = all(isinstance(each, str) and 0 < len(each) <= 200 for each in slugs)
        if not fit or not 0 < len(slugs) <= MAX_DATASETS:
            self.fail("invalid")
        return ",".join(slugs)


class QuerySerializer(StrictSerializer):
    """The query of a search, as searching and refining have it in common."""

    dataset: serializers.Field = DatasetsField()
    # With many=True it takes max_length, too; the stubs do not know.
    terms: serializers.BaseSerializer = TermSerializer(  # type: ignore[call-arg]
        many=True, required=False, default=list, max_length=MAX_TERMS
    )
    field = WordField(FIELDS, default="image", help_text="The embedding searched.")
    mode = WordField(MODES, default="ann", help_text="`exact` compares every item.")
    recall = serializers.FloatField(**RECALL)
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

    dataset = serializers.CharField(
        max_length=700,
        help_text="Its slug, or those of several datasets of one model with commas "
        "between: their results are merged.",
    )
    # Not trimmed, since errors refer to positions in it.
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
    recall = serializers.FloatField(**RECALL)
    sort = WordField(SORTS, default="similarity", help_text="Among the hits.")
    limit = serializers.IntegerField(default=DEFAULT_LIMIT, **PAGE)
    cursor = serializers.CharField(
        default="", allow_blank=True, help_text="`next` of the answer before."
    )
    include = ListInAddressField(
        child=serializers.ChoiceField(INCLUDED), required=False, default=list
    )

    def query(self, host: str, user: Viewer) -> SearchQuery:
        """Return the query; `host` is that of our own pages, for URLs in `q`."""
        given = dict(self.validated_data)
        del given["include"]
        words, vector = given.pop("q", ""), given.pop("embedding", None)
        filters = {name: given.pop(name) for name in SPECS if name in given}
        parsed = query_reader.read(words, given["dataset"], host, user)
        terms = (
            (Term(embedding=decode_embedding(vector)),) if vector is not None else ()
        )
        return query_reader.query(parsed=parsed, terms=terms, filters=filters, **given)


def terms_of(given: list[dict[str, Any]]) -> tuple[Term, ...]:
    """Return the terms of validated data; raise InvalidQuery."""
    return tuple(Term(**_term(term)) for term in given)


def _term(given: dict[str, Any]) -> dict[str, Any]:
    if "embedding" in given:
        return {**given, "embedding": tuple(given["embedding"])}
    return given


def image_bytes(text: str) -> bytes:
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise ImageTooLarge(f"The image is larger than {MAX_BYTES // 2**20} MB.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidQuery("The image is not valid base64.") from error
