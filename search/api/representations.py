"""What the API answers with, told by serializers for the schema.

The answers themselves are made in telling.py; a test holds the two together.
"""

from dataclasses import asdict, fields
from typing import Any, Protocol

from django.urls import reverse
from rest_framework import serializers
from rest_framework.serializers import (
    BooleanField,
    CharField,
    ChoiceField,
    DateTimeField,
    DictField,
    FloatField,
    IntegerField,
    ListField,
)

from search.models import Dataset, Evaluation
from search.query.model import FIELDS, LAST_ITEM
from search.query.url_params import safe_url
from search.retrieval import popularity, service
from search.thumbnails import thumbnail_url


def count_field(help_text: str = "") -> IntegerField:
    return IntegerField(min_value=0, help_text=help_text)


def id_field() -> IntegerField:
    return IntegerField(
        min_value=0, max_value=LAST_ITEM, help_text="The item's number in its dataset."
    )


class IndexAnswer(serializers.Serializer):
    """The graphs that a search walks through, and how much of the data has them."""

    metric = ChoiceField(Dataset.Metric.choices)
    connections = count_field("Of each point in the graph (M).")
    construction = count_field("Candidates kept while it is built (ef_construction).")
    quantization = ChoiceField(Dataset.Quantization.choices)
    parts = count_field()
    parts_without_index = count_field()
    rows_without_index = count_field()
    bytes = count_field("On disk, all columns.")
    health = FloatField(
        min_value=0, max_value=1, help_text="The share of rows that have the graphs."
    )


class FiguresAnswer(serializers.Serializer):
    """One kind of search by the index, beside the exact one."""

    name = CharField()
    asked = ChoiceField(["words", "picture"])
    field = ChoiceField(["image", "text"])
    queries = count_field()
    width = count_field("Candidates kept by the walk through the graph (ef_search).")
    recall_1 = FloatField(min_value=0, max_value=1)
    recall_10 = FloatField(min_value=0, max_value=1)
    recall_100 = FloatField(min_value=0, max_value=1)
    ann_p50_ms = FloatField()
    ann_p95_ms = FloatField()
    exact_p50_ms = FloatField()
    exact_p95_ms = FloatField()
    wider_width = IntegerField(allow_null=True)
    wider_recall_10 = FloatField(allow_null=True)
    wider_p50_ms = FloatField(allow_null=True)


class EvaluationAnswer(serializers.Serializer):
    """How much of the exact answer the index found, and how fast."""

    created_at = DateTimeField()
    words = ChoiceField(Evaluation.Words.choices)
    rows = count_field()
    rows_without_index = count_field()
    figures = FiguresAnswer(many=True)


class DatasetAnswer(serializers.Serializer):
    """A dataset as whoever may search it sees it."""

    slug = CharField()
    title = CharField()
    items = count_field()
    model = CharField(help_text="The model that made the embeddings.")
    dimension = IntegerField(min_value=1, help_text="Numbers of an embedding.")
    fields_ = ListField(child=ChoiceField(FIELDS), help_text="What can be searched.")
    columns = ListField(child=CharField(), help_text="What is known of an item.")
    index = IndexAnswer()
    evaluation = EvaluationAnswer(
        allow_null=True, help_text="The latest; null when none was made yet."
    )
    popularity = BooleanField(
        help_text="Whether it is known how often items were picked."
    )

    def get_fields(self) -> dict[str, serializers.Field]:
        """`fields` is a serializer's own name, so that it cannot be given above."""
        fields = super().get_fields()
        return {name.removesuffix("_"): field for name, field in fields.items()}


class FactsAnswer(serializers.Serializer):
    """What is known of an item."""

    id = id_field()
    url = CharField(help_text="Where the picture was found; it may have gone.")
    caption = CharField()
    caption_similarity = FloatField(
        allow_null=True, help_text="The dataset's own score of image and caption."
    )
    width = count_field("Pixels; 0 when it is not known.")
    height = count_field("Pixels; 0 when it is not known.")
    nsfw = CharField(help_text="The dataset's own word for it, such as UNLIKELY.")
    license = CharField()
    thumbnail = CharField(
        allow_null=True,
        help_text="The address of a small picture; null where there can be none.",
    )
    page = CharField(help_text="The address of the item's page.")


class ItemAnswer(FactsAnswer):
    """An item with all that its dataset says of it."""

    metadata = DictField(child=CharField())


class ResultAnswer(FactsAnswer):
    """An item that was found."""

    similarity = FloatField(
        help_text="1 − cosine distance, from −1 to 1; for a dataset measured by L2, "
        "1/(1 + distance). Higher is closer."
    )
    similar = count_field("Near-duplicates of it that are folded into it.")
    embedding = ListField(
        child=FloatField(),
        required=False,
        allow_null=True,
        help_text="Where `include` asks for it; null when the item has just gone.",
    )


class HiddenAnswer(serializers.Serializer):
    """How many items nearer than the last one shown are left out, and why."""

    nsfw = count_field()
    duplicates = count_field()
    removed = count_field()


class MatchingAnswer(serializers.Serializer):
    """How many items of the dataset pass the filters."""

    items = count_field()
    estimated = BooleanField()


class TimingAnswer(serializers.Serializer):
    encode_ms = FloatField(min_value=0)
    search_ms = FloatField(min_value=0)
    total_ms = FloatField(min_value=0)


class SearchAnswer(serializers.Serializer):
    """A page of results, the nearest first unless they are sorted otherwise."""

    dataset = CharField()
    results = ResultAnswer(many=True)
    next = CharField(
        allow_null=True, help_text="The `cursor` of the next page; null at the end."
    )
    hidden = HiddenAnswer()
    matching = MatchingAnswer(
        allow_null=True, help_text="null where no filter narrows the dataset."
    )
    exact = BooleanField(help_text="Whether every item was compared.")
    timing = TimingAnswer()


class MarksAnswer(serializers.Serializer):
    """The marks that counted; those on items that are not there have `gone`."""

    good = ListField(child=id_field())
    bad = ListField(child=id_field())
    gone = ListField(child=id_field())


class RefineAnswer(SearchAnswer):
    """As a search's, and what it was done with."""

    embedding = ListField(
        child=FloatField(),
        help_text="The tuned vector, of unit length, for an `embedding` of any term.",
    )
    marks = MarksAnswer()


class KeywordAnswer(serializers.Serializer):
    words = CharField()
    count = IntegerField(min_value=1)


class PopularityAnswer(serializers.Serializer):
    """How often items were picked after searches, and for which words the most."""

    dataset = CharField()
    items = DictField(
        child=IntegerField(min_value=1),
        help_text="By the item's id; those that never were picked are left out.",
    )
    keywords = KeywordAnswer(many=True)


THUMBNAIL = 320  # pixels across, at most

Told = dict[str, Any]


class Addresses(Protocol):
    """What of a request is needed to tell whole addresses."""

    def build_absolute_uri(self, location: str, /) -> str: ...


def dataset_json(dataset: Dataset) -> Told:
    """As answers.DatasetAnswer. Raises SearchUnavailable."""
    state = service.index_state(dataset)
    return {
        "slug": dataset.slug,
        "title": dataset.title,
        "items": dataset.item_count(),
        "model": dataset.model,
        "dimension": dataset.dimension,
        "fields": list(FIELDS),
        "columns": [field.name for field in fields(service.Item)],
        "index": {
            "metric": dataset.metric,
            "connections": dataset.index_connections,
            "construction": dataset.index_construction,
            "quantization": dataset.index_quantization,
            "parts": state["parts"],
            "parts_without_index": state["parts_without_index"],
            "rows_without_index": state["rows_without_index"],
            "bytes": state["bytes"],
            "health": 1 - state["rows_without_index"] / max(state["rows"], 1),
        },
        "evaluation": _evaluation(dataset),
        "popularity": popularity.is_known(dataset),
    }


def _evaluation(dataset: Dataset) -> Told | None:
    """The latest; null when the recall was not measured yet."""
    evaluation = dataset.evaluations.first()
    if evaluation is None:
        return None
    return {
        "created_at": evaluation.created_at,
        "words": evaluation.words,
        "rows": evaluation.rows,
        "rows_without_index": evaluation.rows_without_index,
        "figures": evaluation.figures,
    }


def item_json(item: service.Item, slug: str, request: Addresses) -> Told:
    """As answers.ItemAnswer."""
    told = hit_json(item, slug, request)
    for of_a_search in ("similarity", "similar"):
        del told[of_a_search]
    return {**told, "metadata": item.metadata}


def hit_json(hit: service.Hit, slug: str, request: Addresses) -> Told:
    """As answers.ResultAnswer."""
    told = asdict(hit)
    told.pop("metadata", None)
    picture = thumbnail_url(slug, hit.id, THUMBNAIL) if safe_url(hit.url) else None
    return {
        **told,
        "thumbnail": request.build_absolute_uri(picture) if picture else None,
        "page": request.build_absolute_uri(reverse("item", args=[slug, hit.id])),
    }


def page_json(
    page: service.Page, slug: str, include: list[str], request: Addresses
) -> Told:
    """As answers.SearchAnswer."""
    results = [hit_json(hit, slug, request) for hit in page.hits]
    if "embedding" in include:
        _add_embeddings(results, slug, page.field)
    return {
        "dataset": slug,
        "results": results,
        "next": page.next or None,
        "hidden": asdict(page.hidden),
        "matching": asdict(page.matching) if page.matching else None,
        "exact": page.exact,
        "timing": {
            "encode_ms": round(page.encode_ms, 2),
            "search_ms": round(page.search_ms, 2),
            "total_ms": round(page.encode_ms + page.search_ms, 2),
        },
    }


def _add_embeddings(results: list[Told], slug: str, field: str) -> None:
    """Those of the field that is searched; null for an item that has gone meanwhile."""
    ids = [result["id"] for result in results]
    found = service.embeddings(slug, field, ids)
    for result in results:
        vector = found.get(result["id"])
        result["embedding"] = None if vector is None else vector.tolist()
