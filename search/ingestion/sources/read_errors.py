"""What the readers of broken files raise, as one error."""

from collections.abc import Iterator
from contextlib import contextmanager
from tarfile import TarError
from tokenize import TokenError
from zipfile import BadZipFile

import pyarrow as pa

from search.errors import ShardUnreadable

# A broken file ends in any of these, by format and by place.
READ_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    OverflowError,
    MemoryError,
    SyntaxError,
    KeyError,
    TypeError,
    TokenError,
    BadZipFile,
    TarError,
    pa.ArrowException,
)


@contextmanager
def as_shard_unreadable(name: str) -> Iterator[None]:
    """Raises ShardUnreadable for whatever a reader says of a broken file."""
    try:
        yield
    except READ_ERRORS as error:
        raise ShardUnreadable(f"{name} is damaged: it cannot be read.") from error
