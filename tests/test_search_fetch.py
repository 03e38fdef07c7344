"""The guarded fetcher, before bad servers and addresses of the own network."""

import gzip
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from search.errors import CannotFetch, InvalidQuery
from search.fetch import MAX_PER_HOST, Limits, connection, fetch, target
from search.fetch.connection import is_public

REFUSED = "Only public internet addresses are allowed."
UNREADABLE = "This URL is not valid."
SHORT = Limits(seconds=0.5)
PUBLIC = "93.184.215.14"

# For localhost, valid until 2120, made with openssl for this file.
KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgDtw1+bITSsLHMo07
dlTpd8q7Vo1mmkeq8GFSzaaxTuihRANCAASzuq2WPBNHJXkLG2IxRHvxo3cM0vlH
KzPTcizSykKuazekYy5XrS1AFL2tXiBBJktnpk/xywI4UGVIieC/XkZG
-----END PRIVATE KEY-----
"""
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBYTCCAQegAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLO6rZY8E0cleQsb
YjFEe/GjdwzS+UcrM9NyLNLKQq5rN6RjLletLUAUva1eIEEmS2emT/HLAjhQZUiJ
4L9eRkajSDBGMA8GA1UdEwEB/wQFMAMBAf8wFAYDVR0RBA0wC4IJbG9jYWxob3N0
MB0GA1UdDgQWBBR0aOjK2VZGut9S1IwEvfI/aqUu2zAKBggqhkjOPQQDAgNIADBF
AiAsjUVr1gnkRP2hn7qNa8NF+1IS1y9XHlBiVi6UBn94AQIhAJ2UDN+h2svon9kS
t4m+ehMCOk8i1bbRhPYsnwJ0r75f
-----END CERTIFICATE-----
"""

# --- A server, and what leaves this process


class Handler(BaseHTTPRequestHandler):
    """Answers with the function that a test keeps for the path, or with 404."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(self)
        answer = self.server.pages.get(self.path.partition("?")[0])
        self.close_connection = True
        with suppress(OSError):  # the fetcher has gone away
            answer(self) if answer else self.send_error(404)

    def log_message(self, *_) -> None:
        pass

    def give(self, status: int, body: bytes = b"", **headers: object) -> None:
        """Underscores in a header's name stand for hyphens; None leaves it out."""
        self.send_response(status)
        for name, value in ({"Content_Length": len(body)} | headers).items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)


class Site(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, Callable[[Handler], None]] = {}
        self.asked: list[Handler] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_) -> None:
        pass  # a handshake that the fetcher refuses


def serving(site: Site) -> Iterator[Site]:
    thread = threading.Thread(target=site.serve_forever, args=[0.02])
    thread.start()
    yield site
    site.shutdown()
    thread.join()
    site.server_close()


@pytest.fixture
def site(settings) -> Iterator[Site]:
    site = Site()
    settings.FETCH_ALLOWED_HOSTS = [f"127.0.0.1:{site.server_port}"]
    yield from serving(site)


@pytest.fixture
def secure_site(settings, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "both.pem").write_text(KEY + CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    site = Site()
    site.socket = context.wrap_socket(site.socket, server_side=True)
    port = site.server_port
    settings.FETCH_ALLOWED_HOSTS = [f"localhost:{port}", f"127.0.0.1:{port}"]
    site.pages["/"] = lambda page: page.give(200, b"kept")
    yield from serving(site)


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listens on all addresses, at a port that the rules for ports let pass."""
    with socket.create_server(
        ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
    ) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(target, "PORTS", {"http": port, "https": 443})
        yield server
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


class Connections(list):
    """Addresses that this process has tried to connect or send to."""

    watching = False


_connections = Connections()


def _hear(event: str, arguments: tuple) -> None:
    if _connections.watching and event in ("socket.connect", "socket.sendto"):
        _connections.append(arguments[1])


# A hook of Python's own, whichever library connects; it cannot be taken out again.
sys.addaudithook(_hear)


@pytest.fixture
def connections() -> Iterator[Connections]:
    _connections.clear()
    _connections.watching = True
    yield _connections
    _connections.watching = False


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Addresses that each look-up of a name gives in turn, the last one for ever."""
    known: dict[str, list[str]] = {}
    genuine = socket.getaddrinfo

    def getaddrinfo(host, port, *arguments, **options):
        if host in known:
            host = known[host].pop(0) if len(known[host]) > 1 else known[host][0]
        return genuine(host, port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def refusal(url: str, *arguments) -> str:
    with pytest.raises(CannotFetch) as raised:
        fetch(url, *arguments)
    return raised.value.message


# --- What is fetched


def test_a_file_is_fetched_as_it_is(site: Site):
    site.pages["/a%20b.png"] = lambda page: page.give(
        200, b"\x89PNG...", Content_Type="Image/PNG; charset=x", ETag='"7"'
    )
    fetched = fetch(f"{site.url}/a b.png?q=ü#part")
    assert fetched.content == b"\x89PNG..."
    assert fetched.content_type == "image/png"
    assert fetched.url == f"{site.url}/a%20b.png?q=%C3%BC"
    assert fetched.headers["etag"] == '"7"'


def test_the_request_says_who_asks_and_nothing_else(site: Site, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    site.pages["/"] = lambda page: page.give(302, Set_Cookie="a=b", Location="/next")
    site.pages["/next"] = lambda page: page.give(200, b"here")
    assert fetch(site.url, headers={"If-None-Match": '"7"'}).content == b"here"
    assert dict(site.asked[1].headers) == {
        "Host": f"127.0.0.1:{site.server_port}",
        "If-None-Match": '"7"',
        "User-Agent": "laionweb/1.0",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


def test_bodies_without_a_length_and_in_chunks_are_read(site: Site):
    site.pages["/close"] = lambda page: page.give(200, b"whole", Content_Length=None)
    site.pages["/chunks"] = lambda page: page.give(
        200,
        b"3\r\nwho\r\n2\r\nle\r\n0\r\n\r\n",
        Content_Length=None,
        Transfer_Encoding="chunked",
    )
    site.pages["/empty"] = lambda page: page.give(200)
    assert fetch(f"{site.url}/close").content == b"whole"
    assert fetch(f"{site.url}/chunks").content == b"whole"
    assert fetch(f"{site.url}/empty").content == b""
    assert fetch(f"{site.url}/empty").content_type == ""


def test_repeated_and_folded_headers_are_one_line(site: Site):
    def answer(page: Handler) -> None:
        page.wfile.write(
            b"HTTP/1.1 200 OK\r\nX-Robots-Tag: noai\r\nX-Robots-Tag: noindex\r\n"
            b"Content-Length: 0\r\nX-Folded: a\r\n b\r\n\r\n"
        )

    site.pages["/"] = answer
    headers = fetch(site.url).headers
    assert headers["x-robots-tag"] == "noai, noindex"
    assert headers["x-folded"] == "a b"


def test_a_refusal_is_a_bad_query():
    assert issubclass(CannotFetch, InvalidQuery)
    assert (CannotFetch.status, CannotFetch.code) == (422, "cannot_fetch")


# --- Redirects


def redirect(site: Site, location: str) -> str:
    site.pages["/from"] = lambda page: page.give(302, Location=location)
    return f"{site.url}/from"


def test_three_redirects_are_followed_and_four_are_not(site: Site):
    for status, name in [(301, "/3"), (302, "/2"), (307, "/1"), (308, "/0")]:
        following = f"{site.url}/{int(name[1:]) - 1}" if name != "/0" else "/end?é=1"
        site.pages[name] = lambda page, status=status, following=following: page.give(
            status, Location=following.encode().decode("latin-1")
        )
    site.pages["/end"] = lambda page: page.give(200, b"end")
    fetched = fetch(f"{site.url}/2")
    assert (fetched.content, fetched.url) == (b"end", f"{site.url}/end?%C3%A9=1")
    assert refusal(f"{site.url}/3") == "The URL redirects more than 3 times."
    assert [page.path for page in site.asked[4:]] == ["/3", "/2", "/1", "/0"]


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("http://169.254.169.254/latest/meta-data/", REFUSED),
        ("//127.0.0.1/", REFUSED),
        ("https://[::1]/", REFUSED),
        ("http://127.0.0.1:22/", "port 80 or 443"),
        ("file:///etc/passwd", "http:// or https://"),
        ("gopher://127.0.0.1:70/_x", "http:// or https://"),
        ("http://[", "did not send a valid HTTP response"),
        ("http://a@b.c/", "user name"),
        ("http://\xff/", "did not send a valid HTTP response"),
    ],
)
def test_a_redirect_is_checked_like_the_first(
    site: Site, connections: Connections, location: str, sentence: str
):
    assert sentence in refusal(redirect(site, location))
    assert connections == [("127.0.0.1", site.server_port)]


def test_a_redirect_without_a_target_is_a_status(site: Site):
    site.pages["/"] = lambda page: page.give(302)
    assert refusal(site.url) == "127.0.0.1 answered with status 302."


# --- Limits


def test_a_body_may_have_the_limit_and_no_more(site: Site):
    def chunked(page: Handler) -> None:
        page.give(200, Content_Length=None, Transfer_Encoding="chunked")
        for _ in range(1001):
            page.wfile.write(b"1\r\nx\r\n")
        page.wfile.write(b"0\r\n\r\n")

    limits = Limits(bytes=1000)
    site.pages["/most"] = lambda page: page.give(200, bytes(1000))
    site.pages["/told"] = lambda page: page.give(200, bytes(1001))
    site.pages["/untold"] = lambda page: page.give(
        200, bytes(1001), Content_Length=None
    )
    site.pages["/chunks"] = chunked
    assert len(fetch(f"{site.url}/most", limits).content) == 1000
    for name in ("told", "untold", "chunks"):
        assert "larger than" in refusal(f"{site.url}/{name}", limits)


def test_an_endless_body_is_left_at_10_mb(site: Site):
    sent = []

    def endless(page: Handler) -> None:
        page.give(200, Content_Length=None)
        while sum(sent) < 100 * 2**20:
            sent.append(page.wfile.write(bytes(2**20)))

    site.pages["/"] = endless
    assert refusal(site.url) == "The file is larger than 10 MB."
    assert sum(sent) < 100 * 2**20


def test_a_gzip_bomb_is_not_unpacked(site: Site):
    bomb = gzip.compress(bytes(20 * 2**20))
    assert len(bomb) < 50_000
    site.pages["/"] = lambda page: page.give(200, bomb, Content_Encoding="gzip")
    assert "sends the file compressed" in refusal(site.url)


def drip(page: Handler, pieces: bytes) -> None:
    """Over in four seconds: who waits for each byte anew sees the end."""
    for place in range(len(pieces)):
        page.wfile.write(pieces[place : place + 1])
        time.sleep(4 / len(pieces))


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        lambda page: drip(page, HEAD + bytes(50)),
        lambda page: (page.wfile.write(HEAD), drip(page, bytes(50))),
        lambda page: (page.give(200, Content_Length=None), drip(page, bytes(50))),
        lambda page: (
            page.give(200, Content_Length=None, Transfer_Encoding="chunked"),
            drip(page, b"1\r\nx\r\n" * 20 + b"0\r\n\r\n"),
        ),
        lambda page: drip(page, b"HTTP/1.1 100 Continue\r\n\r\n" * 8 + HEAD),
        lambda page: time.sleep(4),
    ],
    ids=["header", "body", "endless", "chunks", "continue", "silence"],
)
def test_a_server_that_drips_is_left_at_the_deadline(site: Site, answer):
    site.pages["/"] = answer
    assert refusal(site.url, SHORT) == "127.0.0.1 took longer than 0.5 seconds."


def test_redirects_share_one_deadline(site: Site):
    def slowly(page: Handler) -> None:
        time.sleep(0.3)
        page.give(302, Location="/next")

    site.pages["/"] = slowly
    site.pages["/next"] = lambda page: (time.sleep(0.3), page.give(200))
    assert "took longer" in refusal(site.url, SHORT)


def test_a_silent_handshake_is_left_at_the_deadline(settings):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        settings.FETCH_ALLOWED_HOSTS = [host]
        assert "took longer" in refusal(f"https://{host}/", SHORT)


def test_a_slow_lookup_is_left_at_the_deadline(monkeypatch, connections):
    looked_up = threading.Event()

    def slow(*_, **__):
        looked_up.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, 80))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    sentence = refusal("http://slow.test/", SHORT)
    looked_up.set()
    assert sentence == "slow.test took longer than 0.5 seconds."
    assert not connections


def test_one_host_is_asked_by_few_at_once(site: Site):
    go_on, arrived = threading.Event(), threading.Semaphore(0)

    def answer(page: Handler) -> None:
        arrived.release()
        go_on.wait(10)
        page.give(200, b"x")

    site.pages["/"] = answer
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(site.url).content))
        for _ in range(MAX_PER_HOST + 2)
    ]
    for thread in threads:
        thread.start()
    for _ in range(MAX_PER_HOST):
        assert arrived.acquire(timeout=10)
    # One more waits until its deadline without asking the server.
    assert "took longer" in refusal(site.url, SHORT)
    assert not arrived.acquire(blocking=False)
    go_on.set()
    for thread in threads:
        thread.join()
    assert found == [b"x"] * len(threads)
    assert len(site.asked) == len(threads)


# --- Servers that break off or do not speak HTTP


@pytest.mark.parametrize("status", [404, 410, 429, 500, 503])
def test_a_status_is_told(site: Site, status: int):
    site.pages["/"] = lambda page: page.give(status, b"sorry", Location="/else")
    assert refusal(site.url) == f"127.0.0.1 answered with status {status}."


def test_a_body_shorter_than_told_is_refused(site: Site):
    site.pages["/length"] = lambda page: page.give(200, b"half", Content_Length=8)
    site.pages["/chunk"] = lambda page: page.give(
        200, b"8\r\nhalf", Content_Length=None, Transfer_Encoding="chunked"
    )
    site.pages["/none"] = lambda page: None
    for name in ("length", "chunk", "none"):
        sentence = "127.0.0.1 closed the connection before the end of the file."
        assert refusal(f"{site.url}/{name}") == sentence


def test_a_body_longer_than_told_ends_where_told(site: Site):
    site.pages["/"] = lambda page: page.give(200, b"whole and more", Content_Length=5)
    assert fetch(site.url).content == b"whole"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + 40 * (b"A: " + b"b" * 60_000 + b"\r\n") + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
    ids=["ssh", "status", "many headers", "long header", "long headers", "chunk"],
)
def test_what_is_not_http_is_refused(site: Site, answer: bytes):
    site.pages["/"] = lambda page: page.wfile.write(answer)
    sentence = refusal(site.url)
    assert "valid HTTP response" in sentence or "closed the connection" in sentence


def test_nobody_there_is_told(settings):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        host = f"127.0.0.1:{closed.getsockname()[1]}"
    settings.FETCH_ALLOWED_HOSTS = [host]
    assert refusal(f"http://{host}/") == "Could not connect to 127.0.0.1."


def test_an_unknown_name_is_told(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    sentence = "Could not find no.such.name."
    assert refusal("http://no.such.name/") == sentence


# --- URLs


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("file:///etc/passwd", "http:// or https://"),
        ("gopher://example.org/", "http:// or https://"),
        ("ftp://example.org/a.jpg", "http:// or https://"),
        ("data:image/png;base64,AAAA", "http:// or https://"),
        ("javascript:alert(1)", "http:// or https://"),
        ("//example.org/a.jpg", "http:// or https://"),
        ("/etc/passwd", "http:// or https://"),
        ("localhost:8123", "http:// or https://"),
        ("", "http:// or https://"),
        ("http://", UNREADABLE),
        ("http:///etc/passwd", UNREADABLE),
        ("http:example.org", UNREADABLE),
        ("http://user@example.org/", "user name"),
        ("http://user:password@example.org/", "user name"),
        ("http://example.org@127.0.0.1/", "user name"),
        ("http://@example.org/", "user name"),
        ("http://example.org:22/", "port 80 or 443"),
        ("http://example.org:8080/", "port 80 or 443"),
        ("https://example.org:8443/", "port 80 or 443"),
        ("http://example.org:0/", "port 80 or 443"),
        ("http://example.org:65616/", UNREADABLE),
        ("http://example.org:-1/", UNREADABLE),
        ("http://example.org:8o/", UNREADABLE),
        ("http://example.org\\@127.0.0.1/", "user name"),
        ("http://127.0.0.1\\.example.org/", UNREADABLE),
        ("http://exa mple.org/", UNREADABLE),
        ("http://example..org/", UNREADABLE),
        ("http://%31%32%37.0.0.1/", UNREADABLE),
        ("http://[fe80::1%25eth0]/", UNREADABLE),
        ("http://[::1/", UNREADABLE),
        ("http://exam\r\nple.org/", UNREADABLE),
        ("http://example.org/a\r\nHost: b", UNREADABLE),
        ("http://example.org/\x00", UNREADABLE),
        ("http://example.org/\ud800", UNREADABLE),
        ("http://\ud800.org/", UNREADABLE),
        (f"http://{'a' * 64}.org/", UNREADABLE),
        (f"http://{'a.' * 127}org/", UNREADABLE),
        (f"http://{'ü' * 60}.org/", UNREADABLE),
        ("http://example.org/" + "a" * 4096, "longer than 4096 characters"),
    ],
)
def test_urls_are_refused_without_a_lookup(
    monkeypatch, connections: Connections, url: str, sentence: str
):
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert sentence in refusal(url)
    assert not connections


@pytest.mark.parametrize(
    "header", [{"A": "b\r\nC: d"}, {"A": "b\r\n c"}, {"A\nB": "c"}, {"A": "\x00"}]
)
def test_headers_of_several_lines_are_refused(site: Site, header: dict[str, str]):
    with pytest.raises(CannotFetch, match="control character"):
        fetch(site.url, headers=header)
    assert not site.asked


def test_a_name_in_other_letters_is_looked_up_as_browsers_do(names, monkeypatch):
    asked = []

    class Nobody(connection._PlainSocket):
        def connect(self, address: tuple) -> None:
            asked.append(address)
            raise ConnectionRefusedError

    monkeypatch.setattr(connection, "_PlainSocket", Nobody)
    names["xn--strae-oqa.xn--bcher-kva.example"] = [PUBLIC]
    sentence = "Could not connect to xn--strae-oqa.xn--bcher-kva.example."
    assert refusal("http://Straße.Bücher.example/") == sentence
    assert asked == [(PUBLIC, 80)]


# --- Addresses

INSIDE = [
    "127.0.0.1",
    "127.1",
    "127.0.0.1.",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "017700000001",
    "127.255.255.254",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "０x7f.1",
    "localhost",
    "LocalHost.",
    "0.0.0.0",
    "0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::127.0.0.1]",
    "[::8.8.8.8]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:169.254.169.254]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::8.8.8.8]",
    "[100::1]",
    "[2001::1]",
    "[2001:db8::1]",
    "[2002:7f00:1::]",
    "[2002:808:808::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[ff0e::1]",
]


@pytest.mark.parametrize("host", INSIDE)
def test_addresses_inside_get_one_sentence_and_no_packet(
    trap: socket.socket, connections: Connections, host: str
):
    assert refusal(f"http://{host}:{trap.getsockname()[1]}/") == REFUSED
    assert refusal(f"https://{host}/") == REFUSED
    assert not connections


def test_the_trap_would_have_been_sprung(trap: socket.socket, monkeypatch):
    """Without the rule for addresses, the table above reaches the trap."""
    monkeypatch.setattr(connection, "is_public", lambda address: True)
    url = f"http://[::ffff:7f00:1]:{trap.getsockname()[1]}/"
    assert "took longer" in refusal(url, SHORT)
    trap.accept()[0].close()


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "100.63.255.255",
        "172.32.0.1",
        "192.0.1.1",
        "223.255.255.254",
        "2606:4700::1111",
        "2a00:1450:4001::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ],
)
def test_addresses_of_the_internet_are_public(address: str):
    assert is_public(address)


def test_one_address_inside_is_enough_to_refuse(monkeypatch, connections):
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
        for address in (PUBLIC, "10.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert refusal("http://two.test/") == REFUSED
    assert not connections


def test_the_address_that_was_checked_is_the_one_connected_to(
    site: Site, names, monkeypatch
):
    """The name is another's at the second look-up, which only a redirect makes."""
    port = site.server_port
    names["flips.test"] = [PUBLIC, "127.0.0.1"]
    connected = []

    class Detour(connection._PlainSocket):
        def connect(self, address: tuple) -> None:
            connected.append(address)
            super().connect(("127.0.0.1", port))

    monkeypatch.setattr(connection, "_PlainSocket", Detour)
    site.pages["/"] = lambda page: page.give(200, b"here")
    site.pages["/again"] = lambda page: page.give(302, Location="http://flips.test/")

    assert fetch("http://flips.test/").content == b"here"
    assert connected == [(PUBLIC, 80)]
    assert site.asked[0].headers["Host"] == "flips.test"

    names["flips.test"] = [PUBLIC, "127.0.0.1"]
    assert refusal("http://flips.test/again") == REFUSED
    assert connected == [(PUBLIC, 80)] * 2


def test_a_dead_address_leaves_the_next_a_chance(site: Site, monkeypatch):
    port = site.server_port
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    site.pages["/"] = lambda page: page.give(200, b"here")
    assert fetch(site.url).content == b"here"


def test_only_the_host_with_the_port_is_allowed(site: Site):
    site.pages["/"] = lambda page: page.give(200)
    assert fetch(site.url).content == b""
    assert refusal("http://127.0.0.1/") == REFUSED
    assert "with port 80 or 443" in refusal(f"http://127.0.0.1:{site.server_port ^ 1}/")
    assert "with port 80 or 443" in refusal(f"http://127.1:{site.server_port}/")
    assert not site.asked[1:]


# --- Certificates


@pytest.fixture
def trusted(monkeypatch, tmp_path: Path) -> Iterator[None]:
    """The site's own certificate is one of the system's authorities."""
    (tmp_path / "authorities.pem").write_text(CERTIFICATE)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities.pem"))
    connection._tls.cache_clear()
    yield
    connection._tls.cache_clear()


def test_a_certificate_of_its_own_making_is_refused(secure_site: Site):
    url = f"https://localhost:{secure_site.server_port}/"
    assert refusal(url) == "The certificate of localhost is not valid."
    assert not secure_site.asked


def test_a_certificate_is_for_the_name(secure_site: Site, trusted):
    port = secure_site.server_port
    assert fetch(f"https://localhost:{port}/").content == b"kept"
    sentence = "The certificate of 127.0.0.1 is not valid."
    assert refusal(f"https://127.0.0.1:{port}/") == sentence
    assert len(secure_site.asked) == 1


def test_a_secure_server_that_drips_is_left_at_the_deadline(secure_site, trusted):
    secure_site.pages["/"] = lambda page: drip(page, HEAD + bytes(50))
    url = f"https://localhost:{secure_site.server_port}/"
    assert refusal(url, SHORT) == "localhost took longer than 0.5 seconds."


def test_a_plain_server_gives_no_secure_connection(site: Site):
    url = site.url.replace("http:", "https:")
    assert refusal(url) == "Could not connect to 127.0.0.1."


# --- This site


def test_this_site_is_never_fetched_from_over_http(settings, monkeypatch):
    from postcards.shards import jpeg

    settings.ALLOWED_HOSTS = ["images.example.org", "127.0.0.1", "*"]
    settings.FETCH_ALLOWED_HOSTS = []
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(f"socket.{name}", None)  # asking for anything would fail
    for url in (
        "https://images.example.org/postcards/3.jpg",
        "http://127.0.0.1:8020/postcards/3.jpg",
    ):
        assert fetch(url).content == jpeg(3)
    for path in ("/", "/search/exact?q=a", "/t/postcards/3/320.webp", "/postcards/3"):
        with pytest.raises(CannotFetch, match="a page of this site"):
            fetch(f"https://images.example.org{path}")
