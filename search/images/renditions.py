"""An image in several sizes, as WebP without metadata; runs in decoder processes."""

from io import BytesIO

from PIL import Image

from .decode import Decoded, decode


def renditions(
    data: bytes, widths: list[int], max_aspect: float, quality: int, effort: int
) -> tuple[Decoded, list[bytes]]:
    """Return WebP for each width, the smallest first; no size is an enlargement.

    The height is at most `max_aspect` times the width that was asked for. Raises
    NotAnImage or ImageTooLarge.
    """

    def fit(width: int, height: int) -> tuple[int, int]:
        return _fit(width, height, widths[-1], max_aspect)

    decoded = decode(data, fit, resampling=Image.Resampling.LANCZOS)
    image, files = decoded.image, [b""] * len(widths)
    for place in reversed(range(len(widths))):
        size = _fit(*image.size, widths[place], max_aspect)
        if size != image.size or not files[-1]:
            # Scaling the next larger size is as good as the original, and faster.
            lanczos = Image.Resampling.LANCZOS
            image = image.resize(size, lanczos, reducing_gap=3)
            files[place] = _webp(image, quality, effort)
        else:
            files[place] = files[place + 1]
    return decoded, files


def _fit(width: int, height: int, size: int, max_aspect: float) -> tuple[int, int]:
    scale = min(size / width, max_aspect * size / height, 1)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _webp(image: Image.Image, quality: int, effort: int) -> bytes:
    file = BytesIO()
    image.save(file, "WEBP", quality=quality, method=effort)
    return file.getvalue()
