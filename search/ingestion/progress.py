"""How the import of a dataset stands, by the ledger alone: few queries, no engine."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from django.db.models import Count, QuerySet
from django.utils import timezone

from search import cache
from search.models import Dataset, Partition, Reject, Shard

State = Shard.State
MOVING = frozenset([State.QUEUED, State.INGESTING, State.ARRIVED, State.REMOVING])
SETTLED = frozenset([State.PENDING, State.INGESTED])
PACE_WINDOW_S = 60
MAX_REASONS = 12


@dataclass(frozen=True)
class ImportProgress:
    """The shards and partitions of a dataset as they were at one moment."""

    dataset: Dataset
    shards: list[Shard]
    partitions: list[Partition]

    @classmethod
    def of(
        cls, dataset: Dataset, shards: QuerySet[Shard] | None = None
    ) -> "ImportProgress":
        """Of some shards, or of all."""
        wanted = dataset.shards.all() if shards is None else shards
        partitions = list(dataset.partitions.order_by("number"))
        return cls(dataset, list(wanted.order_by("number")), partitions)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many shards are in each state, those without any among them."""
        counted = Counter(shard.state for shard in self.shards)
        return {state: counted[state] for state in State.values}

    @property
    def moving(self) -> bool:
        """Whether anything changes without somebody's doing."""
        return any(self.counts[state] for state in MOVING)

    @cached_property
    def rows_visible(self) -> int:
        return sum(shard.rows_visible for shard in self.shards)

    @cached_property
    def rows_done(self) -> int:
        """Rows of the source that have been gone through."""
        return sum(map(rows_done, self.shards))

    @cached_property
    def rows_expected(self) -> int | None:
        """Rows of the whole source; a shard not opened yet counts as the mean one."""
        known = [shard.rows for shard in self.shards if shard.rows is not None]
        if not known:
            return None
        unknown = len(self.shards) - len(known)
        return sum(known) + round(unknown * sum(known) / len(known))

    @property
    def rows_estimated(self) -> bool:
        return any(shard.rows is None for shard in self.shards)

    @property
    def rows_rejected(self) -> int:
        gone_through = (shard for shard in self.shards if shard.rows_done)
        return sum(max(0, shard.rows_done - shard.rows_kept) for shard in gone_through)

    @property
    def bytes_done(self) -> int:
        return sum(shard.bytes_done for shard in self.shards)

    @property
    def bytes_expected(self) -> int:
        """Of the shards whose length is known."""
        return sum(max(shard.bytes or 0, shard.bytes_done) for shard in self.shards)

    @property
    def rows_to_come(self) -> int | None:
        """Of the shards that are on their way."""
        if self.rows_expected is None:
            return None
        mean = self.rows_expected / len(self.shards)
        coming = (
            shard
            for shard in self.shards
            if shard.state in (State.QUEUED, State.INGESTING)
        )
        return round(
            sum(
                max(0, (mean if shard.rows is None else shard.rows) - shard.rows_done)
                for shard in coming
            )
        )

    def seconds_left(self, speed: float | None) -> float | None:
        """At so many rows a second; None when that cannot be said."""
        return self.rows_to_come / speed if self.rows_to_come and speed else None

    @cached_property
    def errors(self) -> list[tuple[str, list[int]]]:
        """Reasons, and the shards that each of them has stopped; the most first."""
        numbers = defaultdict(list)
        for shard in self.shards:
            if shard.error and shard.state not in SETTLED:
                numbers[shard.error].append(shard.number)
        return sorted(numbers.items(), key=lambda pair: -len(pair[1]))

    @property
    def publications(self) -> list[Partition]:
        """The partitions that are being published, and those that could not be."""
        now = timezone.now()
        return [
            partition
            for partition in self.partitions
            if partition.error or (partition.lease_until or now) > now
        ]


def rows_done(shard: Shard) -> int:
    """A shard that is in counts whole, even if a replacement of it was cancelled."""
    if shard.state == State.INGESTED and shard.rows is not None:
        return shard.rows
    return shard.rows_done


def pace(dataset: Dataset, rows: int) -> float | None:
    """Rows a second, over what was asked for within the last minute; None at first.

    `rows` are those done by now. What shards that begin anew take back does not count.
    """
    now, key = time.time(), f"pace:{dataset.pk}"
    asked = [
        (moment, count)
        for moment, count in cache.get(key) or []
        if 0 <= now - moment <= PACE_WINDOW_S
    ]
    asked.append((now, rows))
    cache.set(key, asked, PACE_WINDOW_S)
    spent = now - asked[0][0]
    if spent < 1:
        return None
    gains = (later - earlier for (_, earlier), (_, later) in pairwise(asked))
    return sum(gain for gain in gains if gain > 0) / spent


def reasons(dataset: Dataset) -> list[dict[str, Any]]:
    """The reasons for which the most rows did not come in, and how many did not."""
    rejected = Reject.objects.filter(shard__dataset=dataset).values("reason")
    counted = rejected.annotate(rows=Count("pk")).order_by("-rows", "reason")
    return [dict(row) for row in counted[:MAX_REASONS]]


def spans(numbers: Iterable[int]) -> str:
    """Numbers as parse_range reads them: 0-9, 12."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(
        str(first) if first == last else f"{first}-{last}" for first, last in runs
    )
