"""Who fetches: a few threads, so that those of the web server are left for others.

Whoever asks for what is being made already waits for that. Work for a host that has
enough of it waits, and what is for other hosts goes past.
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

AT_HOST = 3
LONGEST = 300  # pictures that wait, some pages of them
TOO_MANY = "Too many pictures are being fetched at the moment; please try again."
SILENT_AFTER = 3  # failures in a row
SILENT_S = 600
MAX_HOSTS = 10_000  # that are remembered


class InProgress(SearchUnavailable):
    retry_after_s = 1


@dataclass
class Job:
    host: str
    work: Callable[[], Any]
    future: Future = field(default_factory=Future)
    running: bool = False


class FetchQueue:
    """Jobs by key, done by at most so many threads, and by so many for one host."""

    def __init__(self, threads: int, at_host: int = AT_HOST):
        self.threads = threads
        self.at_host = at_host
        self._jobs: dict[str, Job] = {}
        self._busy: Counter[str] = Counter()
        self._started = 0
        self._changed = threading.Condition()

    def ask(self, key: str, host: str, work: Callable[[], Any]) -> Future:
        """What becomes of the work under this key, be it this or an earlier one.

        Raises OnItsWay when too many others wait.
        """
        with self._changed:
            job = self._jobs.get(key)
            if job is None:
                if len(self._jobs) >= LONGEST:
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
            # It is raised where the result is waited for.
            except BaseException as error:
                job.future.set_exception(error)
            with self._changed:
                del self._jobs[key]
                self._busy[job.host] -= 1
                self._busy += Counter()  # without those that are at 0
                self._changed.notify_all()

    def _next(self) -> str | None:
        for key, job in self._jobs.items():
            if not job.running and self._busy[job.host] < self.at_host:
                return key
        return None


class UnresponsiveHosts:
    """Hosts that failed several times in a row are left alone for a while."""

    def __init__(self) -> None:
        self._failures: Counter[str] = Counter()
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def check(self, host: str) -> None:
        """Raises CannotFetch while a host is left alone."""
        with self._lock:
            if self._until.get(host, 0) > time.monotonic():
                raise CannotFetch(f"{host} does not answer at present.", passing=True)

    def note(self, host: str, answered: bool) -> None:
        with self._lock:
            if answered:
                self._failures.pop(host, None)
                self._until.pop(host, None)
                return
            if len(self._failures) >= MAX_HOSTS:
                self._failures.clear()
                self._until.clear()
            self._failures[host] += 1
            if self._failures[host] >= SILENT_AFTER:
                self._until[host] = time.monotonic() + SILENT_S


_opening = threading.Lock()


def fetch_queue(name: str, threads: int) -> FetchQueue:
    """The line of a name in this process; a fork has none of its parent's threads."""
    with _opening:
        return _line(name, threads, os.getpid())


@cache
def _line(_name: str, threads: int, _process: int) -> FetchQueue:
    return FetchQueue(threads)
