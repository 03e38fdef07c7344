"""Images in archives: tar files of the webdataset format, and zip files.

They are not unpacked: each member is read where it is. A member of a zip file is
decompressed up to the size that it says, which is refused if it is too large.
"""

import re
import struct
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from search.errors import ImageTooLarge, NotAnImage, ShardUnreadable
from search.images.formats import HEAD_BYTES

from .image_files import (
    NOT_A_FILE,
    TOO_LARGE,
    UNREADABLE,
    FilePart,
    ImageFiles,
    Listing,
    Part,
)
from .image_set import ImageSet, LeftOut, WithLeftOut
from .places import open_file
from .protocol import fingerprint
from .read_errors import as_shard_unreadable
from .samples import is_hidden

ARCHIVE = re.compile(r".+\.(?:tar|zip)", re.IGNORECASE)
ZIP = re.compile(r".+\.zip", re.IGNORECASE)
MIN_END_BYTES = 1024  # of a tar file, all zeros
READ_BYTES = 2**20
# Of a zip file, before each member: the lengths of its name and extra field at the end.
LOCAL_HEADER = struct.Struct("<4s22xHH")
LOCAL_MAGIC = b"PK\3\4"
IS_ENCRYPTED = 0x1
MAX_OVERHEAD_BYTES = 2**16  # of compressing what cannot be compressed
# Reasons of rejections.
REPLACED = "The archive has a later file of the same name."
ENCRYPTED = "It is encrypted."
UNKNOWN_METHOD = "It is compressed by a method other than deflate."


def open_archive(path: Path, columns: Mapping[str, str]) -> ImageSet:
    """Return the images of an archive. Raises ShardUnreadable."""
    members, left_out = archive_members(path)
    listing = Listing(left_out=left_out)
    for name, part in members.items():
        listing.add(name, part.head)
    samples = listing.samples()
    prefix = f"{path.name}/"
    size = sum(members[sample.image].size for sample in samples)
    version = fingerprint(path, read_as=str(columns))
    images = ImageFiles(samples, members.__getitem__, prefix, columns, version, size)
    return WithLeftOut(
        images, [replace(each, name=prefix + each.name) for each in listing.left_out]
    )


def archive_members(path: Path) -> tuple[Mapping[str, Part], list[LeftOut]]:
    """Return the files in an archive by name, and those that are left out.

    Raises ShardUnreadable for an archive that is damaged or cut short.
    """
    return zip_members(path) if ZIP.fullmatch(path.name) else tar_members(path)


def tar_members(path: Path) -> tuple[dict[str, FilePart], list[LeftOut]]:
    """Return what `archive_members` does, for a tar file."""
    members: dict[str, FilePart] = {}
    left_out = []
    with (
        as_shard_unreadable(path.name),
        open_file(path) as file,
        tarfile.open(fileobj=file, mode="r:") as tar,
    ):
        while member := tar.next():
            # Else tarfile keeps them all.
            tar.members.clear()  # type: ignore[attr-defined]  # not in typeshed
            if member.isdir() or is_hidden(member.name):
                continue
            if not member.isreg() or member.issparse():
                left_out.append(LeftOut(member.name, NOT_A_FILE))
                continue
            if member.name in members:
                left_out.append(LeftOut(member.name, REPLACED))
            part = FilePart(path, member.offset_data, member.size)
            members[member.name] = part
        end = tar.offset
    _check_end(path, end)
    return members, left_out


def _check_end(path: Path, end: int) -> None:
    """Raise ShardUnreadable unless a tar file ends with zeros, from `end` on.

    A header of zeros ends it for tarfile, whatever follows.
    """
    with as_shard_unreadable(path.name), open_file(path) as file:
        file.seek(end)
        rest = file.read(MIN_END_BYTES)
        if len(rest) < MIN_END_BYTES:
            raise ShardUnreadable(f"{path.name} is cut short.")
        while rest:
            if rest.strip(b"\0"):
                raise ShardUnreadable(
                    f"{path.name} is damaged: there is more after its end."
                )
            rest = file.read(READ_BYTES)


@dataclass(frozen=True, slots=True)
class ZipPart:
    """A member of a zip file; `crc` is that of its `size` bytes."""

    path: Path
    offset: int  # of its local header
    packed: int  # bytes
    size: int
    crc: int
    is_stored: bool

    def read(self, max_bytes: int) -> bytes:
        """Read all bytes. Raises ImageTooLarge or NotAnImage."""
        if self.size > max_bytes or self.packed > max_bytes + MAX_OVERHEAD_BYTES:
            raise ImageTooLarge(TOO_LARGE.format(max(self.size, self.packed)))
        content = self._read(self.packed, self.size)
        if len(content) != self.size or zlib.crc32(content) != self.crc:
            raise NotAnImage(UNREADABLE)
        return content

    def head(self) -> bytes:
        """Read the first bytes. Raises NotAnImage."""
        packed = min(self.packed, HEAD_BYTES + MAX_OVERHEAD_BYTES)
        return self._read(packed, min(self.size, HEAD_BYTES))

    def _read(self, packed: int, size: int) -> bytes:
        """Read `packed` bytes, and return up to `size` of their content."""
        try:
            with open_file(self.path) as file:
                file.seek(self.offset)
                header = file.read(LOCAL_HEADER.size)
                magic, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
                if magic != LOCAL_MAGIC:
                    raise NotAnImage(UNREADABLE)
                file.seek(name_bytes + extra_bytes, 1)
                content = file.read(packed)
            if self.is_stored:
                return content[:size]
            # A size of 0 would be no limit.
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size or 1)
        except (OSError, struct.error, zlib.error) as error:
            raise NotAnImage(UNREADABLE) from error


def zip_members(path: Path) -> tuple[dict[str, ZipPart], list[LeftOut]]:
    """Return what `archive_members` does, for a zip file."""
    members: dict[str, ZipPart] = {}
    left_out = []
    with (
        as_shard_unreadable(path.name),
        open_file(path) as opened,
        ZipFile(opened) as file,
    ):
        for info in file.infolist():
            name = info.filename
            if info.is_dir() or is_hidden(name):
                continue
            if info.flag_bits & IS_ENCRYPTED:
                left_out.append(LeftOut(name, ENCRYPTED))
                continue
            if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                left_out.append(LeftOut(name, UNKNOWN_METHOD))
                continue
            if name in members:
                left_out.append(LeftOut(name, REPLACED))
            members[name] = ZipPart(
                path,
                info.header_offset,
                info.compress_size,
                info.file_size,
                info.CRC,
                info.compress_type == ZIP_STORED,
            )
    return members, left_out
