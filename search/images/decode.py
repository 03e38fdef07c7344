"""Decode untrusted image files."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from search.errors import ImageTooLarge, NotAnImage

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 40_000_000
MAX_ASPECT = 50
# The formats of the web. Pillow reads over forty, some with external programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
DECODERS = min(4, os.cpu_count() or 1)


def decoder_pool(name: str) -> ThreadPoolExecutor:
    """Return a pool of few threads, for all that decode for one purpose.

    An image of 40 megapixels takes 120 MB and more while it is decoded, and a thread
    keeps some of that (measured).
    """
    return ThreadPoolExecutor(DECODERS, name)


def check(data: bytes) -> None:
    """Raise the errors of decode that the header reveals, without decoding."""
    with _decode_errors():
        _open(data)


def decode(data: bytes) -> Image.Image:
    """Decode the first frame, upright, in RGB, on white where it is transparent.

    Raises ImageTooLarge, before decoding, or NotAnImage.
    """
    with _decode_errors():
        image = _open(data)
        image.load()
        upright = ImageOps.exif_transpose(image)
        return _flatten_on_white(upright)


def _open(data: bytes) -> Image.Image:
    """Open an image and check its size."""
    if len(data) > MAX_BYTES:
        raise ImageTooLarge(
            f"The picture is larger than {MAX_BYTES // 2**20} MB; please use a "
            "smaller one."
        )
    image = Image.open(BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise ImageTooLarge(_too_many_pixels(image.width, image.height))
    if max(image.size) > MAX_ASPECT * min(image.size):
        # Models scale the short side to their input size, and the long one with it.
        raise ImageTooLarge(
            f"One side of the picture is over {MAX_ASPECT} times the other."
        )
    return image


@contextmanager
def _decode_errors() -> Iterator[None]:
    """Translate the errors of Pillow into NotAnImage and ImageTooLarge."""
    try:
        yield
    except ImageTooLarge:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(_too_many_pixels()) from error
    except UnidentifiedImageError as error:
        raise NotAnImage(
            "This file is not a picture that can be read: JPEG, PNG, WebP, GIF and "
            "AVIF can."
        ) from error
    # On broken files, decoders raise errors of any kind.
    except Exception as error:
        raise NotAnImage("This picture is damaged and cannot be read.") from error


def _too_many_pixels(width: int = 0, height: int = 0) -> str:
    size = f"has {width} × {height} pixels" if width else "has far too many pixels"
    return f"The picture {size}; up to {MAX_PIXELS // 10**6} megapixels can be read."


def _flatten_on_white(image: Image.Image) -> Image.Image:
    if image.mode == "P":
        image = image.convert("RGBA")
    if image.mode in ("RGBA", "LA", "PA"):
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")
