"""The results of one search, kept in the cache for the pages to come.

A cursor is a signed pair: the token under which the cache has the ranking, and how far
the pages went.
"""

import secrets
from dataclasses import dataclass

import numpy as np
from django.core import signing
from django.core.cache import cache

from .clickhouse import queries
from .errors import InvalidQuery

KEPT_S = 3_600


@dataclass
class Ranking:
    """What the cache keeps of a search: its vector, and the nearest ids, in order."""

    dataset: str
    field: str
    exact: bool
    vector: np.ndarray
    without: tuple[int, ...]  # the items of the query itself
    ids: list[int]
    similarities: list[float]
    depth: int  # how many were asked for
    total: int  # items there are in all

    @property
    def may_go_on(self) -> bool:
        """Whether there may be more than is kept."""
        known = len(self.ids) + len(self.without)
        return self.depth < queries.MOST_RESULTS and known < self.total


def keep(ranking: Ranking, start: int, token: str) -> str:
    """Keeps a ranking for the pages to come; returns the cursor of the next one."""
    token = token or secrets.token_urlsafe(12)
    cache.set(f"ranking:{token}", ranking, KEPT_S)
    return signing.dumps([token, start], salt="cursor")


def resume(cursor: str, dataset: str) -> tuple[Ranking, int, str]:
    """The ranking that a cursor goes on with, the place in it, and its token."""
    try:
        token, start = signing.loads(cursor, salt="cursor")
    except signing.BadSignature:
        raise InvalidQuery("This cursor is not one that a search gave out.") from None
    ranking = cache.get(f"ranking:{token}")
    if ranking is None:
        raise InvalidQuery("This search has expired; please search again.")
    if ranking.dataset != dataset:
        raise InvalidQuery("This cursor belongs to a search of another dataset.")
    return ranking, start, token
