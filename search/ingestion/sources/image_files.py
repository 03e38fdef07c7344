"""Images on the server's disk: in folders, or in tar files of the webdataset format.

An image may have a caption, in a file of the same name that ends in .txt, and other
metadata, in one that ends in .json. Tar files are not unpacked. An item gets a URL only
if its JSON has one that a page may link to; its path is stored as `file`.
"""

import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from search.errors import ImageTooLarge, NotAnImage, ShardUnreadable
from search.images.decode import MAX_BYTES
from search.query.url_params import safe_url

from .image_fetch import SourceImage, read_image
from .image_lists import COMPUTED, SHARD_ROWS
from .protocol import fingerprint
from .read_errors import as_shard_unreadable
from .tables import NAMES, numbered

IMAGE_NAME = re.compile(r".+\.(?:jpe?g|png|webp|gif|avif)", re.IGNORECASE | re.DOTALL)
TAR = re.compile(r".+\.tar", re.IGNORECASE)
MAX_TEXT_BYTES = 2**18
END_OF_TAR = bytes(1024)
RESERVED = ("url", "caption", "file", *COMPUTED)


@dataclass(frozen=True)
class FilePart:
    """Some bytes of a file: a member of a tar file, or all of a file."""

    path: Path
    offset: int
    size: int

    def read(self, max_bytes: int) -> bytes:
        """Read all bytes. Raises ImageTooLarge or NotAnImage."""
        if self.size > max_bytes:
            raise ImageTooLarge(f"{self.size:,} bytes are too many.")
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise NotAnImage("The file cannot be read.") from error


@dataclass(frozen=True)
class Entry:
    """An image with the files of its caption and metadata."""

    name: str
    image: FilePart
    caption: FilePart | None
    metadata: FilePart | None


@dataclass
class ImageFiles:
    """The images of a shard, as an ImageSet."""

    entries: list[Entry]
    columns: Mapping[str, str]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def bytes(self) -> int:
        return sum(entry.image.size for entry in self.entries)

    def tables(self, start: int, size: int) -> Iterator[pa.Table]:
        """Yield the rows from `start` on, `size` at a time; all cells are texts."""
        for first in range(start, len(self), size):
            rows = [self._row(entry) for entry in self.entries[first : first + size]]
            names = dict.fromkeys(name for row in rows for name in row)
            schema = pa.schema([(name, pa.string()) for name in names])
            yield pa.Table.from_pylist(rows, schema)

    def load(self, row: int, url: str) -> SourceImage:
        """Read an image.

        Raises NotAnImage or ImageTooLarge, for its caption and metadata as well.
        """
        entry = self.entries[row]
        _read_caption(entry)
        _read_metadata(entry)
        return read_image(entry.image.read(MAX_BYTES))

    def _row(self, entry: Entry) -> dict[str, str]:
        try:
            caption, metadata = _read_caption(entry), _read_metadata(entry)
        except (NotAnImage, ImageTooLarge):
            caption, metadata = "", {}  # `load` gives the reason of the rejection
        url = safe_url(self._value(metadata, "url"))
        caption = (
            caption or self._value(metadata, "caption") or caption_from_name(entry.name)
        )
        row = {"url": url, "caption": caption, "file": entry.name}
        for name, value in metadata.items():
            column = f"original_{name}" if name.lower() in RESERVED else name
            if value not in (url, caption):
                row.setdefault(column, value)
        return row

    def _value(self, metadata: dict[str, str], role: str) -> str:
        configured = self.columns.get(role)
        names = (configured, *NAMES[role]) if configured else NAMES[role]
        return next((metadata[name] for name in names if metadata.get(name)), "")


def tar_files(
    files: list[Path], columns: Mapping[str, str]
) -> dict[int, Callable[[], ImageFiles]]:
    """Return the shards of tar files, one each, by the numbers in their names."""
    return {
        number: partial(_open_tar, path, columns)
        for number, path in numbered(files).items()
    }


def _open_tar(path: Path, columns: Mapping[str, str]) -> ImageFiles:
    members: dict[str, FilePart] = {}
    with as_shard_unreadable(path.name), tarfile.open(path, "r:") as tar:
        while member := tar.next():
            # Else tarfile keeps them all.
            tar.members.clear()  # type: ignore[attr-defined]  # not in typeshed
            if member.isreg() and not member.issparse():
                part = FilePart(path, member.offset_data, member.size)
                members[member.name] = part
    with as_shard_unreadable(path.name), path.open("rb") as file:
        file.seek(-len(END_OF_TAR), os.SEEK_END)
        if file.read() != END_OF_TAR:
            raise ShardUnreadable(f"{path.name} is cut short.")
    names = [name for name in members if is_image(name)]
    entries = _entries(names, members.get, f"{path.name}/")
    return ImageFiles(entries, columns, fingerprint(path, read_as=str(columns)))


def image_names(folder: Path) -> list[str]:
    """Return the images in a folder and below it, in the order of their paths.

    The list is empty without a folder; raises ShardUnreadable for one without access.
    """

    def fail(error: OSError) -> None:
        raise ShardUnreadable(f"{error.filename} cannot be read.") from error

    if not folder.is_dir():
        return []
    found = []
    for below, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if name[0] != "."]
        relative = Path(below).relative_to(folder)
        found += [str(relative / file) for file in files if is_image(file)]
    return sorted(found)


def is_image(name: str) -> bool:
    """Return whether a name is an image's; files with a dot first are file systems'."""
    return bool(IMAGE_NAME.fullmatch(name)) and Path(name).name[0] != "."


def folder_files(
    folder: Path, names: list[str], columns: Mapping[str, str]
) -> dict[int, Callable[[], ImageFiles]]:
    """Return the shards of a folder: SHARD_ROWS images each, in the order of paths.

    Items keep their ids as long as images are only appended.
    """
    return {
        number: partial(
            _open_folder, folder, names[first : first + SHARD_ROWS], columns
        )
        for number, first in enumerate(range(0, len(names), SHARD_ROWS))
    }


def _open_folder(
    folder: Path, names: list[str], columns: Mapping[str, str]
) -> ImageFiles:
    def file_part(name: str) -> FilePart | None:
        path = folder / name
        return FilePart(path, 0, path.stat().st_size) if path.is_file() else None

    with as_shard_unreadable(folder.name):
        entries = _entries(names, file_part, "")
        files = [entry.image.path for entry in entries]
        version = fingerprint(*files, read_as=f"{columns} {names}")
    return ImageFiles(entries, columns, version)


def _entries(
    names: list[str], find: Callable[[str], FilePart | None], prefix: str
) -> list[Entry]:
    """Return the images of these names; `prefix` precedes the names in entries."""
    entries = []
    for name in names:
        stem = name.rpartition(".")[0]
        caption, metadata = find(f"{stem}.txt"), find(f"{stem}.json")
        if image := find(name):
            shown = _replace_surrogates(prefix + name)
            entries.append(Entry(shown, image, caption, metadata))
    return entries


def caption_from_name(name: str) -> str:
    """Return a caption for a file name: "golden gate" for golden-gate_7.jpg."""
    stem = Path(name).stem
    return " ".join(word for word in re.split(r"[\W\d_]+", stem) if word)


def _read_caption(entry: Entry) -> str:
    if entry.caption is None:
        return ""
    return entry.caption.read(MAX_TEXT_BYTES).decode("utf-8", "replace").strip()


def _read_metadata(entry: Entry) -> dict[str, str]:
    """Return the values of the JSON as texts, without nulls and empty texts."""
    if entry.metadata is None:
        return {}
    try:
        read = json.loads(entry.metadata.read(MAX_TEXT_BYTES))
        values = {
            name: value for name, value in read.items() if value not in (None, "")
        }
    except (ValueError, AttributeError, RecursionError) as error:
        raise NotAnImage("The JSON beside it cannot be read.") from error
    return {
        _replace_surrogates(name): _replace_surrogates(
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        )
        for name, value in values.items()
    }


def _replace_surrogates(text: str) -> str:
    """Return a text as valid Unicode, which JSON and file names may not be."""
    return text.encode("utf-8", "replace").decode()
