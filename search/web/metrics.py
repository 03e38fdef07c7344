"""Render the Prometheus metrics: durations, and the state of shards and queues."""

import logging
import os
from collections.abc import Iterable

from django.conf import settings
from django.db.models import Count, Sum
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from redis import RedisError

from search.encoder.queue import IMAGE, TEXT
from search.encoder.remote import client_for
from search.errors import SearchError
from search.models import SYSTEM, Shard
from search.retrieval import service

logger = logging.getLogger(__name__)


def render_metrics() -> bytes:
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)
    else:
        registry.register(REGISTRY)
    registry.register(StateCollector())
    return generate_latest(registry)


class StateCollector:
    """Collects the state of the ledger, the engine and the queue when scraped."""

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # registering must not collect

    def collect(self) -> Iterable[GaugeMetricFamily]:
        yield from _shards()
        yield from _parts()
        if not settings.CELERY_BROKER_URL.startswith("memory"):
            yield from _queue()


def _shards() -> Iterable[GaugeMetricFamily]:
    shards = GaugeMetricFamily(
        "laionweb_shards", "Shards of a dataset.", labels=["dataset", "state"]
    )
    rows = GaugeMetricFamily(
        "laionweb_rows", "Rows of them that are in.", labels=["dataset", "state"]
    )
    alive = Shard.objects.filter(dataset__deleted_at=None)
    found = alive.values_list("dataset__slug", "state").order_by()
    for slug, state, count, done in found.annotate(Count("pk"), Sum("rows_done")):
        shards.add_metric([slug, state], count)
        rows.add_metric([slug, state], done)
    return [shards, rows]


def _parts() -> Iterable[GaugeMetricFamily]:
    """Report the parts of each dataset's table; skip one that cannot be queried."""
    families = {
        name: GaugeMetricFamily(f"laionweb_{name}", text, labels=["dataset"])
        for name, text in (
            ("parts", "Parts of a dataset's table."),
            ("parts_without_index", "Parts that searches must read as a whole."),
            ("rows_without_index", "Rows of those."),
        )
    }
    for dataset in service.datasets(SYSTEM):
        try:
            state = service.index_state(dataset)
        except SearchError as error:
            logger.warning("%s: %s", dataset, error.message)
            continue
        for name, family in families.items():
            family.add_metric([dataset.slug], state[name])
    return families.values()


def _queue() -> Iterable[GaugeMetricFamily]:
    """Report the queue of the encode workers, and how many are alive."""
    try:
        waiting, workers = client_for(settings.CELERY_BROKER_URL).status()
    except RedisError as error:
        logger.warning("The queue of the encode workers does not answer: %s", error)
        return
    depth = GaugeMetricFamily(
        "laionweb_encode_waiting", "Requests to encode workers.", labels=["kind"]
    )
    depth.add_metric(["text"], waiting[TEXT])
    depth.add_metric(["picture"], waiting[IMAGE])
    yield depth
    text = "Encode workers that live."
    yield GaugeMetricFamily("laionweb_encode_workers", text, value=workers)
