"""Uploads: chunks and their order, names, limits, sources, and what is deleted."""

import os
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from test_api_staff import authorized
from test_setup_sources import image

from search.errors import Conflict, ImageTooLarge, InvalidQuery, NotFound
from search.ingestion import sweeper
from search.ingestion.setup import creation, folders, uploads
from search.ingestion.setup.uploads import Chunk
from search.models import Dataset

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_datasets")]
UPLOADS = "/api/uploads/"


@pytest.fixture(autouse=True)
def top(tmp_path: Path, settings) -> Path:
    settings.UPLOAD_DIR = tmp_path / "uploads"
    return settings.UPLOAD_DIR


@pytest.fixture
def upload() -> uploads.Upload:
    return uploads.create(1)


def put(upload: uploads.Upload, name: str, content: bytes = b"x") -> None:
    upload.receive(Chunk(name, len(content), 0, content))


def names(upload: uploads.Upload) -> list[str]:
    return [file.name for file in uploads.find(1, upload.key).files]


# --- Chunks


def test_a_file_has_its_name_once_all_chunks_are_here(upload):
    first = upload.receive(Chunk("a/b.zip", 5, 0, b"abc", "7"))
    assert (first.offset, first.is_complete) == (3, False)
    assert not (upload.folder / "a" / "b.zip").exists()
    (known,) = uploads.find(1, upload.key).files
    assert (known.name, known.size, known.offset) == ("a/b.zip", 5, 3)
    for offset in (0, 2, 4):
        with pytest.raises(Conflict, match="3 bytes of “a/b.zip” are here"):
            upload.receive(Chunk("a/b.zip", 5, offset, b"d", "7"))
    upload.receive(Chunk("a/b.zip", 5, 3, b"de", "7"))
    assert (upload.folder / "a" / "b.zip").read_bytes() == b"abcde"
    again = upload.receive(Chunk("a/b.zip", 5, 0, b"abc", "7"))
    assert again.is_complete  # a client whose answer was lost sends it again
    with pytest.raises(Conflict, match="another file"):
        upload.receive(Chunk("a/b.zip", 6, 0, b"abc"))


def test_chunks_of_two_versions_are_not_joined(upload):
    upload.receive(Chunk("a.csv", 4, 0, b"ab", "1"))
    with pytest.raises(Conflict, match="0 bytes"):
        upload.receive(Chunk("a.csv", 4, 2, b"cd", "2"))
    upload.receive(Chunk("a.csv", 4, 0, b"ABCD", "2"))
    assert (upload.folder / "a.csv").read_bytes() == b"ABCD"


@pytest.mark.parametrize(
    ("chunk", "match"),
    [
        (Chunk("a", 3, 2, b"xy"), "after the end"),
        (Chunk("a", 3, 0, b""), "empty"),
        (Chunk("a", 3, 0, b"x", "../x"), "version"),
        (Chunk("..", 1, 0, b"x"), "no name"),
        (Chunk("/./.", 1, 0, b"x"), "no name"),
        (Chunk("ä" * 91, 1, 0, b"x"), "no name"),
        (Chunk("a/" * 9 + "b", 1, 0, b"x"), "no name"),
        (Chunk("a", uploads.MAX_FILE_BYTES + 1, 0, b"x"), "100 GB"),
    ],
)
def test_bad_chunks_are_refused(upload, chunk, match):
    with pytest.raises(InvalidQuery, match=match):
        upload.receive(chunk)
    assert list(upload.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("boat.jpg", "boat.jpg"),
        ("../../etc/passwd", "etc/passwd"),
        ("/abs\\olute\\b.jpg", "abs/olute/b.jpg"),
        (".hidden.jpg", "hidden.jpg"),
        (" a\n\0b\u202e.jpg ", "ab.jpg"),
        ("e\u0301.jpg", "é.jpg"),
        ("trip//./x.jpg", "trip/x.jpg"),
    ],
)
def test_names_are_cleaned(upload, name, clean):
    put(upload, name)
    assert names(upload) == [clean]


def test_a_file_and_a_folder_of_one_name_are_refused(upload):
    put(upload, "a/b")
    for name in ("a", "a/b/c"):
        with pytest.raises(Conflict, match="another file"):
            put(upload, name)
    assert names(upload) == ["a/b"]


def test_number_and_room_are_limited(upload, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_FILES", 2)
    put(upload, "a")
    put(upload, "b")
    with pytest.raises(ImageTooLarge, match="put them into a zip file"):
        put(upload, "c")
    with pytest.raises(ImageTooLarge, match="put them into a zip file"):
        uploads.create(1, files=3)
    with pytest.raises(ImageTooLarge, match="no room"):
        uploads.create(1, size=10**16)
    monkeypatch.setattr(uploads, "RESERVE_BYTES", 10**18)
    with pytest.raises(ImageTooLarge, match=r"0\.0 GB are left"):
        uploads.create(1)


# --- Sources


@pytest.mark.parametrize(
    ("given", "source", "title"),
    [
        (["my_list.csv"], "my_list.csv", "My list"),
        (["trip/photos.zip"], "trip/photos.zip", "Photos"),
        (["a.jpg"], "", "Uploaded files"),
        (["Trip 1/a.jpg", "Trip 1/b/c.jpg"], "Trip 1", "Trip 1"),
        (["Trip 1/a.jpg", "b.jpg"], "", "Uploaded files"),
        (["a.csv", "b.csv"], "", "Uploaded files"),
    ],
)
def test_an_upload_is_a_source(upload, settings, given, source, title):
    settings.INGEST_FOLDERS = []
    for name in given:
        put(upload, name)
    upload = uploads.find(1, upload.key)
    assert upload.source == str(upload.folder / source).removesuffix("/")
    folders.check(upload.source)
    assert creation.title_of(upload.source) == title


def test_only_uploads_are_open_to_imports(upload, top, settings):
    settings.INGEST_FOLDERS = []
    with pytest.raises(InvalidQuery, match="complete"):
        _ = upload.source
    upload.receive(Chunk("a.jpg", 2, 0, b"a"))
    (top / "1" / "other").mkdir()
    for closed in (top, top / "1", top / "1" / "other", upload.folder / ".2-.a.jpg"):
        with pytest.raises(InvalidQuery):
            folders.check(str(closed))
    (upload.folder / "link").symlink_to("/etc")
    with pytest.raises(InvalidQuery):
        folders.check(str(upload.folder / "link"))


# --- Deleting


def test_what_no_dataset_uses_is_deleted_after_a_day(upload, top):
    put(upload, "a.jpg", image())
    used, fresh = uploads.create(2), uploads.create(1)
    put(used, "a/b.jpg")
    Dataset.objects.create(slug="used", title="Used", source=str(used.folder / "a"))
    day_ago = time.time() - uploads.KEEP_S - 1
    for each in (upload, used):
        os.utime(each.folder, (day_ago, day_ago))
    assert [each.key for each in uploads.unused(1)] == [fresh.key, upload.key]
    assert uploads.unused(2) == []
    assert sweeper.sweep_uploads() == 1
    assert not upload.folder.exists()
    assert used.folder.exists() and fresh.folder.exists()
    with pytest.raises(Conflict, match="A dataset uses"):
        uploads.discard(2, used.key)
    Dataset.objects.all().delete()
    assert sweeper.sweep_uploads() == 1
    assert not (top / "2").exists()
    with pytest.raises(NotFound):
        uploads.find(1, upload.key)


# --- By the API and by the form


@pytest.fixture
def api(client):
    user = User.objects.create(username="ada", is_staff=True, is_superuser=True)
    headers = {"Authorization": authorized(user)}

    def ask(method, path, body=b"", type="application/octet-stream", **query):
        path = f"{UPLOADS}{path}?{urlencode(query)}" if query else UPLOADS + path
        answer = client.generic(method, path, body, type, headers=headers)
        return answer.status_code, answer.json() if answer.content else None

    ask.user = user
    return ask


def test_a_program_uploads_in_chunks(api):
    status, created = api("POST", "", b'{"files": 1, "bytes": 4}', "application/json")
    assert status == 201 and created["source"] is None
    file = f"{created['key']}/file/"
    given = {"name": "list.csv", "size": 4, "version": "1"}
    assert api("PUT", file, b"ur", offset=0, **given) == (
        200,
        {"name": "list.csv", "size": 4, "offset": 2, "version": "1", "complete": False},
    )
    status, refused = api("PUT", file, b"l\n", offset=0, **given)
    assert (status, refused["code"]) == (409, "conflict")
    (listed,) = api("GET", "")[1]
    assert (listed["bytes"], listed["bytes_done"], listed["complete"]) == (4, 2, False)
    assert "files" not in listed
    assert api("PUT", file, b"l\n", offset=2, **given)[1]["complete"]
    status, shown = api("GET", f"{created['key']}/")
    assert shown["complete"] and shown["source"].endswith("/list.csv")
    assert Path(shown["source"]).read_bytes() == b"url\n"
    assert api("PUT", file, b"", offset=0, name="empty", size=0)[0] == 200
    assert api("PUT", file, b"{}", "application/json", offset=0, **given)[0] == 415
    assert (
        api("PUT", file, b"x" * (17 * 2**20), offset=0, name="a", size=10**9)[0] == 413
    )
    assert api("DELETE", f"{created['key']}/") == (204, None)
    assert api("GET", f"{created['key']}/")[0] == 404


def test_uploads_are_for_staff_who_add_and_for_nobody_else(api, client):
    key = api("POST", "", b"{}", "application/json")[1]["key"]
    assert client.get(UPLOADS).status_code == 401
    other = User.objects.create(username="eve", is_staff=True, is_superuser=True)
    assert (
        client.get(
            f"{UPLOADS}{key}/", headers={"Authorization": authorized(other)}
        ).status_code
        == 404
    )
    api.user.is_superuser = False
    api.user.save()
    assert api("GET", f"{key}/")[0] == 403


def test_the_form_uploads_small_files_without_a_script(admin_client, top):
    files = [SimpleUploadedFile(f"boat {n}.jpg", image(n)) for n in range(3)]
    answer = admin_client.post("/datasets/add/upload", {"files": files})
    assert answer.status_code == 302
    page = admin_client.get(answer["Location"]).content.decode()
    assert "A folder of images" in page and str(top) not in page.partition("<form")[0]
    page = admin_client.get("/datasets/add/").content.decode()
    assert "Uploaded, not used yet" in page and "boat 0.jpg" in page
    (upload,) = top.glob("*/*")
    admin_client.post(f"/datasets/add/upload/{upload.name}/delete")
    assert not upload.exists()
    refused = admin_client.post("/datasets/add/upload", {})
    assert "Choose one or more files." in refused.content.decode()
