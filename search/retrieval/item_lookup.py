"""Items that are given by their ids: what is known of them, and how alike they are.

It is for whoever keeps ids, and not for searches: nothing is paged or folded here.
Ids are handed on in order, so that those asked for in one request lie close together;
how many that are, is decided by clickhouse.nodes alone.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any

import numpy as np
from django.db.models import QuerySet

from search.clickhouse import lookup
from search.errors import NotFound
from search.models import Removal
from search.removals.takedowns import MAX_AT_ONCE, digest, removals_for

from .dataset_index import DatasetIndex
from .items import to_item_fields


class ItemState(StrEnum):
    """How an item that was there once stands in its dataset now."""

    THERE = "there"
    GONE = "gone"  # its dataset was brought in without it, or is no more
    REMOVED = "removed"  # it must not be shown


def facts(slug: str, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """What is shown of items, by id; those unknown or removed are left out.

    Raises NotFound for an unknown dataset, SearchUnavailable.
    """
    found = lookup.facts(DatasetIndex.for_slug(slug).table, sorted(ids))
    return {item_id: to_item_fields(row) for item_id, row in found.items()}


def states(slug: str, urls: Mapping[int, str]) -> dict[int, ItemState]:
    """How each item, given with its address, stands. Raises SearchUnavailable.

    What a removal list names never comes in again: it counts as removed, though the
    engine does not know it.
    """
    deleted: dict[int, int] = {}
    listed = Removal.objects.filter(dataset=None)
    try:
        corpus = DatasetIndex.for_slug(slug)
        listed = removals_for(corpus.dataset)
        deleted = lookup.deleted(corpus.table, sorted(urls))
    except NotFound:
        deleted = {}  # the dataset or its table is no more: all of them are gone
    gone = {item_id: url for item_id, url in urls.items() if item_id not in deleted}
    removed = _listed_for_removal(listed, gone)
    removed |= {item_id for item_id, value in deleted.items() if value}
    return {
        item_id: ItemState.REMOVED
        if item_id in removed
        else (ItemState.THERE if item_id in deleted else ItemState.GONE)
        for item_id in urls
    }


def similarities(
    slug: str, vector: np.ndarray, ids: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """How like a unit vector the pictures of items are, compared one by one.

    Returns the ids (uint64) that are there, and their similarities (float32), in no
    order. Raises NotFound for an unknown dataset, SearchUnavailable.
    """
    corpus = DatasetIndex.for_slug(slug)
    found, distances = lookup.distances(corpus.table, "image", vector, sorted(ids))
    return found, corpus.similarities(distances)


def mean(slug: str, ids: Sequence[int]) -> np.ndarray | None:
    """The mean direction of the pictures of items: a unit vector, float32.

    None if none of them is there, or if they point everywhere alike. Raises NotFound
    for an unknown dataset, SearchUnavailable.
    """
    corpus = DatasetIndex.for_slug(slug)
    total = lookup.sum_of_directions(corpus.table, "image", sorted(ids))
    length = float(np.linalg.norm(total))
    return (total / length).astype(np.float32) if length > 1e-6 else None


def _listed_for_removal(listed: QuerySet[Removal], urls: Mapping[int, str]) -> set[int]:
    """Those items that removal lists name, by their ids or addresses."""
    ids = {digest(Removal.Kind.ITEM, str(item_id)): item_id for item_id in urls}
    addresses = {
        digest(Removal.Kind.URL, url): url for url in set(urls.values()) if url
    }
    kinds = (Removal.Kind.ITEM, Removal.Kind.URL)
    named: set[int] = set()
    wanted = iter([*ids, *addresses])
    while some := list(islice(wanted, MAX_AT_ONCE)):
        found = listed.filter(kind__in=kinds, digest__in=some)
        named |= set(found.values_list("digest", flat=True))
    hidden_urls = {url for key, url in addresses.items() if key in named}
    hidden = {item_id for key, item_id in ids.items() if key in named}
    return hidden | {item_id for item_id, url in urls.items() if url in hidden_urls}
