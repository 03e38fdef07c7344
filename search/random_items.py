"""Items by chance, without a question to the engine."""

from random import Random

from .clickhouse.schema import SHARD_BITS
from .models import Dataset


def random_ids(dataset: Dataset, count: int, chance: Random) -> list[int]:
    """At most `count` different ids by the ledger; some may have no item any more."""
    arrived = dataset.shards.filter(rows_done__gt=0)
    shards = list(arrived.values_list("number", "rows_done"))
    if not shards:
        return []
    picks = chance.choices(shards, [rows for _, rows in shards], k=count)
    ids = (number << SHARD_BITS | chance.randrange(rows) for number, rows in picks)
    return list(dict.fromkeys(ids))
