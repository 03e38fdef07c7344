"""A small HTTP endpoint over the embedded engine, in a process of its own.

    python clickhouse_http.py FOLDER PORT

No ClickHouse server can be installed where the tests run. The engine behind this
endpoint is the real one; the HTTP in front of it is ours, and speaks as much of
ClickHouse's interface as clickhouse_connect's ordinary client asks for: queries with
parameters and settings, inserts in Native and Arrow, compression both ways, errors with
their codes, no sessions. There are no users, quotas, progress headers or limits, and an
answer is sent when it is whole. What works here has met the client's HTTP code, several
processes at once and a true engine, but no ClickHouse server.
"""

import gzip
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, LifoQueue
from urllib.parse import parse_qsl, urlsplit

import chdb
import lz4.frame

# What the protocol itself takes; all other parameters of a request are settings.
OF_THE_PROTOCOL = {
    "query",
    "database",
    "default_format",
    "session_id",
    "query_id",
    "compress",
    "decompress",
    "wait_end_of_query",
    "client_protocol_version",
    "role",
    "quota_key",
    "user",
    "password",
    "send_progress_in_http_headers",
    "http_headers_progress_interval_ms",
    "enable_http_compression",
    "buffer_size",
}
INSERT = re.compile(rb"\s*INSERT\s+INTO\s+(.+?)\s+FORMAT\s+(\w+)\s*\n?", re.I | re.S)
CODE = re.compile(r"Code: (\d+)")
READERS = {"lz4": lz4.frame.decompress, "gzip": gzip.decompress}
WRITERS = {"lz4": lz4.frame.compress, "gzip": gzip.compress}


class Engine:
    """Handles on one folder; each serves one request at a time."""

    def __init__(self, folder: str):
        self.folder = folder
        self._idle: LifoQueue[Handle] = LifoQueue()

    @contextmanager
    def handle(self) -> Iterator["Handle"]:
        try:
            handle = self._idle.get_nowait()
        except Empty:
            handle = Handle(chdb.connect(self.folder))
        try:
            yield handle
        finally:
            self._idle.put(handle)


class Handle:
    def __init__(self, connection):
        self.connection = connection
        self.settings: dict[str, str] = {}

    def run(
        self, sql: bytes, form: str, params: dict[str, str], settings: dict
    ) -> bytes:
        self._set(settings)
        return self.connection.query(sql, form, params=params).bytes() or b""

    def _set(self, settings: dict[str, str]) -> None:
        for name in self.settings.keys() - settings.keys():
            self.connection.query(f"SET {name} = DEFAULT")
            del self.settings[name]
        for name, value in settings.items():
            if self.settings.get(name) != value:
                self.connection.query(f"SET {name} = {quoted(value)}")
                self.settings[name] = value


def quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        if self.path.startswith("/ping"):
            self._answer(200, b"Ok.\n")
        else:
            self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self._body())

    def _serve(self, body: bytes) -> None:
        given = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        if self.headers.get("Content-Type", "").startswith("multipart/form-data"):
            given |= self._fields(body)  # so does the client send long parameters
            body = b""
        settings, params = {}, {}
        for name, value in given.items():
            if name.startswith("param_"):
                params[name.removeprefix("param_")] = value
            elif name not in OF_THE_PROTOCOL:
                settings[name] = value
        query = given.get("query", "").encode()
        body = query + b"\n" + body if query and body else query or body
        form = given.get("default_format", "TabSeparated")
        try:
            with self.server.engine.handle() as handle:
                answer = execute(handle, body, form, params, settings)
        # The engine's errors have no class of their own.
        except Exception as error:
            code = CODE.search(str(error))
            headers = {"X-ClickHouse-Exception-Code": code[1]} if code else {}
            self._answer(500, str(error).encode(), headers)
        else:
            accepted = given.get("enable_http_compression") == "1"
            self._answer(200, answer, encoding=self._encoding() if accepted else "")

    def _fields(self, body: bytes) -> dict[str, str]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = BytesParser(policy=policy.HTTP).parsebytes(head + body).iter_parts()
        return {
            part.get_param("name", header="Content-Disposition"): part.get_payload(
                decode=True
            ).decode()
            for part in parts
        }

    def _encoding(self) -> str:
        offered = self.headers.get("Accept-Encoding", "")
        return next((name for name in WRITERS if name in offered), "")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b"".join(self._chunks())
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        encoding = self.headers.get("Content-Encoding")
        return READERS[encoding](body) if encoding else body

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        encoding: str = "",
    ) -> None:
        headers = dict(headers or {})
        if encoding:
            body = WRITERS[encoding](body)
            headers["Content-Encoding"] = encoding
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("X-ClickHouse-Format", "TabSeparated")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        """A line for each request would bury what goes wrong."""


def execute(
    handle: Handle, sql: bytes, form: str, params: dict, settings: dict
) -> bytes:
    insert = INSERT.match(sql)
    if not insert or len(sql) == insert.end():
        return handle.run(sql, form, params, settings)
    # The engine takes rows that come with a statement from a file only.
    with tempfile.NamedTemporaryFile() as rows:
        rows.write(sql[insert.end() :])
        rows.flush()
        target, form = insert[1].decode(), insert[2].decode()
        statement = (
            f"INSERT INTO {target} FROM INFILE {quoted(rows.name)} FORMAT {form}"
        )
        return handle.run(statement.encode(), "TabSeparated", params, settings)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: str, port: int):
        self.engine = Engine(folder)
        super().__init__(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    folder, port = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    server = Server(folder, int(port))
    with server.engine.handle() as handle:  # opened before anyone asks
        handle.run(b"SELECT 1", "TabSeparated", {}, {})
    print("ready", flush=True)
    server.serve_forever()
