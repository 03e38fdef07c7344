"""Check and reduce an image file, by its structure alone, before a decoder sees it.

A small file can hold thousands of scans, frames, chunks or tiles, and each costs a
decoder time. Honest files have few. Of PNG, GIF and WebP only what belongs to the first
frame remains.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from search.errors import ImageTooLarge, NotAnImage

MAX_SCANS = 100  # of a JPEG; encoders write up to about 20
MAX_CHUNKS = 20_000  # of a PNG or WebP; some encoders write one for each row
MAX_TILES = 65_536  # tiles or strips of a TIFF
MAX_TAGS = 1_000  # of a TIFF
MAX_ITEMS = 1_000  # of an AVIF or HEIC; libheif has the same limit
MAX_COEFFICIENT_BYTES = 200 * 10**6  # which a JPEG of several scans keeps in memory

DAMAGED = "This image is damaged and cannot be read."

END_OF_IMAGE = b"\xff\xd9"
# After a start of scan: a marker other than a stuffed zero, a restart or a fill byte.
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# What decides on the pixels of the first frame. Texts are left out, since Pillow
# inflates them, and the chunks of further frames.
PNG_CHUNKS = {
    *(b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"),
    *(b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"eXIf"),
}
STRIP_OFFSETS, TILE_OFFSETS = 273, 324


@dataclass(frozen=True)
class Prepared:
    """A file for the decoder, whose end was missing if it is `truncated`."""

    data: bytes
    truncated: bool = False
    bits: int = 8  # of a sample of a PNG


def prepare(data: bytes, kind: str) -> Prepared:
    """Return the file for a decoder of its format.

    Raises ImageTooLarge for more parts than an honest file has, NotAnImage for a
    structure that cannot be read.
    """
    try:
        return PREPARE[kind](data) if kind in PREPARE else Prepared(data)
    except (IndexError, struct.error) as error:
        raise NotAnImage(DAMAGED) from error


def declared_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """Return the size in the header of a format whose decoder takes memory to open it.

    None for other formats.
    """
    if kind == "WEBP":
        return _webp_size(data)
    return _jxl_size(data) if kind == "JXL" else None


def _too_many(count: int, parts: str) -> ImageTooLarge:
    return ImageTooLarge(f"This image has more than {count:,} {parts}.")


# --- JPEG


def _jpeg(data: bytes) -> Prepared:
    """Count the scans; end the file if its end is missing, as browsers do.

    Decoders fill what is missing with grey.
    """
    scans, components, coefficient_bytes, at = 0, 0, 0, 2
    while True:
        marker, at = _next_marker(data, at)
        if marker is None:
            if not scans:
                raise NotAnImage(DAMAGED)
            return Prepared(data + END_OF_IMAGE, truncated=True)
        if marker == 0xD9:
            return Prepared(data)
        end = at + int.from_bytes(data[at : at + 2])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            coefficient_bytes = _coefficient_bytes(data[at:end])
            # No scan of a progressive JPEG is all of it.
            components = 99 if marker & 3 == 2 else data[at + 7]
        if marker == 0xDA:
            scans += 1
            if scans > MAX_SCANS:
                raise _too_many(MAX_SCANS, "scans")
            is_partial = data[at + 2] < components
            if is_partial and coefficient_bytes > MAX_COEFFICIENT_BYTES:
                raise ImageTooLarge(
                    "This progressive JPEG needs too much memory; please save it as "
                    "an ordinary (baseline) JPEG, or smaller."
                )
        at = max(end, at + 2)


def _next_marker(data: bytes, at: int) -> tuple[int | None, int]:
    """Return the next marker and the place after it; None at the end of the file."""
    found = MARKER.search(data, at)
    return (data[found.end() - 1], found.end()) if found else (None, len(data))


def _coefficient_bytes(frame: bytes) -> int:
    """Return the memory for the coefficients of a frame header (ITU T.81, B.2.2)."""
    height, width, count = struct.unpack(">HHB", frame[3:8])
    factors = [divmod(frame[9 + 3 * i], 16) for i in range(count)]
    across = max((across for across, _ in factors), default=1) or 1
    down = max((down for _, down in factors), default=1) or 1
    units = -(-width // (8 * across)) * -(-height // (8 * down))
    return sum(128 * units * across * down for across, down in factors)


# --- PNG, GIF, WebP


def _png(data: bytes) -> Prepared:
    """Keep PNG_CHUNKS of the image itself, without the frames of an animation."""
    kept, count, at = [data[:8]], 0, 8
    while at + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        count += 1
        if count > MAX_CHUNKS:
            raise _too_many(MAX_CHUNKS, "chunks")
        if name in PNG_CHUNKS:
            kept.append(data[at:end])
        if name == b"IEND":
            break
        at = end
    return Prepared(b"".join(kept), bits=data[24])


def _gif(data: bytes) -> Prepared:
    """Keep the first frame and its graphic control extension (GIF89a, 23)."""
    flags = data[10]
    at = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    kept, blocks = [data[:at]], 0
    while data[at] == 0x21:
        end = _end_of_blocks(data, at + 2)
        if data[at + 1] == 0xF9:
            kept = [kept[0], data[at:end]]
        at, blocks = end, blocks + 1
        if blocks > MAX_CHUNKS:
            raise _too_many(MAX_CHUNKS, "extensions")
    if data[at] != 0x2C:
        raise NotAnImage(DAMAGED)
    flags = data[at + 9]
    begin = at + 10 + (3 << (flags & 7) + 1 if flags & 128 else 0) + 1
    return Prepared(b"".join([*kept, data[at : _end_of_blocks(data, begin)], b";"]))


def _end_of_blocks(data: bytes, at: int) -> int:
    """Return the place after a series of sub-blocks; the end of a file that is cut."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return min(at + 1, len(data))


def _webp(data: bytes) -> Prepared:
    """Leave out all frames of an animation but the first."""
    kept, frames = [], 0
    for count, (name, at, end) in enumerate(_webp_chunks(data)):
        if count == MAX_CHUNKS:
            raise _too_many(MAX_CHUNKS, "chunks")
        frames += name == b"ANMF"
        if name != b"ANMF" or frames == 1:
            kept.append(data[at:end])
    if frames < 2:
        return Prepared(data)
    body = b"WEBP" + b"".join(kept)
    return Prepared(b"RIFF" + struct.pack("<I", len(body)) + body)


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, begin and end of each chunk."""
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack("<4sI", data[at : at + 8])
        end = at + 8 + length + length % 2
        yield name, at, end
        at = end


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Return the size of the canvas (RFC 9649)."""
    name, head = data[12:16], data[20:30]
    if name == b"VP8X":
        sides = int.from_bytes(head[4:7], "little"), int.from_bytes(head[7:], "little")
        return sides[0] + 1, sides[1] + 1
    if name == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", head[6:10])
    return width & 0x3FFF, height & 0x3FFF


# --- TIFF


def _tiff(data: bytes) -> Prepared:
    """Count the tags of the first directory, and its strips or tiles (TIFF 6.0, 2)."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] in (b"+\0", b"\0+"):  # BigTIFF
        (at,) = struct.unpack(order + "Q", data[8:16])
        (count,) = struct.unpack(order + "Q", data[at : at + 8])
        first, size, entry = at + 8, 20, order + "HHQ"
    else:
        (at,) = struct.unpack(order + "I", data[4:8])
        (count,) = struct.unpack(order + "H", data[at : at + 2])
        first, size, entry = at + 2, 12, order + "HHI"
    if count > MAX_TAGS:
        raise _too_many(MAX_TAGS, "tags")
    for place in range(first, first + count * size, size):
        tag, _, parts = struct.unpack(
            entry, data[place : place + struct.calcsize(entry)]
        )
        if tag in (STRIP_OFFSETS, TILE_OFFSETS) and parts > MAX_TILES:
            raise _too_many(MAX_TILES, "strips or tiles")
    return Prepared(data)


# --- AVIF and HEIC


def _iso_media(data: bytes) -> Prepared:
    """Count the items: tiles of a grid, thumbnails, metadata (ISO 14496-12, 8.11)."""
    for name, at, end in _boxes(data, 0, len(data)):
        if name != b"meta":
            continue
        for inner, begin, _ in _boxes(data, at + 4, end):
            if inner == b"iinf":
                wide = data[begin] > 0
                count = int.from_bytes(data[begin + 4 : begin + (8 if wide else 6)])
                if count > MAX_ITEMS:
                    raise _too_many(MAX_ITEMS, "parts")
    return Prepared(data)


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, begin and end of the content of each box."""
    for _ in range(MAX_CHUNKS):
        if at + 8 > end:
            return
        size, name = struct.unpack(">I4s", data[at : at + 8])
        head = 8
        if size == 1:
            (size,), head = struct.unpack(">Q", data[at + 8 : at + 16]), 16
        stop = min(at + size, end) if size else end
        if stop < at + head:
            raise NotAnImage(DAMAGED)
        yield name, at + head, stop
        at = stop
    raise _too_many(MAX_CHUNKS, "boxes")


# --- JPEG XL


JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def _jxl_size(data: bytes) -> tuple[int, int] | None:
    """Return the size in the header of the codestream (ISO 18181-1, A.2)."""
    stream = data
    if data[:2] != b"\xff\x0a":
        boxes = ((name, at) for name, at, _ in _boxes(data, 0, len(data)))
        starts = {b"jxlc": 0, b"jxlp": 4}  # the latter have a number first
        at = next((at + starts[name] for name, at in boxes if name in starts), None)
        if at is None:
            return None
        stream = data[at : at + 16]
    bits = int.from_bytes(stream[2:16], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & (1 << count) - 1, bits >> count
        return value

    is_small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if is_small else take((9, 13, 18, 30)[take(2)]) + 1

    height, ratio = side(), take(3)
    if not ratio:
        return side(), height
    across, down = JXL_RATIOS[ratio - 1]
    return height * across // down, height


PREPARE = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "WEBP": _webp,
    "TIFF": _tiff,
    "AVIF": _iso_media,
    "HEIF": _iso_media,
}
