"""Which columns of a dataset hold values: NSFW tags, sizes, licenses and others."""

import logging

from search import cache
from search.clickhouse import queries
from search.clickhouse.filters import Condition
from search.clickhouse.planner import estimate_selectivity
from search.errors import NotFound, SearchError
from search.models import Dataset

CACHE_S = 300

logger = logging.getLogger(__name__)


def has_safety(dataset: Dataset) -> bool:
    """Return whether any item has an NSFW tag, which safe mode needs.

    Cached for CACHE_S. False while the engine is down: images that are not known to be
    safe are blurred.
    """
    key = f"has-safety:{dataset.pk}"
    known = cache.get(key)
    if known is not None:
        return known
    try:
        known = queries.has_safety(dataset.item_table)
    except NotFound:
        return False  # nothing was imported yet
    except SearchError as error:
        logger.warning("No NSFW tags of %s: %s", dataset.slug, error.message)
        return False
    cache.set(key, known, CACHE_S)
    return known


FILLED_CONDITIONS = {
    "size": "width > 0",
    "similarity": "isFinite(caption_similarity)",
    "license": "license != ''",
    "site": "site != ''",
}


def filled_columns(dataset: Dataset) -> dict[str, bool]:
    """Return by a cached sample which columns hold values; all if it is unavailable."""
    table = dataset.item_table
    try:
        return {
            name: estimate_selectivity(table, Condition(sql)).share > 0
            for name, sql in FILLED_CONDITIONS.items()
        }
    except SearchError as error:
        logger.warning("No column statistics of %s: %s", dataset.slug, error.message)
        return dict.fromkeys(FILLED_CONDITIONS, True)
