"""Load removal lists from files: a value a line, or the first column of a CSV.

Files may be long: they are read as a stream, and bad lines are reported and skipped.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

from search.errors import InvalidQuery
from search.models import Dataset

from . import takedowns

GZIP_MAGIC = b"\x1f\x8b"
MAX_LINE_LENGTH = 10_000  # characters; URLs are shorter
MAX_REPORTED = 10
MAX_PREVIEW_BYTES = 4 * 2**20  # of values
TOO_LONG = (
    "The list has more than 4 MB of values. Load it by the command manage.py "
    "load_removals; its option --check previews it."
)
HEADINGS = {"url", "address", "md5", "hash", "id", "item"}


@dataclass
class LoadResult:
    """Counts of new and known values and of bad lines."""

    new: int = 0
    known: int = 0
    bad: int = 0
    errors: list[str] = field(default_factory=list)  # of the first bad lines

    def add_error(self, line: int, reason: str) -> None:
        self.bad += 1
        if len(self.errors) < MAX_REPORTED:
            self.errors.append(f"Line {line}: {reason}")

    def __str__(self) -> str:
        text = f"{self.new:,} values are new, {self.known:,} were known"
        if not self.bad:
            return f"{text}."
        lines = "1 line was" if self.bad == 1 else f"{self.bad:,} lines were"
        return f"{text}, {lines} of no use. {' '.join(self.errors)}"


def load(
    file: BinaryIO, name: str, kind: str, dataset: Dataset | None, reason: str = ""
) -> LoadResult:
    """Enter the values of a file, gzipped or not; imported items are not hidden yet.

    Raises InvalidQuery when no line is valid.
    """
    takedowns.check_scope(kind, dataset)
    loaded, normalize = LoadResult(), takedowns.normalizer(kind)

    def valid_values() -> Iterator[str]:
        for line, text in _read_values(file, name, loaded):
            try:
                yield normalize(text)
            except InvalidQuery as error:
                loaded.add_error(line, error.message)

    values = valid_values()
    while some := list(islice(values, takedowns.MAX_AT_ONCE)):
        new = takedowns.add(kind, some, dataset, reason)
        loaded.new += new
        loaded.known += len(some) - new
    if not loaded.new + loaded.known:
        raise InvalidQuery(" ".join(["Nothing was loaded.", *loaded.errors]))
    return loaded


def read(file: BinaryIO, name: str, kind: str) -> tuple[list[str], LoadResult]:
    """Return the valid values of a file, for a preview, and what is wrong with others.

    Raises InvalidQuery when no line is valid, or for more than MAX_PREVIEW_BYTES.
    """
    result, normalize = LoadResult(), takedowns.normalizer(kind)
    values, left = [], MAX_PREVIEW_BYTES
    for line, text in _read_values(file, name, result):
        left -= len(text) + 1
        if left < 0:
            raise InvalidQuery(TOO_LONG)
        try:
            values.append(normalize(text))
        except InvalidQuery as error:
            result.add_error(line, error.message)
    if not values:
        raise InvalidQuery(" ".join(["Nothing was loaded.", *result.errors]))
    return values, result


def _read_values(
    file: BinaryIO, name: str, loaded: LoadResult
) -> Iterator[tuple[int, str]]:
    """Yield line numbers and values, without headings and empty lines."""
    is_csv = name.lower().removesuffix(".gz").endswith(".csv")
    lines = _Lines(_decompressed(file), loaded)
    rows = csv.reader(lines) if is_csv else ([line] for line in lines)
    first = True
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            loaded.add_error(lines.number, f"It is no CSV: {error}.")
            continue
        if row is None:
            return
        value = row[0].strip() if row else ""
        if value and not (first and value.lower() in HEADINGS):
            yield lines.number, value
        first = first and not value


def _decompressed(file: BinaryIO) -> BinaryIO | gzip.GzipFile:
    start = file.read(len(GZIP_MAGIC))
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if start == GZIP_MAGIC else file


class _Lines:
    """The lines of a file as text, of limited length; `number` is that of the last.

    Bytes that are not UTF-8 become surrogates, which are invalid in values.
    """

    def __init__(self, file: BinaryIO | gzip.GzipFile, loaded: LoadResult):
        self._loaded, self.number = loaded, 0
        self._text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape")

    def __iter__(self) -> Iterator[str]:
        try:
            while line := self._text.readline(MAX_LINE_LENGTH):
                self.number += 1
                start = line
                while not line.endswith("\n") and len(line) == MAX_LINE_LENGTH:
                    line = self._text.readline(MAX_LINE_LENGTH)
                if line is start:
                    yield line
                else:
                    self._loaded.add_error(self.number, "It is too long.")
        except (OSError, EOFError, zlib.error):
            self._loaded.add_error(
                self.number + 1, "The file is damaged from here on and was not read."
            )
        finally:
            self._text.detach()  # the caller closes the file
