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

NOBODY = "-"
FIT = re.compile(r"[\w.-]{1,64}", re.ASCII)  # others could forge lines of the log

_name: ContextVar[str] = ContextVar("request", default=NOBODY)


def request_name() -> str:
    """Of the request that is being worked for."""
    return _name.get()


@contextmanager
def working_for(name: str) -> Iterator[None]:
    token = _name.set(name)
    try:
        yield
    finally:
        _name.reset(token)


class NamedRequests:
    """Must come before whatever logs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        with working_for(given if FIT.fullmatch(given) else uuid.uuid4().hex):
            response = self.get_response(request)
            response["X-Request-ID"] = request_name()
        return response


class WithRequest(logging.Filter):
    """Puts the name into each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request = request_name()
        return True


class Json(logging.Formatter):
    """A line of JSON for each record."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "request": request_name(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


@before_task_publish.connect
def _send_along(headers: dict[str, Any], **kwargs: Any) -> None:
    headers["laionweb_request"] = request_name()


@task_prerun.connect
def _take_on(task: Any, **kwargs: Any) -> None:
    _name.set(task.request.get("laionweb_request") or NOBODY)


@task_postrun.connect
def _lay_down(**kwargs: Any) -> None:
    _name.set(NOBODY)
