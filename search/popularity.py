"""How often items were picked after a search, and for which words.

It is known from imported files (conversions), and from what people do here (picks).
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import F, Sum

from .models import Conversion, Dataset, Pick
from .picked_words import picked_words

Kind = Pick.Kind
# Words that somebody typed here are shown when they have led to so many picks.
LEAST_PICKS = 2
MOST_AT_ONCE = 1_000
WRITTEN_TOGETHER = 200


def is_known(dataset: Dataset, ids: Iterable[int] | None = None) -> bool:
    """Whether anything is known of the dataset's items, or of these."""
    conversions, picks = dataset.conversions.all(), dataset.picks.all()
    if ids is not None:
        items = _whole(ids)
        conversions = conversions.filter(item__in=items)
        picks = picks.filter(item__in=items)
    return conversions.exists() or picks.exists()


def counts(dataset: Dataset, ids: Iterable[int]) -> dict[int, int]:
    """How often items were picked, by id; those that never were are left out."""
    return dict(_summed(dataset, _whole(ids), "item"))


def keywords(
    dataset: Dataset, ids: Iterable[int], top: int = 5
) -> list[tuple[str, int]]:
    """The words for which these items were picked the most, and how often."""
    found = _summed(dataset, _whole(ids), "keyword", LEAST_PICKS)
    del found[""]
    return sorted(found.items(), key=lambda each: (-each[1], each[0]))[:top]


def record(dataset_slug: str, ids: Iterable[int], words: str, kind: str) -> None:
    """Counts items as picked after a search; `words` is the text of its box.

    `kind` is one of Pick.Kind. Who takes more than MOST_AT_ONCE at once has not picked
    them, and nothing is counted; nor is it for a dataset that is not there.
    """
    wanted = sorted(set(_whole(ids)))
    dataset = Dataset.objects.filter(slug=dataset_slug).first()
    if dataset is None or len(wanted) > MOST_AT_ONCE:
        return
    keyword = picked_words(words)
    for start in range(0, len(wanted), WRITTEN_TOGETHER):
        _count(dataset, wanted[start : start + WRITTEN_TOGETHER], keyword, kind)


def _count(dataset: Dataset, ids: list[int], keyword: str, kind: str) -> None:
    """One more for each; in the same order always, or two could wait for each other."""
    told = {"dataset": dataset, "keyword": keyword, "kind": kind}
    Pick.objects.bulk_create(
        [Pick(item=item_id, **told) for item_id in ids], ignore_conflicts=True
    )
    with transaction.atomic():
        rows = Pick.objects.filter(item__in=ids, **told).order_by("item")
        keys = list(rows.select_for_update().values_list("pk", flat=True))
        Pick.objects.filter(pk__in=keys).update(count=F("count") + 1)


def _summed(
    dataset: Dataset, ids: list[int], by: str, least_picks: int = 1
) -> Counter[Any]:
    """The sums by a field, `by`, whose values are the keys."""
    total: Counter[Any] = Counter()
    for model, least in ((Conversion, 1), (Pick, least_picks)):
        rows = model.objects.filter(dataset=dataset, item__in=ids)
        sums = rows.values_list(by).annotate(total=Sum("count"))
        total.update(dict(sums.filter(total__gte=least)))
    return total


def _whole(ids: Iterable[int]) -> list[int]:
    return [int(item_id) for item_id in ids]
