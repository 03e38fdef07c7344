"""A picture in all sizes, as WebP and without what cameras write into it."""

from io import BytesIO

from PIL import Image, ImageCms

from search.images.decode import decode, decoder_pool

from . import SIZES

MAX_ASPECT = 2  # times as high as the size says across
QUALITY = 78
EFFORT = 2  # from 3 on, it takes twice the time for 2 % fewer bytes (measured)

_decoders = decoder_pool("thumbnails")


def resize_all(content: bytes) -> dict[int, bytes]:
    """WebP by size, never enlarged: sizes that come to the same have the same object.

    Raises NotAPicture or PictureTooLarge.
    """
    return _decoders.submit(_renditions, content).result()


def _renditions(content: bytes) -> dict[int, bytes]:
    image = decode(content)
    made: dict[int, bytes] = {}
    colours = image.info.get("icc_profile", b"")
    previous = 0
    for size in sorted(SIZES, reverse=True):
        smaller = _fitted(image, size)
        if smaller is image and previous:
            made[size] = made[previous]
        else:
            if not previous:
                smaller = _in_srgb(smaller, colours)
            made[size] = _webp(smaller)
        # Each is made of the next larger one, which is as good and quicker.
        image, previous = smaller, size
    return dict(sorted(made.items()))


def _fitted(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    scale = min(size / width, MAX_ASPECT * size / height)
    if scale >= 1:
        return image
    fitting = max(1, round(width * scale)), max(1, round(height * scale))
    return image.resize(fitting, Image.Resampling.LANCZOS, reducing_gap=3)


def _in_srgb(image: Image.Image, colours: bytes) -> Image.Image:
    """As browsers take pictures without a profile; one that cannot be read is none."""
    is_srgb = b"sRGB" in colours or "sRGB".encode("utf-16-be") in colours
    if colours[16:20] != b"RGB " or is_srgb:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(colours))
        srgb = ImageCms.createProfile("sRGB")
        made = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image
    return image if made is None else made


def _webp(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(
        file, "WEBP", quality=QUALITY, method=EFFORT, icc_profile=b"", exif=b"", xmp=b""
    )
    return file.getvalue()
