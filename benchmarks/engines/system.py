"""A system under test, which finds the ten nearest of a vector."""

import threading
import time
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

LADDER = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
# Where candidates are filtered after the search, more of them are needed.
LONG_LADDER = (*LADDER, 6144, 8192, 12288, 16384, 24576, 32768)


class System:
    """A search engine; by default in this process, with threads as clients.

    A system with `efforts` is measured with the least of them that reaches the recall
    asked for (tuning.py), which differs from filter to filter.
    """

    name: str
    filters: Sequence[str] = ("none", "broad", "narrow")
    efforts: Sequence[int] = ()  # ascending: ef, lists read, rows read
    effort_name = "ef"
    answers = True  # with the ten nearest, so that recall can be measured
    in_bursts = True
    effort: ClassVar[dict[str, int]] = {}  # by filter; replaced when it is tuned

    def prepare(self, vector: np.ndarray, where: str) -> None:
        """Do what a query needs before the clock starts."""

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        """Return the ids of the answers; fetch all that the API shows of them."""
        raise NotImplementedError

    def cpu_s(self) -> float:
        """Return the CPU seconds used until now, including those of a server."""
        return time.process_time()

    def wall_ms(self, measured: float) -> float:
        """Return the milliseconds of the last query, if `measured` includes more."""
        return measured

    def burst(
        self, clients: int, vectors: np.ndarray, where: str, seconds: float
    ) -> float:
        """Return the answers per second of parallel clients that never pause."""
        done = [0] * clients
        begin = threading.Barrier(clients + 1)

        def ask(client: int) -> None:
            self.search(vectors[client % len(vectors)], where)  # opens a connection
            begin.wait()
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                question = (client + clients * done[client]) % len(vectors)
                self.search(vectors[question], where)
                done[client] += 1

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(clients)]
        for thread in threads:
            thread.start()
        begin.wait()
        started = time.perf_counter()
        for thread in threads:
            thread.join()
        return sum(done) / (time.perf_counter() - started)

    def close(self) -> None:
        """Stop what was started for the system."""
