"""The records of delimited text such as CSV and TSV, read in bounded memory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import IO

from .cells import MAX_CELL_BYTES, too_long

MAX_RECORD_BYTES = 8 * MAX_CELL_BYTES
TOO_LONG = f"It is longer than {MAX_RECORD_BYTES:,} bytes."
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
ADDRESS = re.compile(rb"\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """The way in which rows and cells of a file are separated."""

    delimiter: bytes
    quoted: bool
    encoding: str
    names: tuple[str, ...] = ()  # of the columns
    address: int | None = None  # the column that has addresses
    strict: bool = True  # with quoting: all quotation marks quote or are doubled
    has_header: bool = True  # the first row has the names of the columns

    def __str__(self) -> str:
        quoting = "with quoting" if self.quoted else "without quoting"
        header = "" if self.has_header else ", without a header"
        return f"{DELIMITERS[self.delimiter]}, {quoting}{header}, {self.encoding}"

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

    @cached_property
    def _opening(self) -> bytes:
        return self.delimiter + QUOTE

    def may_quote(self, line: bytes) -> bool:
        """Return whether a cell of a line begins with a quotation mark."""
        return QUOTE in line and (line.startswith(QUOTE) or self._opening in line)

    def parse(self, text: bytes, line: int = 0) -> "Record":
        """Return the record of a text, whose number of cells may be wrong."""
        if not self.quoted:
            return Record(text.split(self.delimiter), line)
        if not self.may_quote(text):
            return Record(text.split(self.delimiter), line, strays=QUOTE in text)
        record = Record([], line)
        for match in self._cell.finditer(text):
            content, other = match.groups()
            if content is None:
                record.strays |= QUOTE in other
                record.loose |= other.startswith(QUOTE)
                record.cells.append(other)
            else:
                special = (QUOTE, self.delimiter, b"\n", b"\r")
                record.needed |= any(mark in content for mark in special)
                record.cells.append(content.replace(b'""', QUOTE))
        return record

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
        return self.fits(without_quotes(line.split(self.delimiter)))


def without_quotes(cells: list[bytes]) -> list[bytes]:
    return [cell.removeprefix(QUOTE) for cell in cells]


@dataclass(slots=True)
class Record:
    """A row: its cells, or the reason why it has none, and its last line's number."""

    cells: list[bytes]
    line: int
    error: str = ""
    loose: bool = False  # a cell begins like a quoted one, and is none
    strays: bool = False  # a quotation mark does not quote
    needed: bool = False  # a cell needs its quotes, for a mark, delimiter or line end


@dataclass(slots=True)
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
        return next(self.parsed(), None)

    def records(self) -> Iterator[Record]:
        """Yield the records after the header, with an error or the right cells."""
        for record in self.parsed():
            error = record.error or self._error_of(record)
            yield Record([], record.line, error) if error else record

    def _error_of(self, record: Record) -> str:
        cells, names = record.cells, self.dialect.names
        if len(cells) != len(names):
            count = f"{len(cells):,} cell{'s' * (len(cells) > 1)}"
            loose = ", and a quotation mark that does not quote" if record.loose else ""
            first = "header" if self.dialect.has_header else "first row"
            return f"It has {count}{loose}; the {first} has {len(names):,}."
        longest = max(cells, key=len)
        is_long = len(longest) > MAX_CELL_BYTES
        return too_long(names[cells.index(longest)]) if is_long else ""

    def parsed(self) -> Iterator[Record]:
        """Yield the next records as they are; empty lines are none."""
        dialect = self.dialect
        while line := self._read_line():
            text = line.text
            may_quote = dialect.quoted and (text is None or dialect.may_quote(text))
            if may_quote and self._is_open_after(line, False):
                text = self._quoted_text(line)
            if text is None:
                yield Record([], self.line, TOO_LONG)
            elif text:
                yield dialect.parse(text, self.line)

    def _quoted_text(self, first: Line) -> bytes | None:
        """Return the text of the record whose first line leaves a quoted cell open.

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
