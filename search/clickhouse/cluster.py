"""The engines that share the tables: one, or the shards of a cluster.

CLICKHOUSE_URL names one engine, or several between commas: one for each shard of a
cluster. A partition of a dataset lies on one of them, by its number, so that to write
one is a matter of one node. A search asks all nodes and merges what they find. It does
so itself, and not through a Distributed table, because then each node plans the very
query whose plan is known to use the index, under a time limit of its own, and a node
that does not answer is told apart from one that found nothing.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TypeVar

from django.conf import settings

from search.query.model import MAX_IDS

Answer = TypeVar("Answer")
SEARCHES_AT_ONCE = 16  # of one process, on all nodes; further ones wait

_local = threading.local()


def urls() -> list[str]:
    return [url for each in settings.CLICKHOUSE_URL.split(",") if (url := each.strip())]


def current_url() -> str:
    """Of the node that this thread's statements go to: the first, unless told."""
    return getattr(_local, "url", None) or urls()[0]


@contextmanager
def on_node(url: str) -> Iterator[None]:
    """What is asked within goes to this node."""
    before = getattr(_local, "url", None)
    _local.url = url
    try:
        yield
    finally:
        _local.url = before


def node_of_partition(partition: int) -> str:
    """The address of the node on which a partition lies."""
    nodes = urls()
    return nodes[partition % len(nodes)]


def on_all_nodes(ask: Callable[[], Answer]) -> list[Answer]:
    """What each node answers; raises the error of one that does not."""
    nodes = urls()
    if len(nodes) == 1:
        return [ask()]
    return list(_threads().map(lambda url: _asked(url, ask), nodes))


def group_by_node(
    ids: Iterable[int], partition_bits: int, ask: Callable[[list[int]], Answer]
) -> list[Answer]:
    """Asks each node for those of the ids that it may have, MAX_IDS at a time."""
    by_url: dict[str, list[int]] = {}
    for item_id in ids:
        by_url.setdefault(node_of_partition(item_id >> partition_bits), []).append(
            item_id
        )
    pieces = [
        (url, own[start : start + MAX_IDS])
        for url, own in by_url.items()
        for start in range(0, len(own), MAX_IDS)
    ]
    if len(by_url) == 1:
        return [_asked(url, partial(ask, own)) for url, own in pieces]
    asked = [_threads().submit(_asked, url, partial(ask, own)) for url, own in pieces]
    return [answer.result() for answer in asked]


def _asked(url: str, ask: Callable[[], Answer]) -> Answer:
    with on_node(url):
        return ask()


def _threads() -> ThreadPoolExecutor:
    """This process's own: a fork has none of its parent's threads."""
    return _pool(SEARCHES_AT_ONCE * len(urls()), os.getpid())


@lru_cache(maxsize=1)
def _pool(threads: int, _process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "nodes")
