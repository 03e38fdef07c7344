"""What a user or a dataset names by URL is fetched here, and nowhere else.

Such a URL may point into the network this runs in. So a name is looked up once, each of
its addresses must be public, and the connection goes to the very address that was
checked, while the certificate is checked against the name. A redirect starts all over.
Time, size and redirects are limited for the fetch as a whole. FETCH_ALLOWED_HOSTS
exempts hosts, each with its port, from the rules for addresses and ports.
"""

import http.client
import math
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin
from weakref import WeakValueDictionary

from search.errors import CannotFetch

from .connection import connect, seconds_left
from .target import CONTROL, PORTS, Target, parse

AT_ONCE = 4  # from one host
PIECE = 2**16
MAX_HEADERS = 100
MAX_HEAD_BYTES = 2**20
TOO_MUCH = (408, 425, 429)  # for the host, at the moment
REDIRECTS = (301, 302, 303, 307, 308)
OWN_HEADERS = {
    "User-Agent": "laionweb/1.0",
    "Accept-Encoding": "identity",
    "Connection": "close",
}

_turns: WeakValueDictionary[str, threading.Semaphore] = WeakValueDictionary()
_turns_lock = threading.Lock()


@dataclass(frozen=True)
class Limits:
    """Bytes of the body, seconds from the look-up to the body's end, redirects."""

    bytes: int = 10 * 2**20
    seconds: float = 8.0
    redirects: int = 3


LIMITS = Limits()


@dataclass(frozen=True)
class Fetched:
    """The type is without parameters, or ''; the URL is the last one redirected to.

    Names of headers are in lower case, their values of one line; the values of a
    repeated header are joined by commas.
    """

    content: bytes
    content_type: str
    url: str
    headers: Mapping[str, str]


def fetch(
    url: str, limits: Limits = LIMITS, headers: Mapping[str, str] | None = None
) -> Fetched:
    """The file at an http(s) URL; raises CannotFetch with the reason.

    The headers go to every host that the fetch is redirected to: no secrets in them.
    """
    headers = {**(headers or {}), **OWN_HEADERS}
    if any(CONTROL.search(text) for header in headers.items() for text in header):
        raise CannotFetch("A header of the request has a control character in it.")
    deadline = time.monotonic() + limits.seconds
    for _ in range(limits.redirects + 1):
        target = parse(url)
        with _explained(target.host, limits), _turn(target.host, deadline):
            answer = _ask(target, deadline, limits, headers)
        if isinstance(answer, Fetched):
            return answer
        url = answer
    raise CannotFetch(f"The URL redirects more than {limits.redirects} times.")


@contextmanager
def _explained(host: str, limits: Limits) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        sentence = f"{host} took longer than {limits.seconds:g} seconds."
        raise CannotFetch(sentence, passing=True) from error
    except socket.gaierror as error:
        passing = error.errno == socket.EAI_AGAIN
        sentence = f"There is no address for the name {host}."
        raise CannotFetch(sentence, passing) from error
    except ssl.SSLCertVerificationError as error:
        raise CannotFetch(f"The certificate of {host} is not valid.") from error
    except (http.client.IncompleteRead, ConnectionResetError) as error:
        sentence = f"{host} broke off before the end of the file."
        raise CannotFetch(sentence, passing=True) from error
    except OSError as error:
        raise CannotFetch(f"{host} cannot be reached.", passing=True) from error
    except (http.client.HTTPException, ValueError) as error:
        raise CannotFetch(f"{host} does not answer as the web does.") from error


@contextmanager
def _turn(host: str, deadline: float) -> Iterator[None]:
    """Waits until fewer than AT_ONCE others fetch from the host."""
    with _turns_lock:
        turn = _turns.setdefault(host, threading.Semaphore(AT_ONCE))
    if not turn.acquire(timeout=seconds_left(deadline)):
        raise TimeoutError
    try:
        yield
    finally:
        turn.release()


def _ask(
    target: Target, deadline: float, limits: Limits, headers: Mapping[str, str]
) -> Fetched | str:
    """The file, or the URL to which the host redirects."""
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.default_port = PORTS[target.scheme]  # goes unnamed in the Host header
    connection.sock = own_socket = connect(target, deadline)
    own_socket.allowance = MAX_HEAD_BYTES
    with closing(connection):
        connection.request("GET", target.path, headers=headers)
        with connection.getresponse() as response:
            own_socket.allowance = math.inf
            # http.client has a limit, too, which other libraries raise.
            if len(response.headers) > MAX_HEADERS:
                raise http.client.HTTPException("too many headers")
            location = response.getheader("Location")
            if response.status in REDIRECTS and location:
                # Raw UTF-8, which some hosts send, has been read as Latin-1.
                return urljoin(target.url, location.encode("latin-1").decode())
            if not 200 <= response.status < 300:
                status = response.status
                passing = status >= 500 or status in TOO_MUCH
                sentence = f"{target.host} answers with the status {status}."
                raise CannotFetch(sentence, passing)
            content = _read(response, target.host, limits)
    told = response.headers
    received = {
        name.lower(): " ".join(", ".join(told.get_all(name, [])).split())
        for name in told
    }
    content_type = received.get("content-type", "").partition(";")[0].strip().lower()
    return Fetched(content, content_type, target.url, received)


def _read(response: http.client.HTTPResponse, host: str, limits: Limits) -> bytes:
    """The body; nothing in it is unpacked, so its bytes are those that were sent."""
    coding = response.getheader("Content-Encoding", "identity").strip().lower()
    if coding != "identity":
        raise CannotFetch(f"{host} sends the file compressed, though asked not to.")
    content = bytearray()
    # The length is what the host says is still to come, or None.
    while len(content) + (response.length or 0) <= limits.bytes:
        piece = response.read(PIECE)
        content += piece
        if not piece and response.length:
            raise http.client.IncompleteRead(b"", response.length)
        if not piece:
            return bytes(content)
    raise CannotFetch(f"The file is larger than {limits.bytes / 2**20:.3g} MB.")
