"""Search the table of a dataset: from the vectors of a query to rankings and hits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from search.clickhouse import lookup, queries
from search.clickhouse.filters import VISIBLE, Condition, condition_of
from search.clickhouse.planner import (
    FilteredCandidates,
    ShareFor,
    Wanted,
    search_filtered,
)
from search.clickhouse.queries import Candidates
from search.clickhouse.schema import ItemTable
from search.models import Dataset, Viewer
from search.query.filters import SAFE
from search.query.model import DEFAULT_RECALL, MAX_RESULTS, SearchQuery, Term

from . import popularity
from .items import Hit, to_item_fields
from .query_encoder import QueryEncoder
from .ranking import Depth, Ranking

FIRST_DEPTH = 1_000  # candidates behind a first page, enough for most paging
# Candidates of a first page: so many more than are expected to be needed, and at most.
PAGE_MARGIN = 16
MAX_PAGE_DEPTH = 400
# By dataset, the candidates that first pages took for each result, as an average that
# rises fast and falls slowly: hidden items and near-duplicates differ between datasets.
RISE, FALL = 0.3, 0.03
_candidates_per_result: dict[str, float] = {}
# Kinds of queries, whose recall is calibrated apart.
WORDS, PICTURES = "words", "pictures"
SEARCH_DEPTHS = (
    Depth(FIRST_DEPTH, visible_only=False),
    Depth(MAX_RESULTS, visible_only=False),
    Depth(MAX_RESULTS, visible_only=True),
)


@dataclass(frozen=True)
class DatasetIndex:
    """A dataset as it is searched, with what one search has read of its items.

    `rows` are their columns and `vectors` those of their images, by id.
    """

    dataset: Dataset
    rows: dict[int, dict[str, Any]] = field(default_factory=dict, compare=False)
    vectors: dict[int, np.ndarray] = field(default_factory=dict, compare=False)

    @classmethod
    def for_slug(cls, slug: str, user: Viewer) -> "DatasetIndex":
        """Return the index of a dataset that the user may see. Raises NotFound."""
        return cls(Dataset.for_slug(slug, user))

    @cached_property
    def table(self) -> ItemTable:
        return self.dataset.item_table

    def fields(self, row: dict[str, Any]) -> dict[str, Any]:
        return to_item_fields(row, self.dataset)

    @property
    def encoder(self) -> QueryEncoder:
        return QueryEncoder(self.dataset, self.table)

    def ranking_of(self, query: SearchQuery, vectors: dict[str, np.ndarray]) -> Ranking:
        """Return an empty ranking for a query."""
        items = (term.item for term in query.terms if term.item is not None)
        return Ranking(
            dataset=self.dataset.slug,
            field=query.field,
            filters=query.filters,
            vectors=vectors,
            excluded_ids=frozenset([*items, *query.filters.exclude]),
            exact=query.mode == "exact",
            recall=query.recall,
            kinds=kinds_of(query.terms),
        )

    def fill_page(self, ranking: Ranking, count: int) -> None:
        """Find the first `count` results, with all columns, by one search.

        Only where too many of its candidates are hidden or near-duplicates, another
        one follows.
        """
        slug = self.dataset.slug
        expected = 1.0
        if self.dataset.index == Dataset.Index.CLUSTERS:
            expected = _candidates_per_result.get(slug, 1.0)
        most = max(MAX_PAGE_DEPTH, count + PAGE_MARGIN)
        depth = min(round((count + 1) * expected) + PAGE_MARGIN, most)
        self._fetch(ranking, Depth(depth, visible_only=False), 0, count, whole=True)
        self.fill(ranking, 0, count)
        if len(ranking.results) > count:
            off = (ranking.results[count] + 1) / (count + 1) - expected
            change = (RISE if off > 0 else FALL) * off
            _candidates_per_result[slug] = expected + change

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
            # A first page reads too few candidates to take the end for granted.
            enough = end + (ranking.depth.candidates < FIRST_DEPTH)
            if len(ranking.results) >= enough or ranking.complete:
                return
            # A search for fewer candidates than are needed cannot help.
            if depth > ranking.depth and depth.candidates >= end:
                self._fetch(ranking, depth, start, end)
                self._advance(ranking, end + 1)

    def _advance(self, ranking: Ranking, count: int) -> None:
        """Fold near-duplicates until there are `count` results, or no candidates."""
        while step := ranking.next_step(count):
            missing = [key for key in step.needed if key not in self.vectors]
            if missing:
                self.vectors.update(lookup.embeddings(self.table, "image", missing))
            ranking.advance(step, self.vectors)

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
        ranking.sort_values = {
            row: int(values.get(item_id, 0))
            for row, item_id in zip(ranking.results, ids, strict=True)
        }

    def _fetch(
        self, ranking: Ranking, depth: Depth, start: int, end: int, whole: bool = False
    ) -> None:
        found, complete = self._search(ranking, depth, end, whole)
        self.rows.update(found.rows)
        self.vectors.update(found.vectors)
        ranking.add(found, self.similarities(found.distances), start)
        ranking.exact = found.exact
        ranking.depth = depth
        ranking.complete |= complete or depth.visible_only

    def _search(
        self, ranking: Ranking, depth: Depth, end: int, whole: bool = False
    ) -> tuple[Candidates, bool]:
        """Return candidates for the results up to `end`, and whether these are all."""
        condition = condition_of(ranking.filters, self.table)
        if depth.visible_only:
            hiding = self.dataset.hiding(ranking.filters.nsfw)
            condition = condition.only_shown(hiding, ranking.excluded_ids)
        # The depth of a first page depends on the searches before, so what is read of
        # the index does not depend on it: the same query has the same answer.
        least = end + 1 + PAGE_MARGIN if whole else depth.candidates
        wanted = Wanted(
            depth.candidates,
            least=min(2 * end, least),
            # Of a deep search for more pages, the first tenth is to be complete.
            rank=end if whole else max(end, depth.candidates // 10),
            exact=ranking.exact or depth.visible_only,
            whole=whole,
            vectors=whole and ranking.filters.dedupe,
        )
        return merge_candidates(
            [
                search_filtered(
                    self.table,
                    field,
                    vector,
                    wanted,
                    self._share_for(field, ranking.kinds, ranking.recall),
                    condition=condition,
                    nsfw=self.dataset.hiding(ranking.filters.nsfw),
                )
                for field, vector in ranking.vectors.items()
            ]
        )

    def _share_for(self, field: str, kinds: tuple[str, ...], recall: float) -> ShareFor:
        """Return how much to read by the curves of these kinds of queries."""
        known = (self.dataset.curve(field, kind) for kind in kinds)
        curves = [curve for curve in known if curve]
        if len(curves) < len(kinds):
            return lambda rank: None
        return lambda rank: max(curve.share_for(recall, rank) for curve in curves)

    def similarities_found(self, ranking: Ranking) -> np.ndarray:
        """Return the similarities of the nearest visible candidates, highest first."""
        depth = Depth(FIRST_DEPTH, visible_only=False)
        found, _ = self._search(ranking, depth, FIRST_DEPTH // 10)
        excluded = np.fromiter(ranking.excluded_ids, np.uint64)
        shown = (found.hidden == VISIBLE) & ~np.isin(found.ids, excluded)
        return self.similarities(found.distances[shown])

    def similarities(self, distances: np.ndarray) -> np.ndarray:
        """Turn distances into similarities: 1 for equal vectors."""
        if self.dataset.metric == Dataset.Metric.L2:
            return 1 / (1 + distances)
        return 1 - distances

    def neighbours(self, item_id: int, count: int) -> tuple[Hit, ...]:
        """Return the nearest safe items of an item, without further pages."""
        share_for = self._share_for("image", (PICTURES,), DEFAULT_RECALL)
        found = search_filtered(
            self.table,
            "image",
            self.encoder.item_vector(item_id, "image"),
            Wanted(2 * count, least=0, rank=count, wide=False, whole=True),
            share_for,
            condition=Condition(),
            nsfw=self.dataset.hiding(SAFE),
        ).candidates
        shown = (found.hidden == VISIBLE) & (found.ids != item_id)
        similarities = self.similarities(found.distances)[shown]
        ids = found.ids[shown].tolist()[:count]
        return tuple(
            Hit(**self.fields(found.rows[found_id]), similarity=float(similarity))
            for found_id, similarity in zip(ids, similarities, strict=False)
        )

    def hits(self, ranking: Ranking, start: int, count: int) -> tuple[Hit, ...]:
        """Return `count` results from `start` on, without items removed meanwhile."""
        while True:
            rows = ranking.rows(start, count)
            duplicates = Counter(ranking.duplicate_of.values())
            ids = ranking.ids[rows].tolist()
            if missing := [key for key in ids if key not in self.rows]:
                self.rows.update(lookup.items(self.table, missing))
            removed = [
                row for row, key in zip(rows, ids, strict=True) if key not in self.rows
            ]
            if not removed:
                return tuple(
                    Hit(
                        **self.fields(self.rows[key]),
                        similarity=float(ranking.similarities[row]),
                        similar=duplicates[row],
                    )
                    for row, key in zip(rows, ids, strict=True)
                )
            ranking.remove(removed, start)
            self.fill(ranking, start, count)


def kinds_of(terms: Sequence[Term]) -> tuple[str, ...]:
    """Return the kinds that a query's terms are of; an embedding may be of either."""
    words = any(term.text is not None or term.embedding is not None for term in terms)
    pictures = any(term.text is None for term in terms)
    return tuple(
        kind for kind, given in ((WORDS, words), (PICTURES, pictures)) if given
    )


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
