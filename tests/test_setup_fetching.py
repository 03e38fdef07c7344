"""Files at an address: fetched in steps, named by what they are, or refused."""

import io
import re
import zipfile
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.file_server import CONTENT, answer, slam, status
from test_setup_sources import image

from search.errors import CannotFetch, ImageTooLarge, ShardUnreadable
from search.ingestion.setup import fetching, uploads

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_datasets")]


@pytest.fixture(autouse=True)
def upload(tmp_path: Path, settings, file_server, monkeypatch) -> uploads.Upload:
    settings.UPLOAD_DIR = tmp_path / "uploads"
    settings.SOURCE_ALLOWED_HOSTS = [urlsplit(file_server.base).netloc]
    monkeypatch.setattr(uploads, "RESERVE_BYTES", 0)
    return uploads.create(1)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("a.jpg", image())
    return file.getvalue()


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"url": ["http://x/y"]}), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("path", "content", "name"),
    [
        ("/a/list.csv", b"url\nhttp://x/y\n", "list.csv"),
        ("/export?format=csv", b"url\nhttp://x/y\n", "export.csv"),
        ("/data.PARQUET?download=true", parquet(), "data.PARQUET"),
        ("/resolve/42", parquet(), "42.parquet"),
        ("/photos/latest/", zipped(), "latest.zip"),
        ("/", b"url\nhttp://x/y\n", "list.csv"),
        ("/x%2F.list%0A.tsv", b"url\nhttp://x/y\n", "list.tsv"),
    ],
)
def test_a_file_is_named_by_its_address_and_content(
    upload, file_server, path, content, name
):
    file_server.files[path] = content
    fetched = fetching.fetch_step(upload, f" {file_server.base}{path} ")
    assert fetched == fetching.Fetched(name, len(content), len(content), True)
    assert (upload.folder / name).read_bytes() == content
    assert upload.source == str(upload.folder / name)
    assert [file.name for file in upload.files] == [name]


def test_steps_continue_where_the_one_before_has_ended(
    upload, file_server, monkeypatch
):
    monkeypatch.setattr(fetching, "STEP_S", -1)
    monkeypatch.setattr("search.ingestion.download.download.PIECE_BYTES", 30_000)
    address, offsets = f"{file_server.base}/file", []
    while not (fetched := fetching.fetch_step(upload, address)).is_complete:
        offsets.append(fetched.offset)
        assert fetched.size == len(CONTENT)
        assert uploads.find(1, upload.key).files == []  # nothing that a reader finds
    assert len(offsets) >= 3 and offsets == sorted(set(offsets))
    assert (upload.folder / "file.csv").read_bytes() == CONTENT
    asked = [request.headers["Range"] for request in file_server.requests]
    rest = [offset for offset in offsets if offset < len(CONTENT)]
    assert asked[1:] == [f"bytes={offset}-" for offset in rest]


def test_what_cannot_be_continued_has_to_come_at_once(upload, file_server, monkeypatch):
    monkeypatch.setattr(fetching, "STEP_S", -1)
    file_server.otherwise = partial(answer, etag=None)
    address = f"{file_server.base}/file"
    assert fetching.fetch_step(upload, address).is_complete
    monkeypatch.setattr(fetching, "WHOLE_S", -1)
    with pytest.raises(CannotFetch, match="cannot continue"):
        fetching.fetch_step(uploads.create(1), address)


def test_failures_are_given_up_after_some_attempts(upload, file_server, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    for act in (slam, partial(status, code=503)):
        file_server.otherwise = act
        file_server.requests.clear()
        with pytest.raises(CannotFetch, match="/file: the"):
            fetching.fetch_step(upload, f"{file_server.base}/file")
        assert len(file_server.requests) == fetching.MAX_ATTEMPTS


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("ftp://host/list.csv", CannotFetch),
        ("http://user@127.0.0.1/list.csv", CannotFetch),
        ("{}/missing.csv", ShardUnreadable),
        ("http://127.0.0.1:1/list.csv", ShardUnreadable),  # not exempt
        ("http://169.254.169.254/list.csv", ShardUnreadable),
    ],
)
def test_bad_addresses_are_refused(upload, file_server, address, error):
    with pytest.raises(error):
        fetching.fetch_step(upload, address.format(file_server.base))


def test_large_files_are_refused(upload, file_server, monkeypatch):
    monkeypatch.setattr(fetching, "MAX_FILE_BYTES", 50_000)
    for chunked in (False, True):
        file_server.otherwise = partial(answer, chunked=chunked)
        with pytest.raises(ImageTooLarge, match="up to"):
            fetching.fetch_step(upload, f"{file_server.base}/file")


def test_the_page_fetches_until_all_is_here(admin_client, file_server, monkeypatch):
    monkeypatch.setattr(fetching, "STEP_S", -1)
    monkeypatch.setattr("search.ingestion.download.download.PIECE_BYTES", 20)
    rows = "".join(f"ftp://x/{i}.jpg\n" for i in range(4))
    file_server.files["/list.csv"] = f"url\n{rows}".encode()
    given = {"url": f"{file_server.base}/list.csv"}
    page = admin_client.post("/datasets/add/fetch", given)
    for _ in range(9):
        if page.status_code == 302:
            break
        again = re.search(r'action="(/datasets/add/fetch/\w+)"', page.content.decode())
        page = admin_client.post(again[1], given)
    shown = admin_client.get(page["Location"]).content.decode()
    assert "A list of image addresses" in shown
    for url, words in (("", "Use a URL"), (f"{file_server.base}/no.csv", "404")):
        refused = admin_client.post("/datasets/add/fetch", {"url": url})
        assert refused.status_code in (400, 422)
        assert words in refused.content.decode()


def test_a_program_fetches(admin_client, file_server):
    upload = admin_client.post("/api/uploads/", {}, "application/json").json()
    fetched = admin_client.post(
        f"/api/uploads/{upload['key']}/fetch/",
        {"url": f"{file_server.base}/file"},
        "application/json",
    )
    assert fetched.json() == {
        "name": "file.csv",
        "size": 100_000,
        "offset": 100_000,
        "complete": True,
    }
