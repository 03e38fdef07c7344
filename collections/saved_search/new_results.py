"""Previews of saved searches, with the number of hits that are new.

New are hits from shards published since the user looked at the search. Only if the
ledger has such shards, hits are counted.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Max, Sum
from django.utils import timezone
from django.utils.formats import date_format

from search import cache
from search.errors import InvalidQuery, NotFound
from search.models import Dataset, Shard
from search.query.model import MAX_PER_PAGE, split_slugs
from search.retrieval import service
from search.retrieval.service import Hit

from ..models import SavedSearch
from ..models.ownership import AnyUser
from .saved_query import SavedQuery, query_of
from .services import saved_query_of

EXAMINED = 200  # nearest hits
STRIP = 6  # images
CACHE_S = 300


@dataclass(frozen=True)
class Preview:
    """The first images of a search."""

    pictures: tuple[Hit, ...]
    new: int | None  # among the EXAMINED nearest; None: there are no new shards


def new_shards(dataset: str, since: datetime) -> list[tuple[str, int]]:
    """Return the datasets and numbers of the shards that were published since then."""
    slugs = split_slugs(dataset)
    shards = Shard.objects.filter(dataset__slug__in=slugs, rows_visible__gt=0)
    return list(
        shards.filter(published_at__gt=since)
        .order_by("dataset", "number")
        .values_list("dataset__slug", "number")
    )


def preview(
    saved: SavedSearch, user: AnyUser, host: str, limiter: service.Limiter
) -> Preview:
    """Search for a preview. Raises SearchError."""
    shards = frozenset(new_shards(saved.dataset, saved.looked_at))
    wanted = EXAMINED if shards else 2 * STRIP
    hits = _first_hits(saved_query_of(saved), user, host, limiter, wanted)
    shown = [hit for hit in hits if not hit.is_veiled(shows_unrated=True)]
    new = sum((hit.dataset, hit.shard) in shards for hit in hits)
    return Preview(tuple(shown[:STRIP]), new if shards else None)


def cached_preview(
    saved: SavedSearch, user: AnyUser, host: str, limiter: service.Limiter
) -> Preview:
    """Return the cached preview, or make one, which counts as a search.

    Raises SearchError.
    """
    for slug in split_slugs(saved.dataset):
        Dataset.for_slug(slug, user)  # what is cached may be of earlier rights
    key = cache_key(saved)
    if (found := cache.get(key)) is None:
        limiter("search")
        found = preview(saved, user, host, limiter)
        cache.set(key, found, CACHE_S)
    return found


def count_new(
    saved: SavedSearch, user: AnyUser, host: str, limiter: service.Limiter
) -> int | None:
    """Return how many hits are new; None if no shards are.

    Also None if the query is no longer valid. Raises TooManyRequests and
    SearchUnavailable.
    """
    if not new_shards(saved.dataset, saved.looked_at):
        return None
    try:
        return cached_preview(saved, user, host, limiter).new
    except (InvalidQuery, NotFound):
        return None


def cache_key(saved: SavedSearch) -> str:
    """Return a key that changes with the search and with its dataset."""
    shards = Shard.objects.filter(dataset__slug__in=split_slugs(saved.dataset))
    state = shards.aggregate(Sum("rows_visible"), Max("published_at"))
    parts = repr((saved.pk, saved.dataset, saved.address, saved.looked_at, state))
    return f"glance:{hashlib.sha256(parts.encode()).hexdigest()}"


def _first_hits(
    saved: SavedQuery, user: AnyUser, host: str, limiter: service.Limiter, count: int
) -> list[Hit]:
    query = replace(query_of(saved, host, user), limit=min(count, MAX_PER_PAGE))
    page = service.search(query, user, limiter, veils=True)
    hits = list(page.hits)
    while page.next and len(hits) < count:
        further = replace(query, cursor=page.next)
        page = service.search(further, user, limiter, veils=True)
        hits += page.hits
    return hits[:count]


def since_text(moment: datetime) -> str:
    """Return a moment in words, as "in the last hour" or "since Monday"."""
    now = timezone.localtime()
    ago, moment = now - moment, timezone.localtime(moment)
    if ago < timedelta(hours=1):
        return "in the last hour"
    if ago < timedelta(days=1):
        return f"in the last {ago.seconds // 3600 + 1} hours"
    if ago < timedelta(days=7):
        return f"since {date_format(moment, 'l')}"
    same_year = moment.year == now.year
    return f"since {date_format(moment, 'j F' if same_year else 'j F Y')}"
