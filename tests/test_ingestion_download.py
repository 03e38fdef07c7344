"""Downloads from servers that break off, lie, redirect and limit."""

import errno
import io
import random
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import urllib3

from search.errors import SearchError, SearchUnavailable, ShardUnreadable
from search.ingestion.download import download, partial_file
from search.ingestion.download.download import Download
from search.ingestion.download.partial_file import PartialFile
from search.ingestion.sources.laion import LaionUrl, read_checksums
from search.ingestion.sources.registry import source_of
from search.models import Dataset

CONTENT = random.Random(1).randbytes(100_000)
OTHER = random.Random(2).randbytes(90_000)
LONG_AGO = formatdate(1_600_000_000, usegmt=True)


class Cancelled(Exception):
    """Raised by a progress callback to stop a run."""


# --- A server and what it does wrong


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(SimpleNamespace(path=self.path, headers=self.headers))
        script = self.server.script
        act = script.pop(0) if script else self.server.otherwise
        try:
            act(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Answers requests in turn, by its script."""

    daemon_threads = True

    def __init__(self, port: int = 0):
        super().__init__(("127.0.0.1", port), Handler)
        self.files: dict[str, bytes] = {"/file": CONTENT}
        self.script: list[Callable] = []
        self.otherwise: Callable = answer  # when the script is through
        self.asked: list[SimpleNamespace] = []
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
    """Return a handler that serves a file correctly, except as the arguments say.

    It may ignore Range or If-Range, start elsewhere (`shift`), close the connection
    after `cut` bytes, state a length `longer` than the body, or drip (bytes, seconds).
    """
    body = handler.server.files.get(handler.path) if body is None else body
    if body is None:
        status(handler, 404)
        return
    request_headers, first, code = handler.headers, 0, 200
    if etag and request_headers["If-None-Match"] == etag:
        status(handler, 304)
        return
    wanted = request_headers["Range"] if ranges else None
    if wanted and (
        not compares or request_headers["If-Range"] in (None, etag, LONG_AGO)
    ):
        first, code = int(wanted.removeprefix("bytes=").rstrip("-")) + shift, 206
        if first >= len(body):
            status(handler, 416, **{"Content-Range": f"bytes */{len(body)}"})
            return
    handler.send_response(code)
    for name, value in ({"ETag": etag} if etag else {}).items():
        handler.send_header(name, value)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    if code == 206:
        span = f"bytes {first}-{len(body) - 1}/{len(body)}"
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


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def patience(monkeypatch) -> None:
    """Report progress at each piece; reserve nothing of a small disk."""
    monkeypatch.setattr(download, "REPORT_S", 0)
    monkeypatch.setattr(partial_file, "RESERVE_BYTES", 0)


@pytest.fixture
def fetch(server, tmp_path):
    """Return a function that downloads /file to `target`; `slept` has its pauses."""

    def fetch(**more) -> str:
        slept = fetch.slept.append
        arguments = {"sleep": slept} | more
        return Download(f"{server.base}/file", fetch.target, **arguments).run()

    fetch.slept = []
    fetch.target = tmp_path / "work" / "file.npy"
    fetch.part = tmp_path / "work" / "file.npy.part"
    return fetch


def cancelling_at(size: int) -> Callable[[int, int | None], None]:
    def progress(done: int, total: int | None) -> None:
        if done >= size:
            raise Cancelled

    return progress


def ranges(server: Server) -> list[str | None]:
    return [request.headers["Range"] for request in server.asked]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- What arrives


def test_a_file_arrives_whole(fetch, server):
    reports = []
    digest = fetch(progress=lambda *progress: reports.append(progress))
    assert digest == sha256(CONTENT).hexdigest()
    assert fetch.target.read_bytes() == CONTENT
    assert names(fetch.target.parent) == ["file.npy", "file.npy.json"]
    assert reports[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    assert server.asked[0].headers["Accept-Encoding"] == "identity"


def test_an_empty_file_and_one_in_chunks_arrive(fetch, server):
    server.script = [
        partial(answer, body=b""),
        partial(answer, chunked=True, etag='"2"'),
    ]
    fetch()
    assert fetch.target.read_bytes() == b""
    fetch()
    assert fetch.target.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [0, 1, 4_095, 65_536, len(CONTENT) - 1])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_cut_is_gone_on_with_where_it_ended(fetch, server, size, chunked):
    server.script = [partial(answer, cut=size, chunked=chunked)]
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(server) == [None, f"bytes={size}-" if size else None]
    assert server.asked[1].headers["If-Range"] == ('"1"' if size else None)


def test_a_line_that_breaks_again_and_again_gets_there(fetch, server, monkeypatch):
    monkeypatch.setattr(download, "GAIN_BYTES", 1)
    server.script = [partial(answer, cut=3_000)] * 33
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert len(server.asked) == 34
    assert max(fetch.slept) <= 1  # each of them has brought something


def test_a_connection_that_brings_next_to_nothing_each_time_is_given_up(fetch, server):
    server.otherwise = partial(answer, cut=10)
    with pytest.raises(SearchUnavailable, match="in 8 attempts: the connection broke"):
        fetch()
    assert not fetch.target.exists()
    assert fetch.part.read_bytes() == CONTENT[:80]


# --- Versions


def test_a_server_without_ranges_starts_again(fetch, server):
    server.script = [partial(answer, cut=5_000), partial(answer, ranges=False)]
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_a_server_without_ranges_that_always_cuts_is_given_up(fetch, server):
    server.otherwise = partial(answer, cut=60_000, ranges=False)
    with pytest.raises(SearchUnavailable, match="8 attempts"):
        fetch()
    assert not fetch.target.exists()


def test_the_same_beginning_again_is_no_gain(fetch, server, monkeypatch):
    monkeypatch.setattr(download, "GAIN_BYTES", 1)
    cuts = [partial(answer, cut=size, ranges=False) for size in (60_000, 10_000)]
    server.script = cuts * 50
    with pytest.raises(SearchUnavailable, match="8 attempts"):
        fetch()


@pytest.mark.parametrize("compares", [True, False])
@pytest.mark.parametrize("other", [OTHER, CONTENT[::-1]])
def test_a_file_that_changes_midway_is_the_new_one(fetch, server, compares, other):
    changed = partial(answer, body=other, etag='"2"', compares=compares)
    server.script = [partial(answer, cut=5_000)]
    server.otherwise = changed
    fetch()
    assert fetch.target.read_bytes() == other


def test_a_rest_of_another_length_is_not_sewn_on(fetch, server):
    """The server sends the same ETag for another file."""
    server.script = [partial(answer, cut=5_000), partial(answer, body=OTHER)]
    fetch()
    assert fetch.target.read_bytes() == CONTENT


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_rest_from_another_place_is_not_sewn_on(fetch, server, shift):
    server.script = [partial(answer, cut=5_000), partial(answer, shift=shift)]
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def now() -> str:
    return formatdate(usegmt=True)


@pytest.mark.parametrize(
    "headers",
    [dict, lambda: {"ETag": 'W/"1"'}, lambda: {"Last-Modified": now()}],
    ids=["none", "weak", "just changed"],
)
def test_without_a_strong_validator_a_cut_file_starts_again(fetch, server, headers):
    plain = partial(answer, etag=None, headers=headers())
    server.script = [partial(plain, cut=5_000)]
    server.otherwise = plain
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(server) == [None, None]


def test_a_time_of_change_long_ago_is_a_validator(fetch, server):
    plain = partial(answer, etag=None, headers={"Last-Modified": LONG_AGO})
    server.script = [partial(plain, cut=5_000)]
    server.otherwise = plain
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert server.asked[1].headers["If-Range"] == LONG_AGO


# --- Lengths


def test_416_at_the_end_of_a_file_of_unknown_length_means_it_is_whole(fetch, server):
    server.script = [partial(answer, cut=len(CONTENT), chunked=True)]
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(server) == [None, f"bytes={len(CONTENT)}-"]


def test_416_in_the_middle_starts_again(fetch, server):
    server.script = [
        partial(answer, cut=95_000),
        partial(status, code=416, Content_Range="bytes */90000"),
    ]
    fetch()
    assert fetch.target.read_bytes() == CONTENT


@pytest.mark.parametrize("span", ["bytes */5000", "bytes */*", "nonsense"])
def test_416_again_and_again_is_given_up(fetch, server, span):
    server.script = [partial(answer, cut=5_000)]
    server.otherwise = lambda handler: (
        status(handler, 416, **{"Content-Range": span})
        if handler.headers["Range"]
        else answer(handler, cut=5_000)
    )
    with pytest.raises(SearchUnavailable, match="shorter"):
        fetch()
    assert not fetch.target.exists()


def test_a_length_that_is_too_long_is_never_believed(fetch, server):
    server.otherwise = partial(answer, longer=100)
    with pytest.raises(SearchUnavailable, match="8 attempts"):
        fetch()
    assert not fetch.target.exists()


def test_a_rest_longer_than_stated_is_not_taken(fetch, server):
    def too_much(handler: Handler) -> None:
        handler.send_response(206)
        handler.send_header("ETag", '"1"')
        handler.send_header("Content-Range", "bytes 5000-99999/100000")
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.wfile.write(CONTENT)

    server.script = [partial(answer, cut=5_000), too_much]
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_a_length_that_is_too_short_is_found_out_by_the_checksum(fetch, server):
    """HTTP cannot detect it; without a checksum the file format does."""
    server.otherwise = partial(answer, longer=-10)
    with pytest.raises(ShardUnreadable, match="has the sha256"):
        fetch(sha256=sha256(CONTENT).hexdigest())
    assert names(fetch.target.parent) == []


def test_a_file_without_length_is_refused(fetch, server):
    def endless(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + CONTENT)
        handler.close_connection = True

    server.script = [endless]
    with pytest.raises(ShardUnreadable, match="how long"):
        fetch()


def test_a_packed_file_is_refused(fetch, server):
    server.script = [partial(answer, headers={"Content-Encoding": "gzip"})]
    with pytest.raises(ShardUnreadable, match="packed"):
        fetch()


def test_a_file_with_the_right_checksum_is_taken(fetch):
    assert fetch(sha256=sha256(CONTENT).hexdigest().upper())
    assert fetch.target.read_bytes() == CONTENT


# --- Redirects and refusals


def test_five_redirects_are_followed_and_the_rest_still_asked_for(fetch, server):
    hops = [partial(redirect, f"/hop{i}") for i in range(4)] + [
        partial(redirect, "/file")
    ]
    server.script = [partial(answer, cut=5_000), *hops]
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(server)[-1] == "bytes=5000-"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/file", "redirects too often"),
        ("ftp://127.0.0.1/file", "no http or https address"),
        ("file:///etc/passwd", "no http or https address"),
        ("http://[::1/", "no http or https address"),
    ],
)
def test_redirects_in_a_circle_or_elsewhere_are_refused(fetch, server, target, reason):
    server.otherwise = partial(redirect, target)
    with pytest.raises(ShardUnreadable, match=reason):
        fetch()
    assert len(server.asked) <= 6
    assert names(fetch.target.parent) == []


@pytest.mark.parametrize("code", [204, 304, 401, 403, 404, 410])
def test_what_no_further_attempt_would_change_is_asked_once(fetch, server, code):
    server.otherwise = partial(status, code=code)
    with pytest.raises(ShardUnreadable, match=f"answers {code} for http://127"):
        fetch()
    assert len(server.asked) == 1


def test_an_address_is_shown_without_its_signature(server, tmp_path):
    with pytest.raises(ShardUnreadable) as raised:
        Download(f"{server.base}/none?key=secret", tmp_path / "file").run()
    assert "/none" in raised.value.message and "secret" not in raised.value.message


# --- Pauses


def test_a_server_that_limits_is_waited_for(fetch, server):
    server.script = [
        partial(status, code=429, Retry_After="7"),
        partial(status, code=503),
        partial(status, code=503, Retry_After="nonsense"),
        partial(status, code=500),
    ]
    calls = []
    fetch(progress=lambda *_: calls.append(sum(fetch.slept)))
    assert fetch.target.read_bytes() == CONTENT
    waited = sum(fetch.slept)
    assert 7 + (2 + 4 + 8) / 2 <= waited <= 7 + 2 + 4 + 8
    assert max(fetch.slept) <= 1  # and between them the run is told
    assert len(calls) > waited


def test_a_date_to_wait_for_is_understood_and_no_pause_is_endless(fetch, server):
    soon = formatdate(time.time() + 30, usegmt=True)
    server.script = [partial(status, code=429, Retry_After=soon)]
    fetch()
    assert 25 < sum(fetch.slept) <= 30
    for far in ("86400", "9" * 400, formatdate(time.time() + 86400, usegmt=True)):
        fetch.target.unlink()
        fetch.slept.clear()
        server.script = [partial(status, code=503, Retry_After=far)]
        fetch()
        assert sum(fetch.slept) == pytest.approx(download.MAX_RETRY_AFTER_S)


def test_a_date_in_the_past_is_no_pause(fetch, server):
    server.script = [partial(status, code=503, Retry_After=LONG_AGO)]
    fetch()
    assert sum(fetch.slept) <= 1


def test_a_server_that_limits_for_ever_is_given_up(fetch, server):
    server.otherwise = partial(status, code=429)
    with pytest.raises(SearchUnavailable, match="8 attempts: the server answers 429"):
        fetch()
    assert sum(fetch.slept) <= 1 + 2 + 4 + 8 + 16 + 32 + 60


def test_a_server_that_is_silent_or_slams_the_door_is_asked_again(
    fetch, server, monkeypatch
):
    monkeypatch.setattr(download, "TIMEOUT", urllib3.Timeout(connect=5, read=0.3))
    server.script = [silence, slam]
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_a_server_that_stops_in_the_middle_is_asked_for_the_rest(
    fetch, server, monkeypatch
):
    monkeypatch.setattr(download, "TIMEOUT", urllib3.Timeout(connect=5, read=0.3))
    server.script = [partial(answer, drip=(60_000, 2))]
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(server)[:2] == [None, "bytes=60000-"]


def test_a_server_that_drips_is_given_up(fetch, server, monkeypatch):
    monkeypatch.setattr(download, "SLOW_S", 0.1)
    server.otherwise = partial(answer, drip=(1, 0.01))
    with pytest.raises(SearchUnavailable, match="sends almost nothing"):
        fetch()
    assert not fetch.target.exists()


def test_a_slow_server_is_not_one_that_drips(fetch, server, monkeypatch):
    monkeypatch.setattr(download, "SLOW_S", 0.05)
    monkeypatch.setattr(download, "SLOW_BYTES", 100)
    server.otherwise = partial(answer, drip=(10_000, 0.03))
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_server_that_is_away_and_comes_back_is_found(tmp_path):
    first = Server()
    port = first.server_address[1]
    first.stop()
    back = []

    def sleep(seconds: float) -> None:
        if not back:
            back.append(Server(port))

    Download(f"{first.base}/file", tmp_path / "file", sleep=sleep).run()
    back[0].stop()
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_server_that_stays_away_is_said_to(fetch, server):
    server.stop()
    with pytest.raises(SearchUnavailable, match="takes no connection"):
        fetch()


# --- Stopping, and going on in another run


@pytest.mark.parametrize("size", [1, 50_000])
def test_a_cancelled_download_is_gone_on_with(fetch, server, size):
    with pytest.raises(Cancelled):
        fetch(progress=cancelling_at(size))
    stored = fetch.part.read_bytes()
    assert stored and CONTENT.startswith(stored) and not fetch.target.exists()
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(server) == [None, f"bytes={len(stored)}-"]


def test_a_download_cancelled_in_a_pause_is_gone_on_with(fetch, server):
    server.script = [partial(answer, cut=5_000), partial(status, code=503)]

    def progress(done: int, total: int | None) -> None:
        if fetch.slept:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch(progress=progress)
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(server)[1] == "bytes=5000-"


def test_a_run_that_is_stopped_at_the_end_does_not_name_the_file(
    fetch, server, monkeypatch
):
    """The last call is made even right after the one before."""
    monkeypatch.setattr(download, "PIECE_BYTES", 10_000)
    monkeypatch.setattr(download, "REPORT_S", 3_600)
    with pytest.raises(Cancelled):
        fetch(progress=cancelling_at(len(CONTENT)))
    assert not fetch.target.exists()
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_bytes_that_nobody_vouched_for_are_fetched_again(fetch, server):
    """Bytes after the last note, as a killed process or a power failure leaves them."""
    with pytest.raises(Cancelled):
        fetch(progress=cancelling_at(50_000))
    stored = fetch.part.stat().st_size
    with fetch.part.open("ab") as file:
        file.write(bytes(20_000))
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(server)[1] == f"bytes={stored}-"


@pytest.mark.parametrize("note", ["", "{", "null", None])
def test_a_part_without_a_note_starts_again(fetch, server, note):
    with pytest.raises(Cancelled):
        fetch(progress=cancelling_at(50_000))
    path = fetch.part.with_name("file.npy.part.json")
    path.unlink()
    if note is not None:
        path.write_text(note)
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(server) == [None, None]


def test_a_part_of_another_address_starts_again(fetch, server):
    with pytest.raises(Cancelled):
        fetch(progress=cancelling_at(50_000))
    server.files["/other"] = OTHER
    Download(f"{server.base}/other", fetch.target).run()
    assert fetch.target.read_bytes() == OTHER
    assert ranges(server) == [None, None]


def test_a_process_killed_while_it_restarts_mixes_no_versions(
    fetch, server, monkeypatch
):
    """The note of the old version must not apply to bytes of the new one."""
    with pytest.raises(Cancelled):
        fetch(progress=cancelling_at(80_000))
    server.otherwise = partial(answer, body=OTHER, etag='"2"')
    with monkeypatch.context() as killed, pytest.raises(Cancelled):
        killed.setattr(PartialFile, "__exit__", lambda file, *_: file._file.close())
        fetch(progress=cancelling_at(30_000))
    server.otherwise = answer  # back to the first version
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_a_file_that_is_there_is_fetched_again_only_if_it_changed(fetch, server):
    first = fetch()
    assert fetch() == first
    assert server.asked[1].headers["If-None-Match"] == '"1"'
    assert names(fetch.target.parent) == ["file.npy", "file.npy.json"]
    server.otherwise = partial(answer, body=OTHER, etag='"2"')
    assert fetch() == sha256(OTHER).hexdigest()
    assert fetch.target.read_bytes() == OTHER


def test_a_file_that_was_touched_is_fetched_again(fetch, server):
    fetch()
    fetch.target.write_bytes(CONTENT[::-1])
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_a_file_that_has_another_checksum_than_wanted_is_fetched_again(fetch, server):
    fetch()
    server.otherwise = partial(answer, body=OTHER)  # by the same ETag
    fetch(sha256=sha256(OTHER).hexdigest())
    assert fetch.target.read_bytes() == OTHER


def test_a_broken_off_change_that_was_none_leaves_the_file_that_is_there(fetch, server):
    first = fetch()
    server.script = [partial(answer, body=OTHER, etag=None, cut=5_000)]
    assert fetch() == first
    assert fetch.target.read_bytes() == CONTENT


# --- Two at once


def test_two_downloads_of_the_same_file_do_not_mix(fetch, server):
    server.otherwise = partial(answer, drip=(10_000, 0.01))
    failed = []

    def run() -> None:
        try:
            fetch()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert fetch.target.read_bytes() == CONTENT
    assert names(fetch.target.parent) == ["file.npy", "file.npy.json"]


def test_a_run_thought_dead_neither_blocks_nor_spoils_another(fetch, server):
    """One stalls halfway; another starts and finishes; the first one continues."""
    reports = []

    def stalled(done: int, total: int | None) -> None:
        if done >= 50_000 and not reports:
            reports.append(fetch())
            partial_file.discard(fetch.target)
            assert names(fetch.target.parent) == ["file.npy.part", "file.npy.part.json"]
            server.otherwise = partial(answer, body=OTHER, etag='"2"')
            reports.append(fetch())

    assert fetch(progress=stalled) == reports[0]
    assert reports == [sha256(data).hexdigest() for data in (CONTENT, OTHER)]
    assert fetch.target.read_bytes() == CONTENT
    partial_file.discard(fetch.target)
    assert names(fetch.target.parent) == []


def test_a_part_that_was_just_given_its_name_is_not_written_to(fetch, monkeypatch):
    """Another download finishes between our opening of its part and our lock."""
    lock, named = partial_file._lock, fetch.target.with_name("named")

    def late(file) -> bool:
        if not named.exists():
            fetch.part.rename(named)
        return lock(file)

    monkeypatch.setattr(partial_file, "_lock", late)
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert named.read_bytes() == b""


# --- The disk


def disk(free: int) -> SimpleNamespace:
    return SimpleNamespace(total=10**12, used=0, free=free)


def test_a_file_that_would_fill_the_disk_is_not_begun(fetch, server, monkeypatch):
    monkeypatch.setattr(partial_file, "RESERVE_BYTES", 4 * 2**30)
    monkeypatch.setattr(
        partial_file.shutil, "disk_usage", lambda _: disk(4 * 2**30 + 99_999)
    )
    with pytest.raises(SearchUnavailable, match="4.3 GB free"):
        fetch()
    assert names(fetch.target.parent) == []


def test_a_length_beyond_all_disks_is_refused(fetch, server):
    server.script = [partial(answer, longer=10**15)]
    with pytest.raises(SearchUnavailable, match="1,000,000.0 GB are needed"):
        fetch()


def test_a_disk_that_fills_up_meanwhile_stops_the_download(fetch, server, monkeypatch):
    frees = iter([10**9, 10**9, 10**9])
    monkeypatch.setattr(download, "PIECE_BYTES", 10_000)
    monkeypatch.setattr(partial_file, "SYNC_BYTES", 20_000)
    monkeypatch.setattr(
        partial_file.shutil, "disk_usage", lambda _: disk(next(frees, 0))
    )
    monkeypatch.setattr(partial_file, "RESERVE_BYTES", 1)
    with pytest.raises(SearchUnavailable, match="0.0 GB free"):
        fetch()
    monkeypatch.setattr(partial_file.shutil, "disk_usage", lambda _: disk(10**9))
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(server)[1]


class FullDisk(io.FileIO):
    """Writes what fits, then raises the error of a full disk."""

    room = 33_333

    def write(self, data) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = super().write(data[: self.room])
        self.room -= written
        return written


def test_a_full_disk_is_said_to_be_full_and_spoils_nothing(fetch, server, monkeypatch):
    def full(target: Path):
        return FullDisk(fetch.part, "a+"), fetch.part

    with monkeypatch.context() as patched:
        patched.setattr(partial_file, "_first_free", full)
        with pytest.raises(SearchUnavailable, match="the disk is full"):
            fetch()
    assert not fetch.target.exists()
    assert fetch.part.stat().st_size == 33_333  # not all of it vouched for
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written_is_said_to_be(server, tmp_path):
    (tmp_path / "work").write_text("a file")
    with pytest.raises(SearchUnavailable, match="cannot be written"):
        Download(f"{server.base}/file", tmp_path / "work" / "file").run()


# --- All of it, in any order


def mishaps(draw: random.Random) -> list[Callable]:
    size = draw.randrange(len(CONTENT))
    other = {"body": OTHER, "etag": '"2"'}
    choices = [
        partial(answer, cut=size),
        partial(answer, cut=size, chunked=True),
        partial(answer, cut=size, ranges=False),
        partial(answer, cut=size % len(OTHER), **other),
        partial(answer, cut=size % len(OTHER), compares=False, **other),
        partial(answer, cut=size, etag=None),
        partial(answer, shift=-1),
        partial(answer, longer=draw.randrange(1, 99)),
        partial(status, code=416, Content_Range=f"bytes */{size}"),
        partial(status, code=503, Retry_After="1"),
        partial(redirect, "/file"),
        slam,
    ]
    return draw.choices(choices, k=draw.randrange(12))


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_the_file_is_right_or_not_there(fetch, server, seed):
    draw = random.Random(seed)
    server.script = mishaps(draw)
    server.otherwise = draw.choice(
        [answer, partial(answer, body=OTHER, etag='"2"'), partial(answer, cut=9)]
    )
    for _ in range(3):
        stop = cancelling_at(draw.randrange(2 * len(CONTENT)))
        try:
            digest = fetch(progress=stop)
        except (SearchError, Cancelled):
            assert not fetch.target.exists()
        else:
            data = fetch.target.read_bytes()
            assert data in (CONTENT, OTHER)
            assert digest == sha256(data).hexdigest()
            break


# --- Shards by their address

ROWS, DIMENSION = 40, 8


def shard_files(folder: Path, number: int, seed: int = 1) -> dict[str, bytes]:
    """Return the three files of a shard by their paths on a server."""
    draw = np.random.default_rng(seed)
    vectors = draw.standard_normal((2, ROWS, DIMENSION)).astype(np.float16)
    named = {"img_emb": vectors[0], "text_emb": vectors[1]}
    files = {}
    for kind, matrix in named.items():
        np.save(folder / "drawn.npy", matrix)
        path = f"/data/{kind}/{kind}_{number}.npy"
        files[path] = (folder / "drawn.npy").read_bytes()
    table = pa.table({"url": ["u"] * ROWS, "caption": [f"c{i}" for i in range(ROWS)]})
    pq.write_table(table, folder / "drawn.parquet")
    metadata = (folder / "drawn.parquet").read_bytes()
    return files | {f"/data/metadata/metadata_{number}.parquet": metadata}


@pytest.fixture
def shards(server, tmp_path):
    """Return a function for sources of shard 3, which is fetched into `folder`."""
    server.files |= shard_files(tmp_path, 3)

    def source(**more) -> LaionUrl:
        return LaionUrl(f"{server.base}/data/", "0-9", shards.folder, **more)

    shards = source
    shards.folder = tmp_path / "work"
    return shards


def test_a_shard_is_fetched_opened_and_deleted(shards):
    reports = []
    source = shards(progress=lambda *progress: reports.append(progress))
    shard = source.open(3, DIMENSION)
    assert (len(shard), len(shard.bad_rows)) == (ROWS, 0)
    size = sum(path.stat().st_size for path in shards.folder.glob("*_3.*[yt]"))
    assert reports[0][1] is None and reports[-1] == (size, size)
    source.discard(3)
    assert names(shards.folder) == []
    batches = list(shard.batches(0))  # the open files are still read
    assert [len(batch.rows) for batch in batches] == [ROWS]
    assert batches[0].table["caption"].to_pylist()[-1] == "c39"


def test_files_are_kept_on_request_and_not_fetched_again(shards, server):
    source = shards(keep_files=True)
    source.open(3, DIMENSION)
    source.discard(3)
    assert len(names(shards.folder)) == 6
    source.open(3, DIMENSION)
    assert all(request.headers["If-None-Match"] for request in server.asked[3:])


def test_the_fingerprint_is_of_the_content_alone(shards, server, tmp_path):
    def opened(**more) -> str:
        source = shards(**more)
        made = source.open(3, DIMENSION).fingerprint
        source.discard(3)
        return made

    first = opened()
    server.otherwise = partial(answer, etag='"another"')
    assert opened() == first
    server.otherwise = partial(answer, etag=None)
    assert opened() == first
    server.files |= shard_files(tmp_path, 3, seed=2)
    assert opened() != first
    assert len(first) <= 64


def test_a_second_run_fetches_only_what_is_missing(shards, server):
    source = shards()
    server.script = [answer, partial(answer, cut=50), *[partial(status, code=404)]]
    with pytest.raises(ShardUnreadable):
        source.open(3, DIMENSION)
    assert names(shards.folder) == []  # broken for good: nothing is left
    source.progress = cancelling_at(2_000)
    with pytest.raises(Cancelled):
        source.open(3, DIMENSION)
    before = len(server.asked)
    source.progress = lambda done, total: None
    assert len(source.open(3, DIMENSION)) == ROWS
    assert server.asked[before].headers["If-None-Match"]


def test_patterns_name_the_files(shards, server):
    for path in [path for path in server.files if "_3." in path]:
        name = path.rpartition("/")[2].replace("_3.", "-0003.")
        server.files[f"/data/all/{name}"] = server.files.pop(path)
    source = shards(
        image="all/img_emb-{n:04d}.npy",
        text="all/text_emb-{n:04d}.npy?download=1",
        metadata="all/metadata-{n:04d}.parquet",
    )
    server.files["/data/all/text_emb-0003.npy?download=1"] = server.files[
        "/data/all/text_emb-0003.npy"
    ]
    assert len(source.open(3, DIMENSION)) == ROWS
    assert source.shards() == list(range(10))


@pytest.mark.parametrize(
    "pattern",
    [
        "img_emb.npy",
        "/img_emb_{n}.npy",
        "../{n}.npy",
        "{n}{m}.npy",
        "{n.__class__}",
        "{n:9999999d}",
        "{n!r}",
        "{n}{{}}",
        "img emb {n}",
        "{n}\r\nHost: elsewhere",
        "{n}#",
        "",
    ],
)
def test_what_is_no_pattern_is_said_to_be_none(pattern, tmp_path):
    with pytest.raises(ShardUnreadable, match="has no {n}|not a path"):
        LaionUrl("http://example.org/", "0", tmp_path, image=pattern)


@pytest.mark.parametrize(
    "base",
    [
        "",
        "example.org/data",
        "file:///etc",
        "ftp://example.org/",
        "http://",
        "http://example.org:port/",
        "http://[::1/",
        "http://user:password@example.org/",
        "http://example.org/?key=1",
        "http://example.org/#top",
        "http://example.org/a b",
    ],
)
def test_what_is_no_base_address_is_said_to_be_none(base, tmp_path):
    with pytest.raises(ShardUnreadable, match="http or https|must have no"):
        LaionUrl(base, "0", tmp_path)


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("img_emb/img_emb_3.npy", b"<html>Log in</html>", "not a .npy file"),
        ("metadata/metadata_3.parquet", b"<html>Log in</html>", "damaged"),
    ],
)
def test_a_page_instead_of_a_file_is_refused(shards, server, path, body, reason):
    server.files[f"/data/{path}"] = body
    with pytest.raises(ShardUnreadable, match=reason):
        shards(keep_files=True).open(3, DIMENSION)
    assert names(shards.folder) == []


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_length_that_is_too_short_is_found_out_by_the_format(shards, server, number):
    server.script = [answer] * number + [partial(answer, longer=-10)]
    with pytest.raises(ShardUnreadable, match="damaged"):
        shards().open(3, DIMENSION)
    assert names(shards.folder) == []


def test_a_shard_that_the_server_lacks_is_refused(shards):
    with pytest.raises(ShardUnreadable, match="404.*metadata_4.parquet"):
        shards().open(4, DIMENSION)


def test_checksums_are_compared_by_path_or_name(shards, server):
    listed = "\n".join(
        f"{sha256(body).hexdigest()}  .{path.removeprefix('/data')}"
        for path, body in server.files.items()
    )
    right = read_checksums(listed)
    assert len(shards(checksums=right).open(3, DIMENSION)) == ROWS
    wrong = {"text_emb_3.npy": sha256(b"").hexdigest()}
    with pytest.raises(ShardUnreadable, match="text_emb_3.npy has the sha256"):
        shards(checksums=wrong).open(3, DIMENSION)


def test_a_list_of_checksums_beside_the_files_is_heeded(
    shards, server, settings, tmp_path
):
    settings.VAR_DIR = tmp_path
    dataset = Dataset(slug="tiny", source=f"{server.base}/data/", shard_range="3")
    assert source_of(dataset).checksums == {}
    folder = tmp_path / "fetched" / "tiny"
    folder.mkdir(parents=True)
    (folder / "sha256sums").write_text(f"{'ab' * 32}  img_emb_3.npy\n")
    with pytest.raises(ShardUnreadable, match="img_emb_3.npy has the sha256"):
        source_of(dataset).open(3, DIMENSION)


def test_what_is_no_list_of_checksums_is_said_to_be_none():
    assert read_checksums(f"{'aB' * 32} *a b.npy\n\n") == {"a b.npy": "ab" * 32}
    with pytest.raises(ShardUnreadable, match="<html>"):
        read_checksums("<html>")
