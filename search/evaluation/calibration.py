"""Calibration: how much of its clusters a dataset's searches read for a recall.

Captions and images of the dataset ask, exact answers tell which clusters have them, and
the curves say how many are found by the share of the rows that is read. Captions and
images are measured apart: captions lie outside of the images, and their nearest images
in more clusters.
"""

import logging
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import numpy as np
from django.db import transaction
from django.utils import timezone

from search.clickhouse import centroids, client, clustered, lookup
from search.clickhouse.centroids import METRICS, LiveVersion
from search.clickhouse.schema import VECTOR_COLUMNS, ItemTable
from search.clustering.curves import Curve, Queries, measure
from search.clustering.vectors import unit
from search.errors import SearchError, SearchUnavailable
from search.jobs.leases import MAX_FAILURES, Lease, database_errors, lease_expired
from search.models import CalibrationRun, Dataset, Training
from search.retrieval.dataset_index import PICTURES, WORDS
from search.retrieval.sampling import random_ids

KINDS = {WORDS: "text", PICTURES: "image"}  # with the field whose vectors ask
QUERIES = 300  # of each kind
# Of a larger table, so many rows are drawn. Its curves know the nearest k / share only,
# which takes more reading than the nearest ten.
MAX_ROWS = 4_000_000
MAX_CHANGE = 1.5  # of the number of rows, from which on curves are measured anew
# Where captions have no vectors: of CLIP's vectors, words need 5 to 9 times the rows
# that images need to find the nearest ten.
WORDS_FACTOR = 8

logger = logging.getLogger(__name__)


def is_due(dataset: Dataset) -> bool:
    """Return whether a dataset's curves are to be measured, by the ledger.

    They are not while partitions move to other clusters, or a worker measures.
    """
    training = Training.objects.filter(dataset=dataset).first()
    if dataset.index != Dataset.Index.CLUSTERS or training is None:
        return False
    if training.clusters <= 1 or training.is_due:
        return False
    run = CalibrationRun.objects.filter(dataset=dataset)
    if run.exclude(lease_expired(), failures__lt=MAX_FAILURES).exists():
        return False
    if dataset.partitions.filter(reindex=True).exists():
        return False
    return is_outdated(dataset, training.version)


def is_outdated(dataset: Dataset, version: int) -> bool:
    """Return whether curves are missing, of other clusters, or of many rows less."""
    rows = dataset.item_count()
    for field in fields_of(dataset):
        known = dataset.calibration.get(field)
        if known is None or known["version"] != version:
            return True
        fewer, more = sorted((rows, known["rows"]))
        if more >= MAX_CHANGE * fewer:
            return True
    return False


def fields_of(dataset: Dataset) -> list[str]:
    """Return the fields that are searched, each by clusters of its own."""
    return [field for field in VECTOR_COLUMNS if field in dataset.search_fields]


def forget_failures(dataset: Dataset) -> None:
    """Have a calibration that was given up tried again."""
    CalibrationRun.objects.filter(dataset=dataset).update(failures=0)


def calibrate(dataset_pk: int, forced: bool = False) -> bool:
    """Measure and store a dataset's curves if they are due, or `forced`.

    Return False where there is nothing to do, or another worker does it. Raises
    SearchUnavailable when the engine or the database does not answer.
    """
    with database_errors():
        client.ping()
        dataset = Dataset.objects.filter(pk=dataset_pk).first()
        if dataset is None or not (forced or is_due(dataset)):
            return False
        CalibrationRun.objects.get_or_create(dataset=dataset)
        lease = Lease.acquire(CalibrationRun.objects.filter(dataset=dataset))
        if lease is None:
            return False
        # Another worker may have been quicker.
        dataset.refresh_from_db()
        if not forced and not is_outdated(dataset, dataset.training.version):
            lease.release(failures=0)
            return False
        return lease.run(
            lambda: _calibrate_under(lease, dataset), f"The calibration of {dataset}"
        )


def _calibrate_under(lease: Lease, dataset: Dataset) -> None:
    try:
        measured = _measure(dataset)
    except SearchError as error:
        lease.release()
        raise SearchUnavailable(error.message) from error
    with transaction.atomic():
        lease.release(failures=0)
        Dataset.objects.filter(pk=dataset.pk).update(calibration=measured)
    logger.info("%s is calibrated.", dataset)


def _measure(dataset: Dataset) -> dict[str, Any]:
    """Return the curves of all fields, with what they are of."""
    table, version = dataset.item_table, dataset.training.version
    rows, measured = dataset.item_count(), {}
    asking = _draw_vectors(dataset)
    for field in fields_of(dataset):
        live = {
            each.centroids.version: each
            for each in centroids.live_versions(table, field)
        }
        curves = {}
        if version in live and len(live[version].centroids) > 1:
            curves = _curves(table, field, live[version], asking)
        measured[field] = {
            "rows": rows,
            "version": version,
            "measured": timezone.now().isoformat(),
            **{kind: curve.to_json() for kind, curve in curves.items()},
        }
    return measured


def _draw_vectors(dataset: Dataset) -> dict[str, dict[int, np.ndarray]]:
    """Draw the vectors that ask, by kind and id; no item asks twice."""
    # Some ids have no item.
    ids = random_ids(dataset, 4 * QUERIES, Random(0))
    drawn = {}
    for number, (kind, field) in enumerate(KINDS.items()):
        if field in fields_of(dataset):
            some = ids[number :: len(KINDS)]
            found = lookup.embeddings(dataset.item_table, field, some)
            asking = [(item, found[item]) for item in some if item in found]
            drawn[kind] = dict(asking[:QUERIES])
    return drawn


def _curves(
    table: ItemTable,
    field: str,
    live: LiveVersion,
    asking: Mapping[str, Mapping[int, np.ndarray]],
) -> dict[str, Curve]:
    """Return the curve of each kind of query, from one pass over the field's rows."""
    cosine = METRICS[table.metric] == "cosine"
    queries, own = {}, []
    for kind, vectors in asking.items():
        if vectors:
            stacked = np.stack(list(vectors.values()))
            inside = KINDS[kind] == field
            queries[kind] = Queries(unit(stacked) if cosine else stacked, inside)
            own += list(vectors) if inside else []
    if not queries:
        return {}
    drawn = min(1.0, MAX_ROWS / max(int(live.sizes.sum()), 1))
    blocks = _blocks(table, field, live.centroids.version, drawn, own)
    curves = measure(live.centroids, blocks, queries)
    if drawn < 1:
        curves = {kind: curve.of_all(drawn) for kind, curve in curves.items()}
    if WORDS not in curves:
        curves[WORDS] = curves[PICTURES].harder(WORDS_FACTOR)
    return curves


def _blocks(
    table: ItemTable, field: str, version: int, drawn: float, own: list[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows drawn, and those that ask themselves, each of which is left out.

    They are drawn from all clusters, by another hash than the sample to train with.
    """
    condition = "1"
    if drawn < 1:
        ids = ", ".join(str(int(item)) for item in own)
        condition = f"cityHash64(id, 'calibration') < {int(drawn * 2**64)}"
        condition += f" OR id IN ({ids})" if ids else ""
    return clustered.read_version(table, field, version, condition)
