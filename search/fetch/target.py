"""The target of a fetch: an untrusted URL, checked as far as that needs no DNS."""

from collections.abc import Collection
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
    allowed: bool  # exempt from the rules for addresses and ports


def is_exempt(host: str, port: int, hosts: Collection[str]) -> bool:
    """Return whether a host is listed, as host:port or for all its ports."""
    name = f"[{host}]" if ":" in host else host
    return f"{name}:{port}" in hosts or name in hosts


def parse(url: str, hosts: Collection[str] | None = None) -> Target:
    """Parse a URL; raises CannotFetch.

    The `hosts`, those of FETCH_ALLOWED_HOSTS by default, are exempt from the rules for
    addresses and ports.
    """
    if len(url) > MAX_URL_LENGTH:
        raise CannotFetch(f"The URL is longer than {MAX_URL_LENGTH} characters.")
    parts = replace(links.parse(url), fragment="")
    port = PORTS[parts.scheme] if parts.port is None else parts.port
    exempt = settings.FETCH_ALLOWED_HOSTS if hosts is None else hosts
    allowed = is_exempt(parts.host, port, exempt)
    target = Target(str(parts), parts.scheme, parts.host, port, parts.path, allowed)
    if port not in PORTS.values() and not target.allowed:
        raise CannotFetch("Only URLs with port 80 or 443 are allowed.")
    return target
