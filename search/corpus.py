"""Where a dataset's model and its table meet: terms into vectors, vectors into hits."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from . import pictures
from .clickhouse import queries
from .clickhouse.schema import ItemTable
from .encoder import Encoder, encoder_for
from .errors import InvalidQuery, NotFound, SearchUnavailable
from .models import Dataset
from .query import LAST_ITEM, SearchQuery, Term
from .ranking import Ranking

FIRST_DEPTH = 1_000  # results kept for paging at first; all of them when more are asked
LEAST_LENGTH = 1e-6  # of a query's sum: below it no direction is left


@dataclass(frozen=True)
class Hit:
    """An item, and how close it is to the query: 1 is the same, higher is closer."""

    id: int
    url: str
    caption: str
    similarity: float | None
    caption_similarity: float | None
    width: int
    height: int
    nsfw: str
    license: str


@dataclass(frozen=True)
class Item(Hit):
    metadata: dict[str, str]


@dataclass(frozen=True)
class Corpus:
    """A dataset ready to be searched."""

    dataset: Dataset

    @classmethod
    def named(cls, slug: str) -> "Corpus":
        try:
            return cls(Dataset.objects.get(slug=slug))
        except Dataset.DoesNotExist:
            raise NotFound(f"There is no dataset named “{slug[:40]}”.") from None

    @cached_property
    def table(self) -> ItemTable:
        return table_of(self.dataset)

    @property
    def encoder(self) -> Encoder:
        return encoder_for(self.dataset.model, self.dataset.weights)

    def vector_of(self, query: SearchQuery) -> np.ndarray:
        """The weighted sum of the terms' unit vectors, brought to unit length."""
        total = np.zeros(self.dataset.dimension)
        for term in query.terms:
            total += term.weight * self._term_vector(term, query.field)
        length = float(np.linalg.norm(total))
        if length < LEAST_LENGTH:
            raise InvalidQuery(
                "The terms cancel each other out: nothing is left to search for."
            )
        return (total / length).astype(np.float32)

    def _term_vector(self, term: Term, field: str) -> np.ndarray:
        if term.text is not None:
            return self._encoded(self.encoder.encode_texts([term.text]))
        if term.image is not None:
            picture = pictures.decode(term.image)
            return self._encoded(self.encoder.encode_images([picture]))
        if term.item is not None:
            return self._item_vector(term.item, field)
        return self._given_vector(term.embedding)

    def _encoded(self, vectors: np.ndarray) -> np.ndarray:
        if vectors.shape[1] != self.dataset.dimension:
            raise SearchUnavailable(
                f"The model {self.dataset.model} makes vectors of {vectors.shape[1]} "
                f"numbers; those of this dataset have {self.dataset.dimension}."
            )
        return vectors[0]

    def _item_vector(self, item_id: int, field: str) -> np.ndarray:
        vector = queries.embedding(self.table, field, checked_id(item_id))
        if vector is None:
            raise no_item(item_id)
        return vector / np.linalg.norm(vector)

    def _given_vector(self, embedding: tuple[float, ...] | None) -> np.ndarray:
        vector = np.asarray(embedding, np.float64)
        if vector.shape != (self.dataset.dimension,):
            raise InvalidQuery(
                f"The embedding has {vector.size} numbers; those of this dataset have "
                f"{self.dataset.dimension}."
            )
        length = float(np.linalg.norm(vector))
        if not LEAST_LENGTH < length < math.inf:
            raise InvalidQuery(
                "The embedding has no direction: its length is zero or endless."
            )
        return vector / length

    def ranking_of(self, query: SearchQuery, vector: np.ndarray) -> Ranking:
        without = tuple(term.item for term in query.terms if term.item is not None)
        ranking = Ranking(
            dataset=query.dataset,
            field=query.field,
            exact=query.mode == "exact",
            vector=vector,
            without=without,
            ids=[],
            similarities=[],
            depth=0,
            total=self.dataset.item_count(),
        )
        self._fetch(ranking, FIRST_DEPTH)
        return ranking

    def deepen(self, ranking: Ranking) -> None:
        self._fetch(ranking, queries.MOST_RESULTS)

    def neighbours(self, item_id: int, count: int) -> tuple[Hit, ...]:
        """The nearest of an item, without a ranking kept for more."""
        vector = self._item_vector(item_id, "image")
        found = queries.nearest(self.table, "image", vector, count + 1, exact=False)
        near = {found_id: self._similarity(d) for found_id, d in found}
        near.pop(item_id, None)
        return self.shown_hits(list(near.items())[:count])

    def _fetch(self, ranking: Ranking, depth: int) -> None:
        """Appends what a deeper search finds beyond what is kept already."""
        found = queries.nearest(
            self.table, ranking.field, ranking.vector, depth, ranking.exact
        )
        known = {*ranking.ids, *ranking.without}
        for item_id, distance in found:
            if item_id not in known:
                ranking.ids.append(item_id)
                ranking.similarities.append(self._similarity(distance))
        ranking.depth = depth

    def _similarity(self, distance: float) -> float:
        if self.dataset.metric == Dataset.Metric.L2:
            return 1 / (1 + distance)
        return 1 - distance

    def hits(self, ranking: Ranking, start: int, end: int) -> tuple[Hit, ...]:
        part = slice(start, end)
        return self.shown_hits(
            list(zip(ranking.ids[part], ranking.similarities[part], strict=True))
        )

    def shown_hits(self, near: list[tuple[int, float]]) -> tuple[Hit, ...]:
        """Pairs of id and similarity as hits, in their order."""
        found = queries.facts(self.table, [item_id for item_id, _ in near])
        return tuple(
            Hit(**shown(found[item_id]), similarity=similarity)
            for item_id, similarity in near
            if item_id in found
        )


def table_of(dataset: Dataset) -> ItemTable:
    return ItemTable(
        slug=dataset.slug,
        dimension=dataset.dimension,
        metric=dataset.metric,
        index_connections=dataset.index_connections,
        index_construction=dataset.index_construction,
    )


def shown(row: dict[str, Any]) -> dict[str, Any]:
    similarity = row["caption_similarity"]
    known = similarity if math.isfinite(similarity) else None
    return {**row, "caption_similarity": known}


def checked_id(item_id: int) -> int:
    if not 0 <= item_id <= LAST_ITEM:
        raise no_item(item_id)
    return item_id


def no_item(item_id: int) -> NotFound:
    return NotFound(f"There is no item {item_id} in this dataset.")
