"""A dataset that grows shard by shard through the product's own import, and its costs.

What is done is written down in the folder, so that a run that was stopped continues
where it was: the ledger knows which shards and partitions are left.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from costs import Watch, timed

from search.evaluation import calibration
from search.ingestion import clusters, control, publishing, shard_run, sweeper
from search.models import Dataset, Shard

from .shards import Shards
from .truth import Truth

SLUG = "scale"
SHARDS_PER_PARTITION = 8
MAX_TRIES, PAUSE_S = 300, 1  # a lease may last a minute
State = Shard.State


@dataclass(frozen=True)
class Cost:
    """The cost of one step: "insert", "train", "publish" without that, "calibrate"."""

    step: str
    number: int
    rows: int
    cpu_s: float
    wall_s: float
    peak_mb: float


class Growth:
    def __init__(self, shards: Shards, questions: np.ndarray, folder: Path):
        self.shards, self.folder = shards, folder
        self.costs_file = folder / "costs.jsonl"
        self.truth_file = folder / "truth.npz"
        sweeper.recover_alone()  # a run that was killed left leases
        self.training_s = timed(clusters, "_train")
        self.truth, self.compared = self._known_truth(questions)
        self.dataset, _ = Dataset.objects.get_or_create(
            slug=SLUG,
            title="Scale",
            source=str(shards.folder),
            index=Dataset.Index.CLUSTERS,
            shards_per_partition=SHARDS_PER_PARTITION,
            without_removal_list=True,
        )

    def grow(self, count: int) -> None:
        """Import so many shards, and publish their partitions."""
        for number in range(count):
            if number and number % SHARDS_PER_PARTITION == 0:
                self._publish()
            self._ingest(number)
        self._publish()
        self._calibrate()

    def costs(self) -> list[Cost]:
        if not self.costs_file.exists():
            return []
        lines = self.costs_file.read_text().splitlines()
        return [Cost(**json.loads(line)) for line in lines]

    def _ingest(self, number: int) -> None:
        done = {"state__in": [State.ARRIVED, State.INGESTED], "number": number}
        if self.dataset.shards.filter(**done).exists():
            return
        vectors = self.shards.write(number)
        if number >= self.compared:
            self.truth.add(vectors, self.shards.ids(number))
            self.compared = number + 1
            self._keep_truth()
        del vectors
        control.discover_shards(self.dataset)
        shard = self.dataset.shards.filter(number=number)
        shard.update(state=State.QUEUED, lease_until=None, failures=0)
        with Watch() as watch:
            shard_run.ingest(shard.get().pk)
        if (arrived := shard.get()).state != State.ARRIVED:
            raise RuntimeError(f"Shard {number} did not arrive: {arrived.error}")
        self._note("insert", number, arrived.rows_kept, watch.cpu_s, watch)
        self.shards.remove(number)

    def _publish(self) -> None:
        """Publish what is due, and what becomes due by that, such as new clusters."""
        trained, published, tries = self.training_s(), set(), 0
        with Watch() as watch:
            while numbers := publishing.due_partitions(self.dataset):
                done = {n for n in numbers if publishing.publish(self.dataset, n)}
                published |= done
                tries = 0 if done else tries + 1
                if tries > MAX_TRIES:
                    raise RuntimeError(f"Partitions {numbers} cannot be published.")
                time.sleep(PAUSE_S if tries else 0)
        if published:
            training = self.training_s() - trained
            rows = sum(map(self._rows, published))
            self._note("train", 0, rows, training, watch)
            self._note("publish", max(published), rows, watch.cpu_s - training, watch)

    def _calibrate(self) -> None:
        with Watch() as watch:
            is_new = calibration.calibrate(self.dataset.pk)
        if is_new:
            rows = self.dataset.item_count()
            self._note("calibrate", 0, rows, watch.cpu_s, watch)

    def _rows(self, partition: int) -> int:
        first = partition * SHARDS_PER_PARTITION
        bounds = (first, first + SHARDS_PER_PARTITION - 1)
        shards = self.dataset.shards.filter(number__range=bounds)
        return sum(shards.values_list("rows_visible", flat=True))

    def _note(
        self, step: str, number: int, rows: int, cpu_s: float, watch: Watch
    ) -> None:
        cost = Cost(step, number, rows, cpu_s, watch.wall_s, watch.peak_mb)
        with self.costs_file.open("a") as file:
            print(json.dumps(asdict(cost)), file=file)
        print(
            f"{step} {number}: {rows:,} rows, {cpu_s:.1f} CPU s, "
            f"{watch.wall_s:.1f} s, peak {watch.peak_mb:,.0f} MB"
        )

    def _known_truth(self, questions: np.ndarray) -> tuple[Truth, int]:
        """Return the answers so far, and the number of shards that they are from."""
        if not self.truth_file.exists():
            return Truth.without_rows(questions), 0
        kept = np.load(self.truth_file)
        truth = Truth(questions, kept["ids"], kept["similarities"])
        return truth, int(kept["compared"])

    def _keep_truth(self) -> None:
        unfinished = self.folder / "unfinished.npz"
        known = {"ids": self.truth.ids, "similarities": self.truth.similarities}
        np.savez(unfinished, compared=self.compared, **known)
        unfinished.rename(self.truth_file)
