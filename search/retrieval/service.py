"""Search: the one entrance, where the encoder meets ClickHouse.

Every search of a page, the API, an export, a command or a worker is one of `search`,
`rank`, `embed` and `explain`. Each counts the images of a query, resolves its concepts,
encodes its terms and, except `embed`, queries the engine.

The first request of a search fetches the ids of its nearest items once; pages are cut
from that list, so that they neither repeat nor change while items arrive.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from django.conf import settings

from search import deadlines
from search.clickhouse import lookup, queries
from search.errors import InvalidQuery, SearchError
from search.links import spellings
from search.models import SYSTEM, Dataset, Shard, Viewer
from search.observability import metrics
from search.query import concepts, ratings
from search.query.filters import MAX_EXCLUDED
from search.query.model import MAX_RESULTS, SearchQuery, Term

from . import explanation, merging
from .column_stats import without_veils
from .dataset_index import DatasetIndex
from .items import (
    Hit,
    Item,
    TruncatedText,
    check_item_id,
    item_not_found,
)
from .matching import (
    DatasetMatching,
    Matching,
    in_dataset,
    matching_of,
    total,
)
from .query_encoder import VECTOR_FIELDS, EncodedQuery, check_field
from .ranking import Hidden, Ranking, load, store
from .sampling import farthest_point_sample, random_ids

RANDOM_OVERSAMPLING = 4  # candidates for each random hit that is shown

# Counts one unit of a scope of settings.LIMITS; raises TooManyRequests.
Limiter = Callable[[str], None]

Rest = ParamSpec("Rest")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def unlimited(scope: str) -> None:
    """Count nothing: the limiter of commands and workers."""


def _in_time(
    search: Callable[Concatenate[SearchQuery, Any, Limiter, Rest], Result],
) -> Callable[Concatenate[SearchQuery, Any, Limiter, Rest], Result]:
    """Give all steps of a search one deadline, except for commands and workers."""

    @wraps(search)
    def within_deadline(
        query: SearchQuery,
        user: Any,
        limiter: Limiter,
        /,
        *args: Rest.args,
        **options: Rest.kwargs,
    ) -> Result:
        if limiter is unlimited:
            return search(query, user, limiter, *args, **options)
        with deadlines.within(settings.SEARCH_TIMEOUT_S):
            return search(query, user, limiter, *args, **options)

    return within_deadline


@dataclass(frozen=True)
class Page:
    """A page of results."""

    hits: tuple[Hit, ...]
    next: str  # the cursor of the next page, "" at the end
    exact: bool
    hidden: Hidden
    matching: Matching | None
    datasets: tuple[DatasetMatching, ...]  # of a search of several
    encode_ms: float
    search_ms: float
    field: str  # that was searched
    embedding: np.ndarray
    # On the first page: texts of which the model does not read the end.
    truncated: tuple[TruncatedText, ...]


@_in_time
def search(
    query: SearchQuery, user: Any, limiter: Limiter, *, veils: bool = False
) -> Page:
    """Return the page of results that a query asks for, as this user sees its concepts.

    Of several datasets, the results are merged.

    A caller that `veils` blurs items that are not rated; others do not get them in safe
    mode (column_stats.without_veils). Raises TooManyRequests, InvalidQuery, NotFound,
    CannotFetch, or SearchUnavailable when the encoder or the engine does not answer.
    """
    return _find(_parts(query, user, limiter, veils), query)


def check_together(query: SearchQuery, user: Viewer) -> None:
    """Raise NotFound or InvalidQuery if the datasets of a query cannot be searched."""
    datasets = [Dataset.for_slug(slug, user) for slug in query.datasets]
    merging.check_together(query, datasets)


@dataclass(frozen=True)
class _Part:
    """The search of one of a query's datasets, with its concepts resolved."""

    index: DatasetIndex
    query: SearchQuery


def _parts(query: SearchQuery, user: Any, limiter: Limiter, veils: bool) -> list[_Part]:
    """Return the search of each dataset; count each image of the query."""
    query = _admit(query, user, limiter)
    indexes = [DatasetIndex.for_slug(slug, user) for slug in query.datasets]
    merging.check_together(query, [index.dataset for index in indexes])
    queries = [replace(query, dataset=index.dataset.slug) for index in indexes]
    return [
        _Part(index, own if veils else _without_veils(index, own))
        for index, own in zip(indexes, queries, strict=True)
    ]


def _encoded(parts: Sequence[_Part]) -> EncodedQuery:
    """Encode the terms, which are the same for all of the datasets."""
    first, *others = parts
    for other in others:
        check_field(other.index.dataset, other.query.field)
    return first.index.encoder.encode(first.query)


def _admit(query: SearchQuery, user: Any, limiter: Limiter) -> SearchQuery:
    """Count each image of the query; return the query with its concepts resolved."""
    if not query.cursor:  # its ranking is in the cache: nothing is fetched or encoded
        for term in query.terms:
            if term.image_source is not None:
                limiter("image")
    return _resolve(query, user)


def _without_veils(index: DatasetIndex, query: SearchQuery) -> SearchQuery:
    return replace(query, filters=without_veils(index.dataset, query.filters))


def _resolve(query: SearchQuery, user: Any) -> SearchQuery:
    """Replace each concept by its embedding, and exclude the ids that it excludes."""
    terms, exclude = [], dict.fromkeys(query.filters.exclude)
    for term in query.terms:
        if term.concept is not None:
            found = concepts.find(term.concept, user, query.dataset)
            term = Term(embedding=found.embedding, weight=term.weight)
            exclude |= dict.fromkeys(found.exclude)
        terms.append(term)
    filters = query.filters.replace(exclude=tuple(exclude)[:MAX_EXCLUDED])
    return replace(query, terms=tuple(terms), filters=filters)


def _find(parts: Sequence[_Part], query: SearchQuery) -> Page:
    started = encoded = time.perf_counter()
    truncated: tuple[TruncatedText, ...] = ()
    indexes = [part.index for part in parts]
    if query.cursor:
        rankings, starts, token = load(query.cursor, query.datasets)
    else:
        terms = _encoded(parts)
        truncated, encoded = terms.truncated, time.perf_counter()
        rankings, starts, token = _rankings(parts, terms), [0] * len(parts), ""
    depths = [ranking.depth for ranking in rankings]
    if not query.cursor:
        for index, ranking in zip(indexes, rankings, strict=True):
            merging.fill_first(index, ranking, query)
    hits, ends, is_last = merging.next_hits(indexes, rankings, starts, query.limit)
    # Another page may add other candidates: a deeper search is cached by itself.
    is_same = depths == [ranking.depth for ranking in rankings]
    cursor = store(rankings, ends, token if is_same else "", replaces=token)
    searched = time.perf_counter()
    metrics.ENCODE_SECONDS.observe(encoded - started)
    metrics.SEARCH_SECONDS.observe(searched - encoded)
    matching = list(map(matching_of, indexes, rankings))
    return Page(
        hits=hits,
        next=cursor,
        exact=all(ranking.exact for ranking in rankings),
        hidden=merging.hidden_until(rankings, ends, is_last=is_last),
        matching=total(matching),
        datasets=tuple(map(in_dataset, indexes, matching)) if len(parts) > 1 else (),
        encode_ms=(encoded - started) * 1000,
        search_ms=(searched - encoded) * 1000,
        field=rankings[0].field,
        embedding=next(iter(rankings[0].vectors.values())),
        truncated=truncated,
    )


def _rankings(parts: Sequence[_Part], terms: EncodedQuery) -> list[Ranking]:
    vectors = terms.vectors
    return [part.index.ranking_of(part.query, vectors) for part in parts]


@_in_time
def similarities(
    query: SearchQuery, user: Any, limiter: Limiter, *, veils: bool = False
) -> np.ndarray:
    """Return the similarities of the nearest visible items, highest first: float32.

    They are those of a search without its cutoff. Raises what `search` raises.
    """
    filters = query.filters.replace(cutoff=None)
    query = replace(query, cursor="", filters=filters)
    parts = _parts(query, user, limiter, veils)
    rankings = _rankings(parts, _encoded(parts))
    found = [
        part.index.similarities_found(ranking)
        for part, ranking in zip(parts, rankings, strict=True)
    ]
    return -np.sort(-np.concatenate(found)) if len(found) > 1 else found[0]


@dataclass(frozen=True)
class RankedIds:
    """The results of a search, without their fields."""

    datasets: tuple[str, ...]  # slugs, as many as ids
    ids: np.ndarray  # uint64
    similarities: np.ndarray  # float32
    exact: bool
    hidden: Hidden


@_in_time
def rank(query: SearchQuery, user: Any, limiter: Limiter, count: int) -> RankedIds:
    """Return the ids of the first `count` results, 1 to MAX_RESULTS, at once.

    In safe mode without items that are not rated, as `search` has it. Ignores `limit`
    and `cursor` of the query. Items that are removed later are missing when they are
    looked up. Raises what `search` raises.
    """
    if not 1 <= count <= MAX_RESULTS:
        raise InvalidQuery(f"A search has 1 to {MAX_RESULTS:,} results.")
    parts = _parts(replace(query, cursor=""), user, limiter, veils=False)
    started = time.perf_counter()
    terms = _encoded(parts)
    encoded = time.perf_counter()
    rankings = _rankings(parts, terms)
    for part, ranking in zip(parts, rankings, strict=True):
        part.index.fill(ranking, 0, count)
        if query.sort != "similarity":
            part.index.sort(ranking, query.sort)
    places, ends = merging.next_places(rankings, [0] * len(parts), count)
    rows = [(rankings[n], rankings[n].rows(place, 1)[0]) for n, place in places]
    metrics.ENCODE_SECONDS.observe(encoded - started)
    metrics.SEARCH_SECONDS.observe(time.perf_counter() - encoded)
    return RankedIds(
        datasets=tuple(ranking.dataset for ranking, _ in rows),
        ids=np.array([ranking.ids[row] for ranking, row in rows], np.uint64),
        similarities=np.array(
            [ranking.similarities[row] for ranking, row in rows], np.float32
        ),
        exact=all(ranking.exact for ranking in rankings),
        hidden=merging.hidden_until(rankings, ends, is_last=len(places) < count),
    )


@dataclass(frozen=True)
class EmbeddedQuery:
    """A query as one vector, and the ids that a search for its terms leaves out."""

    vector: np.ndarray  # of unit length, float32 of the dataset's dimension
    excluded: tuple[int, ...]  # by its filters, by its concepts, and items among them
    truncated: tuple[TruncatedText, ...] = ()


@_in_time
def embed(query: SearchQuery, user: Any, limiter: Limiter) -> EmbeddedQuery:
    """Return the vector of a query of one dataset; of "both", that for images.

    Raises what `search` raises.
    """
    query = _admit(query, user, limiter)
    terms = DatasetIndex.for_slug(query.dataset, user).encoder.encode(query)
    items = [term.item for term in query.terms if term.item is not None]
    excluded = dict.fromkeys([*query.filters.exclude, *items])
    vector = next(iter(terms.vectors.values()))
    return EmbeddedQuery(vector, tuple(excluded), terms.truncated)


@_in_time
def explain(
    query: SearchQuery, user: Any, limiter: Limiter, item_id: int
) -> tuple[explanation.Explanation, ...]:
    """Return what each term adds to an item's similarity, by field, the best first.

    Raises what `search` raises, and NotFound without such an item.
    """
    labels = explanation.labels(query, user)
    query = _admit(replace(query, cursor=""), user, limiter)
    encoder = DatasetIndex.for_slug(query.dataset, user).encoder
    return explanation.explain(encoder, query, labels, check_item_id(item_id))


def embeddings(
    slug: str, field: str, ids: Sequence[int], user: Viewer
) -> dict[int, np.ndarray]:
    """Return the stored vectors of items by id, float32; of "both", of the images."""
    column = "text" if field == "text" else "image"
    return lookup.embeddings(DatasetIndex.for_slug(slug, user).table, column, list(ids))


def item(slug: str, item_id: int, user: Viewer) -> Item:
    """Return an item. Raises NotFound for an unknown dataset or item."""
    index = DatasetIndex.for_slug(slug, user)
    row = lookup.item(index.table, check_item_id(item_id))
    if row is None:
        raise item_not_found(item_id)
    return Item(**index.fields(row), similarity=None)


def hits_by_id(slug: str, ids: Iterable[int], user: Viewer) -> dict[int, Hit]:
    """Return items by id, without a similarity; unknown ones are left out."""
    index = DatasetIndex.for_slug(slug, user)
    rows = lookup.items(index.table, list(ids))
    return {
        item_id: Hit(**index.fields(row), similarity=None)
        for item_id, row in rows.items()
    }


def item_id_by_url(slug: str, url: str, user: Viewer) -> int | None:
    """Return the id of the visible item with this image URL, or None.

    The URL may be that of the dataset or the link made of it.
    """
    return lookup.id_by_url(DatasetIndex.for_slug(slug, user).table, spellings(url))


def neighbours(slug: str, item_id: int, count: int, user: Viewer) -> tuple[Hit, ...]:
    """Return the nearest items of an item, without itself."""
    return DatasetIndex.for_slug(slug, user).neighbours(check_item_id(item_id), count)


def random_hits(slug: str, count: int, user: Viewer) -> tuple[Hit, ...]:
    """Return random items that differ, for the page before a search.

    They are rated safe, or not rated where no item drawn is.
    """
    index = DatasetIndex.for_slug(slug, user)
    # More than needed: to choose from, and since some are missing or not safe.
    ids = random_ids(index.dataset, RANDOM_OVERSAMPLING * count, random.Random())
    rows = lookup.items(index.table, ids)
    rating_of = index.dataset.rating_of
    rated = {i: ratings.rating_of(rating_of(rows[i]["nsfw"])) for i in ids if i in rows}
    shown = [i for i, rating in rated.items() if rating == ratings.SAFE]
    shown = shown or [i for i, rating in rated.items() if rating == ratings.UNRATED]
    vectors = lookup.embeddings(index.table, "image", shown)
    chosen = farthest_point_sample(
        {i: vectors[i] for i in shown if i in vectors}, count
    )
    random.shuffle(chosen)
    return tuple(Hit(**index.fields(rows[i]), similarity=None) for i in chosen)


def datasets(user: Viewer) -> list[Dataset]:
    """Return the datasets with items that the user may see."""
    filled = Shard.objects.filter(rows_visible__gt=0).values("dataset")
    return list(Dataset.objects.visible_to(user).filter(pk__in=filled))


def index_state(dataset: Dataset) -> dict[str, Any]:
    """Return parts, rows and bytes of a dataset's table, and parts without an index."""
    return queries.index_state(dataset.item_table)


def warm_up() -> None:
    """Load models and vector indexes, so that no first user waits for them."""
    for dataset in datasets(SYSTEM):
        if not dataset.words_indexed:
            logger.warning(
                "%s: words in captions are searched as by an earlier version; "
                "`manage.py dataset reindex %s` indexes them anew.",
                *(dataset, dataset.slug),
            )
        anything = Term(embedding=(1.0,) * dataset.dimension)
        available = dataset.search_fields
        for field, term in [
            *((field, anything) for field in VECTOR_FIELDS if field in available),
            ("image", Term(text="warm up")),
        ]:
            try:
                query = SearchQuery(dataset.slug, (term,), field=field, limit=1)
                _find([_Part(DatasetIndex(dataset), query)], query)
            except SearchError as error:
                logger.warning("%s: %s", dataset, error.message)
