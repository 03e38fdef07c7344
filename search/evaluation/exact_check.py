"""The same search once more, exactly: how many of the true nearest the index found."""

from dataclasses import dataclass, replace
from typing import Any

from search.query.model import SearchQuery
from search.retrieval import service
from search.retrieval.service import Hit

COMPARED = 40
CLOSE = 1e-6  # of similarities that are the same but for rounding


@dataclass(frozen=True)
class ExactCheck:
    """Of `nearest` pictures, how many the index `found`, and those that it `missed`."""

    nearest: int
    found: int
    missed: tuple[Hit, ...]
    was_exact: bool  # the search had compared with every item already
    seconds: float


def check(query: SearchQuery, user: Any, limiter: service.Limiter) -> ExactCheck:
    """Compares the first LOOKED_AT results of both ways.

    Near-duplicates are not folded: which of them stands for the others is chance. What
    is as near as the last of the nearest counts as found. Raises what `find` raises.
    """
    filters = replace(query.filters, dedupe=False)
    query = replace(query, filters=filters, sort="similarity", cursor="")
    fast = replace(query, mode="ann", limit=COMPARED)
    by_index = service.search(fast, user, limiter)
    # Some more, to tell what lies just behind the last of the nearest. Its images are
    # those of the first search, whose vectors are in the cache: they count once.
    slow = replace(query, mode="exact", limit=2 * COMPARED)
    exactly = service.search(slow, user, service.unlimited)
    nearest = exactly.hits[:COMPARED]
    true = {
        hit.id: hit.similarity for hit in exactly.hits if hit.similarity is not None
    }
    last = true[nearest[-1].id] - CLOSE if nearest else 0.0
    ids = {hit.id for hit in by_index.hits}
    found = sum(true.get(item_id, -2.0) >= last for item_id in ids)
    missed = [hit for hit in nearest if hit.id not in ids]
    return ExactCheck(
        nearest=len(nearest),
        found=min(found, len(nearest)),
        missed=tuple(missed[: max(len(nearest) - found, 0)]),
        was_exact=by_index.exact,
        seconds=exactly.search_ms / 1000,
    )
