"""An id for each request, in all its log records: in this process, tasks and workers.

The id is that of the proxy (X-Request-ID) or a new one; the response returns it. Tasks
and encode requests carry it.
"""

import json
import logging
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from celery.signals import before_task_publish, task_postrun, task_prerun
from django.http import HttpRequest, HttpResponse

NO_REQUEST = "-"
VALID_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)  # others could forge lines of the log

_request_id: ContextVar[str] = ContextVar("request", default=NO_REQUEST)


def request_id() -> str:
    """Return the id of the current request."""
    return _request_id.get()


@contextmanager
def use_request_id(name: str) -> Iterator[None]:
    token = _request_id.set(name)
    try:
        yield
    finally:
        _request_id.reset(token)


class RequestIdMiddleware:
    """Middleware that sets the request id; it must come before all that log."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        received = request.headers.get("X-Request-ID", "")
        is_valid = VALID_ID.fullmatch(received)
        with use_request_id(received if is_valid else uuid.uuid4().hex):
            response = self.get_response(request)
            response["X-Request-ID"] = request_id()
        return response


class RequestIdFilter(logging.Filter):
    """Add the request id to each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request = request_id()
        return True


class RefusalFilter(logging.Filter):
    """Leave out requests beyond the rate limits, which /metrics counts."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", None) != 429


class JsonFormatter(logging.Formatter):
    """Format each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "request": request_id(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


@before_task_publish.connect
def _attach_to_message(headers: dict[str, Any], **_options: Any) -> None:
    headers["laionweb_request"] = request_id()


@task_prerun.connect
def _adopt_from_task(task: Any, **_options: Any) -> None:
    _request_id.set(task.request.get("laionweb_request") or NO_REQUEST)


@task_postrun.connect
def _reset_after_task(**_options: Any) -> None:
    _request_id.set(NO_REQUEST)
