"""The dialect of delimited text, and the file as UTF-8.

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
from functools import lru_cache
from pathlib import Path
from typing import IO, cast

from .cells import codec_of, decode, fold
from .delimited import (
    ADDRESS,
    DELIMITERS,
    ONE_COLUMN,
    QUOTE,
    Dialect,
    Reader,
    without_quotes,
)
from .places import open_file

SAMPLE_BYTES = 2**20
SAMPLE_LINES = 1_000
COPY_CHARACTERS = 2**20
PLACE_ROWS = 10_000
TAB = b"\t"
LEAST_ADDRESSES = 0.25  # of the sample's lines, for a column of addresses
SEPARATOR_LINE = re.compile(rb'"?sep=.?"?\r?\n', re.IGNORECASE)
INVALID = "mark_invalid"


def _mark_invalid(error: UnicodeError) -> tuple[str, int]:
    """Decode what is invalid into a surrogate that UTF-8 has as an invalid byte."""
    return "\udcff", cast(UnicodeDecodeError, error).end


codecs.register_error(INVALID, _mark_invalid)


@dataclass(frozen=True)
class Survey:
    """A reading of all records of a file, with how many fit, stray or need quotes."""

    dialect: Dialect
    rows: int = 0
    fits: int = 0
    strays: int = 0
    needed: int = 0
    lines: int = 0  # after the first, empty ones included
    stopped: bool = False  # since another reading is better
    places: tuple[tuple[int, int], ...] = ()  # byte and line of each PLACE_ROWS rows

    def seek(self, reader: Reader, row: int) -> int:
        """Move an unread reader towards a row; return how many are left to skip."""
        if self.dialect.has_header:
            reader.header()
        if row >= PLACE_ROWS:
            place, reader.line = self.places[row // PLACE_ROWS - 1]
            reader.file.seek(place)
        return row % PLACE_ROWS


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
        plain = Dialect(delimiter, quoted=False, encoding=encoding)
        strict = replace(plain, quoted=True)
        file.seek(start)
        if not _has_quotes(file):
            return _read_all(file, start, plain, lines)
        if delimiter != TAB:  # then a mark quotes in case of doubt
            quoted = _read_all(file, start, strict, lines)
            if quoted.fits == quoted.lines:
                return quoted
        unquoted = _read_all(file, start, plain, lines)
        # A reading in which all records fit is not surpassed.
        bound = unquoted if unquoted.fits == unquoted.rows else None
        if delimiter == TAB:
            quoted = _read_all(file, start, strict, lines, bound)
        has_lines_in_cells = quoted.rows < unquoted.rows and not quoted.stopped
        if quoted.strays and has_lines_in_cells:
            loose = replace(strict, strict=False)
            quoted = _read_all(file, start, loose, lines, bound)
        return quoted if _is_quoted(quoted, unquoted) else unquoted


def _is_quoted(quoted: Survey, unquoted: Survey) -> bool:
    """Return which of two readings of a file is right."""
    dialect = unquoted.dialect
    if quoted.stopped:
        return False
    if quoted.dialect.names != dialect.names:  # programs quote all or no headers
        return True
    if quoted.fits != unquoted.fits:
        return quoted.fits > unquoted.fits
    if quoted.rows != unquoted.rows:  # others are parts of cells, or swallowed
        return quoted.rows < unquoted.rows
    return quoted.needed > 0 or dialect.delimiter != TAB


def _read_all(
    file: IO[bytes],
    start: int,
    dialect: Dialect,
    lines: list[bytes],
    better: Survey | None = None,
) -> Survey:
    """Read a file by a dialect of which only the separators are known.

    It stops at the first record that misfits if there is a `better` reading, in which
    all records fit, unless the header differs.
    """
    file.seek(start)
    reader = Reader(file, dialect)
    header = reader.header()
    if header is None or header.error:
        return Survey(dialect)
    names, has_header = _names(header.cells)
    if not has_header:
        file.seek(start)
        reader = Reader(file, dialect)
    dialect = replace(dialect, names=names, has_header=has_header)
    dialect = reader.dialect = replace(dialect, address=_address_column(lines, dialect))
    must_fit = better is not None and better.dialect.names == names
    rows = fits = strays = needed = 0
    places = []
    for record in reader.parsed():
        rows += 1
        if not record.loose and dialect.fits(record.cells):
            fits += 1
        elif must_fit:
            return Survey(dialect, stopped=True)
        strays += record.strays
        needed += record.needed
        if rows % PLACE_ROWS == 0:
            places.append((file.tell(), reader.line))
    lines_read = reader.line - has_header
    return Survey(dialect, rows, fits, strays, needed, lines_read, places=tuple(places))


def _names(first: list[bytes]) -> tuple[tuple[str, ...], bool]:
    """Return the names of columns, and whether the first row has them.

    A row with an address has none, as in Conceptual Captions. That column is then the
    url, and the other one of two the caption.
    """
    names = [f"column_{i}" for i in range(1, len(first) + 1)]
    addresses = [i for i, cell in enumerate(first) if ADDRESS.match(cell)]
    if not addresses:
        decoded = map(decode, first)
        return tuple(a or b for a, b in zip(decoded, names, strict=True)), True
    names[addresses[0]] = "url"
    if len(first) == 2 and len(addresses) == 1:
        names[1 - addresses[0]] = "caption"
    return tuple(names), False


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
        names = dialect.parse(lines[0]).cells
        if len(names) == 1:
            return False, 0.0, 0
        alike = sum(len(dialect.parse(line).cells) == len(names) for line in lines)
        recognized = sum(fold(decode(name)) in known for name in names)
        return recognized > 0, alike / len(lines), recognized

    scores = {each: score(each) for each in DELIMITERS if each != ONE_COLUMN}
    best = max(scores, key=lambda each: scores[each])
    return best if scores[best][1] else ONE_COLUMN


def _address_column(lines: list[bytes], dialect: Dialect) -> int | None:
    """Return the column of most addresses, if many lines have one there."""
    rows = [without_quotes(dialect.parse(line).cells) for line in lines[1:]]
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
    with open_file(path) as file:
        start = file.read(SAMPLE_BYTES)
        codec = codec_of(start)
        encoding = codec.removesuffix("-sig").upper()
        ends_in_returns = b"\r" in start and b"\n" not in start
        file.seek(len(codecs.BOM_UTF8) if codec == "utf-8-sig" else 0)
        if encoding == "UTF-8" and not ends_in_returns:
            _skip_separator(file)
            yield file, encoding
            return
        with tempfile.TemporaryFile() as copy:
            _copy(file, encoding, copy)
            _skip_separator(copy)
            yield copy, encoding


def _skip_separator(file: IO[bytes]) -> None:
    """Skip a first line such as sep=; which tells Excel the delimiter."""
    start = file.tell()
    if not SEPARATOR_LINE.fullmatch(file.readline(SAMPLE_BYTES)):
        file.seek(start)


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
