"""URLs of datasets and users: the one place that decides how each is a link.

Datasets write URLs as they found them: with spaces, quotation marks and letters of any
script, which browsers encode when they load them. Pages, files and the fetcher use the
same encoded form, so that what is fetched is what is linked.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

import idna
from django.conf import settings

from search.errors import CannotFetch

PORTS = {"http": 80, "https": 443}
# Of all scripts, with the space without width and the byte order mark.
WHITE_SPACE = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\ufeff"
# Browsers drop a tab within a URL; a line end could forge a header.
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*|[0-9a-f.]*:[0-9a-f:.]*"
)
# Not percent-encoded in a path and a query. Without the apostrophe, a link can stand
# in quotation marks of either kind.
SAFE = "%/:?[]@!$&()*+,;=|"
ENCODED = re.compile(rf"[\w.~#{re.escape(SAFE)}-]*", re.ASCII)


@dataclass(frozen=True)
class WebUrl:
    """A URL in ASCII: `host` without brackets, `path` with the query."""

    scheme: str
    host: str
    port: int | None
    path: str
    fragment: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        fragment = f"#{self.fragment}" if self.fragment else ""
        return f"{self.scheme}://{host}{port}{self.path}{fragment}"


def parse(url: str) -> WebUrl:
    """Parse an http(s) URL. Raises CannotFetch, also for one with a user name."""
    url = trim(url).replace("\t", "")
    try:
        parts = urlsplit(url)
        host, port = ascii_host(parts.hostname or ""), parts.port
        path = quote(parts.path or "/", SAFE)
        path += f"?{quote(parts.query, SAFE)}" if parts.query else ""
        fragment = quote(parts.fragment, SAFE)
    except ValueError as error:
        raise CannotFetch("This URL is not valid.") from error
    if parts.scheme not in PORTS:
        raise CannotFetch("Use a URL that begins with http:// or https://.")
    if CONTROL.search(url) or not HOST.fullmatch(host):
        raise CannotFetch("This URL is not valid.")
    # user@host is how one site is made to look like another.
    if "@" in parts.netloc:
        raise CannotFetch("URLs with a user name are not allowed.")
    return WebUrl(parts.scheme, host, port, path, fragment)


def trim(url: str) -> str:
    """Return a URL without white space at its ends."""
    return url.strip(WHITE_SPACE)


def is_local_image(url: str) -> bool:
    """Return whether this site serves the image itself; its URL is a path."""
    return re.fullmatch(settings.LOCAL_IMAGE_URL, trim(url)) is not None


def link_of(url: str) -> str:
    """Return a stored URL as a link, percent-encoded; '' for what must not be one.

    Links are the URLs that can be fetched: paths of local images, and http(s) with a
    host and without a user name. So items with a link have an image, and no others.
    """
    url = trim(url)
    if is_local_image(url):
        return url
    return web_link_of(url)


def linkable(url: str) -> str:
    """Return a URL as a dataset has it, trimmed; '' for one that makes no link."""
    return trim(url) if link_of(url) else ""


def web_link_of(url: str) -> str:
    """Return a stored URL as a link to another site; '' for what must not be one."""
    url = trim(url)
    try:
        encoded = str(parse(url))
    except CannotFetch:
        return ""
    return url if ENCODED.fullmatch(url) else encoded


def spellings(url: str) -> list[str]:
    """Return the ways in which a dataset may have written the URL of a link."""
    link = link_of(url)
    return list(dict.fromkeys([url, trim(url), link, unquote(link)]))


def ascii_host(host: str) -> str:
    """Return a host name in ASCII, as browsers do (UTS 46). Raises ValueError."""
    if not host.isascii():
        labels = idna.uts46_remap(host, std3_rules=False).split(".")
        host = ".".join(
            label if label.isascii() else f"xn--{label.encode('punycode').decode()}"
            for label in labels
        )
    return host.rstrip(".")


def readable_host(url: str) -> str:
    """Return the host of a link in its own script; '' for what must not be a link."""
    return host_forms(urlsplit(link_of(url)).hostname or "")[1]


def host_forms(host: str) -> tuple[str, str]:
    """Return a host name in ASCII and in its own script; equal for most names."""
    host = host.lower()
    encoded = readable = host
    with suppress(ValueError):  # of a name that cannot be registered
        encoded = ascii_host(host)
        readable = idna.decode(encoded)
    return encoded, readable
