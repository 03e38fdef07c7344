"""The progress of imports, from the ledger only: few queries, no engine."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, pairwise
from typing import Any

from django.db.models import Count, QuerySet
from django.utils import timezone

from search import cache
from search.models import Dataset, Partition, Reject, Shard

from . import clusters

State = Shard.State
MOVING = frozenset([State.QUEUED, State.INGESTING, State.ARRIVED, State.REMOVING])
SETTLED = frozenset([State.PENDING, State.INGESTED])
PACE_WINDOW_S = 60
MAX_REASONS = 12
MAX_EXAMPLES = 4  # of each
MAX_RATINGS = 12


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
        """Return the progress of some shards, or of all."""
        wanted = dataset.shards.all() if shards is None else shards
        partitions = list(dataset.partitions.order_by("number"))
        return cls(dataset, list(wanted.order_by("number")), partitions)

    @cached_property
    def counts(self) -> dict[str, int]:
        """The number of shards in each state, zero included."""
        counted = Counter(shard.state for shard in self.shards)
        return {state: counted[state] for state in State.values}

    @property
    def moving(self) -> bool:
        """Return whether workers have something to do."""
        return any(self.counts[state] for state in MOVING)

    @cached_property
    def rows_visible(self) -> int:
        return sum(shard.rows_visible for shard in self.shards)

    @cached_property
    def rows_done(self) -> int:
        """The rows of the source that were read."""
        return sum(map(rows_done, self.shards))

    @cached_property
    def rows_expected(self) -> int | None:
        """The rows of the source; a shard not opened yet counts as the mean."""
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
        return sum(shard.rows_rejected for shard in self.shards if rows_done(shard))

    @property
    def rows_kept(self) -> int:
        """The rows done that became items."""
        return sum(shard.rows_kept for shard in self.shards if rows_done(shard))

    @property
    def rows_unaccounted(self) -> int:
        """The rows that are neither items nor rejects; any is an error."""
        return sum(shard.rows_unaccounted for shard in self.shards)

    @property
    def notes(self) -> list[tuple[str, int]]:
        """The sentences on how rows were read, each with their number; most first."""
        counted: Counter[str] = Counter()
        for shard in self.shards:
            counted.update(shard.notes)
        return counted.most_common()

    @cached_property
    def rows_unknown_rating(self) -> int:
        return sum(shard.rows_unknown_rating for shard in self.shards)

    @property
    def unknown_ratings(self) -> list[str]:
        """Some of the ratings that are not known."""
        values = chain.from_iterable(shard.unknown_ratings for shard in self.shards)
        return list(islice(dict.fromkeys(values), MAX_RATINGS))

    @property
    def bytes_done(self) -> int:
        return sum(shard.bytes_done for shard in self.shards)

    @property
    def bytes_expected(self) -> int:
        """The bytes of the shards whose size is known."""
        return sum(max(shard.bytes or 0, shard.bytes_done) for shard in self.shards)

    @property
    def rows_to_come(self) -> int | None:
        """The rows still to be read of queued and running shards."""
        if self.rows_expected is None:
            return None
        mean = self.rows_expected / len(self.shards)
        in_progress = (
            shard
            for shard in self.shards
            if shard.state in (State.QUEUED, State.INGESTING)
        )
        return round(
            sum(
                max(0, (mean if shard.rows is None else shard.rows) - shard.rows_done)
                for shard in in_progress
            )
        )

    def seconds_left(self, speed: float | None) -> float | None:
        """Return the time left at so many rows a second; None if it is unknown."""
        return self.rows_to_come / speed if self.rows_to_come and speed else None

    @cached_property
    def errors(self) -> list[tuple[str, list[int]]]:
        """The errors, and the numbers of the shards that each stopped; most first."""
        numbers = defaultdict(list)
        for shard in self.shards:
            if shard.error and shard.state not in SETTLED:
                numbers[shard.error].append(shard.number)
        return sorted(numbers.items(), key=lambda pair: -len(pair[1]))

    @property
    def publications(self) -> list[Partition]:
        """The partitions that are being published, and those that failed."""
        now = timezone.now()
        return [
            partition
            for partition in self.partitions
            if partition.error or (partition.lease_until or now) > now
        ]


def rows_done(shard: Shard) -> int:
    """Return the rows read of a shard: all once it is ingested.

    A cancelled replacement resets the shard's own counter.
    """
    if shard.state == State.INGESTED and shard.rows is not None:
        return shard.rows
    return shard.rows_done


def pace(dataset: Dataset, rows: int) -> float | None:
    """Return rows a second, over the calls within the last minute; None at first.

    `rows` are those done by now; what shards that start over take back is ignored.
    """
    now, key = time.time(), f"pace:{dataset.pk}"
    samples = [
        (moment, count)
        for moment, count in cache.get(key) or []
        if 0 <= now - moment <= PACE_WINDOW_S
    ]
    samples.append((now, rows))
    cache.set(key, samples, PACE_WINDOW_S)
    seconds = now - samples[0][0]
    if seconds < 1:
        return None
    gains = (later - earlier for (_, earlier), (_, later) in pairwise(samples))
    return sum(gain for gain in gains if gain > 0) / seconds


def reasons(dataset: Dataset) -> list[dict[str, Any]]:
    """Return the most frequent reasons of rejected rows: counts, and some examples."""
    rejected = Reject.objects.filter(shard__dataset=dataset)
    counts = rejected.values("reason").annotate(rows=Count("pk"))
    return [
        row | {"examples": list(rejected.filter(reason=row["reason"])[:MAX_EXAMPLES])}
        for row in counts.order_by("-rows", "reason")[:MAX_REASONS]
    ]


def spans(numbers: Iterable[int]) -> str:
    """Format numbers as parse_range reads them: 0-9, 12."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(
        str(first) if first == last else f"{first}-{last}" for first, last in runs
    )


def index_work(dataset: Dataset) -> str:
    """Return in a sentence how the index is being renewed, or why it should be."""
    left = dataset.partitions.filter(reindex=True).count()
    if left:
        total = dataset.partitions.count()
        return (
            f"The index is being renewed beside searches: {total - left:,} of "
            f"{total:,} partitions are done."
        )
    if not dataset.words_indexed:
        return "Words in captions are indexed as by an earlier version."
    if clusters.is_outgrown(dataset):
        return (
            "The dataset has outgrown its clusters: searches read more rows than they "
            "have to."
        )
    return ""
