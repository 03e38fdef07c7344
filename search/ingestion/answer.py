"""What a server's answer says of a file, and what becomes of the part that is there."""

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Protocol

from search.errors import ShardUnreadable

from .partial_file import Origin, PartialFile, check_room

BUSY = {408, 425, 429}  # and all from 500: a later attempt may succeed
# A Last-Modified is a strong validator if it is this much older than the answer: RFC
# 7232, 2.2.2; its successor, RFC 9110, asks for one second only.
SETTLED_S = 60
STRONG_ETAG = re.compile(r'"[^"\s]*"')
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", re.ASCII)

Headers = Mapping[str, str]


class Interrupted(Exception):
    """An attempt has failed; the next one, after `pause_s` or longer, may not."""

    def __init__(self, reason: str, pause_s: float = 0):
        super().__init__(reason)
        self.pause_s = pause_s


class Answer(Protocol):
    """An HTTP response before its body was read."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def chunked(self) -> bool: ...

    @property
    def length_remaining(self) -> int | None: ...


def accept(answer: Answer, file: PartialFile, url: str) -> None:
    """Makes a part ready for the body that follows, if it is not whole already.

    Raises Interrupted when another attempt may bring more, ShardUnreadable otherwise.
    """
    status, headers = answer.status, answer.headers
    if status in BUSY or status >= 500:
        raise Interrupted(f"the server answers {status}", retry_after_s(headers))
    if status == 200:
        file.restart(Origin(url, validator(headers), _length(answer, url)))
    elif status == 206 and file.done:
        _go_on(file, headers)
    elif status == 416 and file.done:
        _end(file, headers)
    else:
        raise ShardUnreadable(f"The server answers {status} for {shown(url)}.")
    if file.origin.total is not None:
        check_room(file.path.parent, file.origin.total - file.done)


def validator(headers: Headers) -> str:
    """What names this version of a file beyond doubt; empty if nothing does."""
    etag = headers.get("ETag", "")
    if STRONG_ETAG.fullmatch(etag):
        return etag
    modified = headers.get("Last-Modified", "")
    changed, answered = _moment(modified), _moment(headers.get("Date", ""))
    if changed is None or answered is None or answered - changed < SETTLED_S:
        return ""
    return modified


def retry_after_s(headers: Headers) -> float:
    """Seconds until the server wants to be asked again; 0 if it does not say."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    moment = _moment(text)
    return 0 if moment is None else max(0, moment - time.time())


def shown(url: str) -> str:
    """Without its query, which may hold a signature."""
    return url.partition("?")[0]


def _length(answer: Answer, url: str) -> int | None:
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise ShardUnreadable(f"{shown(url)} comes packed ({encoding}), unasked.")
    if answer.length_remaining is None and not answer.chunked:
        # Its end would look like a connection that breaks off.
        raise ShardUnreadable(f"The server does not say how long {shown(url)} is.")
    return answer.length_remaining


def _go_on(file: PartialFile, headers: Headers) -> None:
    """The answer is the rest, if it is the rest of this version from this place on."""
    origin = file.origin
    start, total = _content_range(headers)
    name = "ETag" if origin.validator.startswith('"') else "Last-Modified"
    same = headers.get(name, origin.validator) == origin.validator
    total = origin.total if total is None else total  # a server need not repeat it
    known = total is not None and origin.total in (None, total)
    if not (same and known and start == file.done):
        file.restart(Origin(origin.url))
        raise Interrupted("the file has changed on the server")
    file.origin = replace(origin, total=total)


def _end(file: PartialFile, headers: Headers) -> None:
    """There is no rest: all is here, if its length was not known before."""
    _, total = _content_range(headers)
    if file.origin.total is not None or total != file.done:
        file.restart(Origin(file.origin.url))
        raise Interrupted("the file has become shorter on the server")
    file.origin = replace(file.origin, total=total)


def _content_range(headers: Headers) -> tuple[int | None, int | None]:
    """Where the body starts, and how long the whole file is."""
    match = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if not match:
        return None, None
    return _number(match[1]), _number(match[2])


def _number(digits: str | None) -> int | None:
    # A length of 19 digits would be more than any disk holds.
    return int(digits) if digits and digits.isdecimal() and len(digits) < 19 else None


def _moment(text: str) -> float | None:
    """An HTTP date as seconds since 1970."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):  # no date, or none that a clock can show
        return None
