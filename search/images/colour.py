"""Turn pixels of any kind into sRGB on white, as browsers show them.

Colours are those of the file's profile. LAION's embeddings ignore profiles; but the
same image saved with two profiles is to have one vector, and thumbnails, searches and
imports are to agree.
"""

import math
from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageChops, ImageCms

MAX_PROFILE_BYTES = 4 * 2**20  # of presses; those of screens have a few kilobytes
NATIVE_MODES = ("CMYK", "LAB")  # which only their profile turns into RGB
DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N")
PROFILE_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "LAB": "LAB"}
MAX_NOISE = 2  # levels, by which converting sRGB to sRGB changes a colour
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

Range = tuple[float, float]


def grey_range(image: Image.Image) -> Range:
    """Return the values that are black and white in a loaded image.

    16 bits have their whole range. The modes of 32 bits, I and F, say nothing about
    theirs: it is 0 to 1, 255 or 65535 if the values are, else that of the values.
    """
    if image.mode in DEEP_GREY:
        return 0, 65535
    if image.mode not in ("I", "F"):
        return 0, 255
    low, high = image.getextrema()
    assert isinstance(low, int | float) and isinstance(high, int | float)
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0, 1
    for top in (1, 255, 65535):
        if low >= 0 and high <= top and (top > 1 or image.mode == "F"):
            return 0, top
    return low, high


def flatten(strip: Image.Image, values: Range, bits: int) -> Image.Image:
    """Return loaded pixels on white in RGB; those of NATIVE_MODES as they are.

    `values` are those of grey_range, `bits` those of a sample in the file, by which the
    transparent colour of a PNG counts.
    """
    if strip.mode in NATIVE_MODES:
        return strip
    key = strip.info.get("transparency")
    if strip.mode in (*DEEP_GREY, "I", "F", "L", "1"):
        return _flat_grey(strip, values, key, bits)
    if strip.mode == "RGB" and isinstance(key, tuple):
        # Of 16 bits, Pillow keeps the upper half.
        strip.info["transparency"] = tuple(
            c >> 8 if bits == 16 else c & 255 for c in key
        )
        return _on_white(strip.convert("RGBA"))
    if strip.has_transparency_data:
        return _on_white(strip.convert("RGBA"))
    return strip if strip.mode == "RGB" else strip.convert("RGB")


def _flat_grey(
    strip: Image.Image, values: Range, key: object, bits: int
) -> Image.Image:
    grey = _to_8_bits(strip, values)
    if isinstance(key, int):
        grey.paste(255, mask=_equal_to(strip, key, bits))
    return grey.convert("RGB")


def _to_8_bits(strip: Image.Image, values: Range) -> Image.Image:
    if strip.mode in ("L", "1"):
        return strip.convert("L")
    low, high = values
    scale = 255 / ((high - low) or 1)
    numbers = strip if strip.mode == "F" else strip.convert("I").convert("F")
    # Conversion truncates. Pillow evaluates this linear function without calling it
    # for each pixel.
    return numbers.point(lambda value: value * scale + (0.5 - low * scale)).convert("L")


def _equal_to(strip: Image.Image, key: int, bits: int) -> Image.Image:
    """Return a mask of the pixels of a PNG's transparent grey."""
    if strip.mode in ("L", "1"):
        if strip.mode == "L" and bits < 8:
            key = key * 255 // (2**bits - 1)
        return strip.convert("L").point([255 * (grey == key) for grey in range(256)])
    table = bytearray(65536)
    table[key & 65535] = 255
    return strip.convert("I").point(list(table), "L")


def _on_white(layer: Image.Image) -> Image.Image:
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Convert flat pixels from the file's profile; without a usable one, from sRGB."""
    if isinstance(profile, bytes) and 128 < len(profile) <= MAX_PROFILE_BYTES:
        mode = PROFILE_SPACES.get(profile[16:20].decode("latin-1").strip(), "")
        grey_to_rgb = mode == "L" and image.mode == "RGB"
        if mode == image.mode or grey_to_rgb:
            transform = _transform(profile, mode)
            if transform is not None:
                source = image.getchannel(0) if grey_to_rgb else image
                return _apply(transform, source)
    if image.mode == "LAB":
        return _apply(_lab_transform(), image)
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform to sRGB; None for a broken profile, or one that is sRGB."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        transform = ImageCms.buildTransform(source, SRGB, mode, "RGB")
        return None if mode == "RGB" and _is_identity(transform) else transform
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


@lru_cache(1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), SRGB, "LAB", "RGB")


def _apply(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # which it is in place only
    return converted


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return whether no colour changes visibly, so that pixels can stay exact."""
    levels = range(0, 256, 51)
    colours = bytes(
        level for r in levels for g in levels for b in levels for level in (r, g, b)
    )
    probe = Image.frombytes("RGB", (len(levels) ** 2, len(levels)), colours)
    changed = ImageChops.difference(probe, _apply(transform, probe))
    return max(changed.tobytes()) <= MAX_NOISE
