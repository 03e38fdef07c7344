"""Connections to public addresses, with one deadline for everything they receive."""

import math
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from search.errors import CannotFetch

from .target import Target

# IPv6 addresses that end in an IPv4 address: mapped and NAT64 (RFC 4291, 6052).
EMBEDDED_IPV4 = [ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96")]
ROUTED_IPV6 = ip_network("2000::/3")
# Networks that is_global accepts, at least in Python 3.11.
NOT_PUBLIC = [
    ip_network("192.0.0.0/24"),  # protocol assignments, and the metadata of a cloud
    ip_network("192.88.99.0/24"),  # relays to 6to4
    ip_network("224.0.0.0/4"),  # multicast
    ip_network("168.63.129.16/32"),  # Azure's services for its own machines
    ip_network("2001::/23"),  # Teredo and other protocols
    ip_network("2002::/16"),  # 6to4
    ip_network("3fff::/20"),  # documentation
]

# In threads, because getaddrinfo has no timeout.
_lookups = ThreadPoolExecutor(32, "lookup")


def is_public(address: str) -> bool:
    """Return whether an IP address is that of one machine on the internet."""
    ip = ip_address(address)
    if any(ip in network for network in EMBEDDED_IPV4):
        ip = IPv4Address(int(ip) % 2**32)
    if ip.version == 6 and ip not in ROUTED_IPV6:
        return False
    return ip.is_global and not any(ip in network for network in NOT_PUBLIC)


def connect(target: Target, deadline: float) -> "DeadlineSocket":
    """Connect to a target, with TLS for https; raises CannotFetch or OSError.

    The deadline is a value of time.monotonic(). Once it has passed, connecting and
    receiving raise TimeoutError.
    """
    plain = _connect_first(_addresses(target, deadline), deadline)
    if target.scheme == "http":
        return plain
    secure = _tls().wrap_socket(plain, server_hostname=target.host)
    assert isinstance(secure, _SecureSocket)
    secure.deadline = deadline
    return secure


def open_checked(
    host: str, port: int, seconds: float, *, allowed: bool
) -> socket.socket:
    """Connect to a public address of a host, or any if it is `allowed`, without TLS.

    Each of the socket's operations has `seconds`. Raises CannotFetch or OSError.
    """
    target = Target("", "http", host, port, "", allowed)
    deadline = time.monotonic() + seconds
    failure = OSError("The name has no address.")
    for family, address in _addresses(target, deadline):
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(seconds_left(deadline))
            plain.connect(address)
        except OSError as error:
            plain.close()
            failure = error
            continue
        return plain
    raise failure


def seconds_left(deadline: float) -> float:
    """Return the seconds until a deadline, above 0; raises TimeoutError."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _addresses(target: Target, deadline: float) -> list[tuple]:
    """Return (family, address) of the host, after checking all of them."""
    lookup = _lookups.submit(
        socket.getaddrinfo, target.host, target.port, type=socket.SOCK_STREAM
    )
    try:
        results = lookup.result(seconds_left(deadline))
    finally:
        lookup.cancel()
    addresses = [(family, address) for family, *_, address in results]
    if not target.allowed and not all(
        is_public(str(address[0])) for _, address in addresses
    ):
        raise CannotFetch("Only public internet addresses are allowed.")
    return addresses


def _connect_first(addresses: list[tuple], deadline: float) -> "_PlainSocket":
    """Connect to the first address that answers."""
    failure = OSError("The name has no address.")
    for tried, (family, address) in enumerate(addresses):
        # An unresponsive address must leave time for the others.
        seconds = seconds_left(deadline) / (len(addresses) - tried)
        try:
            plain = _open(family, address, seconds)
        except OSError as error:
            failure = error
            continue
        plain.settimeout(seconds_left(deadline))
        plain.deadline = deadline
        return plain
    raise failure


def _open(family: int, address: tuple, seconds: float) -> "_PlainSocket":
    plain = _PlainSocket(family, socket.SOCK_STREAM)
    try:
        plain.settimeout(seconds)
        plain.connect(address)
    except OSError:
        plain.close()
        raise
    return plain


class DeadlineSocket(socket.socket):
    """A socket whose deadline and allowance of bytes hold for everything it receives.

    A plain socket's timeout would start again with each read.
    """

    deadline: float
    allowance: float = math.inf

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self.settimeout(seconds_left(self.deadline))
        count = super().recv_into(*arguments, **options)
        self.allowance -= count
        if self.allowance < 0:
            raise ValueError("more was received than is allowed")
        return count


class _PlainSocket(DeadlineSocket):
    pass


class _SecureSocket(DeadlineSocket, ssl.SSLSocket):
    pass


@cache
def _tls() -> ssl.SSLContext:
    """Return a context that verifies host names and certificates."""
    context = ssl.create_default_context()
    context.sslsocket_class = _SecureSocket
    return context
