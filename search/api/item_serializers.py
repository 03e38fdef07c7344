"""The JSON of items: one by itself, the hits of a search, and pages of them.

Their context has the `request`, to make absolute URLs. With `embeddings`, vectors by
dataset and id, hits have an embedding: see page_context.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from django.urls import reverse
from drf_spectacular.utils import extend_schema_serializer
from rest_framework.request import Request
from rest_framework.serializers import (
    BooleanField,
    CharField,
    DictField,
    Field,
    FloatField,
    ListField,
    SkipField,
)

from search.links import link_of
from search.models import Dataset
from search.query import ratings
from search.query.model import split_slugs
from search.retrieval import service
from search.thumbnails import thumbnail_url

from .fields import (
    AddressField,
    Json,
    NextField,
    ResponseSerializer,
    VectorField,
    count_field,
    id_field,
)

THUMBNAIL = 320  # pixels across, at most
OF_A_SEARCH = ("similarity", "similar", "embedding")  # fields of hits only


class SafeField(BooleanField):
    """A flag: an item with this value of `nsfw` is known to be safe."""

    def __init__(self, source: str = "nsfw", **kwargs: Any):
        help_text = "Whether it is rated safe. Blur or leave out what is not."
        super().__init__(source=source, help_text=help_text, **kwargs)

    def to_representation(self, value: Any) -> bool:
        return ratings.is_safe(value)


class ThumbnailSerializer(ResponseSerializer):
    """Base of serializers of items, which have a thumbnail."""

    @cached_property
    def _datasets_of_images(self) -> set[str]:
        """The slugs of the datasets whose images need no URL."""
        kept = Dataset.objects.filter(kind=Dataset.Kind.IMAGES)
        return set(kept.values_list("slug", flat=True))

    def thumbnail_path(self, dataset: str, item_id: int, url: str) -> str | None:
        """Return the path of an item's thumbnail; None where there can be none."""
        if not link_of(url) and dataset not in self._datasets_of_images:
            return None
        return thumbnail_url(dataset, item_id, THUMBNAIL)


@extend_schema_serializer(component_name="ResultAnswer")
class HitSerializer(ThumbnailSerializer):
    """An item that was found."""

    dataset = CharField(help_text="The slug of its dataset.")
    id = id_field()
    url = CharField(help_text="Where the image was found; it may no longer be there.")
    caption = CharField()
    similarity = FloatField(
        help_text="1 − cosine distance, from −1 to 1; for a dataset measured by L2, "
        "1/(1 + distance). Higher is closer."
    )
    caption_similarity = FloatField(
        allow_null=True, help_text="The dataset's own score of image and caption."
    )
    width = count_field("Pixels; 0 if unknown.")
    height = count_field("Pixels; 0 if unknown.")
    nsfw = CharField(
        help_text="UNLIKELY, UNSURE or NSFW, and empty for what is not rated; of "
        "items imported by earlier versions, the dataset's own value."
    )
    safe = SafeField()
    license = CharField()
    similar = count_field("How many near-duplicates are folded into it.")
    thumbnail = AddressField(
        allow_null=True,
        help_text="The URL of a thumbnail; null if there can be none.",
    )
    page = AddressField(help_text="The URL of the item's page.")
    embedding = VectorField(
        required=False,
        allow_null=True,
        help_text="If `include` has it; null if the item has just been removed.",
    )

    def compute_thumbnail(self, hit: service.Hit) -> str | None:
        return self.thumbnail_path(hit.dataset, hit.id, hit.url)

    def compute_page(self, hit: service.Hit) -> str:
        return reverse("item", args=[hit.dataset, hit.id])

    def compute_embedding(self, hit: service.Hit) -> np.ndarray | None:
        if "embeddings" not in self.context:
            raise SkipField
        return self.context["embeddings"].get((hit.dataset, hit.id))


@extend_schema_serializer(component_name="ItemAnswer")
class ItemSerializer(HitSerializer):
    """An item with all its metadata."""

    metadata = DictField(child=CharField())

    def get_fields(self) -> dict[str, Field]:
        fields = super().get_fields()
        return {name: fields[name] for name in fields if name not in OF_A_SEARCH}


class HiddenSerializer(ResponseSerializer):
    """The items nearer than the last one shown that are left out, by reason."""

    nsfw = count_field()
    duplicates = count_field()
    removed = count_field()


class MatchingSerializer(ResponseSerializer):
    """The number of items of the datasets that pass the filters."""

    items = count_field()
    estimated = BooleanField()


class DatasetMatchingSerializer(MatchingSerializer):
    """The number of items of one of the datasets that pass the filters."""

    dataset = CharField(source="dataset.slug")


class TruncatedSerializer(ResponseSerializer):
    """A text of the query that is longer than what the model reads."""

    text = CharField()
    read = count_field(
        "The model reads this number of characters; the rest has no effect."
    )


class MillisecondsField(FloatField):
    def to_representation(self, milliseconds: float) -> Any:
        return round(milliseconds, 2)


class TimingSerializer(ResponseSerializer):
    encode_ms = MillisecondsField(min_value=0)
    search_ms = MillisecondsField(min_value=0)
    total_ms = MillisecondsField(min_value=0)

    def compute_total_ms(self, page: service.Page) -> float:
        return page.encode_ms + page.search_ms


@extend_schema_serializer(component_name="SearchAnswer")
class SearchPageSerializer(ResponseSerializer):
    """A page of results, the nearest first unless they are sorted otherwise."""

    dataset = CharField(help_text="As it was asked for.")
    results = HitSerializer(many=True, source="hits")
    next = NextField()
    hidden = HiddenSerializer()
    matching = MatchingSerializer(
        allow_null=True, help_text="null if no filter applies."
    )
    datasets = DatasetMatchingSerializer(
        many=True,
        help_text="Of a search of several datasets: how many items of each pass the "
        "filters, or how many each has. Otherwise empty.",
    )
    exact = BooleanField(help_text="Whether every item was compared.")
    truncated = TruncatedSerializer(
        many=True, help_text="On the first page: texts that are read in part."
    )
    missing = count_field(
        "Items that the search engine has lost, and that are not found; only if there "
        "are any.",
        required=False,
    )
    timing = TimingSerializer()

    def compute_dataset(self, page: service.Page) -> str:
        return self.context["dataset"]

    def compute_missing(self, page: service.Page) -> int:
        slugs = split_slugs(self.context["dataset"])
        lost = Dataset.objects.filter(slug__in=slugs).exclude(missing={})
        rows = sum(each["rows"] for each in lost.values_list("missing", flat=True))
        if not rows:
            raise SkipField
        return rows

    def compute_timing(self, page: service.Page) -> service.Page:
        return page


class MarksSerializer(ResponseSerializer):
    """The marks that were used; `gone` are those on items that do not exist."""

    good = ListField(child=id_field())
    bad = ListField(child=id_field())
    gone = ListField(child=id_field())


@extend_schema_serializer(component_name="RefineAnswer")
class RefinedPageSerializer(SearchPageSerializer):
    """A page of results, with the vector and the marks used."""

    # The context has `tuned`, a vector, and `marks`.

    embedding = VectorField(
        help_text="The tuned vector, of unit length, for the `embedding` of a term."
    )
    marks = MarksSerializer()

    def compute_embedding(self, page: service.Page) -> np.ndarray:
        return self.context["tuned"]

    def compute_marks(self, page: service.Page) -> dict[str, Any]:
        return self.context["marks"]


def page_context(
    page: service.Page, dataset: str, include: Sequence[str], request: Request
) -> Json:
    """Return the context of SearchPageSerializer, with vectors if `include` says so.

    The vectors are those of the searched field.
    """
    context: Json = {"dataset": dataset, "request": request}
    if "embedding" in include:
        ids: dict[str, list[int]] = {}
        for hit in page.hits:
            ids.setdefault(hit.dataset, []).append(hit.id)
        context["embeddings"] = {
            (slug, item_id): vector
            for slug, of_dataset in ids.items()
            for item_id, vector in service.embeddings(
                slug, page.field, of_dataset, request.user
            ).items()
        }
    return context
