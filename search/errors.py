"""The errors of the application, each with a sentence for the user.

Wrappers of libraries and servers translate into these; views, API and tasks catch them.
"""

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.forms import BaseForm


class SearchError(Exception):
    """An error whose message is one sentence for the user."""

    status = 500
    code = "error"

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message


class InvalidQuery(SearchError):
    """A request that cannot be answered as it is."""

    status = 400
    code = "bad_query"


class UnreadableWord(InvalidQuery):
    """A word of a query, text[start:end], that the language does not know."""

    code = "unreadable_word"

    def __init__(self, message: str, start: int, end: int):
        super().__init__(message)
        self.start = start
        self.end = end


class NotFound(SearchError):
    """There is no such object, or not for this user."""

    status = 404
    code = "not_found"


class BodyTooLarge(InvalidQuery):
    """A request of too many bytes, or of too many JSON values."""

    status = 413
    code = "too_large"


class Conflict(SearchError):
    """A change that does not fit the present state, which a client may ask for."""

    status = 409
    code = "conflict"


class ImageTooLarge(InvalidQuery):
    """An image of too many bytes or pixels, or files that have no room."""

    status = 413
    code = "too_large"


class NotAnImage(InvalidQuery):
    """A file that is not an image of a known format."""

    status = 415
    code = "not_a_picture"


class CannotFetch(InvalidQuery):
    """A foreign URL that is refused, or whose host does not answer with an image.

    If `passing`, the host may answer in some minutes.
    """

    status = 422
    code = "cannot_fetch"

    def __init__(self, message: str, passing: bool = False):
        super().__init__(message)
        self.passing = passing


class TooManyRequests(SearchError):
    """A request beyond the rate limits; it succeeds later."""

    status = 429
    code = "throttled"

    def __init__(self, message: str, retry_after_s: int):
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SearchUnavailable(SearchError):
    """The engine or the encoder is down; the same request may succeed later."""

    status = 503
    code = "unavailable"
    retry_after_s = 5


class UnknownModel(SearchUnavailable):
    """A model that does not exist, or has no weights; trying again does not help."""


class ShardUnreadable(SearchError):
    """A shard whose files are invalid; trying again does not help."""

    status = 422
    code = "shard_unreadable"


# PostgreSQL's codes for a missing table and column.
NOT_MIGRATED = ("42P01", "42703")
FULL_OR_READ_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def outage_of(error: BaseException | None) -> SearchUnavailable | None:
    """Return what is missing if an exception of a library says that; else None."""
    from django.db import InterfaceError, OperationalError, ProgrammingError
    from kombu.exceptions import OperationalError as BrokerError
    from redis import RedisError

    if isinstance(error, SearchUnavailable):
        return error
    if isinstance(error, ProgrammingError):
        if getattr(error.__cause__, "sqlstate", "") not in NOT_MIGRATED:
            return None
        return SearchUnavailable("The database is being updated.")
    if isinstance(error, OperationalError | InterfaceError):
        return SearchUnavailable("The database is not responding.")
    if isinstance(error, RedisError | BrokerError):
        return SearchUnavailable("The cache or the broker is not responding.")
    if isinstance(error, OSError) and error.errno in FULL_OR_READ_ONLY:
        return SearchUnavailable("The disk of the server is full or read-only.")
    return None


def check_form(form: "BaseForm") -> None:
    """Raise InvalidQuery with the first error of a form, unless it is valid."""
    if not form.is_valid():
        raise InvalidQuery(str(next(iter(form.errors.values()))[0]))
