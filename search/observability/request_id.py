"""A name for each request, in all that is logged for it: here, in tasks, in workers.

The name comes from the proxy in front (X-Request-ID), or is made, and goes back with
the answer. Tasks and requests to encode workers carry it along.
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

_name: ContextVar[str] = ContextVar("request", default=NO_REQUEST)


def request_id() -> str:
    """Of the request that is being worked for."""
    return _name.get()


@contextmanager
def use_request_id(name: str) -> Iterator[None]:
    token = _name.set(name)
    try:
        yield
    finally:
        _name.reset(token)


class RequestIdMiddleware:
    """Must come before whatever logs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        with use_request_id(given if VALID_ID.fullmatch(given) else uuid.uuid4().hex):
            response = self.get_response(request)
            response["X-Request-ID"] = request_id()
        return response


class RequestIdFilter(logging.Filter):
    """Puts the name into each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request = request_id()
        return True


class JsonFormatter(logging.Formatter):
    """A line of JSON for each record."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "request": request_id(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


@before_task_publish.connect
def _attach_to_message(headers: dict[str, Any], **kwargs: Any) -> None:
    headers["laionweb_request"] = request_id()


@task_prerun.connect
def _adopt_from_task(task: Any, **kwargs: Any) -> None:
    _name.set(task.request.get("laionweb_request") or NO_REQUEST)


@task_postrun.connect
def _reset_after_task(**kwargs: Any) -> None:
    _name.set(NO_REQUEST)
