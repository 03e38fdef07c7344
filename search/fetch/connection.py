"""Connections to public addresses only, each with one deadline for all of it."""

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

# They end in the IPv4 address that is meant: IPv4-mapped and NAT64 (RFC 4291, 6052).
WRAPPINGS = [ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96")]
ROUTED_IPV6 = ip_network("2000::/3")
# What is_global lets pass, in Python 3.11 at least.
NOT_PUBLIC = [
    ip_network("192.0.0.0/24"),  # protocol assignments, and the metadata of a cloud
    ip_network("192.88.99.0/24"),  # relays to 6to4
    ip_network("224.0.0.0/4"),  # multicast
    ip_network("168.63.129.16/32"),  # Azure's services for its own machines
    ip_network("2001::/23"),  # Teredo and other protocols
    ip_network("2002::/16"),  # 6to4
    ip_network("3fff::/20"),  # documentation
]

# The system may look for a name for longer than a fetch may take.
_lookups = ThreadPoolExecutor(32, "lookup")


def is_public(address: str) -> bool:
    """Whether this IP address is that of one machine on the internet."""
    ip = ip_address(address)
    if any(ip in network for network in WRAPPINGS):
        ip = IPv4Address(int(ip) % 2**32)
    if ip.version == 6 and ip not in ROUTED_IPV6:
        return False
    return ip.is_global and not any(ip in network for network in NOT_PUBLIC)


def connect(target: Target, deadline: float) -> "Timed":
    """With TLS for https; TimeoutError comes by itself when the deadline is reached.

    The deadline is a time of time.monotonic(). Raises CannotFetch or OSError.
    """
    plain = _reach(_addresses(target, deadline), deadline)
    if target.scheme == "http":
        return plain
    secure = _tls().wrap_socket(plain, server_hostname=target.host)
    assert isinstance(secure, _SecureSocket)
    secure.deadline = deadline
    return secure


def seconds_left(deadline: float) -> float:
    """Above 0, or TimeoutError."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _addresses(target: Target, deadline: float) -> list[tuple]:
    """(family, address) of the host, as sockets take them, all of them checked."""
    lookup = _lookups.submit(
        socket.getaddrinfo, target.host, target.port, type=socket.SOCK_STREAM
    )
    try:
        found = lookup.result(seconds_left(deadline))
    finally:
        lookup.cancel()
    addresses = [(family, address) for family, *_, address in found]
    if not target.allowed and not all(
        is_public(str(address[0])) for _, address in addresses
    ):
        raise CannotFetch("Only public addresses of the internet are fetched.")
    return addresses


def _reach(addresses: list[tuple], deadline: float) -> "_Socket":
    """A connection to the first address that answers."""
    failure = OSError("The name has no address.")
    for tried, (family, address) in enumerate(addresses):
        # A silent one leaves time for the others.
        seconds = seconds_left(deadline) / (len(addresses) - tried)
        try:
            plain = _opened(family, address, seconds)
        except OSError as error:
            failure = error
            continue
        plain.settimeout(seconds_left(deadline))
        plain.deadline = deadline
        return plain
    raise failure


def _opened(family: int, address: tuple, seconds: float) -> "_Socket":
    plain = _Socket(family, socket.SOCK_STREAM)
    try:
        plain.settimeout(seconds)
        plain.connect(address)
    except OSError:
        plain.close()
        raise
    return plain


class Timed(socket.socket):
    """Its timeout is for all that is received, not for each piece of it.

    So is its allowance of bytes.
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


class _Socket(Timed):
    pass


class _SecureSocket(Timed, ssl.SSLSocket):
    pass


@cache
def _tls() -> ssl.SSLContext:
    """Checks the host's name and, by the authorities of the system, its certificate."""
    context = ssl.create_default_context()
    context.sslsocket_class = _SecureSocket
    return context
