"""Sources lead to files within INGEST_FOLDERS, and to public addresses."""

import io
import os
import socket
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.file_server import redirect

from search.errors import NotAnImage, SearchUnavailable, ShardUnreadable
from search.ingestion.download import download
from search.ingestion.download.download import Download
from search.ingestion.setup import folders
from search.ingestion.setup.recognition import recognize
from search.ingestion.sources import places
from search.ingestion.sources.archives import open_archive
from search.ingestion.sources.image_files import FilePart, list_folder
from search.ingestion.sources.image_lists import lists
from search.ingestion.sources.original import find_original
from search.ingestion.sources.parquet import ParquetVectors
from search.ingestion.sources.places import LEADS_OUT, Closed, open_file
from search.ingestion.sources.tables import TABLE, find_tables
from search.ingestion.sources.vectors import read_vectors
from search.models import Dataset


@pytest.fixture
def outside(tmp_path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


@pytest.fixture
def top(tmp_path, settings, outside) -> Path:
    """The one folder that is open to imports."""
    folder = tmp_path / "open"
    folder.mkdir()
    settings.INGEST_FOLDERS = [str(folder)]
    settings.VAR_DIR = tmp_path / "var"
    settings.EXPORT_DIR = tmp_path / "var" / "exports"
    settings.EXPORT_DIR.mkdir(parents=True)
    return folder


def write_image(path: Path) -> None:
    Image.new("RGB", (40, 30), (100, 20, 30)).save(path, "JPEG")


def write_tar(path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (40, 30)).save(file, "JPEG")
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("a.jpg")
        member.size = len(file.getvalue())
        tar.addfile(member, io.BytesIO(file.getvalue()))


def write_vectors(path: Path) -> None:
    embeddings = pa.array([[1.0, 2.0]], pa.list_(pa.float32()))
    pq.write_table(pa.table({"url": ["https://a.b/c"], "embedding": embeddings}), path)


# Each reads a path as an import does.
READERS = {
    "image.jpg": (write_image, lambda path: FilePart(path, 0, 9).read(9)),
    "images.tar": (write_tar, lambda path: open_archive(path, {})),
    "vectors.parquet": (
        write_vectors,
        lambda path: ParquetVectors(str(path), {}).open(0, 2),
    ),
    "matrix.npy": (
        lambda path: np.save(path, np.ones((3, 2), np.float32)),
        lambda path: read_vectors(path, 2),
    ),
    "list.csv": (
        lambda path: path.write_text("url,iban\nhttps://a.b/c,DE00SECRET\n"),
        lambda path: lists(str(path), {})[0](),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_no_reader_follows_a_link_out(top, outside, name):
    write, read = READERS[name]
    write(top / name)
    read(top / name)
    write(outside / name)
    (top / name).unlink()
    (top / name).symlink_to(outside / name)
    with pytest.raises((NotAnImage, ShardUnreadable), match=LEADS_OUT):
        read(top / name)
    # Nor a folder that has become a link.
    (top / "inner").symlink_to(outside)
    with pytest.raises((NotAnImage, ShardUnreadable), match=LEADS_OUT):
        read(top / "inner" / name)


@pytest.mark.parametrize("name", READERS)
def test_links_within_the_open_folders_are_read(top, name):
    write, read = READERS[name]
    (top / "a").mkdir()
    write(top / "a" / name)
    (top / name).symlink_to(top / "a" / name)
    read(top / name)


def test_a_file_that_becomes_a_link_between_look_and_opening_is_not_read(
    top, outside, monkeypatch
):
    write_image(outside / "a.jpg")
    write_image(top / "a.jpg")
    opening = os.open

    def swapped(path, *arguments):
        (top / "a.jpg").unlink()
        (top / "a.jpg").symlink_to(outside / "a.jpg")
        monkeypatch.setattr(os, "open", opening)
        return opening(path, *arguments)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(Closed):
        open_file(top / "a.jpg")


def test_links_out_of_a_folder_are_left_out_with_the_reason(top, outside):
    write_image(top / "a.jpg")
    write_image(outside / "b.jpg")
    (top / "b.jpg").symlink_to(outside / "b.jpg")
    (top / "c.jpg").symlink_to(top / "a.jpg")
    (top / "d.jpg").symlink_to(outside / "missing.jpg")
    listing = list_folder(top)
    assert listing.images == ["a.jpg", "c.jpg"]
    reasons = {each.name: each.reason for each in listing.left_out}
    # It does not say which of them exists.
    assert reasons == {"b.jpg": LEADS_OUT, "d.jpg": LEADS_OUT}


def test_links_out_are_no_tables_and_no_originals(top, outside):
    for folder in (top, outside):
        (folder / f"{folder.name}.csv").write_text("url\nhttps://a.b/c\n")
    (top / "link.csv").symlink_to(outside / "outside.csv")
    assert find_tables(str(top), TABLE) == [top / "open.csv"]
    assert find_tables(f"{top}/*.csv", TABLE) == [top / "open.csv"]
    write_image(outside / "b.jpg")
    (top / "b.jpg").symlink_to(outside / "b.jpg")
    original = find_original(str(top), {}, "b.jpg", "0" * 32)
    with pytest.raises(Exception, match=LEADS_OUT):
        original.read()


def test_a_source_of_a_command_may_lie_anywhere_but_links_stay_in_it(top, outside):
    write_image(outside / "a.jpg")
    (outside / "b.jpg").symlink_to("/etc/hostname")
    found = recognize(Dataset(source=str(outside), columns={}))
    assert (found.rows, [each.reason for each in found.left_out]) == (1, [LEADS_OUT])


def test_no_setting_opens_what_is_the_servers_own(top, settings, tmp_path, monkeypatch):
    database = tmp_path / "data" / "site.sqlite3"
    database.parent.mkdir()
    engine = tmp_path / "engine"
    private = [
        settings.EXPORT_DIR / "a.parquet",
        settings.VAR_DIR / "secret_key",
        settings.VAR_DIR / "thumbnails" / "a.webp",
        engine / "store" / "a.csv",
        database,
        database.with_name("site.sqlite3-wal"),
    ]
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", str(database))
    settings.CLICKHOUSE_URL = f"chdb://{engine}"
    settings.INGEST_FOLDERS = [str(tmp_path), "/", *map(str, private)]
    for path in private:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")
        with pytest.raises(folders.InvalidQuery, match="Datasets may come from"):
            folders.check(str(path))
        with pytest.raises(Closed):
            open_file(path)
        (top / "link").unlink(missing_ok=True)
        (top / "link").symlink_to(path)
        with pytest.raises(Closed):
            open_file(top / "link")
        assert places.leads_out(top / "link", top)


def test_a_pipe_is_no_file(top):
    os.mkfifo(top / "a.jpg")
    with pytest.raises(NotAnImage):
        FilePart(top / "a.jpg", 0, 9).read(9)


# --- Addresses


@pytest.fixture
def no_hosts(settings, monkeypatch):
    settings.SOURCE_ALLOWED_HOSTS = []
    monkeypatch.setattr(download, "ATTEMPTS", 1)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.1", "0x7f000001", "2130706433"],
)
def test_shards_are_not_fetched_from_the_own_network(tmp_path, no_hosts, host):
    with pytest.raises(ShardUnreadable, match="has no public address"):
        Download(f"http://{host}:8123/a", tmp_path / "a").run()


def test_a_name_with_one_private_address_is_refused(tmp_path, no_hosts, monkeypatch):
    asked = []

    def addresses(host, port, **_):
        asked.append(host)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("93.184.215.14", "192.168.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    with pytest.raises(ShardUnreadable, match="has no public address"):
        Download("https://shards.example/a", tmp_path / "a").run()
    assert asked == ["shards.example"]


def test_redirects_into_the_own_network_are_refused(
    tmp_path, file_server, settings, monkeypatch
):
    settings.SOURCE_ALLOWED_HOSTS = [file_server.base.removeprefix("http://")]
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    other = "http://127.0.0.1:1/secret"
    file_server.otherwise = partial(redirect, other)
    with pytest.raises(ShardUnreadable, match="has no public address"):
        Download(f"{file_server.base}/a", tmp_path / "a").run()
    # A host without a port is allowed with all of them.
    settings.SOURCE_ALLOWED_HOSTS = ["127.0.0.1"]
    with pytest.raises(SearchUnavailable, match="takes no connection"):
        Download(f"{file_server.base}/a", tmp_path / "a").run()
