"""Circuits: after an outage of a service, fail at once instead of waiting again.

A circuit opens when a call fails because its service is unreachable or hangs. While it
is open, calls raise SearchUnavailable at once. After REST_S one call may try, first by
a `probe` that does not take long; the others are still refused until it succeeds.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import SearchUnavailable

REST_S = 2.0
now = time.monotonic


class Circuit:
    """A circuit for all calls of this process to one service; thread-safe."""

    def __init__(
        self,
        sentence: str,
        is_outage: Callable[[BaseException], bool],
        probe: Callable[[], object] | None = None,
    ):
        self.sentence = sentence
        self._is_own_outage = is_outage
        self._probe = probe
        self._closed_from = 0.0  # when the next call may try; 0: it is closed
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._closed_from > 0

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Raise SearchUnavailable while the circuit is open; watch what a call raises.

        Its error is raised unchanged.
        """
        if self.is_open:
            self._try()
        try:
            yield
        except BaseException as error:
            if self.is_outage(error):
                self._closed_from = now() + REST_S
            raise
        self.close()

    def is_outage(self, error: BaseException) -> bool:
        """Return whether an error or its cause is an outage of the service."""
        return self._is_own_outage(error) or self._is_own_outage(
            error.__cause__ or error
        )

    def close(self) -> None:
        self._closed_from = 0.0

    def _try(self) -> None:
        with self._lock:
            if not self.is_open:
                return
            if now() < self._closed_from:
                raise SearchUnavailable(self.sentence)
            self._closed_from = now() + REST_S  # for the others
        if self._probe is None:
            return
        try:
            self._probe()
        # Whatever is wrong, the service does not serve.
        except Exception as error:
            self._closed_from = now() + REST_S
            raise SearchUnavailable(self.sentence) from error
