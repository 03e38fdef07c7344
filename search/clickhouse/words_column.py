"""Fill the column of words of rows that an earlier version inserted.

The words come from Python, so they are collected in a table of the engine Join, from
which a mutation copies them. It writes the files of this one column: others, and the
graphs, stay linked.
"""

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from search.query.words import indexed_words

from . import client
from .schema import WORDS_INDEX, ItemTable
from .writer import on_its_node

ROWS_AT_ONCE = 500_000  # of a mutation; about 100 MB in the engine's memory
READ_AT_ONCE = 50_000
LIMITS: dict[str, Any] = {"max_execution_time": client.LONG_TIMEOUT_S, "max_threads": 1}


def words_of(captions: pa.ChunkedArray) -> pa.Array:
    """Return the indexed words of captions, which may hold bytes that are no text."""
    texts = captions.cast(pa.binary()).to_pylist()
    words = (indexed_words(text.decode(errors="replace")) for text in texts)
    return pa.array(words, pa.string())


def count_unfilled(rebuilt: ItemTable) -> int:
    """Return how many rows of a rebuilt table lack their words."""
    with on_its_node(rebuilt):
        sql = f"SELECT count() AS n FROM {rebuilt.name} WHERE words = ''"
        return client.rows(sql, **LIMITS)[0]["n"]


def fill(rebuilt: ItemTable, report: Callable[[int], None]) -> None:
    """Fill in the words of a rebuilt table, without their index.

    `report` gets the number of rows filled so far.
    """
    filled, last = 0, -1
    with on_its_node(rebuilt):
        try:
            while rows := _fill_next(rebuilt, last + 1):
                filled, last = filled + rows[0], rows[1]
                report(filled)
        finally:
            client.command(f"DROP TABLE IF EXISTS {rebuilt.words_name} SYNC")


def _fill_next(rebuilt: ItemTable, first: int) -> tuple[int, int] | None:
    """Fill ROWS_AT_ONCE rows from an id on; return their number and the last id."""
    source = rebuilt.words_name
    client.command(f"DROP TABLE IF EXISTS {source} SYNC")
    client.command(
        f"CREATE TABLE {source} (id UInt64, words String) ENGINE = Join(ANY, LEFT, id)"
    )
    count, last = 0, first - 1
    while count < ROWS_AT_ONCE:
        rows = client.arrow(
            f"SELECT id, caption FROM {rebuilt.name} WHERE words = '' "
            "AND id >= {first:UInt64} ORDER BY id LIMIT {limit:UInt64}",
            {"first": last + 1, "limit": READ_AT_ONCE},
            **LIMITS,
        )
        if not len(rows):
            break
        words = words_of(rows["caption"])
        client.insert_arrow(source, pa.table({"id": rows["id"], "words": words}))
        count, last = count + len(rows), rows["id"][-1].as_py()
    if not count:
        return None
    database = client.rows("SELECT currentDatabase() AS name")[0]["name"]
    client.command(
        f"ALTER TABLE {rebuilt.name} "
        f"UPDATE words = joinGet('{database}.{source}', 'words', id) "
        f"WHERE words = '' AND id BETWEEN {first:d} AND {last:d}",
        mutations_sync=1,
    )
    return count, last


def build_index(rebuilt: ItemTable, partition: int) -> None:
    """Build the index on the words of a rebuilt partition."""
    with on_its_node(rebuilt):
        client.command(
            f"ALTER TABLE {rebuilt.name} "
            f"MATERIALIZE INDEX {WORDS_INDEX} IN PARTITION {partition:d}",
            mutations_sync=1,
        )
