"""Which columns of a dataset hold values: NSFW tags, sizes, licenses and others."""

import logging

from search import cache
from search.clickhouse import queries
from search.clickhouse.filters import Condition
from search.clickhouse.planner import estimate_selectivity
from search.errors import NotFound, SearchError
from search.models import Dataset
from search.query.filters import SPECS

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


def available_filters(dataset: Dataset | None) -> set[str]:
    """Return the names of the filters whose columns have values in this dataset.

    By a sample that is cached for minutes; where the engine cannot tell, all are.
    """
    tests = {spec.available_sql for spec in SPECS.values()} - {""}
    filled: set[str] = set()
    if dataset is not None:
        table = dataset.item_table
        try:
            filled = {
                test
                for test in tests
                if estimate_selectivity(table, Condition(test)).share > 0
            }
        except SearchError as error:
            logger.warning(
                "No column statistics of %s: %s", dataset.slug, error.message
            )
            filled = tests
    return {spec.name for spec in SPECS.values() if spec.available_sql in {"", *filled}}
