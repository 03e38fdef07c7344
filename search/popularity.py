"""How often items were picked after a search, and for which words (conversions)."""

from collections.abc import Iterable

from django.db.models import QuerySet, Sum

from .models import Conversion, Dataset


def is_known(dataset: Dataset) -> bool:
    """Whether conversions of the dataset's items were loaded."""
    return dataset.conversions.exists()


def counts(dataset: Dataset, ids: Iterable[int]) -> dict[int, int]:
    """How often items were picked, by id; those that never were are left out."""
    found = _of(dataset, ids).values_list("item").annotate(total=Sum("count"))
    return dict(found)


def keywords(
    dataset: Dataset, ids: Iterable[int], top: int = 5
) -> list[tuple[str, int]]:
    """The words for which these items were picked the most, and how often."""
    found = _of(dataset, ids).exclude(keyword="").values_list("keyword")
    return list(found.annotate(total=Sum("count")).order_by("-total", "keyword")[:top])


def _of(dataset: Dataset, ids: Iterable[int]) -> QuerySet[Conversion]:
    return dataset.conversions.filter(item__in=[int(item_id) for item_id in ids])
