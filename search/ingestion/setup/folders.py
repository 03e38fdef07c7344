"""The folders of this server from which datasets may be imported: INGEST_FOLDERS.

They hold for sources that are chosen on a page or over the API. People who may run
commands may read the server's files anyway.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from search.errors import InvalidQuery, NotFound
from search.images.formats import IMAGE_SUFFIXES
from search.ingestion.sources.archives import ARCHIVE
from search.ingestion.sources.places import is_open, roots
from search.ingestion.sources.samples import is_hidden
from search.ingestion.sources.tables import TABLE
from search.models import Dataset
from search.models.registry import own_field

from . import uploads

MAX_ENTRIES = 300  # folders, and as many files, that are listed
WILDCARDS = re.compile(r"[*?\[]")
OUTSIDE = "Datasets may come from {} only, and their folders that are not hidden."
NO_FOLDERS = "No folder is open to imports: an admin names some in INGEST_FOLDERS."
NO_ACCESS = "This server may not read “{}”: its user lacks the permission."
MISSING = "There is no file or folder “{}” on this server."


@dataclass(frozen=True)
class Entry:
    """A folder or file; without a path it cannot be chosen, for the `reason`."""

    name: str
    path: str
    is_folder: bool
    bytes: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Listing:
    """The contents of a folder: folders, files that may be a source, and images.

    `parents` has names and paths from a folder of INGEST_FOLDERS down to this one.
    """

    path: str
    parents: tuple[tuple[str, str], ...] = ()
    entries: tuple[Entry, ...] = ()
    images: int = 0
    others: int = 0
    left_off: int = 0  # entries beyond MAX_ENTRIES

    @property
    def is_source(self) -> bool:
        """Return whether there is something in it that may be imported."""
        return bool(self.images or self.entries)


def check(source: str) -> None:
    """Check the path of a source, which may be a pattern such as /data/photos.tsv*.

    Raises InvalidQuery for one outside of INGEST_FOLDERS, whether it exists or not,
    and NotFound for one that does not exist.
    """
    longest = own_field(Dataset, "source").max_length or 0
    if len(source) > longest or "\0" in source:
        raise InvalidQuery(f"A path has up to {longest} characters.")
    if not os.path.isabs(source):
        raise InvalidQuery("Write the whole path, from / on.")
    fixed = source
    if not os.path.lexists(source) and (wildcard := WILDCARDS.search(source)):
        fixed = os.path.dirname(source[: wildcard.start()])
    real = Path(os.path.realpath(fixed))
    # Anyone who knows the key of an upload may use it.
    if ".." in Path(source).parts or not (uploads.is_upload(real) or is_open(real)):
        named = " and ".join(map(str, roots()))
        raise InvalidQuery(OUTSIDE.format(named) if named else NO_FOLDERS)
    try:
        os.stat(fixed)
    except PermissionError as error:
        raise InvalidQuery(NO_ACCESS.format(fixed)) from error
    except (OSError, ValueError) as error:
        raise NotFound(MISSING.format(source)) from error


def browse(path: str = "") -> Listing:
    """List a folder; without a path, INGEST_FOLDERS, unless there is only one.

    Raises InvalidQuery or NotFound, as `check` does, and for a file.
    """
    tops = roots()
    if not path and len(tops) != 1:
        return Listing("", entries=tuple(Entry(str(t), str(t), True) for t in tops))
    path = os.path.normpath(path or tops[0])
    check(path)
    if not os.path.isdir(path):
        raise InvalidQuery(f"“{path}” is a file.")
    return _listing(Path(path))


def _listing(folder: Path) -> Listing:
    try:
        with os.scandir(folder) as scanned:
            found = [entry for entry in scanned if not is_hidden(entry.name)]
    except PermissionError as error:
        raise InvalidQuery(NO_ACCESS.format(folder)) from error
    except OSError as error:
        raise NotFound(MISSING.format(folder)) from error
    folders = [each for each in found if _is_folder(each)]
    files = [each for each in found if not _is_folder(each)]
    sources = [each for each in files if _is_source(each.name)]
    images = [
        each for each in files if Path(each.name).suffix.lower() in IMAGE_SUFFIXES
    ]
    return Listing(
        path=str(folder),
        parents=tuple(_parents(folder)),
        entries=(*_entries(folders, True), *_entries(sources, False)),
        images=len(images),
        others=len(files) - len(sources) - len(images),
        left_off=sum(max(0, len(each) - MAX_ENTRIES) for each in (folders, sources)),
    )


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_source(name: str) -> bool:
    return bool(ARCHIVE.fullmatch(name) or TABLE.fullmatch(name))


def _entries(found: list[os.DirEntry], are_folders: bool) -> Iterator[Entry]:
    """Yield the first entries by name, without links out of the open folders."""
    found = sorted(found, key=lambda entry: entry.name.casefold())
    for entry in found[:MAX_ENTRIES]:
        if not entry.name.isprintable():
            shown = entry.name.encode("utf-8", "replace").decode()
            shown = "".join(char if char.isprintable() else "�" for char in shown)
            reason = "Its name has characters that a page cannot send: rename it first."
            yield Entry(shown, "", are_folders, reason=reason)
        elif is_open(Path(os.path.realpath(entry.path))):
            yield Entry(entry.name, entry.path, are_folders, _size(entry, are_folders))


def _size(entry: os.DirEntry, is_folder: bool) -> int:
    try:
        return 0 if is_folder else entry.stat().st_size
    except OSError:
        return 0


def _parents(folder: Path) -> Iterator[tuple[str, str]]:
    real = Path(os.path.realpath(folder))
    # The outermost: one of INGEST_FOLDERS may be in another.
    above = [root for root in roots() if real.is_relative_to(root)]
    top = min(above, key=lambda root: len(root.parts))
    path = top
    yield str(top), str(top)
    for part in real.relative_to(top).parts:
        path = path / part
        yield part, str(path)
