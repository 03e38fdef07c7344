"""Files that list what must not be found: a value a line, or the first column of a CSV.

They are read as they come, and may be long: a bad line is told and passed over.
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
MAX_LINE_LENGTH = 10_000  # characters; an address is shorter
MAX_REPORTED = 10
HEADINGS = {"url", "address", "md5", "hash", "id", "item"}


@dataclass
class LoadResult:
    """How many values were new, how many known, and which lines were of no use."""

    new: int = 0
    known: int = 0
    bad: int = 0
    told: list[str] = field(default_factory=list)  # the first of the bad lines

    def refuse(self, line: int, reason: str) -> None:
        self.bad += 1
        if len(self.told) < MAX_REPORTED:
            self.told.append(f"Line {line}: {reason}")

    def __str__(self) -> str:
        text = f"{self.new:,} values are new, {self.known:,} were known"
        if not self.bad:
            return f"{text}."
        lines = "1 line was" if self.bad == 1 else f"{self.bad:,} lines were"
        return f"{text}, {lines} of no use. {' '.join(self.told)}"


def load(
    file: BinaryIO, name: str, kind: str, dataset: Dataset | None, reason: str = ""
) -> LoadResult:
    """Enters the values of a file, packed by gzip or not; what is in is not hidden yet.

    Raises InvalidQuery when not a single line is of use.
    """
    takedowns.check_scope(kind, dataset)
    loaded, value_of = LoadResult(), takedowns.check_value(kind)

    def good() -> Iterator[str]:
        for line, text in _values(file, name, loaded):
            try:
                yield value_of(text)
            except InvalidQuery as error:
                loaded.refuse(line, error.message)

    values = good()
    while some := list(islice(values, takedowns.MAX_AT_ONCE)):
        new = takedowns.add(kind, some, dataset, reason)
        loaded.new += new
        loaded.known += len(some) - new
    if not loaded.new + loaded.known:
        raise InvalidQuery(" ".join(["Nothing was loaded.", *loaded.told]))
    return loaded


def _values(file: BinaryIO, name: str, loaded: LoadResult) -> Iterator[tuple[int, str]]:
    """Values and the lines they stand in; without headings and empty lines."""
    plain = name.lower().removesuffix(".gz")
    lines = _Lines(_unpacked(file), loaded)
    rows = csv.reader(lines) if plain.endswith(".csv") else ([line] for line in lines)
    first = True
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            loaded.refuse(lines.number, f"It is no CSV: {error}.")
            continue
        if row is None:
            return
        value = row[0].strip() if row else ""
        if value and not (first and value.lower() in HEADINGS):
            yield lines.number, value
        first = first and not value


def _unpacked(file: BinaryIO) -> BinaryIO | gzip.GzipFile:
    start = file.read(len(GZIP_MAGIC))
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if start == GZIP_MAGIC else file


class _Lines:
    """The lines of a file as text, each of bounded length, and the number of the last.

    Bytes that are not UTF-8 become surrogates, which no value may have.
    """

    def __init__(self, file: BinaryIO | gzip.GzipFile, loaded: LoadResult):
        self._loaded, self.number = loaded, 0
        self._text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape")

    def __iter__(self) -> Iterator[str]:
        try:
            while line := self._text.readline(MAX_LINE_LENGTH):
                self.number += 1
                whole = line
                while not line.endswith("\n") and len(line) == MAX_LINE_LENGTH:
                    line = self._text.readline(MAX_LINE_LENGTH)
                if line is whole:
                    yield line
                else:
                    self._loaded.refuse(self.number, "It is too long.")
        except (OSError, EOFError, zlib.error):
            self._loaded.refuse(
                self.number + 1, "The file is damaged from here on and was not read."
            )
        finally:
            self._text.detach()  # whoever opened the file closes it
