"""The images of a shard, read in rows, and the files beside them that are left out."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from search.errors import NotAnImage

from .image_fetch import SourceImage
from .protocol import fingerprint

SURROGATE = re.compile("[\ud800-\udfff]")  # of a name: a byte that is not UTF-8


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of images: their columns, and how to load the images.

    The table has the columns url and caption (texts), and others. `load` gets the place
    of a row in the table, and its URL. It runs in a thread and raises InvalidQuery with
    the reason why there is no image. `bytes`: what is in memory until the images are
    loaded. `notes`: those of a Batch. `files`: where each row is in its source, if the
    table has no column `file`.
    """

    table: pa.Table
    load: Callable[[int, str], SourceImage]
    bytes: int = 0
    notes: Mapping[str, int] = field(default_factory=dict)
    files: Sequence[str] = ()


class ImageSet(Protocol):
    """The images of one shard: of a list, of files or of a table."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def bytes(self) -> int: ...

    def __len__(self) -> int: ...

    def read(self, start: int, size: int) -> Iterator[Rows]:
        """Yield the rows from `start` on, a multiple of `size`, in their order.

        At most `size` at a time, and never of both sides of a multiple of it.
        """


@dataclass(frozen=True)
class LeftOut:
    """The name of a file that is not taken, and the reason."""

    name: str
    reason: str


class WithLeftOut:
    """An ImageSet whose last rows are files that are left out."""

    def __init__(self, images: ImageSet, left_out: Sequence[LeftOut]):
        self.images = images
        self.left_out = left_out
        self.fingerprint = fingerprint(read_as=f"{images.fingerprint} {left_out}")
        self.bytes = images.bytes

    def __len__(self) -> int:
        return len(self.images) + len(self.left_out)

    def read(self, start: int, size: int) -> Iterator[Rows]:
        if start < len(self.images):
            yield from self.images.read(start, size)
        first = max(start, len(self.images))
        while first < len(self):
            last = min(len(self), first - first % size + size)
            yield self._rows(first - len(self.images), last - len(self.images))
            first = last

    def _rows(self, first: int, last: int) -> Rows:
        some = self.left_out[first:last]

        def load(place: int, url: str) -> SourceImage:
            raise NotAnImage(some[place].reason)

        files = [shown_name(each.name) for each in some]
        empty = [""] * len(some)
        return Rows(pa.table({"url": empty, "caption": empty, "file": files}), load)


def shown_name(name: str) -> str:
    """Return a file's name as it is stored: valid Unicode without NUL."""
    return replace_surrogates(name).replace("\0", "")


def replace_surrogates(text: str) -> str:
    """Return a text as valid Unicode, which JSON and file names may not be."""
    return SURROGATE.sub("\ufffd", text)
