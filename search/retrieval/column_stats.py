"""Whether a dataset says of its items how safe they are to be seen."""

import logging

from search.cache import get, set
from search.clickhouse import queries
from search.clickhouse.filters import Condition
from search.clickhouse.planner import estimate_selectivity
from search.errors import NotFound, SearchError
from search.models import Dataset

KEPT_S = 300

logger = logging.getLogger(__name__)


def has_safety(dataset: Dataset) -> bool:
    """Whether any item is marked, safe or not: safe mode has nothing to go by without.

    Kept for KEPT_S, and False when the engine cannot tell: what is not known to be
    safe is to be veiled.
    """
    key = f"has-safety:{dataset.pk}"
    known = get(key)
    if known is not None:
        return known
    try:
        known = queries.has_safety(dataset.item_table)
    except NotFound:
        return False  # nothing has come in yet
    except SearchError as error:
        logger.warning("Is %s marked for safety? %s", dataset.slug, error.message)
        return False
    set(key, known, KEPT_S)
    return known


FILLED_QUERY = {
    "size": "width > 0",
    "similarity": "isFinite(caption_similarity)",
    "license": "license != ''",
    "site": "site != ''",
}


def filled_columns(dataset: Dataset) -> dict[str, bool]:
    """By a sample that is kept for minutes; where the engine cannot tell, all are."""
    table = dataset.item_table
    try:
        return {
            name: estimate_selectivity(table, Condition(sql)).share > 0
            for name, sql in FILLED_QUERY.items()
        }
    except SearchError as error:
        logger.warning("Which columns has %s? %s", dataset.slug, error.message)
        return dict.fromkeys(FILLED_QUERY, True)
