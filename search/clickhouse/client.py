"""The only module that talks to ClickHouse: embedded or a server, by CLICKHOUSE_URL.

clickhouse_connect serves both, so everything above is the same code. The embedded
engine's folder can be open in one process only. Each thread has its own client, because
a shared one runs one query at a time.
"""

import fcntl
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from search import deadlines
from search.circuits import Circuit
from search.errors import InvalidQuery, NotFound, SearchError, SearchUnavailable

from . import cluster

HOLDER_PID = re.compile(r"PID: (\d+)", re.ASCII)  # in the engine's file `status`


def locked_by() -> int | None:
    """Return the id of another process that has the folder open; None for servers."""
    address = urlsplit(cluster.current_url())
    folder = Path(unquote(address.path))
    if address.scheme != "chdb" or not is_locked(folder):
        return None
    holder = HOLDER_PID.search((folder / "status").read_text(errors="replace"))
    process = int(holder[1]) if holder else None
    return None if process == os.getpid() else process


def is_locked(folder: Path) -> bool:
    """Return whether another process holds the engine's lock on its folder."""
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
SEARCH_CLIENT_S = 60  # the longest search; its client has a timeout for each query
GRACE_S = 0.5  # in which the engine says that a query took too long
LONG_TIMEOUT_S = 24 * 3600  # an index over millions of rows takes hours
INDEX_BUSY = "Too many threads"
SEARCH_ATTEMPTS = 5
MUTATION_ABORTED = "Cancelled mutating parts"
MUTATION_ATTEMPTS = 8
RETRY_PAUSE_S = 0.05


class Slots(dict[str, threading.BoundedSemaphore]):
    """A semaphore per node that limits concurrent searches."""

    def __init__(self, count: int):
        self.count = count

    def __missing__(self, url: str) -> threading.BoundedSemaphore:
        return self.setdefault(url, threading.BoundedSemaphore(self.count))


# A graph refuses searches from more threads than twice the number of cores; as many
# threads as cores already reach the full throughput (measured).
_search_slots = Slots(os.cpu_count() or 1)
# One exact search uses all cores.
_exact_slots = Slots(2)
DISK_FULL = "The disk of the search engine is full."
_local = threading.local()
_udf_options: dict[str, str] = {}


def has_room(bytes_free: int) -> bool:
    """Return whether each disk of each node has so much space."""
    sql = "SELECT min(unreserved_space) AS free FROM system.disks"
    answers = cluster.on_all_nodes(lambda: rows(sql))
    return all(answer and answer[0]["free"] >= bytes_free for answer in answers)


def ping() -> None:
    """Raise SearchUnavailable, with the reason, when an engine cannot be used."""
    for answer in cluster.on_all_nodes(lambda: rows("SELECT 1 AS one")):
        if answer != [{"one": 1}]:  # from something else at its address
            raise SearchUnavailable("The search engine did not answer as it should.")


def rows(
    sql: str, parameters: dict[str, Any] | None = None, **query_settings: Any
) -> list[dict[str, Any]]:
    """Return the rows of a query as dictionaries by column name."""
    with _search_errors():
        client = _reading_client(query_settings)
        result = client.query(sql, parameters=parameters, settings=query_settings)
        return list(result.named_results())


def columns(
    sql: str, parameters: dict[str, Any] | None = None, **query_settings: Any
) -> list[Sequence[Any]]:
    """Return the columns of a query in SELECT's order; no columns without rows."""
    with _search_errors():
        client = _reading_client(query_settings)
        result = client.query(
            sql, parameters=parameters, settings=query_settings, column_oriented=True
        )
        return list(result.result_columns)


def exact_arrow(sql: str, parameters: dict[str, Any], **query_settings: Any) -> Any:
    """Run an exact search like `arrow`, once a slot is free."""
    with _slot(_exact_slots):
        return arrow(sql, parameters, **query_settings)


def nearest_arrow(sql: str, parameters: dict[str, Any], **query_settings: Any) -> Any:
    """Search a vector index like `arrow`, once a slot is free.

    Other processes may fill the index of a server; then it searches again.
    """

    def search() -> Any:
        with _slot(_search_slots):
            return arrow(sql, parameters, **query_settings)

    return _retried(search, INDEX_BUSY, SEARCH_ATTEMPTS)


def command(
    sql: str, parameters: dict[str, Any] | None = None, **query_settings: Any
) -> None:
    """Run a statement that returns nothing, for up to LONG_TIMEOUT_S."""
    with _search_errors():
        _client(LONG_TIMEOUT_S).command(
            sql, parameters=parameters, settings=query_settings
        )


def mutate(sql: str, parameters: dict[str, Any] | None = None) -> None:
    """Run a mutation until it is done, which may run more than once.

    Replacing a partition aborts the mutations of its parts, and the new parts lack
    their changes.
    """
    _retried(
        lambda: command(sql, parameters, mutations_sync=1),
        MUTATION_ABORTED,
        MUTATION_ATTEMPTS,
    )


def _retried(run: Callable[[], Any], reason: str, attempts: int) -> Any:
    """Return the result of the first attempt that the engine does not break off."""
    for attempt in range(attempts):
        try:
            return run()
        except SearchUnavailable as error:
            if reason not in str(error.__cause__) or attempt == attempts - 1:
                raise
        time.sleep(RETRY_PAUSE_S * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


class Plain:
    """A parameter in the engine's own spelling, of characters that none escapes.

    The client looks at each character of a text, which takes as long as a search.
    """

    def __init__(self, text: str):
        self.text = text

    def __str__(self) -> str:
        return self.text


ARROW_SETTINGS = {
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_compression_method": "none",
}


def arrow(sql: str, parameters: dict[str, Any], **query_settings: Any) -> Any:
    """Return a query's result as a pyarrow.Table, without a Python object per value."""
    import pyarrow as pa

    with _search_errors():
        client = _reading_client(query_settings)
        # Given apart, the embedded engine would take a statement to set and one to
        # reset each of them.
        settings = ", ".join(
            f"{name} = {value!r}"
            for name, value in {**ARROW_SETTINGS, **query_settings}.items()
        )
        data = client.raw_query(f"{sql} SETTINGS {settings}", parameters, fmt="Arrow")
    try:
        return pa.ipc.open_file(data).read_all()
    except pa.ArrowInvalid as error:  # the engine stopped in the middle of its answer
        raise _to_search_error(str(error)) from error


def texts(column: Any) -> list[str]:
    """Return a column of a pyarrow.Table, with “�” for bytes that are not UTF-8.

    Earlier versions stored texts as they came.
    """
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [
            each.decode(errors="replace") for each in column.cast("binary").to_pylist()
        ]


def insert_arrow(table: str, batch: Any, **query_settings: Any) -> None:
    """Insert a pyarrow.Table that has the table's column names."""
    with _search_errors():
        _client(LONG_TIMEOUT_S).insert_arrow(table, batch, settings=query_settings)


def raw_result(sql: str, form: str = "") -> str:
    """Return the raw result of a statement in its own FORMAT, or in `form`.

    Raises InvalidQuery with the engine's message, which is for authors of SQL.
    """
    from clickhouse_connect.driver.exceptions import DatabaseError

    with _search_errors():
        client = _client(LONG_TIMEOUT_S)
        try:
            return client.raw_query(sql, fmt=form or None).decode(errors="replace")
        except DatabaseError as error:
            raise InvalidQuery(_to_one_line(str(error))) from error


def register_udfs(config: Path) -> None:
    """Register the functions of an XML file, with scripts in its folder.

    For the embedded engine, which reads them when it opens: before the first query.
    """
    _udf_options.update(
        user_scripts_path=str(config.parent),
        user_defined_executable_functions_config=str(config),
    )


@contextmanager
def _slot(slots: Slots) -> Iterator[None]:
    slot = slots[cluster.current_url()]
    if not slot.acquire(timeout=deadlines.seconds_left(QUERY_TIMEOUT_S)):
        raise SearchUnavailable(
            "Too many searches are running at the moment; please try again."
        )
    try:
        yield
    finally:
        slot.release()


def _reading_client(query_settings: dict[str, Any]) -> Any:
    """Return the client of a query, with what is left of the deadline as its limit.

    Sets max_execution_time: by itself QUERY_TIMEOUT_S.
    """
    wanted = query_settings.get("max_execution_time", QUERY_TIMEOUT_S)
    limit = max(1, math.ceil(deadlines.seconds_left(wanted)))
    query_settings["max_execution_time"] = limit
    if limit > SEARCH_CLIENT_S:  # of a worker or a command
        return _client(limit + CONNECT_TIMEOUT_S)
    client = _client(SEARCH_CLIENT_S)
    _set_timeout(client, limit + GRACE_S)
    return client


def _set_timeout(client: Any, seconds: float) -> None:
    """Set how long a server may take for the next query; an engine here has none."""
    if cluster.current_url().startswith("clickhouse"):
        timeout = type(client.timeout)
        client.timeout = timeout(connect=CONNECT_TIMEOUT_S, read=seconds)


def _probe() -> None:
    """Raise an exception if the node does not answer soon."""
    client = _client(SEARCH_CLIENT_S)
    _set_timeout(client, CONNECT_TIMEOUT_S)
    if client.query("SELECT 1").result_rows != [(1,)]:
        raise ValueError("This is not the search engine.")


def _is_outage(error: BaseException) -> bool:
    """Return whether an error is of the connection, not an answer of the engine."""
    of_connection = any(
        kind.__module__.startswith("urllib3.") for kind in type(error).__mro__
    )
    return of_connection or isinstance(error, ConnectionError | TimeoutError)


@cache
def _circuit(url: str) -> Circuit:
    """Return the circuit of a node."""
    sentence = "The search engine does not respond; please try again in a moment."
    return Circuit(sentence, _is_outage, _probe)


def _client(timeout_s: int) -> Any:
    """Return this thread's client for a node; for servers, one per timeout."""
    url = cluster.current_url()
    clients = _local.__dict__.setdefault("clients", {})
    key = (url, timeout_s if url.startswith("clickhouse") else 0, os.getpid())
    if key not in clients:
        clients[key] = _connect(url)
        _set_timeout(clients[key], timeout_s)
    return clients[key]


def _connect(url: str) -> Any:
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
        send_receive_timeout=math.ceil(deadlines.seconds_left(CONNECT_TIMEOUT_S)),
        # A session refuses concurrent queries.
        autogenerate_session_id=False,
    )


def _engine_options() -> dict[str, Any]:
    """Return the settings of the embedded engine.

    Half of the cores may build an index, which leaves the others for searches. A graph
    larger than the index cache would be loaded by each search; a third of 24 GB holds
    about four million rows of 512 dimensions.
    """
    threads = max(1, (os.cpu_count() or 1) // 2)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "max_build_vector_similarity_index_thread_pool_size": threads,
        "vector_similarity_index_cache_size": memory // 3,
        **_udf_options,
    }


@contextmanager
def _search_errors() -> Iterator[None]:
    from clickhouse_connect.driver.exceptions import ClickHouseError

    circuit = _circuit(cluster.current_url())
    try:
        with circuit.calling():
            yield
    except (ClickHouseError, OSError) as error:
        if circuit.is_outage(error):
            raise SearchUnavailable(circuit.sentence) from error
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
        return SearchUnavailable(DISK_FULL)
    return SearchUnavailable("The search engine did not answer as it should.")


def _to_one_line(message: str) -> str:
    """Drop the stack trace and the list of expected tokens; join the lines."""
    for tail in ("Stack trace", "Expected one of:"):
        message = message.partition(tail)[0]
    return " ".join(message.split()).rstrip(" ,.")
