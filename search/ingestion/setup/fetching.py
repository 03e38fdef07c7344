"""A file at an address, fetched into an upload in steps of some seconds.

A request runs one step, and its client asks for the next one: so it sees the progress,
and stops the download by asking no more. What a step has fetched stays for the next.
"""

import shutil
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from zipfile import is_zipfile

from search import links
from search.errors import CannotFetch, ImageTooLarge
from search.ingestion.download.download import Download, Interrupted, without_query
from search.ingestion.download.partial_file import Finished, PartialFile
from search.ingestion.sources.archives import ARCHIVE
from search.ingestion.sources.tables import TABLE

from .uploads import MAX_FILE_BYTES, TOO_LARGE, Upload, clean_name

STEP_S = 8.0
WHOLE_S = 60.0  # for a file whose server cannot continue a download
MAX_ATTEMPTS = 3  # in a row, in a step
FOLDER = ".fetched"  # hidden from readers of the upload
PARQUET_MAGIC = b"PAR1"
NOT_CONTINUED = (
    "Its server cannot continue a download, and all of it takes more than a minute. "
    "Fetch the file yourself, then upload it."
)


@dataclass(frozen=True)
class Fetched:
    """A file as far as it was fetched; `size` is None while it is unknown."""

    name: str
    size: int | None
    offset: int
    is_complete: bool = False


class StepEnded(Exception):
    """The time of a step is over."""


class SteppedDownload(Download):
    """A download that gives up sooner, and ends after a step once bytes arrive."""

    def __init__(self, url: str, target: Path):
        super().__init__(url, target, progress=self._check)
        self.offset = 0
        self.total: int | None = None
        self._started, self._before = time.monotonic(), -1
        self._file: PartialFile | None = None

    def _earlier_file(self, file: PartialFile) -> Finished | None:
        self._file = file
        earlier = super()._earlier_file(file)
        self._before = self.offset = file.done
        return earlier

    def _check(self, done: int, total: int | None) -> None:
        self.offset, self.total = done, total
        if (done if total is None else total) > MAX_FILE_BYTES:
            raise ImageTooLarge(TOO_LARGE)
        passed = time.monotonic() - self._started
        is_resumable = self._file is not None and bool(self._file.origin.validator)
        if is_resumable and passed > STEP_S and done > self._before:
            raise StepEnded
        if not is_resumable and passed > WHOLE_S and done:
            raise CannotFetch(NOT_CONTINUED)

    def _pause(self, file: PartialFile, failures: int, error: Interrupted) -> None:
        if failures >= MAX_ATTEMPTS:
            address = without_query(self.url)
            raise CannotFetch(f"{address}: {error}.", passing=True) from error
        super()._pause(file, failures, error)


def check_address(url: str) -> None:
    """Raise CannotFetch for what is no address, before anything is stored."""
    links.parse(url)


def fetch_step(upload: Upload, url: str) -> Fetched:
    """Fetch a file for some seconds, or its rest.

    Raises CannotFetch, ShardUnreadable, ImageTooLarge or SearchUnavailable.
    """
    address = str(links.parse(url))
    name = _name_of(address)
    target = upload.folder / FOLDER / name
    download = SteppedDownload(address, target)
    try:
        download.run()
    except StepEnded:
        return Fetched(name, download.total, download.offset)
    size = target.stat().st_size
    final = upload.folder / _with_ending(name, target)
    target.replace(final)
    shutil.rmtree(target.parent, ignore_errors=True)
    return Fetched(final.name, size, size, is_complete=True)


def _name_of(address: str) -> str:
    """Return a name for the file at an address."""
    path = unquote(urlsplit(address).path)
    base = path.rstrip("/").rpartition("/")[2]
    return clean_name(base[-100:] or "list")


def _with_ending(name: str, file: Path) -> str:
    """Return the name of a file with an ending by which readers know what it is."""
    if TABLE.fullmatch(name) or ARCHIVE.fullmatch(name):
        return name
    with file.open("rb") as opened:
        is_parquet = opened.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
    if is_parquet:
        return f"{name}.parquet"
    if is_zipfile(file):
        return f"{name}.zip"
    return f"{name}.tar" if tarfile.is_tarfile(file) else f"{name}.csv"
