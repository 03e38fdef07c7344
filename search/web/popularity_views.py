"""What people picked among the items on a page, and that somebody picks one."""

import logging
from collections.abc import Sequence
from typing import Any

from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.crypto import salted_hmac
from django.views.decorators.http import require_POST, require_safe

from search import rate_limits
from search.clickhouse import lookup
from search.clickhouse.filters import NOT_SAFE
from search.errors import InvalidQuery
from search.models import Dataset, Pick
from search.retrieval import popularity
from search.retrieval.column_stats import has_safety
from search.retrieval.items import check_item_id, item_not_found

logger = logging.getLogger(__name__)

MAX_IDS = 100
FAVOURITES = 5
ONCE_IN_S = 3600


@require_safe
@rate_limits.limited("thumbnail")
def popularity_page(request: HttpRequest) -> HttpResponse:
    dataset = Dataset.for_slug(request.GET.get("dataset", ""))
    ids = _ids(request.GET.get("ids", ""))
    counts = popularity.counts(dataset, ids)
    context = {
        "dataset": dataset,
        "words": popularity.keywords(dataset, ids),
        "favourites": _favourites(dataset, counts) if len(ids) > 1 else (),
        "total": sum(counts.values()),
    }
    return render(request, "search/_picked.html", context)


@require_POST
@rate_limits.limited("pick")
def record_pick(request: HttpRequest, slug: str, item_id: int) -> HttpResponse:
    kind, words = request.POST.get("kind", ""), request.POST.get("words", "")
    if kind not in Pick.Kind:
        raise InvalidQuery("An item is opened, saved or exported.")
    table = Dataset.for_slug(slug).item_table
    if not lookup.facts(table, [check_item_id(item_id)]):
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


def _favourites(dataset: Dataset, counts: dict[int, int]) -> Sequence[dict[str, Any]]:
    """The most picked; their pictures are left out where they had to be veiled."""
    if not has_safety(dataset):
        return ()
    ids = sorted(counts, key=lambda item_id: (-counts[item_id], item_id))
    facts = lookup.facts(dataset.item_table, ids)
    return [
        {"id": item_id, "count": counts[item_id], "caption": facts[item_id]["caption"]}
        for item_id in ids
        if item_id in facts and facts[item_id]["nsfw"].upper() not in NOT_SAFE
    ][:FAVOURITES]


def _is_new(request: HttpRequest, *pick: object) -> bool:
    """Whether this browser has not picked the same within ONCE_IN_S.

    What is kept for so long is a hash, from which nobody can tell who it was.
    """
    browser = request.META.get("CSRF_COOKIE") or rate_limits.client_address(request)
    told = salted_hmac("search.picks", repr((browser, pick)), algorithm="sha256")
    try:
        return caches["limits"].add(f"pick-{told.hexdigest()}", 1, ONCE_IN_S)
    # A cache is one of many libraries', each with errors of its own.
    except Exception:
        logger.exception("The cache does not answer: a pick may count twice.")
        return True
