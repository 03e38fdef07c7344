"""The clusters of a dataset: training of their centroids, and when it is due.

Centroids are trained by the first publication that needs them. They are outgrown once
clusters have too many rows on average: then the next version is trained, and the
partitions are moved to it, one by one, while searches read both versions.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import F

from search.clickhouse import centroids, cluster, clustered, queries
from search.clickhouse.centroids import MAX_VERSION, METRICS
from search.clickhouse.schema import VECTOR_COLUMNS, ItemTable
from search.clustering.centroids import Centroids
from search.clustering.training import (
    MAX_CLUSTERS,
    MIN_CLUSTERED_ROWS,
    MIN_SAMPLE_PER_CLUSTER,
    SAMPLE_PER_CLUSTER,
    clusters_for,
    train,
)
from search.clustering.vectors import unit
from search.errors import NotFound, SearchError, SearchUnavailable
from search.jobs.leases import Lease, LeaseLost
from search.models import Dataset, Shard, Training

State = Shard.State
# Rows of a cluster, on average, from which on a dataset has outgrown its centroids.
MAX_ROWS_PER_CLUSTER = 500
MAX_SAMPLE = MAX_CLUSTERS * MIN_SAMPLE_PER_CLUSTER  # rows: 17 GB at 512 dimensions
RowsByField = Mapping[str, Mapping[int, int]]  # their number by shard
COMPLETE = (State.ARRIVED, State.INGESTED)
EXPECTED = (*COMPLETE, State.QUEUED, State.INGESTING, State.PAUSED)
WAIT_S = 0.5  # between looks at the training of another worker


def are_kept(dataset: Dataset) -> bool:
    """Return whether publishing fills the clustered tables of a dataset.

    Also of one that is searched by graphs until all of it has moved.
    """
    by_clusters = dataset.index == Dataset.Index.CLUSTERS
    return by_clusters or Training.objects.filter(dataset=dataset).exists()


def centroids_of(
    dataset: Dataset, rebuilt: ItemTable, rows: RowsByField
) -> dict[str, Centroids]:
    """Return the centroids to assign rows to, by field, after training if it is due.

    `rows` are those of the partition in `rebuilt`. Of several workers one trains, and
    the others wait. Raises LeaseLost where the dataset is dropped meanwhile.
    """
    Training.objects.get_or_create(dataset=dataset)
    while True:
        training = Training.objects.filter(dataset=dataset).first()
        if training is None:
            raise LeaseLost
        if not training.is_due:
            stored = {field: _stored(rebuilt, field) for field in rows}
            if all(training.version in versions for versions in stored.values()):
                return {field: stored[field][training.version] for field in rows}
            schedule(dataset, training)  # a field has got its first vectors
        lease = Lease.acquire(Training.objects.filter(dataset=dataset, is_due=True))
        if lease is None:
            time.sleep(WAIT_S)
        else:
            _train_under(lease, dataset, rebuilt, rows)


def _stored(table: ItemTable, field: str) -> dict[int, Centroids]:
    """Return the centroids by version: none if the engine was restored without."""
    try:
        return centroids.load(table, field)
    except NotFound:
        return {}


def schedule(dataset: Dataset, training: Training) -> None:
    """Have the next version trained, and all partitions moved to it."""
    with transaction.atomic():
        known = Training.objects.filter(pk=training.pk, version=training.version)
        if known.filter(is_due=False).update(is_due=True, failures=0):
            dataset.partitions.update(reindex=True, failures=0, error="")


def is_outgrown(dataset: Dataset) -> bool:
    """Return whether clusters are too large, and training would make them smaller."""
    training = Training.objects.filter(dataset=dataset).first()
    rows = dataset.item_count()
    if training is None or not training.version or rows < MIN_CLUSTERED_ROWS:
        return False
    better = clusters_for(rows, min(rows, MAX_SAMPLE)) >= 2 * training.clusters
    return better and rows > MAX_ROWS_PER_CLUSTER * training.clusters


def schedule_if_outgrown(dataset: Dataset) -> None:
    """Schedule the next version, unless partitions are being moved already."""
    if is_outgrown(dataset) and not dataset.partitions.filter(reindex=True).exists():
        schedule(dataset, dataset.training)


def finish_move(dataset: Dataset) -> None:
    """Search by the current version alone, once all partitions have been moved."""
    training = Training.objects.filter(dataset=dataset).first()
    if training is None or (training.is_due and dataset.item_count()):
        return
    Dataset.objects.filter(pk=dataset.pk, index=Dataset.Index.GRAPH).update(
        index=Dataset.Index.CLUSTERS, image_mean="", text_mean=""
    )
    bump_revision(dataset)
    dataset.refresh_from_db()
    if training.version:
        centroids.drop_unused(dataset.item_table, {training.version})


def bump_revision(dataset: Dataset) -> None:
    """Have every process load centroids and the sizes of clusters anew."""
    changed = Dataset.objects.filter(pk=dataset.pk)
    changed.update(index_revision=F("index_revision") + 1)


def _train_under(
    lease: Lease, dataset: Dataset, rebuilt: ItemTable, rows: RowsByField
) -> None:
    def work() -> None:
        try:
            _train(lease, dataset, rebuilt, rows)
        except SearchError:
            lease.release()
            raise
        except OSError as error:
            lease.release()
            raise SearchUnavailable(
                f"The sample to train clusters with cannot be kept: {error.strerror}."
            ) from error

    lease.run(work, f"The training of {dataset}")


def _train(
    lease: Lease, dataset: Dataset, rebuilt: ItemTable, rows: RowsByField
) -> None:
    """Train and store the next version, of all fields."""
    training = lease.row.get()
    # No two attempts write to the same version.
    version = 1 + (training.attempts - 1) % MAX_VERSION
    if version == training.version:
        version = 1 + training.attempts % MAX_VERSION
    clusters = 0
    published = fields_of_rows(dataset, _visible_rows(dataset))
    if not queries.index_state(dataset.item_table)["rows"]:
        published = {}  # the ledger alone was restored from a backup
    expected = max(expected_rows(dataset), sum(rows["image"].values()))
    for field in VECTOR_COLUMNS:
        sources = [
            (dataset.item_table, published.get(field, {})),
            (rebuilt, rows.get(field, {})),
        ]
        source, by_shard = max(sources, key=lambda each: sum(each[1].values()))
        available = min(sum(by_shard.values()), MAX_SAMPLE)
        if not available:
            continue
        wanted = clusters_for(expected, available)
        rows_to_draw = min(wanted * SAMPLE_PER_CLUSTER, MAX_SAMPLE)
        with _sample(source, field, by_shard, rows_to_draw) as sample:
            trained = train(sample, wanted, METRICS[source.metric], version=version)
        centroids.store(dataset.item_table, field, trained)
        # Of rows that are much the same there are fewer than were wanted.
        clusters = max(clusters, wanted)
    with transaction.atomic():
        lease.release(version=version, clusters=clusters, is_due=False, failures=0)
        bump_revision(dataset)
    centroids.drop_unused(dataset.item_table, {training.version, version})


def expected_rows(dataset: Dataset) -> int:
    """Return how many rows a dataset will have, by what the ledger knows.

    A queued shard counts as the average of others, one that nobody asked for does not.
    """
    known, unknown = [0], 0
    names = ("state", "rows", "rows_kept", "rows_visible")
    for state, rows, kept, visible in dataset.shards.values_list(*names):
        if state not in EXPECTED:
            known.append(visible)
        elif state in COMPLETE:
            known.append(kept)
        elif rows is None:
            unknown += 1
        else:
            known.append(rows)
    counts = [rows for rows in known if rows]
    return sum(counts) + unknown * sum(counts) // max(len(counts), 1)


def fields_of_rows(dataset: Dataset, rows: Mapping[int, int]) -> RowsByField:
    """Return the rows by field and shard: captions may have no vectors of their own."""
    shards = dataset.shards.filter(number__in=rows, has_text_vectors=True)
    with_text = set(shards.values_list("number", flat=True))
    text = {number: count for number, count in rows.items() if number in with_text}
    return {"image": rows, "text": text} if text else {"image": rows}


def _visible_rows(dataset: Dataset) -> dict[int, int]:
    shards = dataset.shards.filter(rows_visible__gt=0)
    return dict(shards.values_list("number", "rows_visible"))


@contextmanager
def _sample(
    table: ItemTable, field: str, rows: Mapping[int, int], wanted: int
) -> Iterator[np.ndarray]:
    """Yield the vectors of about `wanted` rows, drawn by the hash of their ids.

    They lie in a file: shape (rows, dimension), float16, or float32 for L2.
    """
    cosine = METRICS[table.metric] == "cosine"
    kind = np.dtype(np.float16 if cosine else np.float32)
    share = wanted / sum(rows.values())
    drawn = "1" if share >= 1 else f"cityHash64(id) < {int(share * 2**64)}"
    settings.VAR_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=settings.VAR_DIR) as file:
        for shard in sorted(rows):
            with cluster.on_node(cluster.node_of_partition(table.partition_of(shard))):
                blocks = clustered.read_vectors(table, shard, [field], drawn)
                for block in blocks:
                    stored = clustered.vectors_of(block, field, table)
                    vectors = stored + table.mean(field)
                    drawn_vectors = unit(vectors) if cosine else vectors
                    file.write(drawn_vectors.astype(kind).tobytes())
        file.flush()
        yield np.memmap(file, kind, "r").reshape(-1, table.dimension)
