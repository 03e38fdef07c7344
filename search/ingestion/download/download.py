"""One file by HTTP, from a server that an admin has named: whole, or not at all.

An attempt that breaks off is followed by another one that goes on where it ended, if
the server still has the same version (RFC 9110: Range with If-Range). A file that is
there already is asked for on condition that it has changed. Lengths are compared, and
the sha256 where one is given; only then does the file get its name.
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

from .partial_file import Finished, Origin, PartialFile, check_room, finished

BUSY = {408, 425, 429}  # and all from 500: a later attempt may succeed
# A Last-Modified is a strong validator if it is this much older than the answer: RFC
# 7232, 2.2.2; its successor, RFC 9110, asks for one second only.
SETTLED_S = 60
STRONG_ETAG = re.compile(r'"[^"\s]*"')
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", re.ASCII)

Headers = Mapping[str, str]


class Interrupted(Exception):
    """An attempt has failed; the next one, after `pause_s` or longer, may not."""

    def __init__(self, reason: str, pause_s: float = 0):
        super().__init__(reason)
        self.pause_s = pause_s


class Response(Protocol):
    """An HTTP response before its body was read."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def chunked(self) -> bool: ...

    @property
    def length_remaining(self) -> int | None: ...


def accept(answer: Response, file: PartialFile, url: str) -> None:
    """Makes a part ready for the body that follows, if it is not whole already.

    Raises Interrupted when another attempt may bring more, ShardUnreadable otherwise.
    """
    status, headers = answer.status, answer.headers
    if status in BUSY or status >= 500:
        raise Interrupted(f"the server answers {status}", retry_after_s(headers))
    if status == 200:
        file.restart(Origin(url, validator(headers), _length(answer, url)))
    elif status == 206 and file.done:
        _go_on(file, headers)
    elif status == 416 and file.done:
        _end(file, headers)
    else:
        raise ShardUnreadable(f"The server answers {status} for {shown_url(url)}.")
    if file.origin.total is not None:
        check_room(file.path.parent, file.origin.total - file.done)


def validator(headers: Headers) -> str:
    """What names this version of a file beyond doubt; empty if nothing does."""
    etag = headers.get("ETag", "")
    if STRONG_ETAG.fullmatch(etag):
        return etag
    modified = headers.get("Last-Modified", "")
    changed, answered = _moment(modified), _moment(headers.get("Date", ""))
    if changed is None or answered is None or answered - changed < SETTLED_S:
        return ""
    return modified


def retry_after_s(headers: Headers) -> float:
    """Seconds until the server wants to be asked again; 0 if it does not say."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    moment = _moment(text)
    return 0 if moment is None else max(0, moment - time.time())


def shown_url(url: str) -> str:
    """Without its query, which may hold a signature."""
    return url.partition("?")[0]


def _length(answer: Response, url: str) -> int | None:
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise ShardUnreadable(f"{shown_url(url)} comes packed ({encoding}), unasked.")
    if answer.length_remaining is None and not answer.chunked:
        # Its end would look like a connection that breaks off.
        raise ShardUnreadable(f"The server does not say how long {shown_url(url)} is.")
    return answer.length_remaining


def _go_on(file: PartialFile, headers: Headers) -> None:
    """The answer is the rest, if it is the rest of this version from this place on."""
    origin = file.origin
    start, total = _content_range(headers)
    name = "ETag" if origin.validator.startswith('"') else "Last-Modified"
    same = headers.get(name, origin.validator) == origin.validator
    total = origin.total if total is None else total  # a server need not repeat it
    known = total is not None and origin.total in (None, total)
    if not (same and known and start == file.done):
        file.restart(Origin(origin.url))
        raise Interrupted("the file has changed on the server")
    file.origin = replace(origin, total=total)


def _end(file: PartialFile, headers: Headers) -> None:
    """There is no rest: all is here, if its length was not known before."""
    _, total = _content_range(headers)
    if file.origin.total is not None or total != file.done:
        file.restart(Origin(file.origin.url))
        raise Interrupted("the file has become shorter on the server")
    file.origin = replace(file.origin, total=total)


def _content_range(headers: Headers) -> tuple[int | None, int | None]:
    """Where the body starts, and how long the whole file is."""
    match = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if not match:
        return None, None
    return _number(match[1]), _number(match[2])


def _number(digits: str | None) -> int | None:
    # A length of 19 digits would be more than any disk holds.
    return int(digits) if digits and digits.isdecimal() and len(digits) < 19 else None


def _moment(text: str) -> float | None:
    """An HTTP date as seconds since 1970."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):  # no date, or none that a clock can show
        return None


# The longest silence between two calls of `progress`; an attempt that is broken off
# for it costs little, since the next one goes on.
TIMEOUT = urllib3.Timeout(connect=10, read=20)
REDIRECTS = urllib3.Retry(
    total=None,
    connect=False,
    read=False,
    other=0,
    status=0,
    redirect=5,
    respect_retry_after_header=False,  # the pauses are ours
)
# Eight in a row: with pauses of 1, 2, 4 … 60 s they outlast the restart of a server.
ATTEMPTS = 8
MAX_PAUSE_S = 60
MAX_RETRY_AFTER_S = 600  # a worker is not held for longer because a server says so
GAIN_BYTES = 2**20  # an attempt that brings so much has not failed
SLOW_S, SLOW_BYTES = 60, 2**16  # under 1 KB/s a connection counts as broken
PIECE_BYTES = 2**18
REPORT_S = 1.0  # between two calls of `progress`, which may write to a database
# What is said of a failed attempt; any other one broke off in the middle.
REASONS = {
    NameResolutionError: "its host has no address",
    NewConnectionError: "the server takes no connection",
    ConnectTimeoutError: "the server takes no connection",
    ReadTimeoutError: "the server fell silent",
    SSLError: "the connection is not secure",
}

Progress = Callable[[int, int | None], None]  # bytes done, bytes in all if known


class Download:
    """A file at `url`, to lie at `target`.

    `progress` is called about every second, and at the longest after the timeouts; what
    it raises ends the run, and what has arrived is kept for the next one.
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
        """The sha256 of the file, which is at `target` now.

        Raises SearchUnavailable when the server or the disk fails for too long, and
        ShardUnreadable when it answers what no further attempt would change.
        """
        with PartialFile(self.target) as file, urllib3.PoolManager() as pool:
            there = self._there(file)
            failures, most = 0, file.done
            while not file.whole:
                try:
                    if kept := self._attempt(pool, file, there):
                        return kept.sha256
                except Interrupted as error:
                    failures = 1 if file.done - most >= GAIN_BYTES else failures + 1
                    most = max(most, file.done)
                    self._pause(file, failures, error)
            return self._finish(file)

    def _there(self, file: PartialFile) -> Finished | None:
        """The file as an earlier run has left it; what is of no use is forgotten."""
        if file.origin.url != self.url:
            file.restart(Origin(self.url))
        there = finished(self.target)
        if there is None or self.sha256 not in ("", there.sha256):
            return None
        usable = there.origin.url == self.url and there.origin.validator
        return there if usable else None

    def _attempt(
        self, pool: urllib3.PoolManager, file: PartialFile, there: Finished | None
    ) -> Finished | None:
        """The file that is there, if it is still the server's."""
        condition = self._condition(file, there)
        with _translated(self.url), closing(self._asked(pool, condition)) as response:
            if response.status == 304 and there and not file.done:
                self._report(there.origin.total or 0, there.origin.total)
                return there
            accept(response, file, self.url)
            if not file.whole:
                self._receive(file, response)
        return None

    def _condition(self, file: PartialFile, there: Finished | None) -> dict[str, str]:
        """What is asked for: the rest of this version, or the file if it is new."""
        if file.done and file.origin.validator:
            return {
                "Range": f"bytes={file.done}-",
                "If-Range": file.origin.validator,
            }
        if file.done:  # of which version, nobody can tell
            file.restart(Origin(self.url))
        if not there:
            return {}
        validator = there.origin.validator
        name = "If-None-Match" if validator.startswith('"') else "If-Modified-Since"
        return {name: validator}

    def _asked(
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
        except ValueError as error:  # urllib3's own is one, too
            raise ShardUnreadable(
                f"{shown_url(self.url)} is, or leads to, no http or https address."
            ) from error

    def _receive(self, file: PartialFile, response: urllib3.BaseHTTPResponse) -> None:
        marked, since = file.done, time.monotonic()
        while data := response.read1(PIECE_BYTES):
            file.write(data)
            self._report(file.done, file.origin.total)
            if time.monotonic() - since > SLOW_S:
                if file.done - marked < SLOW_BYTES:
                    raise Interrupted("the server sends almost nothing")
                marked, since = file.done, time.monotonic()
        if file.origin.total is None:  # its pieces had an end
            file.origin = replace(file.origin, total=file.done)
        if not file.whole:
            raise Interrupted("the server sends another length than it says")

    def _pause(self, file: PartialFile, failures: int, error: Interrupted) -> None:
        if failures >= ATTEMPTS:
            raise SearchUnavailable(
                f"{shown_url(self.url)} could not be fetched in {failures} attempts: "
                f"{error}."
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
                f"{shown_url(self.url)} has the sha256 {digest.hexdigest()} and not "
                f"{self.sha256}."
            )
        # The last chance to stop: a run that lost its claim must not name the file.
        self._progress(file.done, file.origin.total)
        file.finish(digest.hexdigest())
        return digest.hexdigest()

    def _report(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._reported >= REPORT_S:
            self._reported = now
            self._progress(done, total)


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except HTTPError as error:
        cause = error.reason if isinstance(error, MaxRetryError) else error
        if isinstance(cause, ResponseError):
            raise ShardUnreadable(f"{shown_url(url)} redirects too often.") from error
        reason = REASONS.get(type(cause), "the connection broke off")
        raise Interrupted(reason) from error
