"""The results of one search, kept in the cache for the pages to come.

A cursor is a signed pair: the token under which the cache has the ranking, and how many
results the pages before have shown.
"""

import dataclasses
import secrets
from dataclasses import dataclass

import numpy as np
from django.core import signing

from search import cache
from search.clickhouse.filters import NSFW, REMOVED, VISIBLE
from search.clickhouse.queries import Candidates
from search.errors import InvalidQuery
from search.query.model import MAX_RESULTS, Filters

from . import deduplication
from .deduplication import Vectors

CACHE_S = 3_600
EXCLUDED = 3  # why an item is hidden: it is excluded, or is part of the query itself
DUPLICATE = 4  # or is folded into a nearer one
MIN_STEP = 64  # candidates compared with those before them at once, at least
MAX_STEP = 128  # and at most: with 10,000 results before them, in 20 MB


@dataclass(frozen=True)
class Hidden:
    """How many items nearer than the last one shown are left out, and why."""

    nsfw: int = 0
    duplicates: int = 0
    removed: int = 0


@dataclass
class Ranking:
    """Candidates in the order of their similarity, and which of them are results.

    The rows of `ids`, `similarities`, `hidden`, `url_hashes` and `codes` are items.
    Folding goes only as far as pages have come: `results` are the rows found to be
    shown among the first `seen`, and `folded` says into which of them others went.
    """

    dataset: str
    field: str
    filters: Filters
    vectors: dict[str, np.ndarray]  # the query's, by the field that it searches
    beside: frozenset[int]  # ids that are never results
    ids: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.uint64))
    similarities: np.ndarray = dataclasses.field(
        default_factory=lambda: np.empty(0, np.float32)
    )
    hidden: np.ndarray = dataclasses.field(
        default_factory=lambda: np.empty(0, np.uint8)
    )
    url_hashes: np.ndarray = dataclasses.field(
        default_factory=lambda: np.empty(0, np.uint64)
    )
    codes: np.ndarray = dataclasses.field(
        default_factory=lambda: np.empty((0, deduplication.CODE_BYTES), np.uint8)
    )
    results: list[int] = dataclasses.field(default_factory=list)
    # The results in another order; there will be no more of them then.
    sorted: list[int] | None = None
    folded: dict[int, int] = dataclasses.field(default_factory=dict)
    # Similarities of what could be shown, were it not below the cutoff.
    below: np.ndarray = dataclasses.field(
        default_factory=lambda: np.empty(0, np.float32)
    )
    seen: int = 0
    # How many candidates were asked for, and whether hidden ones were left out at once.
    reach: tuple[int, bool] = (0, False)
    exact: bool = False
    complete: bool = False  # there is nothing beyond

    def add(self, found: Candidates, similarities: np.ndarray, start: int) -> None:
        """Puts what is not there yet, up to the cutoff, in its place.

        That is behind the first `start` results, which pages have shown already.
        """
        self.rewind(start)
        new = ~np.isin(found.ids, self.ids)
        if (cutoff := self.filters.cutoff) is not None:
            near = similarities >= cutoff
            self.complete |= not near.all()
            self.below = similarities[~near & (found.hidden == VISIBLE)]
            new &= near
        hidden = found.hidden.copy()
        beside = np.fromiter(self.beside, np.uint64, len(self.beside))
        hidden[(hidden == VISIBLE) & np.isin(found.ids, beside)] = EXCLUDED
        order = np.concatenate([self.similarities, similarities[new]])
        order[: self.seen] = np.inf
        order = np.argsort(-order, kind="stable")
        for name, column in {
            "ids": found.ids,
            "similarities": similarities,
            "hidden": hidden,
            "url_hashes": found.url_hashes,
            "codes": found.codes,
        }.items():
            joined = np.concatenate([getattr(self, name), column[new]])
            setattr(self, name, joined[order])

    def rewind(self, start: int) -> None:
        """Forgets what was found out behind the first `start` results."""
        del self.results[start:]
        self.seen = self.results[-1] + 1 if self.results else 0
        self.folded = {row: to for row, to in self.folded.items() if row < self.seen}
        behind = self.hidden[self.seen :]
        behind[behind == DUPLICATE] = VISIBLE

    def advance(self, count: int, vectors: Vectors) -> None:
        """Goes on until there are `count` results, or no more candidates."""
        while len(self.results) < count and self.seen < len(self.ids):
            wanted = max(MIN_STEP, count - len(self.results))
            self._look_on(min(wanted, MAX_STEP), vectors)

    def _look_on(self, count: int, vectors: Vectors) -> None:
        rows = np.arange(self.seen, min(self.seen + count, len(self.ids)))
        self.seen = int(rows[-1]) + 1
        rows = rows[self.hidden[rows] == VISIBLE]
        if not self.filters.dedupe:
            self.results.extend(rows.tolist())
            return
        known = len(self.results)
        both = np.concatenate([np.array(self.results, int), rows])
        twins = deduplication.duplicates_of_earlier(
            self.ids[both], self.url_hashes[both], self.codes[both], known, vectors
        )
        if not twins.any():
            self.results.extend(rows.tolist())
            return
        shown = np.arange(len(both)) < known
        for place in range(known, len(both)):
            nearer = np.flatnonzero(twins[:, place - known] & shown)
            if len(nearer):
                self.folded[int(both[place])] = int(both[nearer[0]])
                self.hidden[both[place]] = DUPLICATE
            else:
                shown[place] = True
                self.results.append(int(both[place]))

    def rows(self, start: int, count: int) -> list[int]:
        """Some of the results, in the order in which they are shown."""
        shown = self.results if self.sorted is None else self.sorted
        return shown[start : start + count]

    def remove(self, rows: list[int], start: int) -> None:
        """Takes out what has been removed since it was found, behind `start` results.

        What was folded into it may then be shown.
        """
        self.hidden[rows] = REMOVED
        if self.sorted is None:
            self.rewind(start)
        else:
            self.sorted = [row for row in self.sorted if row not in rows]

    def may_go_on(self, count: int) -> bool:
        """Whether there may be more than the first `count` results."""
        if count >= MAX_RESULTS:
            return False
        if self.sorted is not None:
            return len(self.sorted) > count
        return len(self.results) > count or not self.complete

    def similarities_found(self) -> np.ndarray:
        """Of all candidates that nothing but the cutoff hides, the highest first."""
        shown = np.isin(self.hidden, (VISIBLE, DUPLICATE))
        return np.concatenate([self.similarities[shown], np.sort(self.below)[::-1]])

    def hidden_until(self, count: int) -> Hidden:
        """What is left out before the end of the first `count` results."""
        ended = count > len(self.results) or self.sorted is not None
        end = self.seen if ended else self.results[count - 1] + 1
        reasons = np.bincount(self.hidden[:end], minlength=DUPLICATE + 1)
        return Hidden(
            int(reasons[NSFW]), int(reasons[DUPLICATE]), int(reasons[REMOVED])
        )


def store(ranking: Ranking, start: int, token: str) -> str:
    """Keeps a ranking for the pages to come; returns the cursor of the next one.

    It is empty when there is none, or when nothing can be kept.
    """
    token = token or secrets.token_urlsafe(12)
    if not ranking.may_go_on(start):
        return ""
    if not cache.set(f"ranking:{token}", ranking, CACHE_S):
        return ""
    return signing.dumps([token, start], salt="cursor")


def load(cursor: str, dataset: str) -> tuple[Ranking, int, str]:
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
