"""Order the items of a collection by similarity: to words, or to their mean.

Every item is compared, so the order is exact. It is cached for the pages to come.
"""

import hashlib
from collections.abc import Callable

import numpy as np
from django.db.models import QuerySet

from search import cache
from search.errors import NotFound
from search.models import Dataset
from search.query.concepts import ResolvedConcept
from search.query.filters import MAX_EXCLUDED
from search.query.model import SearchQuery, Term
from search.retrieval import item_lookup, service

from ..models import Collection, CollectionItem
from ..models.ownership import AnyUser
from ..pagination import Page, read_cursor, write_cursor

MAX_RANKED = 1_000  # items of an order that pages show
CACHE_S = 1_800
CURSOR_KEYS = ("likeness",)

# (slug, ids) → the vector to compare these items with; None: there is none.
Direction = Callable[[str, list[int]], np.ndarray | None]


def similar_to_words(
    collection: Collection,
    words: str,
    user: AnyUser,
    limiter: service.Limiter,
    cursor: str,
    count: int,
) -> Page:
    """Return a page of the items nearest to words, as (item, similarity).

    Raises InvalidQuery, SearchUnavailable.
    """

    def direction(slug: str, ids: list[int]) -> np.ndarray:
        query = SearchQuery(slug, (Term(text=words),))
        return service.embed(query, user, limiter).vector

    key = f"like:{hashlib.sha256(words.encode()).hexdigest()}"
    return _page(collection, user, key, direction, cursor, count, nearest=True)


def least_similar(
    collection: Collection, user: AnyUser, cursor: str, count: int
) -> Page:
    """Return a page of the items least similar to the mean of their dataset's items.

    Raises InvalidQuery, SearchUnavailable.
    """

    def direction(slug: str, ids: list[int]) -> np.ndarray | None:
        return item_lookup.mean(slug, ids, user)

    return _page(collection, user, "unlike", direction, cursor, count, nearest=False)


def mean(collection: Collection, slug: str, user: AnyUser) -> np.ndarray:
    """Return the mean direction of the items from one dataset.

    Raises NotFound if there are none (any more), SearchUnavailable.
    """
    ids = collection.items.filter(dataset=slug).values_list("item", flat=True)
    found = item_lookup.mean(slug, list(ids), user) if ids else None
    if found is None:
        raise NotFound("None of these images is in its dataset any more.")
    return found


def as_concept(collection: Collection, slug: str, user: AnyUser) -> ResolvedConcept:
    """Return a search term for what the items have in common, without the items.

    The user may see the dataset, so that the cache holds nothing of another one.

    A query can exclude MAX_EXCLUDED items: the nearest ones, which would come first.
    Raises NotFound, SearchUnavailable.
    """
    key = f"{_cache_key(collection)}:mean:{slug}"
    found = cache.get(key)
    if found is None:
        vector = mean(collection, slug, user)
        ids = collection.items.filter(dataset=slug).values_list("item", flat=True)
        there, similarities = item_lookup.similarities(slug, vector, list(ids), user)
        nearest = there[np.argsort(-similarities)][:MAX_EXCLUDED]
        found = (tuple(vector.tolist()), tuple(nearest.tolist()))
        cache.set(key, found, CACHE_S)
    vector, exclude = found
    address = collection.get_absolute_url()
    return ResolvedConcept(vector, collection.name, address, exclude=exclude)


def _cache_key(collection: Collection) -> str:
    """Return a key that changes whenever items are added or removed."""
    return f"collected:{collection.pk}:{collection.changed_at.timestamp()}"


def _page(
    collection: Collection,
    user: AnyUser,
    name: str,
    direction: Direction,
    cursor: str,
    count: int,
    *,
    nearest: bool,
) -> Page:
    start = read_cursor(cursor, CURSOR_KEYS)[0] if cursor else 0
    hidden = Dataset.objects.hidden_from(user).values_list("slug", flat=True)
    key = f"{_cache_key(collection)}:{name}:{','.join(sorted(hidden))}"
    ranked = cache.get(key)
    if ranked is None:
        ranked = _rank(collection, user, direction, nearest)
        cache.set(key, ranked, CACHE_S)
    pks, similarities = (column[start : start + count] for column in ranked)
    members = collection.items.visible_to(user).in_bulk(pks.tolist())
    rows = [
        (members[pk], similarity)
        for pk, similarity in zip(pks.tolist(), similarities.tolist(), strict=True)
        if pk in members
    ]
    end = start + count
    following = write_cursor(CURSOR_KEYS, end) if end < len(ranked[0]) else ""
    return Page(rows, start, following)


def _rank(
    collection: Collection, user: AnyUser, direction: Direction, nearest: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted primary keys of items, and their similarities."""
    all_pks = [np.empty(0, np.int64)]
    all_similarities = [np.empty(0, np.float32)]
    items = collection.items.visible_to(user)
    for slug, (ids, pks) in _ids_by_dataset(items).items():
        try:
            vector = direction(slug, ids.tolist())
            if vector is None:
                continue
            found, similarities = item_lookup.similarities(
                slug, vector, ids.tolist(), user
            )
        except NotFound:
            continue  # the dataset was deleted
        order = np.argsort(ids)
        all_pks.append(pks[order][np.searchsorted(ids[order], found)])
        all_similarities.append(similarities)
    joined, similarities = np.concatenate(all_pks), np.concatenate(all_similarities)
    order = np.argsort(-similarities if nearest else similarities, kind="stable")
    order = order[:MAX_RANKED]
    return joined[order], similarities[order]


def _ids_by_dataset(
    items: QuerySet[CollectionItem],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return ids (uint64) and primary keys of items, by dataset."""
    rows: dict[str, list[tuple[int, int]]] = {}
    for dataset, item, pk in items.values_list("dataset", "item", "pk"):
        rows.setdefault(dataset, []).append((item, pk))
    return {
        dataset: (
            np.array([item for item, _ in pairs], np.uint64),
            np.array([pk for _, pk in pairs], np.int64),
        )
        for dataset, pairs in rows.items()
    }
