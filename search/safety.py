"""Whether a dataset says of its items how safe they are to be seen."""

import logging

from .cache import keep, kept
from .clickhouse import queries
from .errors import NotFound, SearchError
from .models import Dataset
from .service import table_of

KEPT_S = 300

logger = logging.getLogger(__name__)


def has_safety(dataset: Dataset) -> bool:
    """Whether any item is marked, safe or not: safe mode has nothing to go by without.

    Kept for KEPT_S, and False when the engine cannot tell: what is not known to be
    safe is to be veiled.
    """
    key = f"has-safety:{dataset.pk}"
    known = kept(key)
    if known is not None:
        return known
    try:
        known = queries.has_safety(table_of(dataset))
    except NotFound:
        return False  # nothing has come in yet
    except SearchError as error:
        logger.warning("Is %s marked for safety? %s", dataset.slug, error.message)
        return False
    keep(key, known, KEPT_S)
    return known
