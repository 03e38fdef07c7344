"""The one door to ClickHouse: an embedded engine or a server, by CLICKHOUSE_URL.

Both are clients of clickhouse_connect, and all above this module is the same code. The
embedded engine lets one process open a folder; each thread has a client of its own,
because a shared one serves one query after the other.
"""

import fcntl
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from search.errors import InvalidQuery, NotFound, SearchError, SearchUnavailable

from . import cluster

HOLDER = re.compile(r"PID: (\d+)", re.ASCII)  # as the engine notes it down


def locked_by() -> int | None:
    """The other process that has the folder open, if one has; None for servers."""
    address = urlsplit(cluster.current_url())
    folder = Path(unquote(address.path))
    if address.scheme != "chdb" or not is_locked(folder):
        return None
    holder = HOLDER.search((folder / "status").read_text(errors="replace"))
    process = int(holder[1]) if holder else None
    return None if process == os.getpid() else process


def is_locked(folder: Path) -> bool:
    """Whether another process holds the lock that the engine puts on its folder."""
    try:
        with (folder / "status").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


CONNECT_TIMEOUT_S = 2
QUERY_TIMEOUT_S = 10
LONG_TIMEOUT_S = 24 * 3600  # an index over millions of rows takes hours
TOO_MANY_SEARCHES = "Too many threads"
SEARCH_RETRIES = 5
SEARCH_RETRY_PAUSE_S = 0.05


class Slots(dict[str, threading.BoundedSemaphore]):
    """How many searches may run at once, on each node."""

    def __init__(self, count: int):
        self.count = count

    def __missing__(self, url: str) -> threading.BoundedSemaphore:
        return self.setdefault(url, threading.BoundedSemaphore(self.count))


# One graph takes searches from at most twice as many threads as there are cores and
# refuses the others; as many as cores lose no throughput (measured).
_search_slots = Slots(os.cpu_count() or 1)
# An exact search keeps all cores busy by itself.
_exact_slots = Slots(2)
_local = threading.local()
_function_options: dict[str, str] = {}


def ping() -> None:
    """Raises SearchUnavailable, with the reason, when an engine cannot be used."""
    cluster.on_all_nodes(lambda: rows("SELECT 1"))


def rows(
    sql: str, parameters: dict[str, Any] | None = None, **query_settings: Any
) -> list[dict[str, Any]]:
    """The rows of a query, as dictionaries by column name."""
    query_settings.setdefault("max_execution_time", QUERY_TIMEOUT_S)
    with _search_errors():
        client = _client(query_settings["max_execution_time"] + CONNECT_TIMEOUT_S)
        result = client.query(sql, parameters=parameters, settings=query_settings)
        return list(result.named_results())


def columns(
    sql: str, parameters: dict[str, Any] | None = None, **query_settings: Any
) -> list[Sequence[Any]]:
    """The columns of a query's result, as in SELECT; none at all when it is empty."""
    query_settings.setdefault("max_execution_time", QUERY_TIMEOUT_S)
    with _search_errors():
        client = _client(query_settings["max_execution_time"] + CONNECT_TIMEOUT_S)
        result = client.query(
            sql, parameters=parameters, settings=query_settings, column_oriented=True
        )
        return list(result.result_columns)


def exact_columns(
    sql: str, parameters: dict[str, Any], **query_settings: Any
) -> list[Sequence[Any]]:
    """Like columns, for searches that compare row by row: they queue, too."""
    with _slot(_exact_slots):
        return columns(sql, parameters, **query_settings)


def nearest_columns(
    sql: str, parameters: dict[str, Any], **query_settings: Any
) -> list[Sequence[Any]]:
    """Like columns, for searches of a vector index: they queue for one of its slots."""
    for attempt in range(SEARCH_RETRIES):
        with _slot(_search_slots):
            try:
                return columns(sql, parameters, **query_settings)
            except SearchUnavailable as error:
                # Other processes search the same server's index.
                full = TOO_MANY_SEARCHES in str(error.__cause__)
                if not full or attempt == SEARCH_RETRIES - 1:
                    raise
        time.sleep(SEARCH_RETRY_PAUSE_S * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def command(
    sql: str, parameters: dict[str, Any] | None = None, **query_settings: Any
) -> None:
    """Runs a statement that returns nothing, however long it takes."""
    with _search_errors():
        _client(LONG_TIMEOUT_S).command(
            sql, parameters=parameters, settings=query_settings
        )


def arrow(sql: str, parameters: dict[str, Any], **query_settings: Any) -> Any:
    """A query's result as a pyarrow.Table, without a Python object for each value."""
    query_settings.setdefault("max_execution_time", QUERY_TIMEOUT_S)
    with _search_errors():
        client = _client(query_settings["max_execution_time"] + CONNECT_TIMEOUT_S)
        return client.query_arrow(sql, parameters, query_settings, use_strings=True)


def insert_arrow(table: str, batch: Any, **query_settings: Any) -> None:
    """Inserts a pyarrow.Table whose columns are named as the table's."""
    with _search_errors():
        _client(LONG_TIMEOUT_S).insert_arrow(table, batch, settings=query_settings)


def raw_result(sql: str, form: str = "") -> str:
    """What the engine prints for a statement, in the form that it names or in `form`.

    Raises InvalidQuery with the engine's own words: they are for writers of SQL.
    """
    from clickhouse_connect.driver.exceptions import DatabaseError

    with _search_errors():
        client = _client(LONG_TIMEOUT_S)
        try:
            return client.raw_query(sql, fmt=form or None).decode(errors="replace")
        except DatabaseError as error:
            raise InvalidQuery(_in_one_line(str(error))) from error


def register_udfs(config: Path) -> None:
    """Has the embedded engine offer the functions of an XML file, beside its scripts.

    An engine takes them up when it opens: call this before the first query.
    """
    _function_options.update(
        user_scripts_path=str(config.parent),
        user_defined_executable_functions_config=str(config),
    )


@contextmanager
def _slot(slots: Slots) -> Iterator[None]:
    slot = slots[cluster.current_url()]
    if not slot.acquire(timeout=QUERY_TIMEOUT_S):
        raise SearchUnavailable(
            "Too many searches are running at the moment; please try again."
        )
    try:
        yield
    finally:
        slot.release()


def _client(timeout_s: int) -> Any:
    """This thread's client; a server's waits as long for an answer as it is told."""
    url = cluster.current_url()
    clients = _local.__dict__.setdefault("clients", {})
    key = (url, timeout_s if url.startswith("clickhouse") else 0, os.getpid())
    if key not in clients:
        clients[key] = _connect(url, timeout_s)
    return clients[key]


def _connect(url: str, timeout_s: int) -> Any:
    import clickhouse_connect

    address = urlsplit(url)
    if address.scheme == "chdb":
        folder = Path(unquote(address.path))
        folder.parent.mkdir(parents=True, exist_ok=True)
        return clickhouse_connect.get_client(
            interface="chdb", path=str(folder), chdb_options=_engine_options()
        )
    return clickhouse_connect.get_client(
        interface="https" if address.scheme == "clickhouses" else "http",
        host=address.hostname or "localhost",
        port=address.port or 8123,
        username=unquote(address.username or "default"),
        password=unquote(address.password or ""),
        database=address.path.strip("/") or "default",
        connect_timeout=CONNECT_TIMEOUT_S,
        send_receive_timeout=timeout_s,
        # A session would refuse the second of two queries at once.
        autogenerate_session_id=False,
    )


def _engine_options() -> dict[str, Any]:
    """The embedded engine's own settings.

    Half of the cores may build an index, so that searches go on. A graph larger than
    the index cache would be loaded anew by each search; a third of the memory holds
    about four million rows of 512 dimensions in 24 GB.
    """
    threads = max(1, (os.cpu_count() or 1) // 2)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "max_build_vector_similarity_index_thread_pool_size": threads,
        "vector_similarity_index_cache_size": memory // 3,
        **_function_options,
    }


@contextmanager
def _search_errors() -> Iterator[None]:
    from clickhouse_connect.driver.exceptions import ClickHouseError

    try:
        yield
    except (ClickHouseError, OSError) as error:
        raise _to_search_error(str(error)) from error


def _to_search_error(message: str) -> SearchError:
    if "EmbeddedServer" in message:
        folder = Path(unquote(urlsplit(cluster.current_url()).path))
        if is_locked(folder):
            return SearchUnavailable(
                f"Another process has the ClickHouse folder {folder} open: stop it, "
                "or set CLICKHOUSE_URL to another folder or to a server."
            )
        return SearchUnavailable(f"The ClickHouse folder {folder} cannot be used.")
    if "UNKNOWN_TABLE" in message:
        return NotFound("This dataset has no items yet.")
    if "TIMEOUT_EXCEEDED" in message:
        return SearchUnavailable("The search took too long and was stopped.")
    if "No space left" in message or "NOT_ENOUGH_SPACE" in message:
        return SearchUnavailable("The disk of the search engine is full.")
    return SearchUnavailable("The search engine did not answer as it should.")


def _in_one_line(message: str) -> str:
    """Without the stack, and what else the grammar would have allowed."""
    for tail in ("Stack trace", "Expected one of:"):
        message = message.partition(tail)[0]
    return " ".join(message.split()).rstrip(" ,.")
