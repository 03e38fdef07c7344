"""Decode untrusted image files to small sRGB images.

This runs in decoder processes (worker), which can be killed; decoders starts them.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

from PIL import AvifImagePlugin, Image, PngImagePlugin

from search.errors import ImageTooLarge, NotAnImage

from .colour import MAX_PROFILE_BYTES, NATIVE_MODES, flatten, grey_range, to_srgb
from .formats import HEAD_BYTES, LABELS, MAX_BYTES, UNKNOWN_FORMAT, sniff
from .prepare import DAMAGED, Prepared, declared_size, prepare

MAX_ASPECT = 50
# By format, from what its decoder keeps in memory for a pixel. JPEGs are scaled down
# while they are loaded.
MAX_MEGAPIXELS = {
    "JPEG": 120,
    "PNG": 40,
    "GIF": 40,
    "BMP": 40,
    "TIFF": 40,
    "HEIF": 25,
    "AVIF": 25,
    "JXL": 20,
    "WEBP": 15,
}
# Blocks of pixels are averaged to no less than this many times the wanted size; a
# better filter does the rest.
OVERSAMPLING = 2
STRIP_PIXELS = 2**18
AVERAGED_MODES = ("RGB", "L", *NATIVE_MODES)  # which need not be flattened before

Size = tuple[int, int]
Box = tuple[int, int, int, int]
# Left, top, right and bottom, as fractions of the upright image.
Crop = tuple[float, float, float, float]
WHOLE: Crop = (0.0, 0.0, 1.0, 1.0)

# What turns a stored image upright, by the EXIF orientation.
TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Image.MAX_IMAGE_PIXELS = None  # MAX_MEGAPIXELS instead
PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES  # the limit of profiles, too
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a decoder process has one core


@dataclass(frozen=True)
class Decoded:
    """An upright sRGB image, scaled down, and the size of all of the file, upright.

    `truncated`: the end of the file is missing, and what it held is grey.
    """

    image: Image.Image
    width: int
    height: int
    truncated: bool


def unscaled(width: int, height: int) -> Size:
    return width, height


def decode(
    data: bytes,
    fit: Callable[[int, int], Size] = unscaled,
    crop: Crop = WHOLE,
    resampling: Image.Resampling = Image.Resampling.BICUBIC,
) -> Decoded:
    """Decode the first frame, upright, in sRGB, on white where it is transparent.

    `fit` returns the size to which an upright, cropped image is scaled down. Raises
    ImageTooLarge or NotAnImage.
    """
    with _decode_errors():
        image, prepared = _open(data)
        orientation = _orientation(image)
        width, height = _turned(image.size, orientation)
        left, top, right, bottom = _pixels(crop, (width, height))
        wanted = _turned(fit(right - left, bottom - top), orientation)
        small = _load(image, _stored_crop(crop, orientation), wanted, prepared.bits)
        if small.size != wanted:
            small = small.resize(wanted, resampling)
        small = to_srgb(small, image.info.get("icc_profile"))
        if orientation in TRANSPOSE:
            small = small.transpose(TRANSPOSE[orientation])
        return Decoded(small, width, height, prepared.truncated)


def check(data: bytes) -> None:
    """Raise the errors of decode that the header reveals, without decoding."""
    with _decode_errors():
        _open(data)


def _open(data: bytes) -> tuple[Image.Image, Prepared]:
    """Open a file whose structure and size are within the limits."""
    if len(data) > MAX_BYTES:
        raise ImageTooLarge(
            f"The image is larger than {MAX_BYTES // 2**20} MB; please use a smaller "
            "one."
        )
    kind = sniff(data[:HEAD_BYTES])
    if kind is None:
        raise NotAnImage(UNKNOWN_FORMAT)
    prepared = prepare(data, kind)
    if size := declared_size(data, kind):
        _check_size(*size, kind)
    _register(kind)
    image = Image.open(BytesIO(prepared.data), formats=[kind])
    _check_size(*image.size, kind)
    return image, prepared


def _register(kind: str) -> None:
    """Import the plugins that Pillow does not bring, at first use."""
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)
    elif kind == "JXL":
        try:
            from pillow_jxl import JpegXLImagePlugin
        except ImportError as error:
            raise NotAnImage(
                "This server does not read JPEG XL: pillow-jxl-plugin is not installed."
            ) from error
        JpegXLImagePlugin.DECODE_THREADS = 0


def _check_size(width: int, height: int, kind: str) -> None:
    limit = MAX_MEGAPIXELS[kind]
    if width * height > limit * 10**6:
        raise ImageTooLarge(
            f"The image has {width} × {height} pixels; up to {limit} megapixels can be "
            f"read of {LABELS.get(kind, kind)}."
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        # Models scale the short side to their input size, and the long one with it.
        raise ImageTooLarge(
            f"The image is too narrow: one side is over {MAX_ASPECT} times the other."
        )


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of the stored pixels, 1 to 8."""
    # Pillow turns TIFFs while it loads them, libjxl what was no JPEG before.
    if image.format == "TIFF" or getattr(image, "jpeg", None) is False:
        return 1
    try:
        orientation = image.getexif().get(0x0112, 1)
    # Broken metadata raises errors of any kind; the image is shown as it is stored.
    except Exception:
        return 1
    return orientation if orientation in TRANSPOSE else 1


def _turned(size: Size, orientation: int) -> Size:
    return size if orientation < 5 else (size[1], size[0])


def _stored_crop(crop: Crop, orientation: int) -> Crop:
    """Return the part of the stored image that is this part of the upright one."""
    left, top, right, bottom = crop
    if orientation in (2, 3, 6, 7):
        left, right = 1 - right, 1 - left
    if orientation in (3, 4, 7, 8):
        top, bottom = 1 - bottom, 1 - top
    return (left, top, right, bottom) if orientation < 5 else (top, left, bottom, right)


def _pixels(crop: Crop, size: Size) -> Box:
    """Return a part in whole pixels, at least one."""
    (left, top, right, bottom), (width, height) = crop, size
    x, y = min(int(left * width), width - 1), min(int(top * height), height - 1)
    return (
        *(x, y),
        max(x + 1, min(math.ceil(right * width), width)),
        max(y + 1, min(math.ceil(bottom * height), height)),
    )


def _load(image: Image.Image, crop: Crop, wanted: Size, bits: int) -> Image.Image:
    """Load a part of an image, reduced to at least `wanted` pixels, in RGB.

    Those of NATIVE_MODES stay as they are.
    """
    left, top, right, bottom = _pixels(crop, image.size)
    scale = min((right - left) / wanted[0], (bottom - top) / wanted[1]) / OVERSAMPLING
    if scale >= 2:
        image.draft(None, (int(image.width / scale), int(image.height / scale)))
    image.load()
    box = left, top, right, bottom = _pixels(crop, image.size)
    scale = min((right - left) / wanted[0], (bottom - top) / wanted[1]) / OVERSAMPLING
    factor = max(int(scale), 1)
    values = grey_range(image)
    if image.mode in AVERAGED_MODES and "transparency" not in image.info:
        return flatten(image.reduce(factor, box), values, bits)
    # A copy of all of it would take too much memory.
    rows = factor * max(1, STRIP_PIXELS // ((right - left) * factor))
    size = -(-(right - left) // factor), -(-(bottom - top) // factor)
    small = Image.new("RGB", size)
    for y in range(top, bottom, rows):
        strip = image.crop((left, y, right, min(y + rows, bottom)))
        strip = flatten(strip, values, bits)
        small.paste(strip.reduce(factor), (0, (y - top) // factor))
    return small


@contextmanager
def _decode_errors() -> Iterator[None]:
    """Translate the errors of Pillow into NotAnImage and ImageTooLarge."""
    try:
        yield
    except (ImageTooLarge, NotAnImage):
        raise
    except MemoryError as error:
        raise ImageTooLarge(
            "This image needs too much memory to decode; please use a smaller one."
        ) from error
    # On broken files, decoders raise errors of any kind.
    except Exception as error:
        raise NotAnImage(DAMAGED) from error
