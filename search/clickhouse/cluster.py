"""Which node of a cluster a statement runs on.

CLICKHOUSE_URL names one node, or several separated by commas: one per shard of a
cluster. The number of a dataset's partition determines its node, so writing a partition
concerns one node. A search queries all nodes and merges the results here, not through a
Distributed table: so each node plans the very query that is known to use the index,
with a time limit of its own, and a node that fails differs from one without results.
"""

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TypeVar

from django.conf import settings

from search import deadlines
from search.query.filters import MAX_IDS

Result = TypeVar("Result")
MAX_CONCURRENT = 16  # searches of one process over all nodes; others wait

_local = threading.local()


def urls() -> list[str]:
    return [url for each in settings.CLICKHOUSE_URL.split(",") if (url := each.strip())]


def current_url() -> str:
    """Return the node for this thread's statements: that of on_node, else the first."""
    return getattr(_local, "url", None) or urls()[0]


@contextmanager
def on_node(url: str) -> Iterator[None]:
    """Run the statements of this thread on a node."""
    before = getattr(_local, "url", None)
    _local.url = url
    try:
        yield
    finally:
        _local.url = before


def node_of_partition(partition: int) -> str:
    """Return the URL of a partition's node."""
    nodes = urls()
    return nodes[partition % len(nodes)]


def on_all_nodes(query: Callable[[], Result]) -> list[Result]:
    """Run a query on all nodes in parallel; raise the first node's error, if any."""
    nodes = urls()
    if len(nodes) == 1:
        return [query()]
    deadline = deadlines.current()
    return list(_threads().map(lambda url: _run_on(url, query, deadline), nodes))


def group_by_node(
    ids: Iterable[int], partition_bits: int, query: Callable[[list[int]], Result]
) -> list[Result]:
    """Query each node for the ids of its partitions, MAX_IDS at a time."""
    by_url: dict[str, list[int]] = {}
    for item_id in ids:
        by_url.setdefault(node_of_partition(item_id >> partition_bits), []).append(
            item_id
        )
    batches = [
        (url, own[start : start + MAX_IDS])
        for url, own in by_url.items()
        for start in range(0, len(own), MAX_IDS)
    ]
    if len(by_url) == 1:
        return [_run_on(url, partial(query, own)) for url, own in batches]
    submit = _threads().submit
    deadline = deadlines.current()
    futures = [
        submit(_run_on, url, partial(query, own), deadline) for url, own in batches
    ]
    return [future.result() for future in futures]


def _run_on(
    url: str, query: Callable[[], Result], deadline: float = math.inf
) -> Result:
    """Run a query on a node, by the deadline of the thread that waits for it."""
    with on_node(url), deadlines.until(min(deadline, deadlines.current())):
        return query()


def _threads() -> ThreadPoolExecutor:
    """Return the pool of this process: a fork has none of its parent's threads."""
    return _pool(MAX_CONCURRENT * len(urls()), os.getpid())


@lru_cache(maxsize=1)
def _pool(threads: int, _process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "nodes")
