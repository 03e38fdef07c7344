"""A dataset and its table: from the vectors of a query to rankings and hits."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from search.clickhouse import lookup, queries
from search.clickhouse.filters import VISIBLE, Condition, condition_of
from search.clickhouse.planner import FilteredCandidates, search_filtered
from search.clickhouse.queries import Candidates
from search.clickhouse.schema import ItemTable
from search.models import Dataset
from search.query.model import MAX_RESULTS, SearchQuery

from . import popularity
from .items import Hit, to_item_fields
from .query_encoder import QueryEncoder
from .ranking import Ranking

FIRST_DEPTH = 1_000  # candidates kept for paging at first; more when more are asked for
SEARCH_DEPTHS = (
    (FIRST_DEPTH, False),
    (MAX_RESULTS, False),
    (MAX_RESULTS, True),  # of those alone that are not hidden
)


@dataclass(frozen=True)
class DatasetIndex:
    """A dataset ready to be searched."""

    dataset: Dataset

    @classmethod
    def for_slug(cls, slug: str) -> "DatasetIndex":
        """Raises NotFound when there is no such dataset."""
        return cls(Dataset.for_slug(slug))

    @cached_property
    def table(self) -> ItemTable:
        return self.dataset.item_table

    @property
    def terms(self) -> QueryEncoder:
        return QueryEncoder(self.dataset, self.table)

    def ranking_of(self, query: SearchQuery, vectors: dict[str, np.ndarray]) -> Ranking:
        """The ranking of a query, with nothing in it yet."""
        items = (term.item for term in query.terms if term.item is not None)
        return Ranking(
            dataset=query.dataset,
            field=query.field,
            filters=query.filters,
            vectors=vectors,
            beside=frozenset([*items, *query.filters.exclude]),
            exact=query.mode == "exact",
        )

    def fill(self, ranking: Ranking, start: int, count: int) -> None:
        """Brings `count` results from `start` on into a ranking, if there are as many.

        The nearest FIRST_DEPTH candidates come first, then MAX_RESULTS of them; if
        most of these are hidden, those that are not are looked for by themselves. One
        result more tells whether there is another page.
        """
        if ranking.sorted is not None:
            return
        end = start + count
        ranking.advance(end + 1, self._image_vectors)
        for reach in SEARCH_DEPTHS:
            if len(ranking.results) >= end or ranking.complete:
                return
            # A search that goes less far than is asked for would be made in vain.
            if reach > ranking.reach and reach[0] >= end:
                self._fetch(ranking, reach, start, end)
                ranking.advance(end + 1, self._image_vectors)

    def sort(self, ranking: Ranking, by: str) -> None:
        """Puts the results among the candidates found so far in another order.

        By size the most pixels come first, by popularity what was picked most often;
        among equals, the nearest.
        """
        ranking.advance(len(ranking.ids), self._image_vectors)
        ids = [int(ranking.ids[row]) for row in ranking.results]
        values = (
            lookup.pixels(self.table, ids)
            if by == "size"
            else popularity.counts(self.dataset, ids)
        )
        order = np.argsort([-values.get(item_id, 0) for item_id in ids], kind="stable")
        ranking.sorted = [ranking.results[place] for place in order]

    def _image_vectors(self, ids: list[int]) -> dict[int, np.ndarray]:
        return lookup.embeddings(self.table, "image", ids)

    def _fetch(
        self, ranking: Ranking, reach: tuple[int, bool], start: int, end: int
    ) -> None:
        depth, shown_only = reach
        condition = condition_of(ranking.filters)
        if shown_only:
            condition = condition.only_shown(ranking.filters.nsfw, ranking.beside)
        gathered = {
            field: search_filtered(
                self.table,
                field,
                vector,
                condition=condition,
                nsfw=ranking.filters.nsfw,
                depth=depth,
                wanted=min(2 * end, depth),
                exact=ranking.exact or shown_only,
            )
            for field, vector in ranking.vectors.items()
        }
        found, complete = merge_candidates(list(gathered.values()))
        ranking.add(found, self.similarities(found.distances), start)
        ranking.exact = all(part.exact for part in gathered.values())
        ranking.reach = reach
        ranking.complete |= complete or shown_only

    def similarities(self, distances: np.ndarray) -> np.ndarray:
        """1 is the same; what is further away is less."""
        if self.dataset.metric == Dataset.Metric.L2:
            return 1 / (1 + distances)
        return 1 - distances

    def neighbours(self, item_id: int, count: int) -> tuple[Hit, ...]:
        """The nearest of an item, without a ranking kept for more."""
        found = queries.nearest(
            self.table,
            "image",
            self.terms.item_vector(item_id, "image"),
            2 * count,
            condition=Condition(),
            nsfw="safe",
            exact=False,
        )
        shown = (found.hidden == VISIBLE) & (found.ids != item_id)
        similarities = self.similarities(found.distances)[shown]
        ids = [int(found_id) for found_id in found.ids[shown]][:count]
        rows = lookup.facts(self.table, ids)
        return tuple(
            Hit(**to_item_fields(rows[found_id]), similarity=float(similarity))
            for found_id, similarity in zip(ids, similarities, strict=False)
            if found_id in rows
        )

    def hits(self, ranking: Ranking, start: int, count: int) -> tuple[Hit, ...]:
        """The results from `start` on, passing over what has been removed meanwhile."""
        while True:
            rows = ranking.rows(start, count)
            similar = Counter(ranking.folded.values())
            known = lookup.facts(self.table, [int(ranking.ids[row]) for row in rows])
            gone = [row for row in rows if int(ranking.ids[row]) not in known]
            if not gone:
                return tuple(
                    Hit(
                        **to_item_fields(known[int(ranking.ids[row])]),
                        similarity=float(ranking.similarities[row]),
                        similar=similar[row],
                    )
                    for row in rows
                )
            ranking.remove(gone, start)
            self.fill(ranking, start, count)


def merge_candidates(parts: list[FilteredCandidates]) -> tuple[Candidates, bool]:
    """The candidates of several searches as one list, each item by its least distance.

    Where a search was cut off, what it left out may be nearer than what another found
    further away; so the list ends where the first cut is sure to do no harm.
    """
    if len(parts) == 1:
        return parts[0].candidates, parts[0].complete
    found = queries.nearest_of([part.candidates for part in parts])
    _, first = np.unique(found.ids, return_index=True)
    found = found.taken(np.sort(first))
    cuts = [part.candidates.distances[-1] for part in parts if not part.complete]
    if cuts:
        found = found.taken(found.distances <= min(cuts))
    return found, not cuts
