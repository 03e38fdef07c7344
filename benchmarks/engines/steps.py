"""Where the time of service.search goes: the statements it makes, and the rest.

In CPU time of this process, which ClickHouse is part of: other work on the machine
changes it little.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from statistics import mean, median
from typing import Any
from unittest.mock import patch

import numpy as np

from search.clickhouse import client
from search.models import SYSTEM
from search.retrieval import service

from .data import FILTERS
from .measure import Size
from .ours import Find, query
from .tables import SHARES, row, table
from .web import Post

KINDS = ("nearest", "others")
STATEMENTS = ("rows", "columns", "arrow", "exact_arrow")  # functions of the client
SAMPLE_SIZE = 30


def steps(size: Size, slug: str) -> str:
    """Return a table of medians over the first questions, searched once more."""
    heads = [f"CPU ms of find, {size.rows.count:,} rows", "vector query"]
    lines = table(*heads, "other statements", "Python", "HTTP and JSON around it")
    for where in FILTERS:
        taken = [
            traced(slug, vector, where) for vector in size.words.vectors[:SAMPLE_SIZE]
        ]
        cells = [median(of[kind] for of in taken) for kind in (*KINDS, "python")]
        around = mean(size.of(Post, where).cpu) - mean(size.of(Find, where).cpu)
        shown = [f"{ms:.1f}" for ms in (*cells, around)]
        lines.append(row(SHARES[where], *shown))
    return "\n".join(lines)


def traced(slug: str, vector: np.ndarray, where: str) -> dict[str, float]:
    spent: dict[str, float] = defaultdict(float)

    def timed(function: Callable) -> Callable:
        def call(sql: str, *arguments: Any, **settings: Any) -> Any:
            started = time.process_time()
            try:
                return function(sql, *arguments, **settings)
            finally:
                spent[kind(sql)] += (time.process_time() - started) * 1000

        return call

    search_query = query(slug, vector, where)
    with ExitStack() as patched:
        for name in STATEMENTS:
            function = timed(getattr(client, name))
            patched.enter_context(patch.object(client, name, function))
        started = time.process_time()
        service.search(search_query, SYSTEM, service.unlimited)
        spent["python"] = (time.process_time() - started) * 1000
    spent["python"] -= sum(spent[kind] for kind in KINDS)
    return spent


def kind(sql: str) -> str:
    return "nearest" if "ORDER BY distance" in sql else "others"
