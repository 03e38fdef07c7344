"""The original image of an item, in the folder, archive or table it came from."""

import glob
import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from search.errors import CannotFetch, NotAnImage, ShardUnreadable
from search.images.formats import MAX_BYTES

from .archives import ARCHIVE, archive_members
from .image_files import FilePart, Part
from .image_set import shown_name
from .image_tables import read_cell
from .tables import PARQUET, find_tables

ARCHIVES_IN_MEMORY = 8  # whose members are known
# What stands for a byte that is not UTF-8: U+FFFD, and ? in earlier versions, escaped.
REPLACED = re.compile(r"\ufffd|\[\?\]")


@dataclass(frozen=True)
class Original:
    """Where an image is, by the `file` and `md5` that its import has stored.

    The path is one of the source, and `name` that of an archive's member, the row of a
    table, or "" for a file. The `md5` is "" for a file that was not imported.
    """

    path: Path
    name: str
    md5: str
    columns: Mapping[str, str]

    def read(self) -> bytes:
        """Return the file of the image.

        Raises CannotFetch unless it is the one that was imported, ImageTooLarge.
        """
        try:
            content = self._read()
        except OSError as error:
            raise CannotFetch("Its file cannot be read.", passing=True) from error
        except (NotAnImage, ShardUnreadable) as error:
            raise CannotFetch(error.message, passing=True) from error
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if self.md5 not in ("", md5):
            raise CannotFetch("Its file has changed since the import.", passing=True)
        return content

    def _read(self) -> bytes:
        if not self.name:
            return FilePart(self.path, 0, self.path.stat().st_size).read(MAX_BYTES)
        if PARQUET.fullmatch(self.path.name):
            return read_cell(self.path, self.columns, int(self.name))
        stat = self.path.stat()
        member = _members(self.path, stat.st_size, stat.st_mtime_ns).get(self.name)
        if member is None:
            raise NotAnImage("The archive does not have it any more.")
        return member.read(MAX_BYTES)


def find_original(
    source: str, columns: Mapping[str, str], file: str, md5: str
) -> Original | None:
    """Return where an image of a source is; None if its file is not there.

    Only files of the source are found, whatever `file` is.
    """
    return find_file(source, columns, file, md5) if md5 else None


def find_file(
    source: str, columns: Mapping[str, str], file: str, md5: str = ""
) -> Original | None:
    """Return where a file of a source is, by the name that its import has stored."""
    if not (source and file):
        return None
    if whole := _file_of(source, file):
        return Original(whole, "", md5, columns)
    container, _, name = file.partition("/")
    is_row = PARQUET.fullmatch(container) and name.isascii() and name.isdigit()
    if not (is_row or ARCHIVE.fullmatch(container)):
        return None
    # To list a large folder for each image would take long.
    if os.path.isdir(source):
        source = os.path.join(source, container)
    files = find_tables(source, re.compile(re.escape(container)))
    return Original(files[0], name, md5, columns) if files else None


def _file_of(source: str, file: str) -> Path | None:
    """Return the file in a folder that is stored as `file`."""
    if ".." in PurePosixPath(file).parts or file.startswith("/"):
        return None
    forms = (unicodedata.normalize(form, file) for form in ("NFC", "NFD"))
    paths = [os.path.join(source, name) for name in (file, *forms)]
    # A copy on another system may have names in another normal form.
    path = next(filter(os.path.isfile, paths), paths[0])
    pattern, count = REPLACED.subn("?", glob.escape(path))
    if count and not os.path.isfile(path) and os.path.isdir(source):
        found = glob.glob(pattern)
        path = found[0] if len(found) == 1 else path
    return Path(path) if os.path.isfile(path) else None


@lru_cache(ARCHIVES_IN_MEMORY)
def _members(path: Path, _size: int, _mtime_ns: int) -> dict[str, Part]:
    members, _ = archive_members(path)
    return {shown_name(name): part for name, part in members.items()}
