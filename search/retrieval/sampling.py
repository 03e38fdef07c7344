"""Random samples of a dataset, and diverse samples of items."""

from collections.abc import Mapping
from random import Random

import numpy as np
from django.db.models.functions import Coalesce

from search.clickhouse.schema import SHARD_BITS
from search.models import Dataset


def random_ids(dataset: Dataset, count: int, random: Random) -> list[int]:
    """Draw at most `count` different ids by the ledger; some may have no item."""
    visible = dataset.shards.filter(rows_visible__gt=0)
    # Ids count the rows of the source, of which some may have been rejected.
    shards = list(visible.values_list("number", Coalesce("rows", "rows_visible")))
    if not shards:
        return []
    picks = random.choices(shards, [rows for _, rows in shards], k=count)
    ids = (number << SHARD_BITS | random.randrange(rows) for number, rows in picks)
    return list(dict.fromkeys(ids))


def farthest_point_sample(vectors: Mapping[int, np.ndarray], count: int) -> list[int]:
    """Choose up to `count` of the ids that differ most (Gonzalez 1985).

    The first is the first of `vectors`; each next one is the id whose nearest chosen
    one is furthest away.
    """
    ids = list(vectors)
    if not ids:
        return []
    unit = np.stack([vectors[item_id] for item_id in ids])
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    chosen = [0]
    nearest = unit @ unit[0]
    while len(chosen) < min(count, len(ids)):
        nearest[chosen] = np.inf
        chosen.append(int(nearest.argmin()))
        np.maximum(nearest, unit @ unit[chosen[-1]], out=nearest)
    return [ids[place] for place in chosen]
