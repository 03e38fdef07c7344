"""Scale an image to all sizes, as WebP without metadata."""

from io import BytesIO

from PIL import Image, ImageCms

from search.images.decode import decode, decoder_pool

from . import SIZES

MAX_ASPECT = 2  # height by width
QUALITY = 78
EFFORT = 2  # 3 takes twice the time for 2 % fewer bytes (measured)

_decoders = decoder_pool("thumbnails")


def resize_all(content: bytes) -> dict[int, bytes]:
    """Return WebP by size, never enlarged; equal results are the same object.

    Raises NotAnImage or ImageTooLarge.
    """
    return _decoders.submit(_resize, content).result()


def _resize(content: bytes) -> dict[int, bytes]:
    image = decode(content)
    resized: dict[int, bytes] = {}
    profile = image.info.get("icc_profile", b"")
    previous = 0
    for size in sorted(SIZES, reverse=True):
        smaller = _fit(image, size)
        if smaller is image and previous:
            resized[size] = resized[previous]
        else:
            if not previous:
                smaller = _to_srgb(smaller, profile)
            resized[size] = _to_webp(smaller)
        # Scaling the next larger size is as good, and faster.
        image, previous = smaller, size
    return dict(sorted(resized.items()))


def _fit(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    scale = min(size / width, MAX_ASPECT * size / height)
    if scale >= 1:
        return image
    fitting = max(1, round(width * scale)), max(1, round(height * scale))
    return image.resize(fitting, Image.Resampling.LANCZOS, reducing_gap=3)


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert to sRGB, which browsers assume; ignore a profile that cannot be read."""
    is_srgb = b"sRGB" in profile or "sRGB".encode("utf-16-be") in profile
    if profile[16:20] != b"RGB " or is_srgb:
        return image
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image
    return image if converted is None else converted


def _to_webp(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(
        file, "WEBP", quality=QUALITY, method=EFFORT, icc_profile=b"", exif=b"", xmp=b""
    )
    return file.getvalue()
