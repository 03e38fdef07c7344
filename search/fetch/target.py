"""Parse an untrusted URL and check it as far as that needs no DNS."""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import idna
from django.conf import settings

from search.errors import CannotFetch

PORTS = {"http": 80, "https": 443}
MAX_URL_LENGTH = 4096
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*|[0-9a-f.]*:[0-9a-f:.]*"
)
SAFE = "%/:?[]@!$&'()*+,;=|"  # not percent-encoded in a path and a query


@dataclass(frozen=True)
class Target:
    """A URL's parts: the host in ASCII without brackets, the path with the query."""

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @property
    def allowed(self) -> bool:
        """Return whether FETCH_ALLOWED_HOSTS exempts it from address and port rules."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" in settings.FETCH_ALLOWED_HOSTS


def parse(url: str) -> Target:
    """Parse a URL; raises CannotFetch."""
    if len(url) > MAX_URL_LENGTH:
        raise CannotFetch(f"The URL is longer than {MAX_URL_LENGTH} characters.")
    try:
        parts = urlsplit(url)
        host = _ascii_host(parts.hostname or "")
        port = PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
        path = quote(parts.path or "/", SAFE)
        path += f"?{quote(parts.query, SAFE)}" if parts.query else ""
    except ValueError as error:
        raise CannotFetch("This is not a URL that can be read.") from error
    if parts.scheme not in PORTS:
        raise CannotFetch("Only URLs that begin with http:// or https:// are fetched.")
    if CONTROL.search(url) or not HOST.fullmatch(host):
        raise CannotFetch("This is not a URL that can be read.")
    if "@" in parts.netloc:
        raise CannotFetch("URLs with a user name in them are not fetched.")
    normalized = f"{parts.scheme}://{parts.netloc}{path}"
    target = Target(normalized, parts.scheme, host, port, path)
    if port not in PORTS.values() and not target.allowed:
        raise CannotFetch("Only URLs with the ports 80 and 443 are fetched.")
    return target


def _ascii_host(host: str) -> str:
    if not host.isascii():
        host = idna.encode(host, uts46=True).decode("ascii")
    return host.rstrip(".")
