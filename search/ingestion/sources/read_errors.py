"""Translate the exceptions of file readers into ShardUnreadable."""

from collections.abc import Iterator
from contextlib import contextmanager
from tarfile import TarError
from tokenize import TokenError
from zipfile import BadZipFile

import pyarrow as pa

from search.errors import ShardUnreadable

from .places import LEADS_OUT, Closed

# Readers raise any of these for a broken file, depending on format and damage.
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
    """Raise ShardUnreadable for any error of reading the file of this name."""
    try:
        yield
    except Closed as error:
        raise ShardUnreadable(f"{name}: {LEADS_OUT}") from error
    except READ_ERRORS as error:
        raise ShardUnreadable(f"{name} is damaged: it cannot be read.") from error
