"""Images that are files on the server's disk: in folders, or parts of archives.

An image may have texts beside it (see samples): a caption, and metadata in JSON. An
item gets a URL only if its JSON has one that makes a link;
its path is stored as `file`. Files that are not taken are rows as well, after those of
the images, and are rejected with the reason.
"""

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from search.errors import ImageTooLarge, NotAnImage, ShardUnreadable
from search.images.formats import (
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    MAX_BYTES,
    UNKNOWN_FORMAT,
    sniff,
)
from search.links import linkable

from .cells import NOT_UTF8, SEVERAL, decode_file, first_text, fold
from .image_fetch import SourceImage, read_image
from .image_lists import COMPUTED, SHARD_ROWS
from .image_set import (
    SURROGATE,
    ImageSet,
    LeftOut,
    Rows,
    replace_surrogates,
    shown_name,
)
from .places import LEADS_OUT, Closed, leads_out, open_file
from .protocol import fingerprint
from .read_errors import as_shard_unreadable
from .samples import Sample, ending_of, group, is_hidden, is_text, text_name
from .tables import NAMES

MAX_TEXT_BYTES = 2**18
RESERVED = ("url", "caption", *COMPUTED)
# Reasons of rejections.
NO_IMAGE = "It describes no image: there is none of this name."
NOT_A_FILE = "It is a link or a device, and not a file."
BESIDE = "It is next to archives, Parquet files or lists, and only these are read."
UNREADABLE = "The file cannot be read."
TOO_LARGE = "{:,} bytes are too many."


class Part(Protocol):
    """A file of its own, or a member of an archive."""

    @property
    def size(self) -> int: ...

    def read(self, max_bytes: int) -> bytes:
        """Read all bytes. Raises ImageTooLarge or NotAnImage."""

    def head(self) -> bytes:
        """Read the first bytes. Raises NotAnImage."""


@dataclass(frozen=True)
class FilePart:
    """Some bytes of a file: a member of a tar file, or all of a file."""

    path: Path
    offset: int
    size: int

    def read(self, max_bytes: int) -> bytes:
        """Read all bytes. Raises ImageTooLarge or NotAnImage."""
        if self.size > max_bytes:
            raise ImageTooLarge(TOO_LARGE.format(self.size))
        try:
            with open_file(self.path) as file:
                file.seek(self.offset)
                return file.read(self.size)
        except Closed as error:
            raise NotAnImage(LEADS_OUT) from error
        except OSError as error:
            raise NotAnImage(UNREADABLE) from error

    def head(self) -> bytes:
        """Read the first bytes. Raises NotAnImage."""
        size = min(self.size, HEAD_BYTES)
        return FilePart(self.path, self.offset, size).read(size)


@dataclass
class Listing:
    """The names of files by what they are."""

    images: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def add(self, name: str, head: Callable[[], bytes]) -> None:
        """Add a file, whose first bytes `head` reads."""
        if f".{ending_of(name)}" in IMAGE_SUFFIXES:
            self.images.append(name)
        elif is_text(name):
            self.texts.append(name)
        else:
            self._add_by_content(name, head)

    def samples(self) -> list[Sample]:
        """Return a sample for each image, and leave out texts without an image."""
        samples, alone = group(self.images, self.texts)
        self.left_out += [LeftOut(name, NO_IMAGE) for name in alone]
        return samples

    def _add_by_content(self, name: str, head: Callable[[], bytes]) -> None:
        try:
            if sniff(head()):
                self.images.append(name)
            else:
                self.left_out.append(LeftOut(name, UNKNOWN_FORMAT))
        except NotAnImage as error:
            self.left_out.append(LeftOut(name, error.message))


@dataclass
class ImageFiles:
    """The images of a shard, as an ImageSet."""

    samples: Sequence[Sample]
    part_of: Callable[[str], Part]
    prefix: str  # of the names in `file`
    columns: Mapping[str, str]
    fingerprint: str
    bytes: int

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, start: int, size: int) -> Iterator[Rows]:
        """Yield the rows from `start` on, `size` at a time; all cells are texts."""
        for first in range(start, len(self), size):
            samples, notes = self.samples[first : first + size], Counter[str]()
            rows = [self._row(sample, notes) for sample in samples]
            names = dict.fromkeys(name for row in rows for name in row)
            schema = pa.schema([(name, pa.string()) for name in names])
            table = pa.Table.from_pylist(rows, schema)
            yield Rows(table, partial(self._load, samples), notes=notes)

    def _load(self, samples: Sequence[Sample], place: int, url: str) -> SourceImage:
        """Read an image.

        Raises NotAnImage or ImageTooLarge, for its texts as well.
        """
        self._read_texts(samples[place])
        return read_image(self.part_of(samples[place].image).read(MAX_BYTES))

    def _row(self, sample: Sample, notes: Counter[str]) -> dict[str, str]:
        try:
            caption, metadata, repaired = self._read_texts(sample)
        except (NotAnImage, ImageTooLarge):
            caption, metadata, repaired = "", {}, False  # `_load` gives the reason
        if repaired or SURROGATE.search(sample.image):
            notes[NOT_UTF8] += 1
        name = shown_name(self.prefix + sample.image)
        url = linkable(self._value(metadata, "url")[0])
        if not caption:
            caption, are_more = self._value(metadata, "caption")
            notes[SEVERAL.format("caption")] += are_more
        caption = caption or caption_from_name(name)
        row = {"url": url, "caption": caption, "file": name}
        roles = {fold(column): role for role, column in self.columns.items()}
        for key, value in metadata.items():
            if (text := _text_of(value)) not in (url, caption):
                column = roles.get(fold(key), key)
                column = f"original_{column}" if fold(column) in RESERVED else column
                row.setdefault(column, text)
        return row

    def _read_texts(self, sample: Sample) -> tuple[str, dict[str, Any], bool]:
        """Return the caption and the metadata of an image, and whether some is new.

        The last says whether bytes that are not UTF-8 were replaced.
        """
        texts = {name: self._read_text(name) for name in sample.names[1:]}
        caption, _ = texts.get(sample.caption, ("", False))
        metadata = _values_of(texts[sample.metadata][0]) if sample.metadata else {}
        for name in sample.others:
            if text := texts[name][0].strip():
                metadata.setdefault(text_name(name, sample.image), text)
        repaired = any(was_repaired for _, was_repaired in texts.values())
        return caption.strip(), metadata, repaired

    def _read_text(self, name: str) -> tuple[str, bool]:
        return decode_file(self.part_of(name).read(MAX_TEXT_BYTES))

    def _value(self, metadata: dict[str, Any], role: str) -> tuple[str, bool]:
        """Return the value of a role, or the first of several, and if there are more.

        It is empty if there is none.
        """
        configured = self.columns.get(role)
        names = (configured, *NAMES[role]) if configured else NAMES[role]
        folded = {fold(key): value for key, value in metadata.items()} | metadata
        found = (folded.get(name) or folded.get(fold(name)) for name in names)
        value = next(filter(None, found), "")
        text, are_more = first_text(
            value if isinstance(value, list) else [_text_of(value)]
        )
        return replace_surrogates(text), are_more


def _values_of(text: str) -> dict[str, Any]:
    """Return the values of a JSON object, without those that are empty."""
    try:
        read = json.loads(text, parse_constant=lambda nan: None).items()
        values = ((key, value) for key, value in read if value not in (None, ""))
        return {replace_surrogates(key): value for key, value in values}
    except (ValueError, AttributeError, RecursionError) as error:
        raise NotAnImage("The JSON beside it cannot be read.") from error


def _text_of(value: Any) -> str:
    """Return a value of JSON as a text."""
    is_text = isinstance(value, str)
    return replace_surrogates(
        value if is_text else json.dumps(value, ensure_ascii=False)
    )


# --- Folders


def files_below(folder: Path) -> Iterator[tuple[str, os.DirEntry]]:
    """Yield the files in a folder and below it, with their paths in it.

    Hidden files and folders are ignored, links to folders are not followed. Raises
    ShardUnreadable for a folder without access.
    """
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise ShardUnreadable(f"{folder} cannot be read.") from error
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            for name, below in files_below(folder / entry.name):
                yield f"{entry.name}/{name}", below
        else:
            yield entry.name, entry


def list_folder(folder: Path) -> Listing:
    """Return the files in a folder and below it, in the order of their paths."""
    listing = Listing()
    for name, entry in sorted(files_below(folder)):
        if entry.is_symlink() and leads_out(entry.path, folder):
            listing.left_out.append(LeftOut(name, LEADS_OUT))
        elif entry.is_file():
            part = FilePart(Path(entry.path), 0, HEAD_BYTES)
            listing.add(name, part.head)
        else:
            listing.left_out.append(LeftOut(name, NOT_A_FILE))
    return listing


def beside(source: str, files: Collection[Path]) -> list[LeftOut]:
    """Return the other files of a source that is a folder."""
    if not os.path.isdir(source):
        return []
    taken = {file.name for file in files}
    return [
        LeftOut(name, LEADS_OUT if leads_out(entry.path, source) else BESIDE)
        for name, entry in sorted(files_below(Path(source)), key=itemgetter(0))
        if name not in taken
    ]


def folder_files(
    folder: Path, samples: Sequence[Sample], columns: Mapping[str, str]
) -> dict[int, Callable[[], ImageSet]]:
    """Return the shards of a folder: SHARD_ROWS images each, in the order of paths.

    Items keep their ids as long as images are only appended.
    """
    starts = range(0, len(samples), SHARD_ROWS)
    return {
        number: partial(
            _open_folder, folder, samples[first : first + SHARD_ROWS], columns
        )
        for number, first in enumerate(starts)
    }


def _open_folder(
    folder: Path, samples: Sequence[Sample], columns: Mapping[str, str]
) -> ImageFiles:
    with as_shard_unreadable(folder.name):
        names = dict.fromkeys(name for sample in samples for name in sample.names)
        files = [folder / name for name in names]
        version = fingerprint(*files, read_as=f"{columns} {samples}")
        size = sum((folder / sample.image).stat().st_size for sample in samples)
    return ImageFiles(samples, partial(part_in, folder), "", columns, version, size)


def part_in(folder: Path, name: str) -> FilePart:
    """Return a file of a folder. Raises NotAnImage."""
    path = folder / name
    try:
        return FilePart(path, 0, path.stat().st_size)
    except OSError as error:
        raise NotAnImage(UNREADABLE) from error


def caption_from_name(name: str) -> str:
    """Return a caption for a file name: "golden gate" for golden-gate_7.jpg."""
    stem = unicodedata.normalize("NFC", Path(name).stem)
    kept = (char if _is_of_word(unicodedata.category(char)) else " " for char in stem)
    return " ".join("".join(kept).split())


def _is_of_word(category: str) -> bool:
    return category[0] in "LM" or category in ("Nl", "No")
