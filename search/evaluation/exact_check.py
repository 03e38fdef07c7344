"""Repeat a search exactly, and count how many of the true nearest the index found."""

from dataclasses import dataclass, replace
from typing import Any

from search.query.model import SearchQuery
from search.retrieval import service
from search.retrieval.service import Hit

COMPARED = 40
TOLERANCE = 1e-6  # similarities differ by less through rounding


@dataclass(frozen=True)
class ExactCheck:
    """The number of the `nearest` images that the index `found`, and those `missed`."""

    nearest: int
    found: int
    missed: tuple[Hit, ...]
    was_exact: bool  # the first search had compared every item already
    seconds: float


def check(query: SearchQuery, user: Any, limiter: service.Limiter) -> ExactCheck:
    """Compare the first COMPARED results of the index and of the exact search.

    Near-duplicates are not folded, since it is by chance which one remains. Items as
    near as the last of the nearest count as found. Raises what `service.search` raises.
    """
    filters = query.filters.replace(dedupe=False)
    query = replace(query, filters=filters, sort="similarity", cursor="")
    fast = replace(query, mode="ann", limit=COMPARED)
    by_index = service.search(fast, user, limiter, veils=True)
    # Twice as many, to see what is as near as the last of the nearest. The vectors of
    # fetched images are in the cache by now: each image counts once.
    slow = replace(query, mode="exact", limit=2 * COMPARED)
    exactly = service.search(slow, user, service.unlimited, veils=True)
    nearest = exactly.hits[:COMPARED]
    true = {
        hit.key: hit.similarity for hit in exactly.hits if hit.similarity is not None
    }
    last = true[nearest[-1].key] - TOLERANCE if nearest else 0.0
    keys = {hit.key for hit in by_index.hits}
    found = sum(true.get(key, -2.0) >= last for key in keys)
    missed = [hit for hit in nearest if hit.key not in keys]
    return ExactCheck(
        nearest=len(nearest),
        found=min(found, len(nearest)),
        missed=tuple(missed[: max(len(nearest) - found, 0)]),
        was_exact=by_index.exact,
        seconds=exactly.search_ms / 1000,
    )
