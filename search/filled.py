"""Which columns of a dataset hold anything: filters by the others are not offered."""

import logging

from .clickhouse.filters import Condition
from .clickhouse.gathering import share_passing
from .corpus import table_of
from .errors import SearchError
from .models import Dataset

FILLED = {
    "size": "width > 0",
    "similarity": "isFinite(caption_similarity)",
    "license": "license != ''",
    "site": "site != ''",
}

logger = logging.getLogger(__name__)


def filled(dataset: Dataset) -> dict[str, bool]:
    """By a sample that is kept for minutes; where the engine cannot tell, all are."""
    table = table_of(dataset)
    try:
        return {
            name: share_passing(table, Condition(sql)).share > 0
            for name, sql in FILLED.items()
        }
    except SearchError as error:
        logger.warning("Which columns has %s? %s", dataset.slug, error.message)
        return dict.fromkeys(FILLED, True)
