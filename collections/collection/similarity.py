"""A collection by the likeness of its pictures: to words, and to its own mean.

Members are compared one by one, so that the answer is exact. The order that comes of
it is kept for the pages to come, and made anew should it be lost.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from django.db.models import QuerySet
from django.urls import reverse

from search import cache
from search.errors import NotFound
from search.query.concepts import ResolvedConcept
from search.query.filters import MAX_EXCLUDED
from search.query.model import SearchQuery, Term
from search.retrieval import item_lookup, service

from ..models import Collection, CollectionItem
from ..pagination import Page, read_cursor, write_cursor

MAX_RANKED = 1_000  # members that are shown in such an order
KEPT_S = 1_800
SIMILARITY_ORDERS = ("likeness",)  # what this order goes by, in cursors

# (slug, ids) → the vector that these members are compared with; None for none.
Direction = Callable[[str, list[int]], np.ndarray | None]


def similar_to_words(
    collection: Collection,
    words: str,
    user: Any,
    limiter: service.Limiter,
    cursor: str,
    count: int,
) -> Page:
    """The members nearest to words, each row a (member, similarity).

    Raises InvalidQuery, SearchUnavailable.
    """

    def direction(slug: str, ids: list[int]) -> np.ndarray:
        query = SearchQuery(slug, (Term(text=words),))
        return service.embed(query, user, limiter).vector

    key = f"like:{hashlib.sha256(words.encode()).hexdigest()}"
    return _cut(collection, key, direction, cursor, count, nearest=True)


def least_similar(collection: Collection, cursor: str, count: int) -> Page:
    """The members that are least like the mean of those of their dataset."""
    return _cut(collection, "unlike", item_lookup.mean, cursor, count, nearest=False)


def mean(collection: Collection, slug: str) -> np.ndarray:
    """The mean direction of a collection's pictures from one dataset.

    Raises NotFound if there are none (any more), SearchUnavailable.
    """
    ids = collection.items.filter(dataset=slug).values_list("item", flat=True)
    found = item_lookup.mean(slug, list(ids)) if ids else None
    if found is None:
        raise NotFound("None of these pictures is in its dataset any more.")
    return found


def as_concept(collection: Collection, slug: str) -> ResolvedConcept:
    """A search by what a collection's pictures have in common, without them.

    As many as a query can exclude are left out: the nearest, which would come first.
    Raises NotFound, SearchUnavailable.
    """
    kept = f"{_kept_under(collection)}:mean:{slug}"
    found = cache.get(kept)
    if found is None:
        vector = mean(collection, slug)
        ids = collection.items.filter(dataset=slug).values_list("item", flat=True)
        there, likeness = item_lookup.similarities(slug, vector, list(ids))
        nearest = there[np.argsort(-likeness)][:MAX_EXCLUDED]
        found = (tuple(vector.tolist()), tuple(nearest.tolist()))
        cache.set(kept, found, KEPT_S)
    address = reverse("collection", args=[collection.pk])
    return ResolvedConcept(found[0], collection.name, address, exclude=found[1])


def _kept_under(collection: Collection) -> str:
    """Changes whenever members come or go."""
    return f"collected:{collection.pk}:{collection.changed_at.timestamp()}"


def _cut(
    collection: Collection,
    key: str,
    direction: Direction,
    cursor: str,
    count: int,
    *,
    nearest: bool,
) -> Page:
    start = read_cursor(cursor, SIMILARITY_ORDERS)[0] if cursor else 0
    kept = f"{_kept_under(collection)}:{key}"
    ranked = cache.get(kept)
    if ranked is None:
        ranked = _ranked(collection, direction, nearest)
        cache.set(kept, ranked, KEPT_S)
    pks, similarities = (column[start : start + count] for column in ranked)
    members = collection.items.in_bulk(pks.tolist())
    rows = [
        (members[pk], similarity)
        for pk, similarity in zip(pks.tolist(), similarities.tolist(), strict=True)
        if pk in members
    ]
    end = start + count
    further = write_cursor(SIMILARITY_ORDERS, end) if end < len(ranked[0]) else ""
    return Page(rows, start, further)


def _ranked(
    collection: Collection, direction: Direction, nearest: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Primary keys of members in their order, and their similarities."""
    pks, similarities = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for slug, (ids, own) in _columns(collection.items.all()).items():
        try:
            vector = direction(slug, ids.tolist())
            if vector is None:
                continue
            found, likeness = item_lookup.similarities(slug, vector, ids.tolist())
        except NotFound:
            continue  # the dataset is no more
        order = np.argsort(ids)
        pks.append(own[order][np.searchsorted(ids[order], found)])
        similarities.append(likeness)
    joined, likeness = np.concatenate(pks), np.concatenate(similarities)
    order = np.argsort(-likeness if nearest else likeness, kind="stable")[:MAX_RANKED]
    return joined[order], likeness[order]


def _columns(
    items: QuerySet[CollectionItem],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each dataset its items' ids (uint64) and the members' primary keys."""
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
