"""Fetch URLs of users and datasets; no other module does.

Such a URL may point into the server's own network (SSRF). So a name is resolved once,
all its addresses must be public, and the connection goes to a checked address, while
the certificate is verified against the name. A redirect passes the same checks. Time,
size and redirects are limited for the fetch as a whole. FETCH_ALLOWED_HOSTS exempts
hosts, each with its port, from the rules for addresses and ports.
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin
from weakref import WeakValueDictionary

from django.conf import settings

from search.errors import CannotFetch
from search.links import CONTROL, PORTS

from .connection import connect, seconds_left
from .own_site import own_image
from .target import Target, parse

MAX_PER_HOST = 4  # concurrent fetches of this process
CHUNK_BYTES = 2**16
MAX_HEADERS = 100
MAX_HEAD_BYTES = 2**20
RETRYABLE = (408, 425, 429)  # as are all from 500
REDIRECTS = (301, 302, 303, 307, 308)
OWN_HEADERS = {
    "User-Agent": "laionweb/1.0",
    "Accept-Encoding": "identity",
    "Connection": "close",
}

_host_slots: WeakValueDictionary[str, threading.Semaphore] = WeakValueDictionary()
_host_slots_lock = threading.Lock()


@dataclass(frozen=True)
class Limits:
    """Limits of one fetch: bytes of the body, seconds in all, redirects."""

    bytes: int = 10 * 2**20
    seconds: float = 8.0
    redirects: int = 3


LIMITS = Limits()


@dataclass(frozen=True)
class FetchedFile:
    """A file, with its media type without parameters ('' if unknown) and final URL.

    Header names are in lower case, values on one line; those of a repeated header are
    joined with commas.
    """

    content: bytes
    content_type: str
    url: str
    headers: Mapping[str, str]


def fetch(
    url: str,
    limits: Limits = LIMITS,
    headers: Mapping[str, str] | None = None,
    hosts: Collection[str] | None = None,
) -> FetchedFile:
    """Fetch the file at an http(s) URL; raises CannotFetch with the reason.

    `hosts` are exempt from the rules, in place of those of FETCH_ALLOWED_HOSTS.
    The headers are sent to every host of a redirect, so they must not hold secrets.
    """
    headers = {**(headers or {}), **OWN_HEADERS}
    if any(CONTROL.search(text) for header in headers.items() for text in header):
        raise CannotFetch("A header of the request has a control character in it.")
    deadline = time.monotonic() + limits.seconds
    for _ in range(limits.redirects + 1):
        exempt = settings.FETCH_ALLOWED_HOSTS if hosts is None else hosts
        if (content := own_image(url, exempt)) is not None:
            return FetchedFile(content, "image/jpeg", url, {})
        target = parse(url, hosts)
        with _fetch_errors(target.host, limits), _host_slot(target.host, deadline):
            result = _request(target, deadline, limits, headers)
        if isinstance(result, FetchedFile):
            return result
        url = result
    raise CannotFetch(f"The URL redirects more than {limits.redirects} times.")


@contextmanager
def _fetch_errors(host: str, limits: Limits) -> Iterator[None]:
    """Translate errors of the network and the protocol into CannotFetch."""
    try:
        yield
    except TimeoutError as error:
        sentence = f"{host} took longer than {limits.seconds:g} seconds."
        raise CannotFetch(sentence, passing=True) from error
    except socket.gaierror as error:
        passing = error.errno == socket.EAI_AGAIN
        sentence = f"Could not find {host}."
        raise CannotFetch(sentence, passing) from error
    except ssl.SSLCertVerificationError as error:
        raise CannotFetch(f"The certificate of {host} is not valid.") from error
    except (http.client.IncompleteRead, ConnectionResetError) as error:
        sentence = f"{host} closed the connection before the end of the file."
        raise CannotFetch(sentence, passing=True) from error
    except OSError as error:
        raise CannotFetch(f"Could not connect to {host}.", passing=True) from error
    except (http.client.HTTPException, ValueError) as error:
        raise CannotFetch(f"{host} did not send a valid HTTP response.") from error


@contextmanager
def _host_slot(host: str, deadline: float) -> Iterator[None]:
    """Wait until fewer than MAX_PER_HOST threads fetch from the host."""
    with _host_slots_lock:
        slot = _host_slots.setdefault(host, threading.Semaphore(MAX_PER_HOST))
    if not slot.acquire(timeout=seconds_left(deadline)):
        raise TimeoutError
    try:
        yield
    finally:
        slot.release()


def _request(
    target: Target, deadline: float, limits: Limits, headers: Mapping[str, str]
) -> FetchedFile | str:
    """Return the file, or the URL to which the host redirects."""
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.default_port = PORTS[target.scheme]  # which the Host header leaves out
    connection.sock = own_socket = connect(target, deadline)
    own_socket.allowance = MAX_HEAD_BYTES
    with closing(connection):
        connection.request("GET", target.path, headers=headers)
        with connection.getresponse() as response:
            # Of chunks, what is around the content counts, too.
            own_socket.allowance = 2 * limits.bytes + MAX_HEAD_BYTES
            # Other libraries raise the limit of http.client.
            if len(response.headers) > MAX_HEADERS:
                raise http.client.HTTPException("too many headers")
            location = response.getheader("Location")
            if response.status in REDIRECTS and location:
                # Some hosts send raw UTF-8, which http.client reads as Latin-1.
                return urljoin(target.url, location.encode("latin-1").decode())
            if not 200 <= response.status < 300:
                status = response.status
                passing = status >= 500 or status in RETRYABLE
                sentence = f"{target.host} answered with status {status}."
                raise CannotFetch(sentence, passing)
            content = _read(response, target.host, limits)
    message = response.headers
    received = {
        name.lower(): " ".join(", ".join(message.get_all(name, [])).split())
        for name in message
    }
    content_type = received.get("content-type", "").partition(";")[0].strip().lower()
    return FetchedFile(content, content_type, target.url, received)


def _read(response: http.client.HTTPResponse, host: str, limits: Limits) -> bytes:
    """Return the body as it was sent; compressed bodies are refused."""
    coding = response.getheader("Content-Encoding", "identity").strip().lower()
    if coding != "identity":
        raise CannotFetch(f"{host} sends the file compressed, though asked not to.")
    content = bytearray()
    # `response.length` is the announced rest of the body, or None.
    while len(content) + (response.length or 0) <= limits.bytes:
        chunk = response.read(CHUNK_BYTES)
        content += chunk
        if not chunk and response.length:
            raise http.client.IncompleteRead(b"", response.length)
        if not chunk:
            return bytes(content)
    raise CannotFetch(f"The file is larger than {limits.bytes / 2**20:.3g} MB.")
