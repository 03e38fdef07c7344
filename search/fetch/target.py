"""The target of a fetch: an untrusted URL, checked as far as that needs no DNS."""

from dataclasses import dataclass, replace

from django.conf import settings

from search import links
from search.errors import CannotFetch
from search.links import PORTS

MAX_URL_LENGTH = 4096


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
    parts = replace(links.parse(url), fragment="")
    port = PORTS[parts.scheme] if parts.port is None else parts.port
    target = Target(str(parts), parts.scheme, parts.host, port, parts.path)
    if port not in PORTS.values() and not target.allowed:
        raise CannotFetch("Only URLs with port 80 or 443 are allowed.")
    return target
