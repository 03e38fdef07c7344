"""Clusters of a dataset whose rows were put into the engine by hand."""

from collections.abc import Iterable
from dataclasses import replace

from search.clickhouse import centroids, clustered, schema
from search.clustering import training
from search.ingestion.publishing import partition_of
from search.models import Dataset
from support.crowd import Crowd, unit


def put_clusters(
    crowd: Crowd,
    dataset: Dataset,
    count: int,
    *,
    version: int = 1,
    shards: Iterable[int] | None = None,
) -> None:
    """Train `count` clusters for each field, and fill its table with rows of shards."""
    table, found = dataset.item_table, {}
    for field in ("image", "text"):
        vectors, metric = getattr(crowd, field), centroids.METRICS[table.metric]
        rows = unit(vectors) if metric == "cosine" else vectors
        found[field] = training.train(rows, count, metric, version=version)
        centroids.store(table, field, found[field])
        schema.create(table.clustered(field))
    for number in crowd.shards if shards is None else shards:
        here = replace(table, partition=partition_of(dataset, number))
        wanted = dict.fromkeys(found, [number])
        clustered.fill(here, found, wanted, lambda done: None)
    dataset.index_revision += 1
    dataset.save()
