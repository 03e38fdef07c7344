"""Bytes from outside into a picture, without trusting them."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from search.errors import NotAPicture, PictureTooLarge

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 40_000_000
MAX_STRETCHED = 50
# Pillow reads over forty formats, some through other programs; these are the web's.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
DECODERS = min(4, os.cpu_count() or 1)


def decoder_pool(name: str) -> ThreadPoolExecutor:
    """Return a pool of few threads, for all that decode for one purpose.

    An image of 40 megapixels takes 120 MB and more while it is decoded, and a thread
    keeps some of that (measured).
    """
    return ThreadPoolExecutor(DECODERS, name)


def check(data: bytes) -> None:
    """Raises what decode would, as far as the head of the file tells; it is quick."""
    with _decode_errors():
        _open(data)


def decode(data: bytes) -> Image.Image:
    """The first frame, upright, in RGB; transparent parts become white.

    Raises PictureTooLarge or NotAPicture; pixels are counted before any is unpacked.
    """
    with _decode_errors():
        picture = _open(data)
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        return _flatten_on_white(upright)


def _open(data: bytes) -> Image.Image:
    """Of a size that may be unpacked."""
    if len(data) > MAX_BYTES:
        raise PictureTooLarge(
            f"The picture is larger than {MAX_BYTES // 2**20} MB; please use a "
            "smaller one."
        )
    picture = Image.open(BytesIO(data), formats=FORMATS)
    if picture.width * picture.height > MAX_PIXELS:
        raise PictureTooLarge(_too_many_pixels(picture.width, picture.height))
    if max(picture.size) > MAX_STRETCHED * min(picture.size):
        # Models enlarge the short side to their own, and the long one with it.
        raise PictureTooLarge(
            f"One side of the picture is over {MAX_STRETCHED} times the other."
        )
    return picture


@contextmanager
def _decode_errors() -> Iterator[None]:
    """Pillow's errors as ours."""
    try:
        yield
    except PictureTooLarge:
        raise
    except Image.DecompressionBombError as error:
        raise PictureTooLarge(_too_many_pixels()) from error
    except UnidentifiedImageError as error:
        raise NotAPicture(
            "This file is not a picture that can be read: JPEG, PNG, WebP, GIF and "
            "AVIF can."
        ) from error
    # Decoders meet broken files with whatever error comes first.
    except Exception as error:
        raise NotAPicture("This picture is damaged and cannot be read.") from error


def _too_many_pixels(width: int = 0, height: int = 0) -> str:
    size = f"has {width} × {height} pixels" if width else "has far too many pixels"
    return f"The picture {size}; up to {MAX_PIXELS // 10**6} megapixels can be read."


def _flatten_on_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "P":
        picture = picture.convert("RGBA")
    if picture.mode in ("RGBA", "LA", "PA"):
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return picture.convert("RGB")
