"""The results of one search, cached for its further pages.

A cursor is a signed pair: the token under which the ranking is cached, and how many
results the pages before have shown.
"""

import dataclasses
import pickle
import secrets
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from django.core import signing

from search import cache
from search.clickhouse.filters import NSFW, REMOVED, VISIBLE
from search.clickhouse.queries import Candidates
from search.errors import InvalidQuery
from search.query.filters import Filters
from search.query.model import DEFAULT_RECALL, MAX_RESULTS

from . import deduplication

CACHE_S = 3_600
FIRST_CACHE_S = 300  # until a second page is asked for, which few searches are
REPLACED_CACHE_S = 60  # of a ranking that a deeper one replaces: for repeated requests
# Reasons for which an item is hidden, in addition to those of clickhouse.filters.
EXCLUDED = 3  # by the query's filters, or as one of its terms
DUPLICATE = 4  # of a nearer item
# Candidates that are compared with the results before them at once.
MIN_STEP = 64
MAX_STEP = 128  # takes 20 MB with 10,000 results

SortKey = tuple[float, float]


@dataclass(frozen=True)
class Hidden:
    """The items nearer than the last one shown that are hidden, by reason."""

    nsfw: int = 0
    duplicates: int = 0
    removed: int = 0

    def __add__(self, other: "Hidden") -> "Hidden":
        return Hidden(
            self.nsfw + other.nsfw,
            self.duplicates + other.duplicates,
            self.removed + other.removed,
        )


class Depth(NamedTuple):
    """The number of candidates requested, and whether of visible ones only."""

    candidates: int
    visible_only: bool


@dataclass(frozen=True)
class Step:
    """The next candidates that may become results, compared with the results so far."""

    rows: np.ndarray
    end: int  # candidates that are scanned after this step
    comparison: deduplication.Comparison | None = None  # None: nothing is folded

    @property
    def needed(self) -> list[int]:
        """The ids whose embeddings decide which of these are near-duplicates."""
        return self.comparison.needed if self.comparison else []


@dataclass
class Ranking:
    """Candidates by decreasing similarity, and which of them are results.

    The rows of `ids`, `similarities`, `hidden`, `url_hashes` and `codes` are
    candidates. Near-duplicates are folded as far as pages have come: `results` are the
    rows to be shown among the first `scanned`, and `duplicate_of` maps the row of each
    near-duplicate to the result that it is folded into.
    """

    dataset: str
    field: str
    filters: Filters
    vectors: dict[str, np.ndarray]  # the query's, by the field that it searches
    excluded_ids: frozenset[int]  # never results
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
    # The results in another order, which are then complete, and by which values.
    sorted_rows: list[int] | None = None
    sort_values: dict[int, int] = dataclasses.field(default_factory=dict)  # by row
    duplicate_of: dict[int, int] = dataclasses.field(default_factory=dict)
    scanned: int = 0
    # How much of an index is read: by the kinds of its terms (dataset_index).
    kinds: tuple[str, ...] = ()
    recall: float = DEFAULT_RECALL
    depth: Depth = Depth(0, False)  # of the deepest search that was made
    exact: bool = False
    complete: bool = False  # there are no candidates beyond

    def add(self, found: Candidates, similarities: np.ndarray, start: int) -> None:
        """Add new candidates, as far as the cutoff, sorted by similarity.

        They come after the first `start` results, which pages have shown already.
        """
        self.rewind(start)
        new = ~np.isin(found.ids, self.ids)
        if (cutoff := self.filters.cutoff) is not None:
            near = similarities >= cutoff
            self.complete |= not near.all()
            new &= near
        hidden = found.hidden.copy()
        excluded = np.fromiter(self.excluded_ids, np.uint64, len(self.excluded_ids))
        hidden[(hidden == VISIBLE) & np.isin(found.ids, excluded)] = EXCLUDED
        sort_keys = np.concatenate([self.similarities, similarities[new]])
        sort_keys[: self.scanned] = np.inf
        order = np.argsort(-sort_keys, kind="stable")
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
        """Discard the results after the first `start`."""
        del self.results[start:]
        self.scanned = self.results[-1] + 1 if self.results else 0
        self.duplicate_of = {
            row: original
            for row, original in self.duplicate_of.items()
            if row < self.scanned
        }
        behind = self.hidden[self.scanned :]
        behind[behind == DUPLICATE] = VISIBLE

    def next_step(self, count: int) -> Step | None:
        """Return the next step towards `count` results.

        None when there are as many, or when no candidates are left.
        """
        if len(self.results) >= count or self.scanned >= len(self.ids):
            return None
        size = min(max(MIN_STEP, count - len(self.results)), MAX_STEP)
        end = min(self.scanned + size, len(self.ids))
        rows = np.arange(self.scanned, end)
        rows = rows[self.hidden[rows] == VISIBLE]
        if not self.filters.dedupe:
            return Step(rows, end)
        both = np.concatenate([np.array(self.results, int), rows])
        comparison = deduplication.compare(
            self.ids[both], self.url_hashes[both], self.codes[both], len(self.results)
        )
        return Step(rows, end, comparison)

    def advance(self, step: Step, vectors: Mapping[int, np.ndarray]) -> None:
        """Take a step; `vectors` are the embeddings of the ids that it needs."""
        self.scanned, rows = step.end, step.rows
        if step.comparison is None:
            self.results.extend(rows.tolist())
            return
        duplicates = step.comparison.duplicates(vectors)
        if not duplicates.any():
            self.results.extend(rows.tolist())
            return
        known = len(self.results)
        both = np.concatenate([np.array(self.results, int), rows])
        shown = np.arange(len(both)) < known
        has_original = np.asarray(duplicates.any(axis=0))
        for place in range(known, len(both)):
            row = int(both[place])
            if has_original[place - known]:
                originals = np.flatnonzero(duplicates[:, place - known] & shown)
                if len(originals):
                    self.duplicate_of[row] = int(both[originals[0]])
                    self.hidden[row] = DUPLICATE
                    continue
            shown[place] = True
            self.results.append(row)

    def rows(self, start: int, count: int) -> list[int]:
        """Return the rows of `count` results from `start` on, in their order."""
        shown = self.results if self.sorted_rows is None else self.sorted_rows
        return shown[start : start + count]

    def sort_keys(self, start: int) -> Iterator[SortKey]:
        """Yield what the results from `start` on are sorted by, the lowest first."""
        for row in islice(self.rows(0, MAX_RESULTS), start, None):
            yield -self.sort_values.get(row, 0), -float(self.similarities[row])

    def remove(self, rows: list[int], start: int) -> None:
        """Hide rows removed since the search, after the first `start` results.

        Their near-duplicates may be shown instead.
        """
        self.hidden[rows] = REMOVED
        if self.sorted_rows is None:
            self.rewind(start)
        else:
            self.sorted_rows = [row for row in self.sorted_rows if row not in rows]

    def has_more(self, count: int) -> bool:
        """Return whether there may be more than `count` results."""
        if count >= MAX_RESULTS:
            return False
        if self.sorted_rows is not None:
            return len(self.sorted_rows) > count
        return len(self.results) > count or not self.complete

    def hidden_until(self, count: int) -> Hidden:
        """Count what is hidden among the first `count` results."""
        ended = count > len(self.results) or self.sorted_rows is not None
        end = self.scanned if ended else self.results[count - 1] + 1
        reasons = np.bincount(self.hidden[:end], minlength=DUPLICATE + 1)
        return Hidden(
            int(reasons[NSFW]), int(reasons[DUPLICATE]), int(reasons[REMOVED])
        )


def store(
    rankings: Sequence[Ranking], starts: Sequence[int], token: str, replaces: str = ""
) -> str:
    """Cache rankings for their further pages; return the cursor of the next one.

    `starts` are how many results of each have been shown. Rankings without a `token`
    get one; that of the rankings which they replace expires soon. The cursor is "" if
    there is no next page, or if the cache is down.
    """
    is_first = not (token or replaces)
    if replaces and replaces != token:
        cache.expire(f"rankings:{replaces}", REPLACED_CACHE_S)
    token = token or secrets.token_urlsafe(12)
    if not has_more(rankings, starts):
        return ""
    seconds = FIRST_CACHE_S if is_first else CACHE_S
    if not cache.set(f"rankings:{token}", _packed(rankings), seconds):
        return ""
    return signing.dumps([token, list(starts)], salt="cursor")


def _packed(rankings: Sequence[Ranking]) -> bytes:
    """Pickle rankings, without the codes and URLs that nothing is compared with."""
    alone = len(rankings) == 1
    return zlib.compress(pickle.dumps([_without_codes(r, alone) for r in rankings]), 1)


def _without_codes(ranking: Ranking, alone: bool) -> Ranking:
    if alone and (ranking.sorted_rows is not None or not ranking.filters.dedupe):
        unused = np.ones(len(ranking.ids), bool)
    else:
        unused = np.isin(ranking.hidden, (NSFW, REMOVED, EXCLUDED))
    codes, url_hashes = ranking.codes.copy(), ranking.url_hashes.copy()
    codes[unused], url_hashes[unused] = 0, 0
    return dataclasses.replace(ranking, codes=codes, url_hashes=url_hashes)


def has_more(rankings: Sequence[Ranking], starts: Sequence[int]) -> bool:
    """Return whether there may be results after these."""
    pairs = zip(rankings, starts, strict=True)
    return sum(starts) < MAX_RESULTS and any(each.has_more(n) for each, n in pairs)


def load(cursor: str, datasets: Sequence[str]) -> tuple[list[Ranking], list[int], str]:
    """Return a cursor's rankings, how many results each has shown, and its token.

    Raises InvalidQuery for a cursor that is not ours, has expired, or is of other
    datasets.
    """
    try:
        token, starts = signing.loads(cursor, salt="cursor")
    except signing.BadSignature:
        raise InvalidQuery("This cursor is not valid.") from None
    packed = cache.get(f"rankings:{token}")
    if packed is None:
        raise InvalidQuery("This search has expired; please search again.")
    rankings = pickle.loads(zlib.decompress(packed))
    if [each.dataset for each in rankings] != list(datasets):
        raise InvalidQuery("This cursor belongs to a search of another dataset.")
    return rankings, starts, token
