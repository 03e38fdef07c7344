"""Search the table of a dataset: from the vectors of a query to rankings and hits."""

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
from .ranking import Depth, Ranking

FIRST_DEPTH = 1_000  # candidates of the first search, enough for most paging
SEARCH_DEPTHS = (
    Depth(FIRST_DEPTH, visible_only=False),
    Depth(MAX_RESULTS, visible_only=False),
    Depth(MAX_RESULTS, visible_only=True),
)


@dataclass(frozen=True)
class DatasetIndex:
    """A dataset as it is searched."""

    dataset: Dataset

    @classmethod
    def for_slug(cls, slug: str) -> "DatasetIndex":
        """Return the index of a dataset. Raises NotFound."""
        return cls(Dataset.for_slug(slug))

    @cached_property
    def table(self) -> ItemTable:
        return self.dataset.item_table

    @property
    def encoder(self) -> QueryEncoder:
        return QueryEncoder(self.dataset, self.table)

    def ranking_of(self, query: SearchQuery, vectors: dict[str, np.ndarray]) -> Ranking:
        """Return an empty ranking for a query."""
        items = (term.item for term in query.terms if term.item is not None)
        return Ranking(
            dataset=query.dataset,
            field=query.field,
            filters=query.filters,
            vectors=vectors,
            excluded_ids=frozenset([*items, *query.filters.exclude]),
            exact=query.mode == "exact",
        )

    def fill(self, ranking: Ranking, start: int, count: int) -> None:
        """Find `count` results from `start` on, if there are as many.

        Search for FIRST_DEPTH candidates first, then for MAX_RESULTS; if most of these
        are hidden, for visible ones only. One more result says whether there is another
        page.
        """
        if ranking.sorted_rows is not None:
            return
        end = start + count
        self._advance(ranking, end + 1)
        for depth in SEARCH_DEPTHS:
            if len(ranking.results) >= end or ranking.complete:
                return
            # A search for fewer candidates than are needed cannot help.
            if depth > ranking.depth and depth.candidates >= end:
                self._fetch(ranking, depth, start, end)
                self._advance(ranking, end + 1)

    def _advance(self, ranking: Ranking, count: int) -> None:
        """Fold near-duplicates until there are `count` results, or no candidates."""
        while step := ranking.next_step(count):
            vectors = lookup.embeddings(self.table, "image", step.needed)
            ranking.advance(step, vectors)

    def sort(self, ranking: Ranking, by: str) -> None:
        """Sort the results among the candidates found so far.

        By "size" most pixels first, by "popularity" most picks; then by similarity.
        """
        self._advance(ranking, len(ranking.ids))
        ids = [int(ranking.ids[row]) for row in ranking.results]
        values = (
            lookup.pixel_counts(self.table, ids)
            if by == "size"
            else popularity.counts(self.dataset, ids)
        )
        order = np.argsort([-values.get(item_id, 0) for item_id in ids], kind="stable")
        ranking.sorted_rows = [ranking.results[place] for place in order]

    def _fetch(self, ranking: Ranking, depth: Depth, start: int, end: int) -> None:
        condition = condition_of(ranking.filters, self.table)
        if depth.visible_only:
            condition = condition.only_shown(ranking.filters.nsfw, ranking.excluded_ids)
        gathered = {
            field: search_filtered(
                self.table,
                field,
                vector,
                condition=condition,
                nsfw=ranking.filters.nsfw,
                depth=depth.candidates,
                wanted=min(2 * end, depth.candidates),
                exact=ranking.exact or depth.visible_only,
            )
            for field, vector in ranking.vectors.items()
        }
        found, complete = merge_candidates(list(gathered.values()))
        ranking.add(found, self.similarities(found.distances), start)
        ranking.exact = all(part.exact for part in gathered.values())
        ranking.depth = depth
        ranking.complete |= complete or depth.visible_only

    def similarities(self, distances: np.ndarray) -> np.ndarray:
        """Turn distances into similarities: 1 for equal vectors."""
        if self.dataset.metric == Dataset.Metric.L2:
            return 1 / (1 + distances)
        return 1 - distances

    def neighbours(self, item_id: int, count: int) -> tuple[Hit, ...]:
        """Return the nearest safe items of an item, without further pages."""
        found = queries.nearest(
            self.table,
            "image",
            self.encoder.item_vector(item_id, "image"),
            2 * count,
            condition=Condition(),
            nsfw="safe",
            exact=False,
        )
        shown = (found.hidden == VISIBLE) & (found.ids != item_id)
        similarities = self.similarities(found.distances)[shown]
        ids = [int(found_id) for found_id in found.ids[shown]][:count]
        rows = lookup.items(self.table, ids)
        return tuple(
            Hit(**to_item_fields(rows[found_id]), similarity=float(similarity))
            for found_id, similarity in zip(ids, similarities, strict=False)
            if found_id in rows
        )

    def hits(self, ranking: Ranking, start: int, count: int) -> tuple[Hit, ...]:
        """Return `count` results from `start` on, without items removed meanwhile."""
        while True:
            rows = ranking.rows(start, count)
            duplicates = Counter(ranking.duplicate_of.values())
            known = lookup.items(self.table, [int(ranking.ids[row]) for row in rows])
            removed = [row for row in rows if int(ranking.ids[row]) not in known]
            if not removed:
                return tuple(
                    Hit(
                        **to_item_fields(known[int(ranking.ids[row])]),
                        similarity=float(ranking.similarities[row]),
                        similar=duplicates[row],
                    )
                    for row in rows
                )
            ranking.remove(removed, start)
            self.fill(ranking, start, count)


def merge_candidates(parts: list[FilteredCandidates]) -> tuple[Candidates, bool]:
    """Merge the candidates of several searches, each item by its least distance.

    A search that was cut off may have missed items nearer than those another found
    further away: the list ends at the least distance where one was cut off. Returns it,
    and whether it is complete.
    """
    if len(parts) == 1:
        return parts[0].candidates, parts[0].complete
    found = queries.merge_nearest([part.candidates for part in parts])
    _, first = np.unique(found.ids, return_index=True)
    found = found.take(np.sort(first))
    cuts = [part.candidates.distances[-1] for part in parts if not part.complete]
    if cuts:
        found = found.take(found.distances <= min(cuts))
    return found, not cuts
