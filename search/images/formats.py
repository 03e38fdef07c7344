"""The image formats that are read, recognized by their first bytes or by a suffix."""

import re

# Suffixes of file names by format.
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "JXL": (".jxl",),
}
IMAGE_SUFFIXES = frozenset(suffix for group in SUFFIXES.values() for suffix in group)
LABELS = {"WEBP": "WebP", "HEIF": "HEIC", "JXL": "JPEG XL"}  # of the others, the key
NAMES = "JPEG, PNG, WebP, GIF, AVIF, HEIC, TIFF or BMP"  # JPEG XL needs a plugin
UNKNOWN_FORMAT = f"Could not read this file. Use a {NAMES} image."
MAX_BYTES = 10 * 2**20  # of a file
HEAD_BYTES = 512  # enough for sniff

SIGNATURES = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    # "BM" alone may begin any text: the size of the header that follows is known.
    ("BMP", re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("JXL", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n")),
)
AVIF_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
SHARED_BRANDS = {b"mif1", b"mif2", b"msf1", b"miaf"}  # of both


def sniff(head: bytes) -> str | None:
    """Return the format, a key of SUFFIXES, of a file that begins with these bytes.

    None for anything else. The first HEAD_BYTES are enough.
    """
    for name, signature in SIGNATURES:
        if signature.match(head):
            return name
    return _sniff_brands(head) if head[4:8] == b"ftyp" else None


def _sniff_brands(head: bytes) -> str | None:
    """Return the format that the brands of an ISO base media file name."""
    end = min(int.from_bytes(head[:4]), len(head), HEAD_BYTES)
    major, others = head[8:12], {head[i : i + 4] for i in range(16, end, 4)}
    for brands in ({major}, others if major in SHARED_BRANDS else set()):
        if brands & AVIF_BRANDS:
            return "AVIF"
        if brands & HEIF_BRANDS:
            return "HEIF"
    return None
