"""The JSON of saved searches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers
from rest_framework.serializers import (
    CharField,
    DateTimeField,
    IntegerField,
    ListField,
    UUIDField,
)

from search.api.fields import (
    AddressField,
    ListInAddressField,
    NextField,
    ResponseSerializer,
    StrictIntegerField,
    StrictSerializer,
    between,
)
from search.api.serializers import INCLUDED

from ..models import SavedSearch
from ..saved_search.saved_query import MAX_CHARACTERS, SavedQuery, words_of
from ..saved_search.services import MAX_NAME_LENGTH, MAX_SAVED, saved_query_of
from .serializers import PageParameters

MAX_ADDRESS_LENGTH = MAX_CHARACTERS + 2_000  # with what precedes the question mark
SEARCH_HELP = (
    "The query string of the search page, `dataset=postcards&q=a+boat`, or its whole "
    "URL. It takes the parameters of the page: `q`, `item`, `embedding` and `concept` "
    "as terms, `field`, `mode`, `sort` and the filters. What is not part of a search, "
    "such as a cursor, is ignored."
)


# --- Requests


class ResultParameters(PageParameters):
    include = ListInAddressField(
        child=serializers.ChoiceField(INCLUDED),
        required=False,
        default=list,
        help_text="What each result has in addition to the metadata.",
    )


class NewSearch(StrictSerializer):
    search = CharField(max_length=MAX_ADDRESS_LENGTH, help_text=SEARCH_HELP)
    name = CharField(
        default="",
        allow_blank=True,
        max_length=MAX_NAME_LENGTH,
        help_text="By default the words of the search.",
    )


class SearchChange(StrictSerializer):
    """Keys that are left out stay unchanged."""

    search = CharField(
        required=False, max_length=MAX_ADDRESS_LENGTH, help_text=SEARCH_HELP
    )
    name = CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_NAME_LENGTH,
        help_text="By default the words of the search.",
    )
    place = StrictIntegerField(
        required=False,
        help_text="Among your saved searches, counted from 1.",
        **between(1, MAX_SAVED, "a place"),
    )


# --- Responses


@dataclass(frozen=True)
class SearchRow:
    """A saved search as a response shows it."""

    search: SavedSearch
    query: SavedQuery
    words: list[str]
    place: int  # counted from 1


def search_rows(rows: Sequence[SavedSearch], first: int, user: Any) -> list[SearchRow]:
    """Return searches in their order, of which the first one has the place `first`."""
    queries = [saved_query_of(row) for row in rows]
    words = words_of(queries, user)
    places = range(first, first + len(rows))
    return list(map(SearchRow, rows, queries, words, places))


class SavedSearchSerializer(ResponseSerializer):
    """A search with a name, to run again."""

    id = UUIDField(source="search.pk")
    name = CharField(source="search.name")
    dataset = CharField(source="search.dataset")
    address = CharField(
        source="search.address", help_text="The query string of the search page."
    )
    url = AddressField(
        source="query.url", help_text="The URL of the search page for it."
    )
    words = ListField(child=CharField(), help_text="Its terms and options in words.")
    place = IntegerField(min_value=1, help_text="Among yours, counted from 1.")
    created_at = DateTimeField(source="search.created_at")
    looked_at = DateTimeField(
        source="search.looked_at", help_text="When its results were last looked at."
    )


@extend_schema_serializer(component_name="SavedSearchDetail")
class SavedSearchDetailSerializer(SavedSearchSerializer):
    # The context has `new`.
    new = IntegerField(
        min_value=0,
        allow_null=True,
        help_text="How many of its nearest 200 results were added since it was looked "
        "at; null if nothing was added or if it can no longer be run.",
    )

    def compute_new(self, row: SearchRow) -> int | None:
        return self.context["new"]


@extend_schema_serializer(component_name="SavedSearchPage")
class SavedSearchPageSerializer(ResponseSerializer):
    results = SavedSearchSerializer(many=True)
    next = NextField()
