"""Show what users picked among items, and record picks."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.crypto import salted_hmac
from django.views.decorators.http import require_POST, require_safe

from search import rate_limits
from search.errors import InvalidQuery
from search.models import Dataset, Pick, Viewer
from search.retrieval import popularity, service
from search.retrieval.items import check_item_id, item_not_found

logger = logging.getLogger(__name__)

MAX_IDS = 100
MAX_FAVOURITES = 5
REPEAT_S = 3600  # a browser's repeated pick of an item counts once in this time


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
    if _is_new(request, slug, item_id, kind, words):
        popularity.record(slug, [item_id], words, kind)
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


def _is_new(request: HttpRequest, *pick: object) -> bool:
    """Return whether this browser has not picked the same within REPEAT_S.

    Only a hash is stored for that time, from which nobody can be identified.
    """
    browser = request.META.get("CSRF_COOKIE") or rate_limits.client_address(request)
    digest = salted_hmac("search.picks", repr((browser, pick)), algorithm="sha256")
    try:
        return caches["limits"].add(f"pick-{digest.hexdigest()}", 1, REPEAT_S)
    # Backends raise the exceptions of their own libraries.
    except Exception:
        logger.exception("The cache does not answer: a pick may count twice.")
        return True
