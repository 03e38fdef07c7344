"""Keys of items, as scripts send them."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet

from search.errors import InvalidQuery
from search.models import Dataset
from search.query.filters import LAST_ITEM

from ..models import CollectionItem

MAX_AT_ONCE = 5_000
MAX_DATASETS = 100  # each needs a query of its own


class ItemKey(NamedTuple):
    """An item of a dataset."""

    dataset: str
    item: int


def read(text: str) -> list[ItemKey]:
    """Parse `[{"dataset": slug, "id": number}, …]`; the order stays.

    Raises InvalidQuery for anything else, for no item, and for too many.
    """
    try:
        keys = [_key(each) for each in json.loads(text)]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InvalidQuery("These are not item IDs.") from error
    if not keys:
        raise InvalidQuery("Choose an image first.")
    return check_keys(keys)


def check_keys(given: Iterable[ItemKey]) -> list[ItemKey]:
    """Return each key once, in the given order. Raises InvalidQuery for too many."""
    keys = list(dict.fromkeys(given))
    if len(keys) > MAX_AT_ONCE:
        raise InvalidQuery(
            f"Up to {MAX_AT_ONCE:,} images at a time; you selected {len(keys):,}."
        )
    if len({key.dataset for key in keys}) > MAX_DATASETS:
        raise InvalidQuery(f"Images from up to {MAX_DATASETS} datasets at a time.")
    return keys


def _key(given: dict[str, Any]) -> ItemKey:
    dataset, item = given["dataset"], int(given["id"])
    if not Dataset.is_valid_slug(dataset) or not 0 <= item <= LAST_ITEM:
        raise ValueError("no item")
    return ItemKey(dataset, item)


def by_dataset(keys: list[ItemKey]) -> dict[str, list[int]]:
    """Return the ids of items by dataset."""
    ids: dict[str, list[int]] = {}
    for dataset, item in keys:
        ids.setdefault(dataset, []).append(item)
    return ids


def rows_of(
    items: QuerySet[CollectionItem], keys: list[ItemKey]
) -> QuerySet[CollectionItem]:
    """Return the rows of these items."""
    wanted = Q(pk__in=[])
    for dataset, ids in by_dataset(keys).items():
        wanted |= Q(dataset=dataset, item__in=ids)
    return items.filter(wanted)
