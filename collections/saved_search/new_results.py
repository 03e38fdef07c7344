"""What a saved search finds now, and how much of it came in since it was looked at.

The ledger says which shards came in since; only where there are some, hits are counted.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, Sum
from django.utils import timezone
from django.utils.formats import date_format

from search.cache import get, set
from search.errors import InvalidQuery, NotFound
from search.models import Shard
from search.query.model import MAX_PER_PAGE
from search.retrieval import service
from search.retrieval.service import Hit

from ..models import SavedSearch
from .search_address import SavedQuery, query_of
from .services import saved_query_of

EXAMINED = 200  # of the nearest hits
STRIP = 6  # pictures
CACHE_S = 300


@dataclass(frozen=True)
class Preview:
    """The first pictures of a search: item ids and captions. `new` are counted among
    the nearest LOOKED_THROUGH; None when nothing came in since."""

    pictures: tuple[tuple[int, str], ...]
    new: int | None


def new_shards(dataset: str, since: datetime) -> list[int]:
    """The numbers of the shards that searches find only since then."""
    shards = Shard.objects.filter(dataset__slug=dataset, rows_visible__gt=0)
    return list(
        shards.filter(published_at__gt=since)
        .order_by("number")
        .values_list("number", flat=True)
    )


def preview(
    saved: SavedSearch, user: Any, host: str, limiter: service.Limiter
) -> Preview:
    """Raises SearchError when the search cannot be made now."""
    shards = frozenset(new_shards(saved.dataset, saved.looked_at))
    wanted = EXAMINED if shards else 2 * STRIP
    hits = _first_hits(saved_query_of(saved), user, host, limiter, wanted)
    safe = [(hit.id, hit.caption) for hit in hits if not hit.is_unsafe]
    new = sum(hit.shard in shards for hit in hits)
    return Preview(tuple(safe[:STRIP]), new if shards else None)


def cached_preview(
    saved: SavedSearch, user: Any, host: str, limiter: service.Limiter
) -> Preview:
    """Return the preview from the cache, or make it, which counts as a search.

    Raises SearchError.
    """
    found_as = cache_key(saved)
    if (found := get(found_as)) is None:
        limiter("search")
        found = preview(saved, user, host, limiter)
        set(found_as, found, CACHE_S)
    return found


def count_new(
    saved: SavedSearch, user: Any, host: str, limiter: service.Limiter
) -> int | None:
    """Return how many of its hits are new; None if no shard came in since.

    None, too, if it cannot be searched any more. Raises TooManyRequests and
    SearchUnavailable.
    """
    if not new_shards(saved.dataset, saved.looked_at):
        return None
    try:
        return cached_preview(saved, user, host, limiter).new
    except (InvalidQuery, NotFound):
        return None


def cache_key(saved: SavedSearch) -> str:
    """Under which a glance is kept: another when the search or the dataset changes."""
    shards = Shard.objects.filter(dataset__slug=saved.dataset)
    state = shards.aggregate(Sum("rows_visible"), Max("published_at"))
    told = repr((saved.pk, saved.dataset, saved.address, saved.looked_at, state))
    return f"glance:{hashlib.sha256(told.encode()).hexdigest()}"


def _first_hits(
    asking: SavedQuery, user: Any, host: str, limiter: service.Limiter, count: int
) -> list[Hit]:
    query = replace(query_of(asking, host), limit=min(count, MAX_PER_PAGE))
    page = service.search(query, user, limiter)
    hits = list(page.hits)
    while page.next and len(hits) < count:
        page = service.search(replace(query, cursor=page.next), user, limiter)
        hits += page.hits
    return hits[:count]


def since_text(moment: datetime) -> str:
    """When something was looked at, as a day that one remembers."""
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
