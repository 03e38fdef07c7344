"""Merge the results of several datasets, by similarity or by what they are sorted by.

Each dataset has a ranking of its own. A page takes the best of what each of them has
next, so a cursor is how many results of each dataset the pages before have taken:
pages neither repeat nor leave out a result, whatever the rankings find meanwhile.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge as merge_sorted
from itertools import islice
from typing import NamedTuple, Self

import numpy as np

from search.errors import InvalidQuery
from search.models import Dataset
from search.query.model import MAX_RESULTS, SearchQuery

from .dataset_index import DatasetIndex
from .deduplication import certainly_same
from .items import Hit
from .ranking import Hidden, Ranking, SortKey, has_more


class Place(NamedTuple):
    """A result: the number of its ranking, and its place among the results there."""

    ranking: int
    place: int


def check_together(query: SearchQuery, datasets: Sequence[Dataset]) -> None:
    """Raise InvalidQuery for what cannot be searched for in several datasets.

    Their similarities have to be comparable, and the id of an item names one in each.
    """
    if len(datasets) == 1:
        return
    if len({each.comparable for each in datasets}) > 1:
        titles = " and ".join(f"“{each.title}”" for each in datasets)
        raise InvalidQuery(
            f"{titles} cannot be searched together: their embeddings are not of the "
            "same model and metric."
        )
    if query.filters.exclude or any(term.item is not None for term in query.terms):
        raise InvalidQuery(
            "An item is named by its id in one dataset: search in that alone."
        )


def next_places(
    rankings: Sequence[Ranking], starts: Sequence[int], count: int
) -> tuple[list[Place], list[int]]:
    """Return the next results of all rankings, and how many are taken of each then.

    The rankings have found `count` results after `starts`, or all they have. Where
    near-duplicates are folded, one of a result of another dataset is left out if the
    codes or the URLs decide that it is one.
    """
    places: list[Place] = []
    ends = list(starts)
    folds = len(rankings) > 1 and rankings[0].filters.dedupe
    shown = [
        _Shown.of(ranking, start if folds else 0)
        for ranking, start in zip(rankings, starts, strict=True)
    ]
    queues = (
        _keyed(number, ranking, start, count)
        for number, (ranking, start) in enumerate(zip(rankings, starts, strict=True))
    )
    for _, place in merge_sorted(*queues):
        if len(places) == count:
            break
        ends[place.ranking] = place.place + 1
        if folds:
            one = _Shown.of(rankings[place.ranking], 1, place.place)
            others = shown[: place.ranking] + shown[place.ranking + 1 :]
            if any(other.has(one) for other in others):
                continue
            shown[place.ranking] = shown[place.ranking].and_(one)
        places.append(place)
    return places, ends


@dataclass(frozen=True)
class _Shown:
    """The URLs and codes of results; an image without a URL has its id for a hash."""

    url_hashes: np.ndarray
    codes: np.ndarray

    @classmethod
    def of(cls, ranking: Ranking, count: int, start: int = 0) -> Self:
        rows = ranking.rows(start, count)
        hashes = ranking.url_hashes[rows]
        return cls(hashes[hashes != ranking.ids[rows]], ranking.codes[rows])

    def has(self, one: "_Shown") -> bool:
        same_url = np.isin(one.url_hashes, self.url_hashes).any()
        return bool(same_url) or certainly_same(one.codes[0], self.codes)

    def and_(self, one: "_Shown") -> "_Shown":
        return _Shown(
            np.concatenate([self.url_hashes, one.url_hashes]),
            np.concatenate([self.codes, one.codes]),
        )


def _keyed(
    number: int, ranking: Ranking, start: int, count: int
) -> Iterator[tuple[SortKey, Place]]:
    """Yield results with what they are sorted by, the lowest first."""
    keys = islice(ranking.sort_keys(start), count)
    for place, key in enumerate(keys, start):
        yield key, Place(number, place)


def hidden_until(
    rankings: Sequence[Ranking], ends: Sequence[int], *, is_last: bool
) -> Hidden:
    """Count what is hidden among the results that are taken of each ranking.

    After the last page, also what follows them.
    """
    hidden = Hidden()
    for ranking, end in zip(rankings, ends, strict=True):
        if end + is_last:
            hidden += ranking.hidden_until(end + is_last)
    return hidden


def fill_first(index: DatasetIndex, ranking: Ranking, query: SearchQuery) -> None:
    """Find what a first page of one dataset shows at most, in its order."""
    if query.sort == "similarity":
        index.fill_page(ranking, query.limit)
        return
    index.fill(ranking, 0, query.limit)
    index.sort(ranking, query.sort)


def next_hits(
    indexes: Sequence[DatasetIndex],
    rankings: Sequence[Ranking],
    starts: Sequence[int],
    limit: int,
) -> tuple[tuple[Hit, ...], list[int], bool]:
    """Return the next hits, how many are taken of each ranking, whether these are all.

    Of several datasets, all that a page could show may be of images shown before.
    """
    while True:
        limit = min(limit, MAX_RESULTS - sum(starts))
        found = []
        for index, ranking, start in zip(indexes, rankings, starts, strict=True):
            index.fill(ranking, start, limit)
            found.append(index.hits(ranking, start, limit))
        places, ends = next_places(rankings, starts, limit)
        if places or not has_more(rankings, ends):
            hits = (found[n][place - starts[n]] for n, place in places)
            return tuple(hits), ends, len(places) < limit
        starts = ends
