"""Items by chance: which ones, and which of them differ the most."""

from collections.abc import Mapping
from random import Random

import numpy as np
from django.db.models.functions import Coalesce

from search.clickhouse.schema import SHARD_BITS
from search.models import Dataset


def random_ids(dataset: Dataset, count: int, chance: Random) -> list[int]:
    """At most `count` different ids by the ledger; some may have no item any more."""
    visible = dataset.shards.filter(rows_visible__gt=0)
    # Some of a shard's rows may not have come in.
    shards = list(visible.values_list("number", Coalesce("rows", "rows_visible")))
    if not shards:
        return []
    picks = chance.choices(shards, [rows for _, rows in shards], k=count)
    ids = (number << SHARD_BITS | chance.randrange(rows) for number, rows in picks)
    return list(dict.fromkeys(ids))


def farthest_point_sample(vectors: Mapping[int, np.ndarray], count: int) -> list[int]:
    """Up to `count` of the ids, each as unlike those before it as there is.

    The first is the first of `vectors`; of the others, always the one whose nearest
    among those chosen is the furthest away (Gonzalez 1985).
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
