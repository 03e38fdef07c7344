"""Downloads that are stopped and continued, repeated, or run side by side."""

import threading
from functools import partial
from hashlib import sha256

import pytest
from support.file_server import (
    CONTENT,
    OTHER,
    Cancelled,
    answer,
    cancelling_at,
    file_names,
    ranges,
    status,
)

from search.ingestion.download import download, partial_file
from search.ingestion.download.download import Download
from search.ingestion.download.partial_file import PartialFile

# --- Stopping, and continuing in another run


@pytest.mark.parametrize("size", [1, 50_000])
def test_a_cancelled_download_is_gone_on_with(fetch, file_server, size):
    with pytest.raises(Cancelled):
        fetch(progress=cancelling_at(size))
    stored = fetch.part.read_bytes()
    assert stored and CONTENT.startswith(stored) and not fetch.target.exists()
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(file_server) == [None, f"bytes={len(stored)}-"]


def test_a_download_cancelled_in_a_pause_is_gone_on_with(fetch, file_server):
    file_server.script = [partial(answer, cut=5_000), partial(status, code=503)]

    def progress(done: int, total: int | None) -> None:
        if fetch.slept:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch(progress=progress)
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(file_server)[1] == "bytes=5000-"


def test_a_run_that_is_stopped_at_the_end_does_not_name_the_file(
    fetch, file_server, monkeypatch
):
    """The last call is made even right after the one before."""
    monkeypatch.setattr(download, "PIECE_BYTES", 10_000)
    monkeypatch.setattr(download, "REPORT_S", 3_600)
    with pytest.raises(Cancelled):
        fetch(progress=cancelling_at(len(CONTENT)))
    assert not fetch.target.exists()
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_bytes_that_nobody_vouched_for_are_fetched_again(fetch, file_server):
    """Bytes after the last note, as a killed process or a power failure leaves them."""
    with pytest.raises(Cancelled):
        fetch(progress=cancelling_at(50_000))
    stored = fetch.part.stat().st_size
    with fetch.part.open("ab") as file:
        file.write(bytes(20_000))
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(file_server)[1] == f"bytes={stored}-"


@pytest.mark.parametrize("note", ["", "{", "null", None])
def test_a_part_without_a_note_starts_again(fetch, file_server, note):
    with pytest.raises(Cancelled):
        fetch(progress=cancelling_at(50_000))
    path = fetch.part.with_name("file.npy.part.json")
    path.unlink()
    if note is not None:
        path.write_text(note)
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert ranges(file_server) == [None, None]


def test_a_part_of_another_address_starts_again(fetch, file_server):
    with pytest.raises(Cancelled):
        fetch(progress=cancelling_at(50_000))
    file_server.files["/other"] = OTHER
    Download(f"{file_server.base}/other", fetch.target).run()
    assert fetch.target.read_bytes() == OTHER
    assert ranges(file_server) == [None, None]


def test_a_process_killed_while_it_restarts_mixes_no_versions(
    fetch, file_server, monkeypatch
):
    """The note of the old version must not apply to bytes of the new one."""
    with pytest.raises(Cancelled):
        fetch(progress=cancelling_at(80_000))
    file_server.otherwise = partial(answer, body=OTHER, etag='"2"')
    with monkeypatch.context() as killed, pytest.raises(Cancelled):
        killed.setattr(PartialFile, "__exit__", lambda file, *_: file._file.close())
        fetch(progress=cancelling_at(30_000))
    file_server.otherwise = answer  # back to the first version
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_a_file_that_is_there_is_fetched_again_only_if_it_changed(fetch, file_server):
    first = fetch()
    assert fetch() == first
    assert file_server.requests[1].headers["If-None-Match"] == '"1"'
    assert file_names(fetch.target.parent) == ["file.npy", "file.npy.json"]
    file_server.otherwise = partial(answer, body=OTHER, etag='"2"')
    assert fetch() == sha256(OTHER).hexdigest()
    assert fetch.target.read_bytes() == OTHER


def test_a_file_that_was_touched_is_fetched_again(fetch, file_server):
    fetch()
    fetch.target.write_bytes(CONTENT[::-1])
    fetch()
    assert fetch.target.read_bytes() == CONTENT


def test_a_file_that_has_another_checksum_than_wanted_is_fetched_again(
    fetch, file_server
):
    fetch()
    file_server.otherwise = partial(answer, body=OTHER)  # by the same ETag
    fetch(sha256=sha256(OTHER).hexdigest())
    assert fetch.target.read_bytes() == OTHER


def test_a_broken_off_change_that_was_none_leaves_the_file_that_is_there(
    fetch, file_server
):
    first = fetch()
    file_server.script = [partial(answer, body=OTHER, etag=None, cut=5_000)]
    assert fetch() == first
    assert fetch.target.read_bytes() == CONTENT


# --- Two at once


def test_two_downloads_of_the_same_file_do_not_mix(fetch, file_server):
    file_server.otherwise = partial(answer, drip=(10_000, 0.01))
    failed = []

    def run() -> None:
        try:
            fetch()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert fetch.target.read_bytes() == CONTENT
    assert file_names(fetch.target.parent) == ["file.npy", "file.npy.json"]


def test_a_run_thought_dead_neither_blocks_nor_spoils_another(fetch, file_server):
    """One stalls halfway; another starts and finishes; the first one continues."""
    reports = []

    def stalled(done: int, total: int | None) -> None:
        if done >= 50_000 and not reports:
            reports.append(fetch())
            partial_file.discard(fetch.target)
            assert file_names(fetch.target.parent) == [
                "file.npy.part",
                "file.npy.part.json",
            ]
            file_server.otherwise = partial(answer, body=OTHER, etag='"2"')
            reports.append(fetch())

    assert fetch(progress=stalled) == reports[0]
    assert reports == [sha256(data).hexdigest() for data in (CONTENT, OTHER)]
    assert fetch.target.read_bytes() == CONTENT
    partial_file.discard(fetch.target)
    assert file_names(fetch.target.parent) == []


def test_a_part_that_was_just_given_its_name_is_not_written_to(fetch, monkeypatch):
    """Another download finishes between our opening of its part and our lock."""
    lock, named = partial_file._lock, fetch.target.with_name("named")

    def late(file) -> bool:
        if not named.exists():
            fetch.part.rename(named)
        return lock(file)

    monkeypatch.setattr(partial_file, "_lock", late)
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert named.read_bytes() == b""
