"""Pictures on the server's disk: in folders, or in tar files as webdataset has them.

Beside a picture may lie its caption, in a file of the same name that ends in .txt, and
what else is known of it, in one that ends in .json. Tar files are read where they are.
Such an item has an address only if its JSON gives one that a page may link to; where
the picture lies is kept as `file`.
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

from search.errors import NotAPicture, PictureTooLarge, ShardUnreadable
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
OWN = ("url", "caption", "file", *COMPUTED)


@dataclass(frozen=True)
class Stretch:
    """Some bytes of a file: a member of a tar file, or all of a file."""

    path: Path
    offset: int
    size: int

    def read(self, most: int) -> bytes:
        """Raises PictureTooLarge or NotAPicture."""
        if self.size > most:
            raise PictureTooLarge(f"{self.size:,} bytes are too many.")
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise NotAPicture("The file cannot be read.") from error


@dataclass(frozen=True)
class Entry:
    """A picture, and what lies beside it."""

    name: str
    picture: Stretch
    text: Stretch | None
    facts: Stretch | None


@dataclass
class ImageFiles:
    """The pictures of a shard."""

    entries: list[Entry]
    columns: Mapping[str, str]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def bytes(self) -> int:
        return sum(entry.picture.size for entry in self.entries)

    def tables(self, start: int, size: int) -> Iterator[pa.Table]:
        """The rows from `start` on, `size` together; all cells are texts."""
        for first in range(start, len(self), size):
            rows = [self._row(entry) for entry in self.entries[first : first + size]]
            names = dict.fromkeys(name for row in rows for name in row)
            schema = pa.schema([(name, pa.string()) for name in names])
            yield pa.Table.from_pylist(rows, schema)

    def load(self, row: int, url: str) -> SourceImage:
        """Raises NotAPicture or PictureTooLarge, for what lies beside it, too."""
        entry = self.entries[row]
        _caption(entry), _facts(entry)
        return read_image(entry.picture.read(MAX_BYTES))

    def _row(self, entry: Entry) -> dict[str, str]:
        try:
            caption, facts = _caption(entry), _facts(entry)
        except (NotAPicture, PictureTooLarge):
            caption, facts = "", {}  # load says why the row does not come in
        url = safe_url(self._fact(facts, "url"))
        caption = (
            caption or self._fact(facts, "caption") or caption_from_name(entry.name)
        )
        row = {"url": url, "caption": caption, "file": entry.name}
        for name, value in facts.items():
            kept = f"original_{name}" if name.lower() in OWN else name
            if value not in (url, caption):
                row.setdefault(kept, value)
        return row

    def _fact(self, facts: dict[str, str], role: str) -> str:
        given = self.columns.get(role)
        names = (given, *NAMES[role]) if given else NAMES[role]
        return next((facts[name] for name in names if facts.get(name)), "")


def tar_files(
    files: list[Path], columns: Mapping[str, str]
) -> dict[int, Callable[[], ImageFiles]]:
    """The shards of tar files, one each, by the numbers in their names."""
    return {
        number: partial(_tar_file, path, columns)
        for number, path in numbered(files).items()
    }


def _tar_file(path: Path, columns: Mapping[str, str]) -> ImageFiles:
    members: dict[str, Stretch] = {}
    with as_shard_unreadable(path.name), tarfile.open(path, "r:") as tar:
        while member := tar.next():
            # It would keep them all.
            tar.members.clear()  # type: ignore[attr-defined]  # not in typeshed
            if member.isreg() and not member.issparse():
                at = Stretch(path, member.offset_data, member.size)
                members[member.name] = at
    with as_shard_unreadable(path.name), path.open("rb") as file:
        file.seek(-len(END_OF_TAR), os.SEEK_END)
        if file.read() != END_OF_TAR:
            raise ShardUnreadable(f"{path.name} is cut short.")
    pictures = [name for name in members if is_image(name)]
    entries = _entries(pictures, members.get, f"{path.name}/")
    return ImageFiles(entries, columns, fingerprint(path, read_as=str(columns)))


def image_names(folder: Path) -> list[str]:
    """The pictures in a folder and those below it, in the order of their paths.

    None where there is no folder; raises ShardUnreadable for one that is closed to us.
    """

    def closed(error: OSError) -> None:
        raise ShardUnreadable(f"{error.filename} cannot be read.") from error

    if not folder.is_dir():
        return []
    found = []
    for below, folders, files in os.walk(folder, onerror=closed):
        folders[:] = [name for name in folders if name[0] != "."]
        at = Path(below).relative_to(folder)
        found += [str(at / file) for file in files if is_image(file)]
    return sorted(found)


def is_image(name: str) -> bool:
    """By its name; those that begin with a dot are notes of some file system."""
    return bool(IMAGE_NAME.fullmatch(name)) and Path(name).name[0] != "."


def folder_files(
    folder: Path, names: list[str], columns: Mapping[str, str]
) -> dict[int, Callable[[], ImageFiles]]:
    """The shards of a folder: SHARD_ROWS pictures each, in the order of their paths.

    So an item keeps its id as long as pictures are only added behind the others.
    """
    return {
        number: partial(
            _folder_part, folder, names[first : first + SHARD_ROWS], columns
        )
        for number, first in enumerate(range(0, len(names), SHARD_ROWS))
    }


def _folder_part(
    folder: Path, names: list[str], columns: Mapping[str, str]
) -> ImageFiles:
    def whole(name: str) -> Stretch | None:
        path = folder / name
        return Stretch(path, 0, path.stat().st_size) if path.is_file() else None

    with as_shard_unreadable(folder.name):
        entries = _entries(names, whole, "")
        files = [entry.picture.path for entry in entries]
        changed = fingerprint(*files, read_as=f"{columns} {names}")
    return ImageFiles(entries, columns, changed)


def _entries(
    names: list[str], stretch_of: Callable[[str], Stretch | None], prefix: str
) -> list[Entry]:
    """Of the pictures by these names; the name that is shown begins with `prefix`."""
    entries = []
    for name in names:
        stem = name.rpartition(".")[0]
        text, facts = stretch_of(f"{stem}.txt"), stretch_of(f"{stem}.json")
        if picture := stretch_of(name):
            entries.append(Entry(_told(prefix + name), picture, text, facts))
    return entries


def caption_from_name(name: str) -> str:
    """A caption from the name of a file: golden-gate_7.jpg is "golden gate"."""
    stem = Path(name).stem
    return " ".join(word for word in re.split(r"[\W\d_]+", stem) if word)


def _caption(entry: Entry) -> str:
    if entry.text is None:
        return ""
    return entry.text.read(MAX_TEXT_BYTES).decode("utf-8", "replace").strip()


def _facts(entry: Entry) -> dict[str, str]:
    """What the JSON says, as texts; null and nothing are left out."""
    if entry.facts is None:
        return {}
    try:
        facts = json.loads(entry.facts.read(MAX_TEXT_BYTES))
        told = {name: value for name, value in facts.items() if value not in (None, "")}
    except (ValueError, AttributeError, RecursionError) as error:
        raise NotAPicture("The JSON beside it cannot be read.") from error
    return {
        _told(name): _told(
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        )
        for name, value in told.items()
    }


def _told(text: str) -> str:
    """Without the halves of characters that JSON and names of files may have."""
    return text.encode("utf-8", "replace").decode()
