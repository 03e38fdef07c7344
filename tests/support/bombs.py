"""Image files that cost a decoder far more than their size lets expect."""

import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO

from PIL import Image, ImageCms


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def flat(megapixels: float, mode: str = "RGB") -> Image.Image:
    """An image of one colour, a little wider than high."""
    height = int((megapixels * 0.9e6) ** 0.5)
    return Image.new(mode, (int(megapixels * 1e6 / height), height), "navy")


def noise(megapixels: float) -> Image.Image:
    """A tile of noise, repeated, so that it is drawn quickly."""
    image, tile = flat(megapixels), Image.effect_noise((512, 512), 30)
    tile = Image.merge("RGB", [tile, tile.rotate(90), tile.rotate(180)])
    for x in range(0, image.width, 512):
        for y in range(0, image.height, 512):
            image.paste(tile, (x, y))
    return image


# --- JPEG


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def scans_jpeg(side: int, scans: int) -> bytes:
    """A progressive grey JPEG; each scan says for all blocks that nothing changes."""
    blocks = (-(-side // 8)) ** 2
    one_code = bytes([1, *[0] * 15])
    # The only code of both tables is the bit 0: no difference, or a run of 2^14 blocks
    # and as many as the 14 bits after it say.
    first = bytes(blocks // 8 + 1)
    runs, bits = blocks, ""
    while runs > 0:
        run = min(runs, 2**15 - 1)
        bits += "0" + f"{max(run - 2**14, 0):014b}"
        runs -= max(run, 2**14)
    bits += "1" * (-len(bits) % 8)
    again = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    again = again.replace(b"\xff", b"\xff\0")
    head = b"\xff\xd8" + segment(0xDB, bytes([0, *[1] * 64]))
    head += segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    head += segment(0xC4, b"\0" + one_code + b"\0")
    head += segment(0xC4, b"\x10" + one_code + b"\xe0")
    scan = segment(0xDA, b"\1\1\0\1\x3f\0") + again
    return head + segment(0xDA, b"\1\1\0\0\0\0") + first + scan * scans + b"\xff\xd9"


# --- PNG


def chunk(name: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + check


def png(
    side: int, bits: int, colour: int, extra: bytes = b"", interlaced: bool = False
) -> bytes:
    """A black PNG of a bit depth and colour type, with chunks before the pixels."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    passes = (
        [(8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2)]
        if interlaced
        else [(1, 1)]
    )
    squeezer, pixels = zlib.compressobj(9), b""
    for across, down in passes:
        row = bytes(1 + (-(-side // across) * bits * samples + 7) // 8)
        for _ in range(-(-side // down)):
            pixels += squeezer.compress(row)
    pixels += squeezer.flush()
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    body = chunk(b"IHDR", header) + palette + extra
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def zeros(megabytes: int) -> bytes:
    return zlib.compress(bytes(megabytes * 2**20), 9)


# --- GIF


def gif(side: int, before: bytes = b"") -> bytes:
    """A GIF of one colour: a palette of two, and codes that clear the table."""
    whole = encoded(Image.new("P", (side, side)), "GIF")
    at = whole.index(b",")
    return whole[:at] + before + whole[at:]


def comments(megabytes: int) -> bytes:
    return b"!\xfe" + (b"\xff" + b"x" * 255) * (megabytes * 2**20 // 256) + b"\0"


# --- all


def heavy_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def frames(kind: str, count: int) -> bytes:
    first = Image.new("RGB", (64, 64), "red")
    others = [Image.new("RGB", (64, 64), (i % 256, i // 256, 0)) for i in range(count)]
    return encoded(first, kind, save_all=True, append_images=others)


# Files within the limits that cost as much as possible, and files beyond them.
SMALL: dict[str, Callable[[], bytes]] = {
    "JPEG of 8,561 scans": lambda: scans_jpeg(6300, 8_561),
    "JPEG of 90 scans": lambda: scans_jpeg(6300, 90),
    "PNG of 16 bits, interlaced": lambda: png(6300, 16, 6, interlaced=True),
    "PNG with texts": lambda: png(
        64, 8, 2, b"".join(chunk(b"zTXt", b"a\0\0" + zeros(1)) for _ in range(500))
    ),
    "PNG with a profile": lambda: png(64, 8, 2, chunk(b"iCCP", b"a\0\0" + zeros(64))),
    "PNG of 800,000 chunks": lambda: png(64, 8, 2, chunk(b"aaAa", b"") * 800_000),
    "PNG of 20,000 parts": lambda: png(64, 8, 2, chunk(b"IDAT", b"") * 19_000),
    "GIF of 40 megapixels": lambda: gif(6300),
    "GIF with comments": lambda: gif(64, comments(9)),
    "WebP of 40 megapixels": lambda: encoded(
        flat(39.6), "WEBP", lossless=True, method=0
    ),
    "WebP of 15 megapixels": lambda: encoded(
        flat(14.9), "WEBP", lossless=True, method=0
    ),
    "AVIF of 20 megapixels": lambda: encoded(flat(19.9), "AVIF", speed=10),
    "TIFF of 40 megapixels": lambda: encoded(
        flat(39.9), "TIFF", compression="tiff_adobe_deflate"
    ),
    "BMP of 40 megapixels": lambda: bmp(6300),
}


def bmp(side: int) -> bytes:
    """A BMP whose rows are runs of 255 pixels; those that are missing are black."""
    header = struct.pack(
        "<IiiHHIIiiII", 40, side, side, 1, 8, 1, 0, 2835, 2835, 256, 256
    )
    offset = 14 + len(header) + 1024
    pixels = (b"\xff\0" * (side // 255) + b"\0\0") * side + b"\0\1"
    size = offset + len(pixels)
    return (
        b"BM" + struct.pack("<IHHI", size, 0, 0, offset) + header + bytes(1024) + pixels
    )


def all_bombs() -> Iterator[tuple[str, bytes]]:
    for name, make in SMALL.items():
        yield name, make()
