"""Downloads from servers that break off, change the file or lie about its length."""

import random
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from hashlib import sha256

import pytest
from support.file_server import (
    CONTENT,
    LONG_AGO,
    OTHER,
    Cancelled,
    Handler,
    answer,
    cancelling_at,
    file_names,
    ranges,
    redirect,
    slam,
    status,
)

from search.errors import SearchError, SearchUnavailable, ShardUnreadable
from search.ingestion.download import download

# --- What arrives


def test_a_file_arrives_whole(fetch, file_server):
    reports = []
    digest = fetch(progress=lambda *progress: reports.append(progress))
    assert digest == sha256(CONTENT).hexdigest()
    assert fetch.target.read_bytes() == CONTENT
    assert file_names(fetch.target.parent) == ["file.npy", "file.npy.json"]
    assert reports[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    assert file_server.requests[0].headers["Accept-Encoding"] == "identity"


def test_an_empty_file_and_one_in_chunks_arrive(fetch, file_server):
    file_server.script = [
        partial(answer, body=b""),
        partial(answer, chunked=True, etag='"2"'),
    ]
    fetch()
    assert fetch.target.read_bytes() == b""
    fetch()
    assert fetch.target.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [0, 1, 4_095, 65_536, len(CONTENT) - 1])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_cut_is_gone_on_with_where_it_ended(
    fetch, file_server, size, chunked
):
    file_server.script = [partial(answer, cut=size, chunked=chunked)]
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(file_server) == [None, f"bytes={size}-" if size else None]
    assert file_server.requests[1].headers["If-Range"] == ('"1"' if size else None)


def test_a_line_that_breaks_again_and_again_gets_there(fetch, file_server, monkeypatch):
    monkeypatch.setattr(download, "GAIN_BYTES", 1)
    file_server.script = [partial(answer, cut=3_000)] * 33
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert len(file_server.requests) == 34
    assert max(fetch.slept) <= 1  # each attempt brought something


def test_a_connection_that_brings_next_to_nothing_each_time_is_given_up(
    fetch, file_server
):
    file_server.otherwise = partial(answer, cut=10)
    with pytest.raises(SearchUnavailable, match="in 8 attempts: the connection broke"):
        fetch()
    assert not fetch.target.exists()
    assert fetch.part.read_bytes() == CONTENT[:80]


# --- Versions


def test_a_server_without_ranges_starts_again(fetch, file_server):
    file_server.script = [partial(answer, cut=5_000), partial(answer, ranges=False)]
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_a_server_without_ranges_that_always_cuts_is_given_up(fetch, file_server):
    file_server.otherwise = partial(answer, cut=60_000, ranges=False)
    with pytest.raises(SearchUnavailable, match="8 attempts"):
        fetch()
    assert not fetch.target.exists()


def test_the_same_beginning_again_is_no_gain(fetch, file_server, monkeypatch):
    monkeypatch.setattr(download, "GAIN_BYTES", 1)
    cuts = [partial(answer, cut=size, ranges=False) for size in (60_000, 10_000)]
    file_server.script = cuts * 50
    with pytest.raises(SearchUnavailable, match="8 attempts"):
        fetch()


@pytest.mark.parametrize("compares", [True, False])
@pytest.mark.parametrize("other", [OTHER, CONTENT[::-1]])
def test_a_file_that_changes_midway_is_the_new_one(fetch, file_server, compares, other):
    changed = partial(answer, body=other, etag='"2"', compares=compares)
    file_server.script = [partial(answer, cut=5_000)]
    file_server.otherwise = changed
    fetch()
    assert fetch.target.read_bytes() == other


def test_a_rest_of_another_length_is_not_sewn_on(fetch, file_server):
    """The server sends the same ETag for another file."""
    file_server.script = [partial(answer, cut=5_000), partial(answer, body=OTHER)]
    fetch()
    assert fetch.target.read_bytes() == CONTENT


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_rest_from_another_place_is_not_sewn_on(fetch, file_server, shift):
    file_server.script = [partial(answer, cut=5_000), partial(answer, shift=shift)]
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def now() -> str:
    return formatdate(usegmt=True)


@pytest.mark.parametrize(
    "headers",
    [dict, lambda: {"ETag": 'W/"1"'}, lambda: {"Last-Modified": now()}],
    ids=["none", "weak", "just changed"],
)
def test_without_a_strong_validator_a_cut_file_starts_again(
    fetch, file_server, headers
):
    plain = partial(answer, etag=None, headers=headers())
    file_server.script = [partial(plain, cut=5_000)]
    file_server.otherwise = plain
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(file_server) == [None, None]


def test_a_time_of_change_long_ago_is_a_validator(fetch, file_server):
    plain = partial(answer, etag=None, headers={"Last-Modified": LONG_AGO})
    file_server.script = [partial(plain, cut=5_000)]
    file_server.otherwise = plain
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert file_server.requests[1].headers["If-Range"] == LONG_AGO


# --- Lengths


def test_416_at_the_end_of_a_file_of_unknown_length_means_it_is_whole(
    fetch, file_server
):
    file_server.script = [partial(answer, cut=len(CONTENT), chunked=True)]
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(file_server) == [None, f"bytes={len(CONTENT)}-"]


def test_416_in_the_middle_starts_again(fetch, file_server):
    file_server.script = [
        partial(answer, cut=95_000),
        partial(status, code=416, Content_Range="bytes */90000"),
    ]
    fetch()
    assert fetch.target.read_bytes() == CONTENT


@pytest.mark.parametrize("span", ["bytes */5000", "bytes */*", "nonsense"])
def test_416_again_and_again_is_given_up(fetch, file_server, span):
    file_server.script = [partial(answer, cut=5_000)]
    file_server.otherwise = lambda handler: (
        status(handler, 416, **{"Content-Range": span})
        if handler.headers["Range"]
        else answer(handler, cut=5_000)
    )
    with pytest.raises(SearchUnavailable, match="shorter"):
        fetch()
    assert not fetch.target.exists()


def test_a_length_that_is_too_long_is_never_believed(fetch, file_server):
    file_server.otherwise = partial(answer, longer=100)
    with pytest.raises(SearchUnavailable, match="8 attempts"):
        fetch()
    assert not fetch.target.exists()


def test_a_rest_longer_than_stated_is_not_taken(fetch, file_server):
    def too_much(handler: Handler) -> None:
        handler.send_response(206)
        handler.send_header("ETag", '"1"')
        handler.send_header("Content-Range", "bytes 5000-99999/100000")
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.wfile.write(CONTENT)

    file_server.script = [partial(answer, cut=5_000), too_much]
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_a_length_that_is_too_short_is_found_out_by_the_checksum(fetch, file_server):
    """HTTP cannot detect it; without a checksum the file format does."""
    file_server.otherwise = partial(answer, longer=-10)
    with pytest.raises(ShardUnreadable, match="has the sha256"):
        fetch(sha256=sha256(CONTENT).hexdigest())
    assert file_names(fetch.target.parent) == []


def test_a_file_without_length_is_refused(fetch, file_server):
    def endless(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + CONTENT)
        handler.close_connection = True

    file_server.script = [endless]
    with pytest.raises(ShardUnreadable, match="how long"):
        fetch()


def test_a_packed_file_is_refused(fetch, file_server):
    file_server.script = [partial(answer, headers={"Content-Encoding": "gzip"})]
    with pytest.raises(ShardUnreadable, match="packed"):
        fetch()


def test_a_file_with_the_right_checksum_is_taken(fetch):
    assert fetch(sha256=sha256(CONTENT).hexdigest().upper())
    assert fetch.target.read_bytes() == CONTENT


# --- All of it, in any order


def mishaps(draw: random.Random) -> list[Callable]:
    size = draw.randrange(len(CONTENT))
    other = {"body": OTHER, "etag": '"2"'}
    choices = [
        partial(answer, cut=size),
        partial(answer, cut=size, chunked=True),
        partial(answer, cut=size, ranges=False),
        partial(answer, cut=size % len(OTHER), **other),
        partial(answer, cut=size % len(OTHER), compares=False, **other),
        partial(answer, cut=size, etag=None),
        partial(answer, shift=-1),
        partial(answer, longer=draw.randrange(1, 99)),
        partial(status, code=416, Content_Range=f"bytes */{size}"),
        partial(status, code=503, Retry_After="1"),
        partial(redirect, "/file"),
        slam,
    ]
    return draw.choices(choices, k=draw.randrange(12))


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_the_file_is_right_or_not_there(fetch, file_server, seed):
    draw = random.Random(seed)
    file_server.script = mishaps(draw)
    file_server.otherwise = draw.choice(
        [answer, partial(answer, body=OTHER, etag='"2"'), partial(answer, cut=9)]
    )
    for _ in range(3):
        stop = cancelling_at(draw.randrange(2 * len(CONTENT)))
        try:
            digest = fetch(progress=stop)
        except (SearchError, Cancelled):
            assert not fetch.target.exists()
        else:
            data = fetch.target.read_bytes()
            assert data in (CONTENT, OTHER)
            assert digest == sha256(data).hexdigest()
            break
