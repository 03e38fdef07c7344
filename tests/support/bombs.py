"""Image files that cost a decoder far more than their size lets expect."""

import itertools
import struct
import zlib
from collections.abc import Callable, Iterable
from io import BytesIO

import pillow_heif
from PIL import Image


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
    size: tuple[int, int],
    bits: int,
    colour: int,
    rows: Iterable[bytes],
    extra: bytes = b"",
    interlaced: bool = False,
) -> bytes:
    """A PNG of a bit depth and colour type, with chunks before the pixels."""
    squeezer = zlib.compressobj(1)
    pixels = [squeezer.compress(b"\0" + row) for row in rows]
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + extra
    body += chunk(b"IDAT", b"".join([*pixels, squeezer.flush()]))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def black_png(side: int, bits: int, colour: int, extra: bytes = b"") -> bytes:
    samples = {0: 1, 2: 3, 6: 4}[colour]
    row = bytes((side * bits * samples + 7) // 8)
    return png((side, side), bits, colour, itertools.repeat(row, side), extra)


def interlaced_png(side: int) -> bytes:
    """A black PNG of 16 bits and four channels in the seven passes of Adam7."""
    passes = [(8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2)]
    rows = (
        bytes(-(-side // across) * 8)
        for across, down in passes
        for _ in range(-(-side // down))
    )
    return png((side, side), 16, 6, rows, interlaced=True)


def zeros(megabytes: int) -> bytes:
    return zlib.compress(bytes(megabytes * 2**20), 9)


# --- GIF


def gif(side: int, before: bytes = b"") -> bytes:
    """A GIF of one colour, with extensions before its frame."""
    whole = encoded(Image.new("P", (side, side)), "GIF")
    at = whole.index(b",")
    return whole[:at] + before + whole[at:]


def comments(megabytes: int) -> bytes:
    return b"!\xfe" + (b"\xff" + b"x" * 255) * (megabytes * 2**20 // 256) + b"\0"


# --- BMP, TIFF


def bmp(side: int) -> bytes:
    """A BMP whose rows are runs of 255 pixels; what is missing is black."""
    header = struct.pack(
        "<IiiHHIIiiII", 40, side, side, 1, 8, 1, 0, 2835, 2835, 256, 256
    )
    offset = 14 + len(header) + 1024
    pixels = (b"\xff\0" * (side // 255) + b"\0\0") * side + b"\0\1"
    file = struct.pack("<IHHI", offset + len(pixels), 0, 0, offset)
    return b"BM" + file + header + bytes(1024) + pixels


def tiff_of_strips(count: int) -> bytes:
    """A TIFF that names a strip for each of its rows of one pixel."""
    fields = {256: 1, 257: count, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1}
    begin = 8 + 2 + 12 * (len(fields) + 2) + 4
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items()]
    entries.insert(5, struct.pack("<HHII", 273, 4, count, begin))
    entries.append(struct.pack("<HHII", 279, 4, count, begin + 4 * count))
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries)
    return head + bytes(4) + struct.pack("<I", 8) * count + struct.pack("<I", 1) * count


# --- all


def frames(kind: str, count: int) -> bytes:
    first = Image.new("RGB", (64, 64), "red")
    others = [Image.new("RGB", (64, 64), (i % 256, i // 256, 0)) for i in range(count)]
    return encoded(first, kind, save_all=True, append_images=others)


def heif(megapixels: float, **options) -> bytes:
    pillow_heif.register_heif_opener()
    return encoded(flat(megapixels), "HEIF", quality=20, **options)


def claiming(file: bytes, width: int, height: int) -> bytes:
    """An AVIF or HEIC whose header names another size."""
    at = file.index(b"ispe") + 8
    return file[:at] + struct.pack(">II", width, height) + file[at + 8 :]


def jxl(megapixels: float) -> bytes:
    import pillow_jxl  # noqa: F401  # it registers itself

    return encoded(flat(megapixels), "JXL", effort=1, quality=50)


# Within the limits, and as costly as possible, or beyond them.
BOMBS: dict[str, Callable[[], bytes]] = {
    "JPEG of 8,561 scans": lambda: scans_jpeg(6300, 8_561),
    "JPEG of 100 scans": lambda: scans_jpeg(6300, 99),
    "JPEG of 200 MB of coefficients": lambda: scans_jpeg(9_900, 20),
    "JPEG of 120 megapixels": lambda: encoded(flat(119), "JPEG", quality=20),
    "PNG of 16 bits, interlaced": lambda: interlaced_png(6300),
    "PNG of 40 megapixels": lambda: black_png(6300, 8, 2),
    "PNG of texts": lambda: black_png(
        64, 8, 2, chunk(b"zTXt", b"a\0\0" + zeros(1)) * 500
    ),
    "PNG of a profile": lambda: black_png(
        64, 8, 2, chunk(b"iCCP", b"a\0\0" + zeros(64))
    ),
    "PNG of 800,000 chunks": lambda: black_png(64, 8, 2, chunk(b"aaAa", b"") * 800_000),
    "PNG of 19,000 parts": lambda: black_png(64, 8, 2, chunk(b"IDAT", b"") * 19_000),
    "PNG of 2,000 frames": lambda: frames("PNG", 2_000),
    "GIF of 40 megapixels": lambda: gif(6300),
    "GIF of comments": lambda: gif(64, comments(9)),
    "GIF of 2,000 frames": lambda: frames("GIF", 2_000),
    "WebP of 15 megapixels": lambda: encoded(
        flat(14.9), "WEBP", lossless=True, method=0
    ),
    "WebP of 15 megapixels, lossy": lambda: encoded(noise(14.9), "WEBP", method=0),
    "WebP of 40 megapixels": lambda: encoded(
        flat(39.6), "WEBP", lossless=True, method=0
    ),
    "WebP of 2,000 frames": lambda: frames("WEBP", 2_000),
    "AVIF of 25 megapixels": lambda: encoded(flat(24.9), "AVIF", speed=10),
    "AVIF of 25 megapixels, 4:4:4 with alpha": lambda: encoded(
        flat(24.9, "RGBA"), "AVIF", speed=10, subsampling="4:4:4"
    ),
    "AVIF of noise": lambda: encoded(noise(24.9), "AVIF", speed=10),
    "HEIC of 25 megapixels": lambda: heif(24.9),
    "HEIC of 25 megapixels in tiles": lambda: heif(24.9, tile_size=512),
    "HEIC of 25 megapixels, 4:4:4": lambda: heif(24.9, chroma=444),
    "AVIF that claims 64 megapixels": lambda: claiming(
        encoded(flat(0.01), "AVIF", speed=10), 8_000, 8_000
    ),
    "HEIC that claims 64 megapixels": lambda: claiming(heif(0.01), 8_000, 8_000),
    "TIFF of 40 megapixels": lambda: encoded(
        flat(39.9), "TIFF", compression="tiff_adobe_deflate"
    ),
    "TIFF of 40 megapixels, turned": lambda: encoded(
        flat(39.9), "TIFF", compression="tiff_adobe_deflate", exif=turned()
    ),
    "TIFF of 40 megapixels of float": lambda: encoded(
        flat(39.9, "F"), "TIFF", compression="tiff_adobe_deflate"
    ),
    "TIFF of 1,000,000 strips": lambda: tiff_of_strips(1_000_000),
    "BMP of 40 megapixels": lambda: bmp(6300),
    "JPEG XL of 20 megapixels": lambda: jxl(19.9),
    "JPEG XL of 60 megapixels": lambda: jxl(60),
}
# Some of each format, which take no time to make.
QUICK = (
    "JPEG of 8,561 scans",
    "JPEG of 100 scans",
    "PNG of 40 megapixels",
    "PNG of 800,000 chunks",
    "GIF of 40 megapixels",
    "GIF of comments",
    "WebP of 15 megapixels",
    "WebP of 40 megapixels",
    "AVIF that claims 64 megapixels",
    "HEIC that claims 64 megapixels",
    "TIFF of 1,000,000 strips",
    "BMP of 40 megapixels",
)


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif
