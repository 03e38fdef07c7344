"""Search: the one place where the encoder meets ClickHouse.

The first request of a search fetches the ids of its nearest items once; pages are cut
from that list, so that they neither repeat nor change while items arrive.
"""

import math
import random
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from . import pictures
from .clickhouse import queries
from .clickhouse.schema import SHARD_BITS, ItemTable
from .encoder import Encoder, encoder_for
from .errors import InvalidQuery, NotFound, SearchUnavailable
from .models import Dataset, Shard
from .query import LAST_ITEM, SearchQuery, Term
from .ranking import Ranking, keep, resume

LEAST_LENGTH = 1e-6  # of a query's sum: below it no direction is left
FIRST_DEPTH = 1_000  # results kept for paging at first; all of them when more are asked


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
class Page:
    """`next` is the cursor of the next page, empty at the end."""

    hits: tuple[Hit, ...]
    next: str
    exact: bool
    encode_ms: float
    search_ms: float
    embedding: np.ndarray


def find(query: SearchQuery) -> Page:
    """The page of results that a query asks for.

    Raises InvalidQuery, NotFound, or SearchUnavailable when the encoder or the engine
    does not answer.
    """
    corpus = Corpus.named(query.dataset)
    started = encoded = time.perf_counter()
    if query.cursor:
        ranking, start, token = resume(query.cursor, query.dataset)
    else:
        vector = corpus.vector_of(query)
        encoded = time.perf_counter()
        ranking, start, token = corpus.ranking_of(query, vector), 0, ""
    end = start + query.limit
    if end > len(ranking.ids) and ranking.may_go_on:
        corpus.deepen(ranking)
        token = ""
    hits = corpus.hits(ranking, start, end)
    more = end < len(ranking.ids) or ranking.may_go_on
    cursor = keep(ranking, end, token) if more else ""
    searched = time.perf_counter()
    return Page(
        hits=hits,
        next=cursor,
        exact=ranking.exact,
        encode_ms=(encoded - started) * 1000,
        search_ms=(searched - encoded) * 1000,
        embedding=ranking.vector,
    )


def embed(query: SearchQuery) -> np.ndarray:
    """The unit vector of a query, float32 of the dataset's dimension."""
    return Corpus.named(query.dataset).vector_of(query)


def item(slug: str, item_id: int) -> Item:
    """Raises NotFound for an unknown dataset or item."""
    row = queries.item(Corpus.named(slug).table, _checked_id(item_id))
    if row is None:
        raise _no_item(item_id)
    return Item(**_shown(row), similarity=None)


def random_hits(slug: str, count: int) -> tuple[Hit, ...]:
    """Some items by chance, for a page on which nothing is asked yet."""
    corpus = Corpus.named(slug)
    shards = [
        (shard.number, shard.rows)
        for shard in corpus.dataset.shards.filter(state=Shard.State.INGESTED)
        if shard.rows
    ]
    if not shards:
        return ()
    weights = [rows for _, rows in shards]
    # Twice as many as needed: an id whose row was rejected is not there.
    picks = random.choices(shards, weights, k=2 * count)
    ids = {number << SHARD_BITS | random.randrange(rows) for number, rows in picks}
    found = list(queries.facts(corpus.table, list(ids)).values())
    random.shuffle(found)
    return tuple(Hit(**_shown(row), similarity=None) for row in found[:count])


def datasets() -> list[Dataset]:
    """The datasets that have items."""
    ingested = Shard.objects.filter(state=Shard.State.INGESTED)
    return list(Dataset.objects.filter(pk__in=ingested.values("dataset")))


def warm_up() -> None:
    """Loads the models and the graphs before the first user waits for them."""
    for dataset in datasets():
        find(SearchQuery(dataset.slug, (Term(text="warm up"),), limit=1))


@dataclass(frozen=True)
class Corpus:
    """A dataset ready to be searched."""

    dataset: Dataset

    @classmethod
    def named(cls, slug: str) -> "Corpus":
        try:
            return cls(Dataset.objects.get(slug=slug))
        except Dataset.DoesNotExist:
            shown = slug[:40]
            raise NotFound(f"There is no dataset named “{shown}”.") from None

    @cached_property
    def table(self) -> ItemTable:
        return table_of(self.dataset)

    @property
    def encoder(self) -> Encoder:
        return encoder_for(self.dataset.model, self.dataset.weights)

    def vector_of(self, query: SearchQuery) -> np.ndarray:
        """The weighted sum of the terms' unit vectors, brought to unit length."""
        total = np.zeros(self.dataset.dimension, np.float32)
        for term in query.terms:
            total += term.weight * self._term_vector(term, query.field)
        length = float(np.linalg.norm(total))
        if length < LEAST_LENGTH:
            raise InvalidQuery(
                "The terms cancel each other out: nothing is left to search for."
            )
        return total / length

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
        vector = queries.embedding(self.table, field, _checked_id(item_id))
        if vector is None:
            raise _no_item(item_id)
        return vector / np.linalg.norm(vector)

    def _given_vector(self, embedding: tuple[float, ...] | None) -> np.ndarray:
        vector = np.asarray(embedding, np.float32)
        if vector.shape != (self.dataset.dimension,):
            raise InvalidQuery(
                f"The embedding has {vector.size} numbers; those of this dataset have "
                f"{self.dataset.dimension}."
            )
        length = float(np.linalg.norm(vector.astype(np.float64)))
        if not LEAST_LENGTH < length < math.inf:
            raise InvalidQuery(
                "The embedding has no direction: its length is zero or endless."
            )
        return (vector / length).astype(np.float32)

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
        ids = ranking.ids[start:end]
        found = queries.facts(self.table, ids) if ids else {}
        return tuple(
            Hit(**_shown(found[item_id]), similarity=similarity)
            for item_id, similarity in zip(
                ids, ranking.similarities[start:end], strict=True
            )
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


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    similarity = row["caption_similarity"]
    return {**row, "caption_similarity": None if math.isnan(similarity) else similarity}


def _checked_id(item_id: int) -> int:
    if not 0 <= item_id <= LAST_ITEM:
        raise _no_item(item_id)
    return item_id


def _no_item(item_id: int) -> NotFound:
    return NotFound(f"There is no item {item_id} in this dataset.")
