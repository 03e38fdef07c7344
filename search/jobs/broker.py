"""Messages to Celery's workers, by a broker that may be away.

The database, not the broker, knows what is to be done: sweepers send work again whose
message was lost, or whose run found the engine or the database away.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import Task
from kombu.exceptions import OperationalError

from search.errors import SearchUnavailable

logger = logging.getLogger(__name__)


def send(task: Task, calls: Iterable[tuple[Any, ...]]) -> bool:
    """Send a message for each tuple of arguments; return False without a broker."""
    try:
        for arguments in calls:
            task.delay(*arguments)
    except OperationalError:
        logger.exception("The task queue does not answer; the sweeper tries again.")
        return False
    return True


def queue_is_empty(task: Task) -> bool:
    """Return whether no message waits in a task's queue; False without a broker."""
    with task.app.connection_for_write() as broker:
        try:
            with broker.channel() as channel:
                queue = task.app.amqp.queues[task.queue].bind(channel)
                return queue.queue_declare().message_count == 0
        except (OperationalError, *broker.connection_errors):
            logger.warning("The task queue does not answer.")
            return False


@contextmanager
def left_to_sweeper(work: str) -> Iterator[None]:
    """Log SearchUnavailable; a sweeper sends the work again."""
    try:
        yield
    except SearchUnavailable as error:
        logger.warning("%s is tried again: %s", work, error)
