"""Look up items by id: facts, state, similarity, mean embedding.

For callers that have ids, such as collections: nothing is paged or folded here. Ids are
sorted, so that those of one statement lie close together on disk; clickhouse.cluster
decides how many go into one.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any

import numpy as np
from django.db.models import QuerySet

from search.clickhouse import lookup
from search.errors import NotFound
from search.models import SYSTEM, Removal, Viewer
from search.removals.takedowns import MAX_AT_ONCE, digest, removals_for

from .dataset_index import DatasetIndex


class ItemState(StrEnum):
    """The state of an item that was once in a dataset."""

    THERE = "there"
    GONE = "gone"  # the dataset was imported again without it, or was deleted
    REMOVED = "removed"  # it must not be shown


def facts(slug: str, ids: Sequence[int], user: Viewer) -> dict[int, dict[str, Any]]:
    """Return the fields of items by id, without those unknown or removed.

    `nsfw` is the item's own value, for copies that outlive a change of the dataset's.

    Raises NotFound for an unknown dataset, SearchUnavailable.
    """
    index = DatasetIndex.for_slug(slug, user)
    found = lookup.items(index.table, sorted(ids))
    return {
        item_id: {**index.fields(row), "nsfw": row["nsfw"]}
        for item_id, row in found.items()
    }


def states(slug: str, urls: Mapping[int, str]) -> dict[int, ItemState]:
    """Return the state of each item, given with its URL. Raises SearchUnavailable.

    Callers leave out the items of datasets that the user may not see.

    An item on a removal list is never imported again: it is REMOVED, even if the
    engine does not know it.
    """
    deleted: dict[int, int] = {}
    listed = Removal.objects.filter(dataset=None)
    try:
        index = DatasetIndex.for_slug(slug, SYSTEM)
        listed = removals_for(index.dataset)
        deleted = lookup.deletion_flags(index.table, sorted(urls))
    except NotFound:
        deleted = {}  # the dataset or its table was deleted
    missing = {key: url for key, url in urls.items() if key not in deleted}
    removed = _listed_for_removal(listed, missing)
    removed |= {item_id for item_id, value in deleted.items() if value}
    return {
        item_id: ItemState.REMOVED
        if item_id in removed
        else (ItemState.THERE if item_id in deleted else ItemState.GONE)
        for item_id in urls
    }


def similarities(
    slug: str, vector: np.ndarray, ids: Sequence[int], user: Viewer
) -> tuple[np.ndarray, np.ndarray]:
    """Compare the images of items with a unit vector, one by one.

    Returns the ids (uint64) that are there, and their similarities (float32), in any
    order. Raises NotFound for an unknown dataset, SearchUnavailable.
    """
    index = DatasetIndex.for_slug(slug, user)
    found, distances = lookup.distances(index.table, "image", vector, sorted(ids))
    return found, index.similarities(distances)


def mean(slug: str, ids: Sequence[int], user: Viewer) -> np.ndarray | None:
    """Return the mean direction of the images of items: a unit vector, float32.

    None if none of them is there, or if they cancel out. Raises NotFound for an unknown
    dataset, SearchUnavailable.
    """
    index = DatasetIndex.for_slug(slug, user)
    total = lookup.sum_of_unit_vectors(index.table, "image", sorted(ids))
    length = float(np.linalg.norm(total))
    return (total / length).astype(np.float32) if length > 1e-6 else None


def _listed_for_removal(listed: QuerySet[Removal], urls: Mapping[int, str]) -> set[int]:
    """Return the items that removal lists name by their ids or URLs."""
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
