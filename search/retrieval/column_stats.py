"""Which columns of a dataset hold values: ratings, sizes, licenses and others."""

import logging

from search import cache
from search.clickhouse import queries
from search.clickhouse.filters import Condition
from search.clickhouse.planner import estimate_selectivity
from search.errors import NotFound, SearchError
from search.models import Dataset
from search.query.filters import RATED, SAFE, SPECS, Filters

CACHE_S = 300

logger = logging.getLogger(__name__)


def has_ratings(dataset: Dataset) -> bool:
    """Return whether any item came with a rating, known or not, or the dataset did.

    Cached for CACHE_S. True while the engine is down, since less is shown then.
    """
    if dataset.safety != Dataset.Safety.LABELLED:
        return True
    key = f"has-ratings:{dataset.pk}"
    known = cache.get(key)
    if known is not None:
        return known
    try:
        known = queries.has_ratings(dataset.item_table)
    except NotFound:
        return False  # nothing was imported yet
    except SearchError as error:
        logger.warning("No ratings of %s: %s", dataset.slug, error.message)
        return True
    known = known or dataset.shards.filter(rows_unknown_rating__gt=0).exists()
    cache.set(key, known, CACHE_S)
    return known


def without_veils(dataset: Dataset, filters: Filters) -> Filters:
    """Return the filters of an answer that leaves the dataset's page.

    Programs and files blur nothing, so in safe mode they get only what is rated safe.
    Items of a dataset without any ratings are found all the same; each says that it is
    not known to be safe.
    """
    if filters.nsfw == SAFE and has_ratings(dataset):
        return filters.replace(nsfw=RATED)
    return filters


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
