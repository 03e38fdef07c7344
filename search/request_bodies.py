"""Limits of request bodies, checked before anything parses them.

A body has 256 kB. A view of images or of long lists says that it takes more, by the
decorator `takes` or the class attribute `max_body_bytes`.
"""

import re
from collections.abc import Callable, Mapping
from io import BytesIO
from itertools import accumulate
from typing import IO, Any, TypeVar

from django.conf import settings
from rest_framework.parsers import JSONParser

from .errors import BodyTooLarge, InvalidQuery

MAX_BYTES = 256 * 1024
MAX_LIST_BYTES = 1024 * 1024  # 5,000 items with their datasets, in a form
MAX_IMAGE_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
MAX_JSON_ITEMS = 100_000  # six times the numbers of the largest embedding
MAX_JSON_DEPTH = 32
# In linear time: without backtracking, and the rest is a string that does not end.
STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
MAX_QUOTES = 4 * MAX_JSON_ITEMS
IMAGE_KEY = re.compile(rb'"image"\s*:')
STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
NO_BRACKETS = bytes(byte for byte in range(256) if byte not in STEPS)

View = TypeVar("View", bound=Callable[..., Any])


def takes(max_bytes: int) -> Callable[[View], View]:
    """Have a view accept bodies of more than MAX_BYTES."""

    def decorate(view: View) -> View:
        vars(view)["max_body_bytes"] = max_bytes
        return view

    return decorate


def max_bytes_of(view: Any) -> int:
    """Return the most bytes that a view, or the class it was made of, accepts."""
    view = getattr(view, "cls", view)
    return getattr(view, "max_body_bytes", MAX_BYTES)


def check_length(given: str, most: int) -> None:
    """Raise BodyTooLarge for a header Content-Length of more than `most` bytes.

    A body without the header is empty: servers buffer it and add one, or drop it.
    """
    if given and not (given.isdecimal() and int(given) <= most):
        raise BodyTooLarge(_too_large(most))


def check_json(data: bytes, most: int) -> None:
    """Raise BodyTooLarge or InvalidQuery for JSON that is costly to parse."""
    if len(data) > most:
        raise BodyTooLarge(_too_large(most))
    if len(data) > MAX_BYTES and most == MAX_IMAGE_BYTES and not IMAGE_KEY.search(data):
        raise BodyTooLarge(_too_large(MAX_BYTES, "A request without an image"))
    too_many = BodyTooLarge(f"The JSON has more than {MAX_JSON_ITEMS:,} items.")
    if data.count(b'"') > MAX_QUOTES:
        raise too_many
    outside = STRINGS.sub(b"", data)
    brackets = outside.translate(None, NO_BRACKETS)
    if len(brackets) + outside.count(b",") > MAX_JSON_ITEMS:
        raise too_many
    if max(accumulate(map(STEPS.__getitem__, brackets)), default=0) > MAX_JSON_DEPTH:
        raise InvalidQuery("The JSON is nested too deeply.")


def _too_large(most: int, subject: str = "The request") -> str:
    kilobytes = most // 1024
    size = f"{kilobytes // 1024} MB" if kilobytes >= 1024 else f"{kilobytes} kB"
    verb = "is" if subject == "The request" else "may not be"
    return f"{subject} {verb} larger than {size}."


class BoundedJSONParser(JSONParser):
    """REST framework's parser, for JSON that `check_json` accepts."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        data, context = stream.read(), dict(parser_context or {})
        check_json(data, max_bytes_of(context.get("view")))
        context["encoding"] = "utf-8"  # another charset could hide brackets
        return super().parse(BytesIO(data), media_type, context)
