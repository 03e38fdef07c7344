"""Downloads from servers that redirect, refuse, limit or fall silent, to full disks."""

import errno
import io
import time
from email.utils import formatdate
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import urllib3
from support.file_server import (
    CONTENT,
    LONG_AGO,
    Server,
    answer,
    file_names,
    ranges,
    redirect,
    silence,
    slam,
    status,
)

from search.errors import SearchUnavailable, ShardUnreadable
from search.ingestion.download import download, partial_file
from search.ingestion.download.download import Download

# --- Redirects and refusals


def test_five_redirects_are_followed_and_the_rest_still_asked_for(fetch, file_server):
    hops = [partial(redirect, f"/hop{i}") for i in range(4)] + [
        partial(redirect, "/file")
    ]
    file_server.script = [partial(answer, cut=5_000), *hops]
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(file_server)[-1] == "bytes=5000-"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/file", "redirects too often"),
        ("ftp://127.0.0.1/file", "no http or https address"),
        ("file:///etc/passwd", "no http or https address"),
        ("http://[::1/", "no http or https address"),
    ],
)
def test_redirects_in_a_circle_or_elsewhere_are_refused(
    fetch, file_server, target, reason
):
    file_server.otherwise = partial(redirect, target)
    with pytest.raises(ShardUnreadable, match=reason):
        fetch()
    assert len(file_server.requests) <= 6
    assert file_names(fetch.target.parent) == []


@pytest.mark.parametrize("code", [204, 304, 401, 403, 404, 410])
def test_what_no_further_attempt_would_change_is_asked_once(fetch, file_server, code):
    file_server.otherwise = partial(status, code=code)
    with pytest.raises(ShardUnreadable, match=f"answers {code} for http://127"):
        fetch()
    assert len(file_server.requests) == 1


def test_an_address_is_shown_without_its_signature(file_server, tmp_path):
    with pytest.raises(ShardUnreadable) as raised:
        Download(f"{file_server.base}/none?key=secret", tmp_path / "file").run()
    assert "/none" in raised.value.message and "secret" not in raised.value.message


# --- Pauses


def test_a_server_that_limits_is_waited_for(fetch, file_server):
    file_server.script = [
        partial(status, code=429, Retry_After="7"),
        partial(status, code=503),
        partial(status, code=503, Retry_After="nonsense"),
        partial(status, code=500),
    ]
    calls = []
    fetch(progress=lambda *_: calls.append(sum(fetch.slept)))
    assert fetch.target.read_bytes() == CONTENT
    waited = sum(fetch.slept)
    assert 7 + (2 + 4 + 8) / 2 <= waited <= 7 + 2 + 4 + 8
    assert max(fetch.slept) <= 1  # progress is reported between them
    assert len(calls) > waited


def test_a_date_to_wait_for_is_understood_and_no_pause_is_endless(fetch, file_server):
    soon = formatdate(time.time() + 30, usegmt=True)
    file_server.script = [partial(status, code=429, Retry_After=soon)]
    fetch()
    assert 25 < sum(fetch.slept) <= 30
    for far in ("86400", "9" * 400, formatdate(time.time() + 86400, usegmt=True)):
        fetch.target.unlink()
        fetch.slept.clear()
        file_server.script = [partial(status, code=503, Retry_After=far)]
        fetch()
        assert sum(fetch.slept) == pytest.approx(download.MAX_RETRY_AFTER_S)


def test_a_date_in_the_past_is_no_pause(fetch, file_server):
    file_server.script = [partial(status, code=503, Retry_After=LONG_AGO)]
    fetch()
    assert sum(fetch.slept) <= 1


def test_a_server_that_limits_for_ever_is_given_up(fetch, file_server):
    file_server.otherwise = partial(status, code=429)
    with pytest.raises(SearchUnavailable, match="8 attempts: the server answers 429"):
        fetch()
    assert sum(fetch.slept) <= 1 + 2 + 4 + 8 + 16 + 32 + 60


def test_a_server_that_is_silent_or_slams_the_door_is_asked_again(
    fetch, file_server, monkeypatch
):
    monkeypatch.setattr(download, "TIMEOUT", urllib3.Timeout(connect=5, read=0.3))
    file_server.script = [silence, slam]
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_a_server_that_stops_in_the_middle_is_asked_for_the_rest(
    fetch, file_server, monkeypatch
):
    monkeypatch.setattr(download, "TIMEOUT", urllib3.Timeout(connect=5, read=0.3))
    file_server.script = [partial(answer, drip=(60_000, 2))]
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(file_server)[:2] == [None, "bytes=60000-"]


def test_a_server_that_drips_is_given_up(fetch, file_server, monkeypatch):
    monkeypatch.setattr(download, "SLOW_S", 0.1)
    file_server.otherwise = partial(answer, drip=(1, 0.01))
    with pytest.raises(SearchUnavailable, match="sends almost nothing"):
        fetch()
    assert not fetch.target.exists()


def test_a_slow_server_is_not_one_that_drips(fetch, file_server, monkeypatch):
    monkeypatch.setattr(download, "SLOW_S", 0.05)
    monkeypatch.setattr(download, "SLOW_BYTES", 100)
    file_server.otherwise = partial(answer, drip=(10_000, 0.03))
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert len(file_server.requests) == 1


def test_a_server_that_is_away_and_comes_back_is_found(fetch, file_server):
    file_server.stop()
    restarted = []

    def sleep(seconds: float) -> None:
        if not restarted:
            restarted.append(Server(file_server.server_address[1]))

    fetch(sleep=sleep)
    restarted[0].stop()
    assert fetch.target.read_bytes() == CONTENT


def test_a_server_that_stays_away_is_said_to(fetch, file_server):
    file_server.stop()
    with pytest.raises(SearchUnavailable, match="takes no connection"):
        fetch()


# --- The disk


def disk(free: int) -> SimpleNamespace:
    return SimpleNamespace(total=10**12, used=0, free=free)


def test_a_file_that_would_fill_the_disk_is_not_begun(fetch, file_server, monkeypatch):
    monkeypatch.setattr(partial_file, "RESERVE_BYTES", 4 * 2**30)
    monkeypatch.setattr(
        partial_file.shutil, "disk_usage", lambda _: disk(4 * 2**30 + 99_999)
    )
    with pytest.raises(SearchUnavailable, match="4.3 GB free"):
        fetch()
    assert file_names(fetch.target.parent) == []


def test_a_length_beyond_all_disks_is_refused(fetch, file_server):
    file_server.script = [partial(answer, longer=10**15)]
    with pytest.raises(SearchUnavailable, match="1,000,000.0 GB are needed"):
        fetch()


def test_a_disk_that_fills_up_meanwhile_stops_the_download(
    fetch, file_server, monkeypatch
):
    frees = iter([10**9, 10**9, 10**9])
    monkeypatch.setattr(download, "PIECE_BYTES", 10_000)
    monkeypatch.setattr(partial_file, "SYNC_BYTES", 20_000)
    monkeypatch.setattr(
        partial_file.shutil, "disk_usage", lambda _: disk(next(frees, 0))
    )
    monkeypatch.setattr(partial_file, "RESERVE_BYTES", 1)
    with pytest.raises(SearchUnavailable, match="0.0 GB free"):
        fetch()
    monkeypatch.setattr(partial_file.shutil, "disk_usage", lambda _: disk(10**9))
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(file_server)[1]


class FullDisk(io.FileIO):
    """Writes what fits, then raises the error of a full disk."""

    room = 33_333

    def write(self, data) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = super().write(data[: self.room])
        self.room -= written
        return written


def test_a_full_disk_is_said_to_be_full_and_spoils_nothing(
    fetch, file_server, monkeypatch
):
    def full(target: Path):
        return FullDisk(fetch.part, "a+"), fetch.part

    monkeypatch.setattr(download, "PIECE_BYTES", 10_000)
    with monkeypatch.context() as patched:
        patched.setattr(partial_file, "_first_free", full)
        with pytest.raises(SearchUnavailable, match="the disk is full"):
            fetch()
    assert not fetch.target.exists()
    assert fetch.part.stat().st_size == 33_333  # not all of it vouched for
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written_is_said_to_be(file_server, tmp_path):
    (tmp_path / "work").write_text("a file")
    with pytest.raises(SearchUnavailable, match="cannot be written"):
        Download(f"{file_server.base}/file", tmp_path / "work" / "file").run()
