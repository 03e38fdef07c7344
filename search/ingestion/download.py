"""One file by HTTP, from a server that an admin has named: whole, or not at all.

An attempt that breaks off is followed by another one that goes on where it ended, if
the server still has the same version (RFC 9110: Range with If-Range). A file that is
there already is asked for on condition that it has changed. Lengths are compared, and
the sha256 where one is given; only then does the file get its name.
"""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

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

from .answer import Interrupted, accept, shown
from .partial_file import Finished, Origin, PartialFile, finished

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
LONGEST_PAUSE_S = 60
LONGEST_RETRY_AFTER_S = 600  # a worker is not held for longer because a server says so
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
                f"{shown(self.url)} is, or leads to, no http or https address."
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
                f"{shown(self.url)} could not be fetched in {failures} attempts: "
                f"{error}."
            ) from error
        pause_s = min(2 ** (failures - 1), LONGEST_PAUSE_S) * random.uniform(0.5, 1)
        left_s = max(pause_s, min(error.pause_s, LONGEST_RETRY_AFTER_S))
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
                f"{shown(self.url)} has the sha256 {digest.hexdigest()} and not "
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
            raise ShardUnreadable(f"{shown(url)} redirects too often.") from error
        reason = REASONS.get(type(cause), "the connection broke off")
        raise Interrupted(reason) from error
