"""Download a file by HTTP, completely, from a server that an admin has configured.

An attempt that breaks off is followed by another that resumes, if the server still has
the same version (RFC 9110: Range with If-Range). A file that exists is requested on
condition that it has changed. The length is checked, and the sha256 if it is known;
only then does the file get its name.
"""

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Protocol

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    ResponseError,
    SSLError,
)

from search.errors import SearchUnavailable, ShardUnreadable

from .checked_pool import CONNECT_S, CheckedPools
from .partial_file import Finished, Origin, PartialFile, check_room, finished

TEMPORARY = {408, 425, 429}  # and all from 500: a later attempt may succeed
# A Last-Modified is a strong validator if it is this much older than the response: RFC
# 7232, 2.2.2; its successor, RFC 9110, requires one second only.
SETTLED_S = 60
STRONG_ETAG = re.compile(r'"[^"\s]*"')
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", re.ASCII)
# The longest time between two calls of `progress`; a timeout costs little, since the
# next attempt resumes.
TIMEOUT = urllib3.Timeout(connect=CONNECT_S, read=20)
REDIRECTS = urllib3.Retry(
    total=None,
    connect=False,
    read=False,
    other=0,
    status=0,
    redirect=5,
    respect_retry_after_header=False,  # `_pause` does
)
# In a row; with pauses of 1, 2, 4 … 60 s they outlast the restart of a server.
ATTEMPTS = 8
MAX_PAUSE_S = 60
MAX_RETRY_AFTER_S = 600  # no server blocks a worker for longer
GAIN_BYTES = 2**20  # an attempt that fetches so much has not failed
SLOW_S, SLOW_BYTES = 60, 2**16  # under 1 KB/s a connection counts as broken
PIECE_BYTES = 2**18
REPORT_S = 1.0  # between two calls of `progress`, which may write to a database
# Of failed attempts, by urllib3's error.
REASONS = {
    NameResolutionError: "its host has no address",
    NewConnectionError: "the server takes no connection",
    ConnectTimeoutError: "the server takes no connection",
    ReadTimeoutError: "the server fell silent",
    SSLError: "the connection is not secure",
}

Headers = Mapping[str, str]
Progress = Callable[[int, int | None], None]  # bytes done, bytes in all if known


class Interrupted(Exception):
    """An attempt has failed; one after `pause_s` or longer may succeed."""

    def __init__(self, reason: str, pause_s: float = 0):
        super().__init__(reason)
        self.pause_s = pause_s


class Response(Protocol):
    """An HTTP response whose body was not read yet."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def chunked(self) -> bool: ...

    @property
    def length_remaining(self) -> int | None: ...


def accept(response: Response, file: PartialFile, url: str) -> None:
    """Prepare a partial file for the body of a response.

    Raises Interrupted where another attempt may succeed, ShardUnreadable otherwise.
    """
    status, headers = response.status, response.headers
    if status in TEMPORARY or status >= 500:
        raise Interrupted(f"the server answers {status}", retry_after_s(headers))
    if status == 200:
        file.restart(Origin(url, validator(headers), _length(response, url)))
    elif status == 206 and file.done:
        _resume(file, headers)
    elif status == 416 and file.done:
        _complete(file, headers)
    else:
        raise ShardUnreadable(f"The server answers {status} for {without_query(url)}.")
    if file.origin.total is not None:
        check_room(file.path.parent, file.origin.total - file.done)


def validator(headers: Headers) -> str:
    """Return the strong validator of a response (RFC 9110, 8.8), or ''."""
    etag = headers.get("ETag", "")
    if STRONG_ETAG.fullmatch(etag):
        return etag
    modified = headers.get("Last-Modified", "")
    changed, sent = _timestamp(modified), _timestamp(headers.get("Date", ""))
    if changed is None or sent is None or sent - changed < SETTLED_S:
        return ""
    return modified


def retry_after_s(headers: Headers) -> float:
    """Return the seconds of a Retry-After header, 0 without one."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    timestamp = _timestamp(text)
    return 0 if timestamp is None else max(0, timestamp - time.time())


def without_query(url: str) -> str:
    """Return a URL for messages: a query may contain a signature."""
    return url.partition("?")[0]


def _length(response: Response, url: str) -> int | None:
    """Return the length of the body, None for a chunked one. Raises ShardUnreadable."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise ShardUnreadable(
            f"{without_query(url)} comes packed ({encoding}), unasked."
        )
    if response.length_remaining is None and not response.chunked:
        # Its end cannot be distinguished from a broken connection.
        raise ShardUnreadable(
            f"The server does not say how long {without_query(url)} is."
        )
    return response.length_remaining


def _resume(file: PartialFile, headers: Headers) -> None:
    """Accept the rest of a file; raises Interrupted for that of another version."""
    origin = file.origin
    start, total = _content_range(headers)
    name = "ETag" if origin.validator.startswith('"') else "Last-Modified"
    same_version = headers.get(name, origin.validator) == origin.validator
    total = origin.total if total is None else total  # a server may omit it
    same_total = total is not None and origin.total in (None, total)
    if not (same_version and same_total and start == file.done):
        file.restart(Origin(origin.url))
        raise Interrupted("the file has changed on the server")
    file.origin = replace(origin, total=total)


def _complete(file: PartialFile, headers: Headers) -> None:
    """Accept that there is no rest, if the length was unknown; else Interrupted."""
    _, total = _content_range(headers)
    if file.origin.total is not None or total != file.done:
        file.restart(Origin(file.origin.url))
        raise Interrupted("the file has become shorter on the server")
    file.origin = replace(file.origin, total=total)


def _content_range(headers: Headers) -> tuple[int | None, int | None]:
    """Return where the body starts, and the length of the file."""
    match = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if not match:
        return None, None
    return _number(match[1]), _number(match[2])


def _number(digits: str | None) -> int | None:
    # 19 digits are more than any disk holds.
    return int(digits) if digits and digits.isdecimal() and len(digits) < 19 else None


def _timestamp(text: str) -> float | None:
    """Parse an HTTP date into seconds since 1970."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):  # no date, or one out of range
        return None


class Download:
    """The download of a file from `url` to `target`.

    `progress` is called about every second, or after a timeout at the latest; what it
    raises ends the run, and the bytes fetched stay for the next one.
    """

    def __init__(
        self,
        url: str,
        target: Path,
        sha256: str = "",
        progress: Progress = lambda done, total: None,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.url, self.target, self.sha256 = url, target, sha256.lower()
        self._progress, self._sleep = progress, sleep
        self._reported = 0.0

    def run(self) -> str:
        """Fetch the file to `target`; return its sha256.

        Raises SearchUnavailable when the server fails too often, or the disk;
        ShardUnreadable for a response that no other attempt would change.
        """
        with PartialFile(self.target) as file, CheckedPools() as pool:
            earlier = self._earlier_file(file)
            failures, max_done = 0, file.done
            while not file.is_complete:
                try:
                    if current := self._attempt(pool, file, earlier):
                        return current.sha256
                except Interrupted as error:
                    progressed = file.done - max_done >= GAIN_BYTES
                    failures = 1 if progressed else failures + 1
                    max_done = max(max_done, file.done)
                    self._pause(file, failures, error)
            return self._finish(file)

    def _earlier_file(self, file: PartialFile) -> Finished | None:
        """Return the file of an earlier run, if it may be used; forget other parts."""
        if file.origin.url != self.url:
            file.restart(Origin(self.url))
        earlier = finished(self.target)
        if earlier is None or self.sha256 not in ("", earlier.sha256):
            return None
        usable = earlier.origin.url == self.url and earlier.origin.validator
        return earlier if usable else None

    def _attempt(
        self, pool: urllib3.PoolManager, file: PartialFile, earlier: Finished | None
    ) -> Finished | None:
        """Fetch the file or its rest; return the earlier file if it is current."""
        headers = self._condition(file, earlier)
        with _http_errors(self.url), closing(self._request(pool, headers)) as response:
            if response.status == 304 and earlier and not file.done:
                self._report(earlier.origin.total or 0, earlier.origin.total)
                return earlier
            accept(response, file, self.url)
            if not file.is_complete:
                self._receive(file, response)
        return None

    def _condition(self, file: PartialFile, earlier: Finished | None) -> dict[str, str]:
        """Return headers for the rest of this version, or for another version."""
        if file.done and file.origin.validator:
            return {
                "Range": f"bytes={file.done}-",
                "If-Range": file.origin.validator,
            }
        if file.done:  # of an unknown version
            file.restart(Origin(self.url))
        if not earlier:
            return {}
        validator = earlier.origin.validator
        name = "If-None-Match" if validator.startswith('"') else "If-Modified-Since"
        return {name: validator}

    def _request(
        self, pool: urllib3.PoolManager, condition: dict[str, str]
    ) -> urllib3.BaseHTTPResponse:
        headers = {"User-Agent": "laionweb", "Accept-Encoding": "identity"}
        try:
            return pool.request(
                "GET",
                self.url,
                headers=headers | condition,
                preload_content=False,
                decode_content=False,
                retries=REDIRECTS,
                timeout=TIMEOUT,
            )
        except ValueError as error:  # urllib3's LocationValueError is one
            raise ShardUnreadable(
                f"{without_query(self.url)} is, or leads to, no http or https address."
            ) from error

    def _receive(self, file: PartialFile, response: urllib3.BaseHTTPResponse) -> None:
        bytes_before, since = file.done, time.monotonic()
        while data := response.read1(PIECE_BYTES):
            file.write(data)
            self._report(file.done, file.origin.total)
            if time.monotonic() - since > SLOW_S:
                if file.done - bytes_before < SLOW_BYTES:
                    raise Interrupted("the server sends almost nothing")
                bytes_before, since = file.done, time.monotonic()
        if file.origin.total is None:  # chunked, and the last chunk has come
            file.origin = replace(file.origin, total=file.done)
        if not file.is_complete:
            raise Interrupted("the server sends another length than it says")

    def _pause(self, file: PartialFile, failures: int, error: Interrupted) -> None:
        if failures >= ATTEMPTS:
            raise SearchUnavailable(
                f"{without_query(self.url)} could not be fetched in {failures} "
                f"attempts: {error}."
            ) from error
        pause_s = min(2 ** (failures - 1), MAX_PAUSE_S) * random.uniform(0.5, 1)
        left_s = max(pause_s, min(error.pause_s, MAX_RETRY_AFTER_S))
        while left_s > 0:
            self._progress(file.done, file.origin.total)
            self._sleep(min(left_s, 1))
            left_s -= 1

    def _finish(self, file: PartialFile) -> str:
        digest = hashlib.sha256()
        for data in file.read(PIECE_BYTES):
            digest.update(data)
            self._report(file.done, file.origin.total)
        if self.sha256 not in ("", digest.hexdigest()):
            file.restart(Origin(self.url))
            raise ShardUnreadable(
                f"{without_query(self.url)} has the sha256 {digest.hexdigest()} "
                f"and not {self.sha256}."
            )
        # The last chance to stop: a run that lost its lease must not name the file.
        self._progress(file.done, file.origin.total)
        file.finish(digest.hexdigest())
        return digest.hexdigest()

    def _report(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._reported >= REPORT_S:
            self._reported = now
            self._progress(done, total)


@contextmanager
def _http_errors(url: str) -> Iterator[None]:
    """Raise Interrupted or ShardUnreadable for urllib3's errors."""
    try:
        yield
    except HTTPError as error:
        cause = error.reason if isinstance(error, MaxRetryError) else error
        if isinstance(cause, ResponseError):
            raise ShardUnreadable(
                f"{without_query(url)} redirects too often."
            ) from error
        reason = REASONS.get(type(cause), "the connection broke off")
        raise Interrupted(reason) from error
