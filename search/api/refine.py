"""Relevance feedback: tune a search by marks on its results, and search again."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from search.errors import InvalidQuery
from search.query.filters import MAX_EXCLUDED, Filters
from search.query.model import MAX_TERMS, SearchQuery, Term
from search.rate_limits import limiter
from search.request_bodies import MAX_IMAGE_BYTES
from search.retrieval import service
from search.retrieval.feedback import MAX_MARKS, STRENGTHS, check_marks, tune_by_items

from .fields import ShortListField, StrictIntegerField, between
from .item_serializers import RefinedPageSerializer, page_context
from .serializers import IDS, QuerySerializer, TermSerializer, terms_of

EXAMPLE = OpenApiExample(
    "Houses like these two",
    value={
        "dataset": "postcards",
        "terms": [{"text": "a house"}],
        "good": [12, 17],
        "bad": [40],
    },
    request_only=True,
)

OPTIONS = ("field", "mode", "recall", "sort", "limit")  # of a search, kept as they are


class MarksField(ShortListField):
    """Ids of items without repetitions."""

    def __init__(self, max_length: int, **options: Any):
        child = StrictIntegerField(**IDS)
        super().__init__(
            child=child, required=False, default=list, max_length=max_length, **options
        )

    def to_internal_value(self, data: Any) -> list[int]:
        return list(dict.fromkeys(super().to_internal_value(data)))


class RefineSerializer(QuerySerializer):
    """A search, and marks on its results."""

    more_of_schema = {
        "anyOf": [
            {"required": [kind], "properties": {kind: {"minItems": 1}}}
            for kind in ("good", "bad")
        ]
    }

    dataset = serializers.CharField(max_length=200, help_text="Its slug: one alone.")
    # The stubs lack max_length, which many=True takes.
    terms = TermSerializer(  # type: ignore[call-arg]
        many=True, allow_empty=False, max_length=MAX_TERMS
    )
    good = MarksField(MAX_MARKS, help_text="Ids of items: more like these.")
    bad = MarksField(
        MAX_MARKS,
        help_text=f"Ids of items: less like these. Up to {MAX_MARKS} marks together.",
    )
    strength = serializers.FloatField(
        default=1.0,
        help_text="How strongly the marks change the search.",
        **between(*STRENGTHS),
    )
    exclude_marked = serializers.BooleanField(
        default=True, help_text="Whether to leave marked items out of the results."
    )
    seen = MarksField(
        MAX_EXCLUDED, help_text="Ids of items to leave out of the results as well."
    )

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        if set(given["good"]) & set(given["bad"]):
            raise serializers.ValidationError("An item is marked as good and as bad.")
        return given

    def query(self) -> SearchQuery:
        """Return the search whose results are marked. Raises InvalidQuery."""
        given = self.validated_data
        check_marks(given["good"], given["bad"])
        return SearchQuery(
            dataset=given["dataset"],
            terms=terms_of(given["terms"]),
            filters=Filters(**given["filters"]),
            **{name: given[name] for name in OPTIONS},
        )

    def excluded_ids(self, excluded: Sequence[int]) -> tuple[int, ...]:
        """Add the marked and the seen ids to those that the search excludes.

        Raises InvalidQuery when they are too many.
        """
        given = self.validated_data
        marked = [*given["good"], *given["bad"]] if given["exclude_marked"] else []
        ids = tuple(dict.fromkeys([*excluded, *marked, *given["seen"]]))
        if len(ids) > MAX_EXCLUDED:
            raise InvalidQuery(
                f"At most {MAX_EXCLUDED:,} items can be left out: of exclude, seen, "
                "the terms and the marks together."
            )
        return ids


class Refine(APIView):
    throttle_scope = "refine"
    max_body_bytes = MAX_IMAGE_BYTES

    @extend_schema(
        operation_id="refine",
        request=RefineSerializer,
        responses=RefinedPageSerializer,
        examples=[EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Refine a search by marks on its results.

        The response has the tuned vector, for use as an `embedding` in any search, and
        what is found with it. Further pages come by `next` from `/api/search/`. Nothing
        is stored: for another round, send all marks again.
        """
        given = RefineSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        query, marks, count = given.query(), given.validated_data, limiter(request)
        good, bad = marks["good"], marks["bad"]
        start = service.embed(query, request.user, count)
        tuned = tune_by_items(
            query, start.vector, good, bad, marks["strength"], request.user
        )
        vector = tuple(tuned.vector.tolist())
        filters = query.filters.replace(exclude=given.excluded_ids(start.excluded))
        tuned_query = replace(query, terms=(Term(embedding=vector),), filters=filters)
        page = service.search(tuned_query, request.user, count)
        page = replace(page, truncated=start.truncated)
        known = {*tuned.good, *tuned.bad}
        context = page_context(page, query.dataset, marks["include"], request) | {
            "tuned": tuned.vector,
            "marks": {
                "good": tuned.good,
                "bad": tuned.bad,
                "gone": [item for item in (*good, *bad) if item not in known],
            },
        }
        return Response(RefinedPageSerializer(page, context=context).data)
