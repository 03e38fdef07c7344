"""The costs of steps to a process: CPU time, and memory without mapped files."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from types import ModuleType, TracebackType

INTERVAL_S = 0.05


def anonymous_mb() -> float:
    """Return the resident anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise LookupError("RssAnon")


class Watch:
    """Measures what a block costs: CPU and wall seconds, and the peak of memory."""

    def __enter__(self) -> "Watch":
        self.peak_mb = anonymous_mb()
        self._done = Event()
        self._thread = Thread(target=self._sample, daemon=True)
        self._thread.start()
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cpu_s = time.process_time() - self._cpu
        self.wall_s = time.perf_counter() - self._wall
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(INTERVAL_S):
            self.peak_mb = max(self.peak_mb, anonymous_mb())


def timed(module: ModuleType, name: str) -> Callable[[], float]:
    """Measure the CPU time of a module's function; return a function of its sum."""
    function, spent = getattr(module, name), []

    def call(*arguments: object, **named: object) -> object:
        started = time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            spent.append(time.process_time() - started)

    setattr(module, name, call)
    return lambda: sum(spent)
