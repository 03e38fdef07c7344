"""A file server that breaks off, lies, redirects and limits, and downloads of it."""

import random
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

from search.ingestion.download.download import Download

CONTENT = random.Random(1).randbytes(100_000)
OTHER = random.Random(2).randbytes(90_000)
LONG_AGO = formatdate(1_600_000_000, usegmt=True)


class Cancelled(Exception):
    """Raised by a progress callback to stop a run."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests.append(
            SimpleNamespace(path=self.path, headers=self.headers)
        )
        script = self.server.script
        act = script.pop(0) if script else self.server.otherwise
        try:
            act(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A server that answers its requests in turn, by its script."""

    daemon_threads = True

    def __init__(self, port: int = 0):
        super().__init__(("127.0.0.1", port), Handler)
        self.files: dict[str, bytes] = {"/file": CONTENT}
        self.script: list[Callable] = []
        self.otherwise: Callable = answer  # once the script is used up
        self.requests: list[SimpleNamespace] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_) -> None:
        """Ignore clients that disconnect, as the tests do."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


def answer(
    handler: Handler,
    body: bytes | None = None,
    etag: str | None = '"1"',
    headers: dict[str, str] | None = None,
    ranges: bool = True,
    compares: bool = True,
    shift: int = 0,
    cut: int | None = None,
    longer: int = 0,
    chunked: bool = False,
    drip: tuple[int, float] | None = None,
) -> None:
    """Serve a file correctly, except as the arguments say.

    It may ignore Range or If-Range, start elsewhere (`shift`), close the connection
    after `cut` bytes, state a length `longer` than the body, or drip (bytes, seconds).
    """
    body = handler.server.files.get(handler.path) if body is None else body
    if body is None:
        status(handler, 404)
        return
    request_headers, first, code = handler.headers, 0, 200
    total = len(body)
    if etag and request_headers["If-None-Match"] == etag:
        status(handler, 304)
        return
    wanted = request_headers["Range"] if ranges else None
    if wanted and (
        not compares or request_headers["If-Range"] in (None, etag, LONG_AGO)
    ):
        start, _, last = wanted.removeprefix("bytes=").partition("-")
        first, code = int(start or max(0, total - int(last))) + shift, 206
        body = body[: int(last) + 1] if start and last else body
        if first >= total:
            status(handler, 416, **{"Content-Range": f"bytes */{total}"})
            return
    handler.send_response(code)
    for name, value in ({"ETag": etag} if etag else {}).items():
        handler.send_header(name, value)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    if code == 206:
        span = f"bytes {first}-{len(body) - 1}/{total}"
        handler.send_header("Content-Range", span)
    rest = body[first:]
    if chunked:
        handler.send_header("Transfer-Encoding", "chunked")
    else:
        handler.send_header("Content-Length", str(len(rest) + longer))
    handler.end_headers()
    send(handler, rest if cut is None else rest[:cut], chunked, drip)
    if chunked and cut is None:
        handler.wfile.write(b"0\r\n\r\n")
    handler.close_connection = cut is not None or longer > 0


def send(handler: Handler, data: bytes, chunked: bool, drip) -> None:
    size, pause_s = drip or (7_000, 0)
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        if chunked:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        handler.wfile.write(piece)
        time.sleep(pause_s)


def status(
    handler: Handler, code: int, body: bytes = b"<h1>no</h1>", **headers
) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    if code not in (204, 304):
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if code not in (204, 304):
        handler.wfile.write(body)


def silence(handler: Handler) -> None:
    time.sleep(2)
    handler.close_connection = True


def slam(handler: Handler) -> None:
    handler.close_connection = True


def redirect(target: str, handler: Handler) -> None:
    status(handler, 302, Location=target)


class Fetch:
    """Downloads of a server's /file to `target`; `slept` lists their pauses."""

    def __init__(self, server: Server, folder: Path):
        self.url = f"{server.base}/file"
        self.target = folder / "file.npy"
        self.part = folder / "file.npy.part"
        self.slept: list[float] = []

    def __call__(self, **options) -> str:
        options = {"sleep": self.slept.append} | options
        return Download(self.url, self.target, **options).run()


def cancelling_at(size: int) -> Callable[[int, int | None], None]:
    def progress(done: int, total: int | None) -> None:
        if done >= size:
            raise Cancelled

    return progress


def ranges(server: Server) -> list[str | None]:
    return [request.headers["Range"] for request in server.requests]


def file_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
