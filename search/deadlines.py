"""The deadline of what a thread is working on: one for all steps of a search."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import SearchUnavailable

MIN_S = 0.05  # less than this is no time for a step

_local = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give the steps in this block so many seconds together, or what is left."""
    with until(min(time.monotonic() + seconds, current())):
        yield


@contextmanager
def until(deadline: float) -> Iterator[None]:
    """Set the deadline of this thread, such as the one of the thread it works for."""
    before = current()
    _local.deadline = deadline
    try:
        yield
    finally:
        _local.deadline = before


def current() -> float:
    """Return the deadline of this thread by time.monotonic(); infinity without one."""
    return getattr(_local, "deadline", math.inf)


def seconds_left(most: float) -> float:
    """Return the seconds for the next step, at most `most`.

    Raises SearchUnavailable when there is no time left.
    """
    left = current() - time.monotonic()
    if left < MIN_S:
        raise SearchUnavailable("The search took too long and was stopped.")
    return min(left, most)
