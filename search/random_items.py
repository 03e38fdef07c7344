"""Items by chance, without a question to the engine."""

from random import Random

from django.db.models.functions import Coalesce

from .clickhouse.schema import SHARD_BITS
from .models import Dataset


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
