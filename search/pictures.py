"""Bytes from outside into a picture, without trusting them."""

import warnings
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import NotAPicture, PictureTooLarge

MOST_BYTES = 10 * 1024 * 1024
MOST_PIXELS = 40_000_000
# Pillow reads over forty formats, some through other programs; these are the web's.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")


def decode(data: bytes) -> Image.Image:
    """The first frame, upright, in RGB; transparent parts become white.

    Raises PictureTooLarge or NotAPicture; pixels are counted before any is unpacked.
    """
    if len(data) > MOST_BYTES:
        raise PictureTooLarge(
            f"The picture is larger than {MOST_BYTES // 2**20} MB; please use a "
            "smaller one."
        )
    try:
        with warnings.catch_warnings():
            # Ours is the lower limit, and it speaks in a sentence.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(BytesIO(data), formats=FORMATS)
        if picture.width * picture.height > MOST_PIXELS:
            raise PictureTooLarge(_too_many_pixels(picture.width, picture.height))
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        return _on_white(upright)
    except Image.DecompressionBombError as error:
        raise PictureTooLarge(_too_many_pixels()) from error
    except UnidentifiedImageError as error:
        raise NotAPicture(
            "This file is not a picture that can be read: JPEG, PNG, WebP, GIF and "
            "AVIF can."
        ) from error
    # Broken files end in any of these, by format and by place.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError) as error:
        raise NotAPicture("This picture is damaged and cannot be read.") from error


def _too_many_pixels(width: int = 0, height: int = 0) -> str:
    size = f"has {width} × {height} pixels" if width else "has far too many pixels"
    return f"The picture {size}; up to {MOST_PIXELS // 10**6} megapixels can be read."


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "P":
        picture = picture.convert("RGBA")
    if picture.mode in ("RGBA", "LA", "PA"):
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return picture.convert("RGB")
