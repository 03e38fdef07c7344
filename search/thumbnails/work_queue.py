"""A small thread pool for fetching images, limited per host.

Submitting a key that is in progress returns its future. Jobs for a busy host wait while
those for other hosts overtake them.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from search.errors import CannotFetch, SearchUnavailable

MAX_PER_HOST = 3
MAX_JOBS = 300  # some pages of images
TOO_MANY = "Too many images are being fetched at the moment; please try again."
MAX_FAILURES = 3  # failures in a row
PAUSE_S = 600
MAX_HOSTS = 10_000  # whose failures are counted


class InProgress(SearchUnavailable):
    retry_after_s = 1


@dataclass
class Job:
    host: str
    work: Callable[[], Any]
    future: Future = field(default_factory=Future)
    running: bool = False


class FetchQueue:
    """Jobs by key, run by up to `threads` threads, up to `per_host` for one host."""

    def __init__(self, threads: int, per_host: int = MAX_PER_HOST):
        self.threads = threads
        self.per_host = per_host
        self._jobs: dict[str, Job] = {}
        self._busy: Counter[str] = Counter()
        self._started = 0
        self._changed = threading.Condition()

    def submit(self, key: str, host: str, work: Callable[[], Any]) -> Future:
        """Return the future of the job with this key, which may exist already.

        Raises InProgress if MAX_JOBS others wait.
        """
        with self._changed:
            job = self._jobs.get(key)
            if job is None:
                if len(self._jobs) >= MAX_JOBS:
                    raise InProgress(TOO_MANY)
                job = self._jobs[key] = Job(host, work)
                if self._started < min(self.threads, len(self._jobs)):
                    self._started += 1
                    threading.Thread(target=self._serve, daemon=True).start()
                self._changed.notify()
            return job.future

    def _serve(self) -> None:
        while True:
            with self._changed:
                while (key := self._next()) is None:
                    self._changed.wait()
                job = self._jobs[key]
                job.running = True
                self._busy[job.host] += 1
            try:
                job.future.set_result(job.work())
            # It is raised where the future's result is read.
            except BaseException as error:
                job.future.set_exception(error)
            with self._changed:
                del self._jobs[key]
                self._busy[job.host] -= 1
                self._busy += Counter()  # drops counts of 0
                self._changed.notify_all()

    def _next(self) -> str | None:
        for key, job in self._jobs.items():
            if not job.running and self._busy[job.host] < self.per_host:
                return key
        return None


class UnresponsiveHosts:
    """Hosts that failed MAX_FAILURES times in a row, for PAUSE_S."""

    def __init__(self) -> None:
        self._failures: Counter[str] = Counter()
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def check(self, host: str) -> None:
        """Raise CannotFetch while a host is paused."""
        with self._lock:
            if self._until.get(host, 0) > time.monotonic():
                raise CannotFetch(f"{host} does not answer at present.", passing=True)

    def record(self, host: str, answered: bool) -> None:
        with self._lock:
            if answered:
                self._failures.pop(host, None)
                self._until.pop(host, None)
                return
            if len(self._failures) >= MAX_HOSTS:
                self._failures.clear()
                self._until.clear()
            self._failures[host] += 1
            if self._failures[host] >= MAX_FAILURES:
                self._until[host] = time.monotonic() + PAUSE_S


_opening = threading.Lock()


def fetch_queue(name: str, threads: int) -> FetchQueue:
    """Return this process's queue of a name; a fork does not inherit threads."""
    with _opening:
        return _queue_for(name, threads, os.getpid())


@cache
def _queue_for(_name: str, threads: int, _process: int) -> FetchQueue:
    return FetchQueue(threads)
