"""One picture of a source: fetched or read, decoded, and made small enough to wait."""

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from PIL import Image

from search.errors import CannotFetch
from search.fetch import Limits, fetch
from search.images.decode import MAX_BYTES, decode

# The seconds include the wait for a turn, where many pictures are one host's.
LIMITS = Limits(bytes=MAX_BYTES, seconds=20.0)
# Models look at 224 to 384 pixels a side; more would only fill memory.
SHORT_SIDE = 384
MAX_STORED_PIXELS = 2**19

ROBOT = "laionweb"
# No training, and no index such as this one; img2dataset heeds them, too. In "none" is
# noindex.
REFUSALS = {"noai", "noimageai", "noindex", "noimageindex", "none"}

UNSPLASH = "images.unsplash.com"
SMALLER = {"q": "75", "fm": "jpg", "w": "320", "fit": "max"}

# A picture of 40 megapixels takes 120 MB and more while it is unpacked, and a thread
# keeps some of that: so few threads do it, for all that fetch (measured).
_decoders = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "decoder")


@dataclass(frozen=True)
class SourceImage:
    """RGB, of few pixels; the size and MD5 are those of the file that was read.

    `reduced` says that the file was a smaller copy of the picture meant.
    """

    image: Image.Image
    width: int
    height: int
    md5: str
    reduced: bool = False


def read_image(content: bytes, reduced: bool = False) -> SourceImage:
    """Raises NotAPicture or PictureTooLarge."""
    image, size = _decoders.submit(_decoded, content).result()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return SourceImage(image, *size, md5, reduced)


def fetch_image(url: str) -> SourceImage:
    """Raises CannotFetch, too, where the host does not want it in an index."""
    asked = downscale_url(url)
    answer = fetch(asked, LIMITS)
    if directive := refusal(answer.headers):
        raise CannotFetch(f"Its host says {directive} (X-Robots-Tag).")
    return read_image(answer.content, reduced=asked != url)


def downscale_url(url: str, width: int = 320) -> str:
    """The address of a smaller copy, where the host is known to make such."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url  # the fetcher will say what is wrong with it
    if parts.hostname != UNSPLASH:
        return url
    query = {**dict(parse_qsl(parts.query)), **SMALLER, "w": str(width)}
    return parts._replace(query=urlencode(query)).geturl()


def refusal(headers: Mapping[str, str]) -> str:
    """The directive by which a host keeps us from using the file, or ''.

    Before a colon stands the name of the robot that a directive is for.
    """
    for directive in headers.get("x-robots-tag", "").lower().split(","):
        robot, colon, told = directive.rpartition(":")
        if told.strip() in REFUSALS and (not colon or robot.strip() == ROBOT):
            return told.strip()
    return ""


def _decoded(content: bytes) -> tuple[Image.Image, tuple[int, int]]:
    image = decode(content)
    return _small(image), image.size


def _small(image: Image.Image) -> Image.Image:
    width, height = image.size
    scale = min(
        SHORT_SIDE / min(width, height), (MAX_STORED_PIXELS / (width * height)) ** 0.5
    )
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3)
