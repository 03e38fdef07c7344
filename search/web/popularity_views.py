"""Show what users picked among items, and record picks."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from search import rate_limits
from search.errors import InvalidQuery
from search.models import Dataset, Pick, Viewer
from search.retrieval import popularity, service
from search.retrieval.items import check_item_id, item_not_found

MAX_IDS = 100
MAX_FAVOURITES = 5


@dataclass(frozen=True)
class Favourite:
    id: int
    count: int
    caption: str


@dataclass(frozen=True, kw_only=True)
class PopularityNote:
    """The variables of search/_picked.html."""

    dataset: Dataset
    words: Sequence[tuple[str, int]]
    favourites: Sequence[Favourite]
    total: int


@require_safe
@rate_limits.limited("thumbnail")
def popularity_page(request: HttpRequest) -> HttpResponse:
    dataset = Dataset.for_slug(request.GET.get("dataset", ""), request.user)
    ids = _ids(request.GET.get("ids", ""))
    counts = popularity.counts(dataset, ids)
    note = PopularityNote(
        dataset=dataset,
        words=popularity.keywords(dataset, ids),
        favourites=_favourites(dataset, counts, request.user) if len(ids) > 1 else (),
        total=sum(counts.values()),
    )
    return render(request, "search/_picked.html", vars(note))


@require_POST
@rate_limits.limited("pick")
def record_pick(request: HttpRequest, slug: str, item_id: int) -> HttpResponse:
    kind, words = request.POST.get("kind", ""), request.POST.get("words", "")
    if kind not in Pick.Kind:
        raise InvalidQuery("An item is opened, saved or exported.")
    if not service.hits_by_id(slug, [check_item_id(item_id)], request.user):
        raise item_not_found(item_id)
    popularity.record(slug, [item_id], words, kind, rate_limits.bucket_owner(request))
    return HttpResponse(status=204)


def _ids(text: str) -> list[int]:
    numbers = text.split(",")
    if len(numbers) > MAX_IDS or not all(
        number.isascii() and number.isdigit() for number in numbers
    ):
        raise InvalidQuery(f"Give up to {MAX_IDS} numbers of items, with commas.")
    return [check_item_id(int(number[:20])) for number in numbers]


def _favourites(
    dataset: Dataset, counts: dict[int, int], user: Viewer
) -> Sequence[Favourite]:
    """Return the most picked items, without those whose images would be blurred."""
    ids = sorted(counts, key=lambda item_id: (-counts[item_id], item_id))
    hits = service.hits_by_id(dataset.slug, ids, user)
    return [
        Favourite(item_id, counts[item_id], hits[item_id].caption)
        for item_id in ids
        if item_id in hits and hits[item_id].is_safe
    ][:MAX_FAVOURITES]
