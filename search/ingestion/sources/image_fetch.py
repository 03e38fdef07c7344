"""Fetch, decode and shrink single images of a source."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from search.errors import CannotFetch
from search.fetch import Limits, fetch
from search.images.decoders import SmallImage, import_decoders
from search.images.formats import MAX_BYTES

# The seconds include waiting for the host, which many images may share.
LIMITS = Limits(bytes=MAX_BYTES, seconds=20.0)

ROBOT = "laionweb"
# Against training and against indexes such as this one; img2dataset respects them, too.
# "none" includes noindex.
REFUSALS = {"noai", "noimageai", "noindex", "noimageindex", "none"}

UNSPLASH = "images.unsplash.com"
THUMBNAIL_PARAMETERS = {"q": "75", "fm": "jpg", "w": "320", "fit": "max"}


@dataclass(frozen=True)
class SourceImage(SmallImage):
    """A decoded image with the MD5 of the file that was read.

    `reduced`: the file was a smaller copy of the listed image.
    """

    md5: str
    reduced: bool = False


def read_image(content: bytes, reduced: bool = False) -> SourceImage:
    """Decode the content of a file. Raises NotAnImage or ImageTooLarge."""
    [small] = import_decoders.shrink([content])
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return SourceImage(**vars(small), md5=md5, reduced=reduced)


def fetch_image(url: str) -> SourceImage:
    """Fetch an image, or a smaller copy where the host has one.

    Raises NotAnImage, ImageTooLarge or CannotFetch, also where the host does not
    want it in an index.
    """
    small_url = downscale_url(url)
    response = fetch(small_url, LIMITS)
    if directive := refusal(response.headers):
        raise CannotFetch(f"Its host says {directive} (X-Robots-Tag).")
    return read_image(response.content, reduced=small_url != url)


def downscale_url(url: str, width: int = 320) -> str:
    """Return the URL of a smaller copy, where the host is known to offer them."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url  # the fetcher explains what is wrong with it
    if parts.hostname != UNSPLASH:
        return url
    query = {**dict(parse_qsl(parts.query)), **THUMBNAIL_PARAMETERS, "w": str(width)}
    return parts._replace(query=urlencode(query)).geturl()


def refusal(headers: Mapping[str, str]) -> str:
    """Return the X-Robots-Tag directive that forbids using the file, or ''.

    A directive may be preceded by the robot that it is for, and a colon.
    """
    for rule in headers.get("x-robots-tag", "").lower().split(","):
        robot, colon, directive = rule.rpartition(":")
        directive = directive.strip()
        if directive in REFUSALS and (not colon or robot.strip() == ROBOT):
            return directive
    return ""
