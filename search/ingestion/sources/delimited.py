"""Delimited text such as CSV and TSV: its dialect, and its records in bounded memory.

Files do not say whether a quotation mark quotes. Both readings of the whole file are
compared, and the one with more records that fit is right: a record fits if it has as
many cells as the header, and an address in the column where others have one.
"""

import codecs
import io
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import IO, cast

from .cells import MAX_CELL_BYTES, codec_of, decode, too_long

MAX_RECORD_BYTES = 8 * MAX_CELL_BYTES
SAMPLE_BYTES = 2**20
SAMPLE_LINES = 1_000
COPY_CHARACTERS = 2**20
TAB = b"\t"
QUOTE = b'"'
CLOSING = re.compile(rb'[^"]*+(?:""[^"]*+)*+"')
ONE_COLUMN = b"\n"  # the delimiter of lines that are one cell each
DELIMITERS = {
    b",": "comma-separated values",
    b"\t": "tab-separated values",
    b";": "semicolon-separated values",
    b"|": "values separated by |",
    ONE_COLUMN: "one value per line",
}
INVALID = "mark_invalid"
ADDRESS = re.compile(rb"\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
LEAST_ADDRESSES = 0.25  # of the sample's lines, for a column of addresses


def _mark_invalid(error: UnicodeError) -> tuple[str, int]:
    """Decode what is invalid into a surrogate that UTF-8 has as an invalid byte."""
    return "\udcff", cast(UnicodeDecodeError, error).end


codecs.register_error(INVALID, _mark_invalid)


@dataclass(frozen=True)
class Dialect:
    """The way in which rows and cells of a file are separated."""

    delimiter: bytes
    quoted: bool
    encoding: str
    names: tuple[str, ...] = ()  # of the columns
    address: int | None = None  # the column that has addresses
    strict: bool = True  # with quoting: all quotation marks quote or are doubled

    def __str__(self) -> str:
        quoting = "with quoting" if self.quoted else "without quoting"
        return f"{DELIMITERS[self.delimiter]}, {quoting}, {self.encoding}"

    @cached_property
    def _cell(self) -> re.Pattern[bytes]:
        """The pattern of a cell: its quoted content, or all of it as it stands.

        A cell that continues behind its quotation stands as it is.
        """
        pattern = (
            rb'(?:\A|END)(?:"([^"]*+(?:""[^"]*+)*+)"(?=END|\Z)'
            rb'|("[^"]*+(?:""[^"]*+)*+"[^END]*+|[^END]*+))'
        )
        return re.compile(pattern.replace(b"END", re.escape(self.delimiter)))

    def cells(self, record: bytes) -> list[bytes]:
        """Return the cells of a record."""
        if not self.quoted or QUOTE not in record:
            return record.split(self.delimiter)
        return [
            match[2] if match[1] is None else match[1].replace(b'""', QUOTE)
            for match in self._cell.finditer(record)
        ]

    def quotation(self, record: bytes) -> tuple[bool, bool, bool]:
        """Return whether a cell is loose, strays, or needs its quotes.

        A loose one begins like a quoted one and is none; one strays if it has a mark
        that does not quote; and quotes are needed for marks, delimiters or line ends.
        """
        loose = strays = needed = False
        for match in self._cell.finditer(record):
            if match[1] is None:
                strays = strays or QUOTE in match[2]
                loose = loose or match[2].startswith(QUOTE)
            else:
                special = (QUOTE, self.delimiter, b"\n", b"\r")
                needed = needed or any(mark in match[1] for mark in special)
        return loose, strays, needed

    def is_open_after(self, line: bytes, is_open: bool) -> bool:
        """Return whether a quoted cell is open after a line, given that before it."""
        place = 0
        if not is_open:
            is_open = line.startswith(QUOTE)
            place += is_open
        while True:
            while is_open:
                place = line.find(QUOTE, place)
                if place < 0:
                    return True
                is_open = line.startswith(QUOTE, place + 1)
                place += 1 + is_open
            place = line.find(self.delimiter, place)
            if place < 0:
                return False
            is_open = line.startswith(QUOTE, place + 1)
            place += 1 + is_open

    def closes_loosely(self, line: bytes) -> bool:
        """Return whether an open cell is closed in a line, but continues."""
        match = CLOSING.match(line)
        end = match.end() if match else len(line)
        return end < len(line) and not line.startswith(self.delimiter, end)

    def fits(self, cells: list[bytes]) -> bool:
        """Return whether cells are as many as the header's, with an address."""
        return len(cells) == len(self.names) and (
            self.address is None or ADDRESS.match(cells[self.address]) is not None
        )

    @property
    def tells_rows(self) -> bool:
        """Return whether hardly a line that fits is part of a cell."""
        return self.address is not None or len(self.names) > 2

    def is_row(self, line: bytes | None) -> bool:
        """Return whether a line is more likely a row of its own than part of a cell."""
        if self.strict or line is None or not self.tells_rows:
            return False
        return self.fits(_without_quotes(line.split(self.delimiter)))


def _without_quotes(cells: list[bytes]) -> list[bytes]:
    return [cell.removeprefix(QUOTE) for cell in cells]


@dataclass(frozen=True, slots=True)
class Record:
    """A row: its cells, or the reason why it has none; and its Dialect.quotation."""

    cells: list[bytes]
    error: str = ""
    loose: bool = False
    strays: bool = False
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end; of one that is too long, whether its quotes are odd."""

    text: bytes | None
    end: bytes = b""
    odd: bool = False


class Reader:
    """The records of an opened file, of which one is in memory at a time."""

    def __init__(self, file: IO[bytes], dialect: Dialect):
        self.file, self.dialect = file, dialect
        self.line = 0  # the number of the last line that was read

    def header(self) -> Record | None:
        """Read the first record."""
        return next(self._records(), None)

    def records(self) -> Iterator[Record]:
        """Yield the records after the header; empty lines are none."""
        for record in self._records():
            error = record.error or self._error_of(record)
            yield Record([], error) if error else record

    def _error_of(self, record: Record) -> str:
        cells, names = record.cells, self.dialect.names
        if len(cells) != len(names):
            count = f"{len(cells):,} cell{'s' * (len(cells) > 1)}"
            loose = ", and a quotation mark that does not quote" if record.loose else ""
            return (
                f"The row up to line {self.line:,} has {count}{loose}; the header has "
                f"{len(names):,}."
            )
        longest = max(cells, key=len)
        if len(longest) <= MAX_CELL_BYTES:
            return ""
        return too_long(names[cells.index(longest)], len(longest))

    def _records(self) -> Iterator[Record]:
        dialect = self.dialect
        while line := self._read_line():
            record = line.text
            if dialect.quoted and self._is_open_after(line, False):
                record = self._quoted_record(line)
            if record is None:
                yield Record([], f"The row up to line {self.line:,} is too long.")
            elif record:
                has_marks = dialect.quoted and QUOTE in record
                marks = dialect.quotation(record) if has_marks else ()
                yield Record(dialect.cells(record), "", *marks)

    def _quoted_record(self, first: Line) -> bytes | None:
        """Return the record whose first line leaves a quoted cell open.

        None if it is too long. If the quotation mark cannot quote, since its cell is
        never closed, or continues when it is, or has only rows after its first line,
        the record is the first line alone, and the next one begins after it.
        """
        place, number = self.file.tell(), self.line
        parts, size = [first.text or b"", first.end], 0
        is_open = rows_only = True
        while is_open and (line := self._read_line()):
            size += MAX_RECORD_BYTES if line.text is None else len(line.text)
            rows_only = rows_only and self.dialect.is_row(line.text)
            if rows_only and size > MAX_RECORD_BYTES:
                break
            if line.text is not None and self.dialect.closes_loosely(line.text):
                break
            is_open = self._is_open_after(line, True)
            if size <= MAX_RECORD_BYTES:
                parts += [line.text or b"", line.end if is_open else b""]
        if is_open or rows_only:
            self.file.seek(place)
            self.line = number
            return first.text
        too_long = first.text is None or size > MAX_RECORD_BYTES
        return None if too_long else b"".join(parts)

    def _is_open_after(self, line: Line, is_open: bool) -> bool:
        if line.text is None:
            return is_open != line.odd
        return self.dialect.is_open_after(line.text, is_open)

    def _read_line(self) -> Line | None:
        line = self.file.readline(MAX_RECORD_BYTES)
        if not line:
            return None
        self.line += 1
        if len(line) < MAX_RECORD_BYTES or line.endswith(b"\n"):
            text = line.removesuffix(b"\n").removesuffix(b"\r")
            return Line(text, line[len(text) :])
        quotes = line.count(QUOTE)
        while line and not line.endswith(b"\n"):
            line = self.file.readline(MAX_RECORD_BYTES)
            quotes += line.count(QUOTE)
        return Line(None, odd=bool(quotes % 2))


@dataclass(frozen=True)
class Survey:
    """A reading of all records of a file, with how many fit, stray or need quotes."""

    dialect: Dialect
    rows: int = 0
    fits: int = 0
    strays: int = 0
    needed: int = 0


def survey(path: Path, known_names: Collection[str]) -> Survey:
    """Read a whole file to find out its dialect; cached, for each shard of it.

    `known_names`, in lower case, help to recognize the delimiter of the header.
    """
    stat = path.stat()
    return _survey(path, stat.st_size, stat.st_mtime_ns, frozenset(known_names))


@lru_cache(maxsize=10_000)
def _survey(path: Path, size: int, changed: int, known: frozenset[str]) -> Survey:
    with opened(path) as (file, encoding):
        start = file.tell()
        lines = _sample(file)
        delimiter = _delimiter_of(lines, known)
        dialect = Dialect(delimiter, quoted=False, encoding=encoding)
        unquoted = _read_all(file, start, dialect, lines)
        file.seek(start)
        if not _has_quotes(file):
            return unquoted
        quoted = _read_all(file, start, replace(dialect, quoted=True), lines)
        if quoted.strays:
            dialect = replace(dialect, quoted=True, strict=False)
            quoted = _read_all(file, start, dialect, lines)
        return quoted if _is_quoted(quoted, unquoted) else unquoted


def _is_quoted(quoted: Survey, unquoted: Survey) -> bool:
    """Return which of two readings of a file is right."""
    dialect = unquoted.dialect
    if quoted.dialect.names != dialect.names:  # programs quote all or no headers
        return True
    if quoted.fits != unquoted.fits:
        return quoted.fits > unquoted.fits
    if quoted.rows != unquoted.rows:  # others are parts of cells, or swallowed
        return quoted.rows < unquoted.rows
    return quoted.needed > 0 or dialect.delimiter != TAB


def _read_all(
    file: IO[bytes], start: int, dialect: Dialect, lines: list[bytes]
) -> Survey:
    file.seek(start)
    reader = Reader(file, dialect)
    header = reader.header()
    if header is None or header.error:
        return Survey(dialect)
    names = tuple(
        decode(cell) or f"column_{i}" for i, cell in enumerate(header.cells, 1)
    )
    dialect = replace(dialect, names=names)
    reader.dialect = replace(dialect, address=_address_column(lines, dialect))
    rows = fits = strays = needed = 0
    for record in reader.records():
        rows += 1
        fits += not record.loose and reader.dialect.fits(record.cells)
        strays += record.strays
        needed += record.needed
    return Survey(reader.dialect, rows, fits, strays, needed)


def _sample(file: IO[bytes]) -> list[bytes]:
    """Return the first lines, without their ends, the header among them."""
    sample = file.read(SAMPLE_BYTES)
    lines = sample.split(b"\n")
    if len(sample) == SAMPLE_BYTES and len(lines) > 1:
        lines.pop()  # it is cut
    return [text for line in lines if (text := line.removesuffix(b"\r"))][:SAMPLE_LINES]


def _has_quotes(file: IO[bytes]) -> bool:
    return any(QUOTE in block for block in iter(lambda: file.read(SAMPLE_BYTES), b""))


def _delimiter_of(lines: list[bytes], known: Collection[str]) -> bytes:
    """Return the delimiter by which most lines have as many cells as the header."""
    if not lines:
        return ONE_COLUMN

    def score(delimiter: bytes) -> tuple[bool, float, int]:
        dialect = Dialect(delimiter, quoted=True, encoding="")
        names = dialect.cells(lines[0])
        if len(names) == 1:
            return False, 0.0, 0
        alike = sum(len(dialect.cells(line)) == len(names) for line in lines)
        recognized = sum(decode(name).strip().lower() in known for name in names)
        return recognized > 0, alike / len(lines), recognized

    scores = {each: score(each) for each in DELIMITERS if each != ONE_COLUMN}
    best = max(scores, key=lambda each: scores[each])
    return best if scores[best][1] else ONE_COLUMN


def _address_column(lines: list[bytes], dialect: Dialect) -> int | None:
    """Return the column of most addresses, if many lines have one there."""
    rows = [_without_quotes(dialect.cells(line)) for line in lines[1:]]
    rows = [cells for cells in rows if len(cells) == len(dialect.names)]
    counts = [
        sum(ADDRESS.match(cell) is not None for cell in column)
        for column in zip(*rows, strict=True)
    ]
    most = max(counts, default=0)
    return counts.index(most) if most > LEAST_ADDRESSES * len(rows) else None


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], str]]:
    r"""Open a file as UTF-8 with lines that end in \n; yield its encoding as well.

    A file of another encoding, or of lines that end in \r alone, is copied first.
    """
    with path.open("rb") as file:
        start = file.read(SAMPLE_BYTES)
        codec = codec_of(start)
        encoding = codec.removesuffix("-sig").upper()
        ends_in_returns = b"\r" in start and b"\n" not in start
        file.seek(len(codecs.BOM_UTF8) if codec == "utf-8-sig" else 0)
        if encoding == "UTF-8" and not ends_in_returns:
            yield file, encoding
            return
        with tempfile.TemporaryFile() as copy:
            _copy(file, encoding, copy)
            yield copy, encoding


def _copy(file: IO[bytes], encoding: str, copy: IO[bytes]) -> None:
    r"""Copy as UTF-8, with \n for \r where lines end in \r alone."""
    errors = "surrogateescape" if encoding == "UTF-8" else INVALID
    binary = cast(io.BufferedReader, file)
    reader = io.TextIOWrapper(binary, encoding, errors, newline="")
    ends_in_returns = None
    while text := reader.read(COPY_CHARACTERS):
        if ends_in_returns is None:
            ends_in_returns = "\n" not in text
        text = text.replace("\r", "\n") if ends_in_returns else text
        copy.write(text.encode("utf-8", "surrogateescape"))
    reader.detach()
    copy.seek(0)
