"""Sources of datasets to be added: where they may be, and how they are recognized."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.tiny_shards import write_shard

from search.errors import CannotFetch, InvalidQuery, NotFound, ShardUnreadable
from search.ingestion.setup import contents, folders, recognition, remote
from search.ingestion.setup.previews import previews
from search.ingestion.setup.ratings import rated_values
from search.ingestion.setup.recognition import recognize
from search.models import Dataset
from search.query.ratings import RatingRules


@pytest.fixture
def top(tmp_path: Path, settings) -> Path:
    """The one folder that is open to imports."""
    folder = tmp_path / "open"
    folder.mkdir()
    settings.INGEST_FOLDERS = [str(folder)]
    settings.VAR_DIR = tmp_path / "open" / "var"
    return folder


def image(colour: int = 100) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (colour, 20, 30)).save(file, "JPEG")
    return file.getvalue()


def look(path: Path | str, kind: str = "", **columns: str) -> contents.Contents:
    return recognize(Dataset(source=str(path), columns=columns), kind)


# --- Folders


def test_a_folder_lists_what_can_be_chosen(top):
    for name in ("b", "A", ".hidden", "var"):
        (top / name).mkdir()
    for name in ("x.jpg", "y.PNG", "z.txt", "list.csv", "a.tar", ".secret.csv"):
        (top / name).write_bytes(b"x" * 7)
    listing = folders.browse()
    assert listing.path == str(top)
    assert [entry.name for entry in listing.entries] == ["A", "b", "a.tar", "list.csv"]
    assert [entry.bytes for entry in listing.entries] == [0, 0, 7, 7]
    assert (listing.images, listing.others) == (2, 1)
    below = folders.browse(str(top / "b"))
    assert below.parents == ((str(top), str(top)), ("b", str(top / "b")))


def test_several_folders_are_listed_first(tmp_path, settings):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    settings.INGEST_FOLDERS = [str(tmp_path / name) for name in ("a", "b", "missing")]
    listing = folders.browse()
    assert listing.path == ""
    assert [entry.path for entry in listing.entries] == settings.INGEST_FOLDERS[:2]


@pytest.mark.parametrize(
    "path",
    [
        "/etc",
        "/etc/passwd",
        "/nowhere/at/all",
        "{top}/../outside",
        "{top}/link",
        "{top}/link/inner.csv",
        "{top}/.hidden",
        "{top}/var",
        "{top}/var/exports/x.parquet",
        "{top}/*/../../outside/*.csv",
        "{top}/link/*.csv",
        "/e*/passwd",
        "relative/path",
        "",
        "{top}/" + "x" * 500,
        "{top}/a\0b",
    ],
)
def test_nothing_outside_of_the_open_folders_is_told_of(top, path):
    outside = top.parent / "outside"
    for folder in (outside, top / ".hidden", top / "var" / "exports"):
        folder.mkdir(parents=True)
    (outside / "inner.csv").write_text("url\nx")
    (top / "link").symlink_to(outside)
    with pytest.raises(InvalidQuery) as raised:
        folders.check(path.format(top=top))
    assert "no file or folder" not in raised.value.message
    assert [entry.name for entry in folders.browse().entries] == []


def test_links_between_open_folders_are_followed(top):
    (top / "a").mkdir()
    (top / "link").symlink_to(top / "a")
    assert [entry.name for entry in folders.browse().entries] == ["a", "link"]
    folders.check(str(top / "link"))


def test_a_folder_of_var_dir_is_open_if_it_is_named_itself(top, settings):
    inner = settings.VAR_DIR / "uploads"
    inner.mkdir(parents=True)
    settings.INGEST_FOLDERS += [str(inner)]
    folders.check(str(inner))
    with pytest.raises(InvalidQuery):
        folders.check(str(settings.VAR_DIR))


def test_what_is_missing_or_closed_is_said(top, monkeypatch):
    with pytest.raises(NotFound, match="There is no file or folder “.*/gone” on this"):
        folders.check(str(top / "gone"))

    def refuse(path):
        raise PermissionError

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InvalidQuery, match="This server may not read"):
        folders.browse(str(top))


def test_names_that_a_page_cannot_send_are_shown_but_not_chosen(top):
    names = [b"new\nline", b"not utf-8 \xff", b"quote\"'<b>&", b"100%?#.tar"]
    for name in names[:3]:
        os.mkdir(os.path.join(os.fsencode(top), name))
    (top / "100%?#.tar").touch()
    shown = {entry.name: bool(entry.path) for entry in folders.browse().entries}
    assert shown == {
        "new�line": False,
        "not utf-8 ?": False,
        "quote\"'<b>&": True,
        "100%?#.tar": True,
    }


# --- Images


def test_a_folder_of_images_is_recognized_with_what_is_left_out(tmp_path, processes):
    (tmp_path / "sub").mkdir()
    for number in range(20):
        (tmp_path / "sub" / f"red_{number}.jpg").write_bytes(image(number))
    (tmp_path / "sub" / "red_1.txt").write_text("a caption")
    (tmp_path / "sub" / "red_1.json").write_text('{"nsfw": "s", "by": "me"}')
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff broken")
    for name in ("x.pdf", "y.pdf", "alone.txt"):
        (tmp_path / name).write_text("words")
    found = look(tmp_path)
    assert (found.kind, found.what, found.files, found.rows) == (
        *("images", "A folder of images", 21, 21),
    )
    assert [count for _, count, _ in found.reasons()] == [2, 1]
    assert set(found.columns) == {"nsfw", "by"}
    assert len(found.candidates) == 12
    shown = previews(found.candidates)
    assert (shown[0].name, shown[0].data) == ("a.jpg", "")
    assert "damaged" in shown[0].reason or "Could not read" in shown[0].reason
    assert all(each.data.startswith("data:image/webp;base64,") for each in shown[1:])
    assert {(each.width, each.height) for each in shown[1:]} == {(40, 30)}


def test_previews_do_not_wait_for_slow_hosts():
    def slow():
        import time

        time.sleep(0.6)

    candidate = contents.Candidate("slow", "", slow)
    (shown,) = previews([candidate], wait_s=0.01)
    assert shown.reason == "It was not there within some seconds."


def test_tar_files_are_recognized(tmp_path):
    for number in range(3):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
            for name, content in (("a.jpg", image()), ("a.txt", b"words"), ("b", b"")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    (tmp_path / "other.pdf").touch()
    found = look(tmp_path)
    assert (found.what, found.files, found.rows) == ("Tar files of images", 3, 3)
    assert found.rows_estimated
    assert found.sample["caption"].to_pylist() == ["words"]
    assert {each.name for each in found.left_out} == {"0.tar/b", "other.pdf"}


def test_images_in_parquet_files_are_recognized(tmp_path):
    cells = [{"bytes": image(), "path": "x.jpg"}] * 30
    table = pa.table({"picture": cells, "text": ["a"] * 30, "rating": ["s"] * 30})
    pq.write_table(table, tmp_path / "a.parquet")
    found = look(tmp_path, nsfw="rating")
    assert (found.kind, found.rows) == ("images", 30)
    assert found.roles["image"] == "picture" and found.roles["caption"] == "text"
    assert found.roles["nsfw"] == "rating"
    values = rated_values(found.sample, RatingRules({"s": "UNLIKELY"}))
    assert [(v.value, v.meaning, v.is_chosen) for v in values] == [("s", "safe", True)]


def test_lists_are_recognized_and_ask_for_the_column_of_addresses(tmp_path):
    rows = "".join(f"x{i};ftp://nowhere/{i}.jpg;a boat\n" for i in range(30))
    (tmp_path / "list.csv").write_text(f"name;where;caption\n{rows}a;b\n")
    found = look(tmp_path / "list.csv")
    assert found.question == "Which column has the addresses of the images?"
    assert list(found.columns) == ["name", "where", "caption"]
    assert found.rows == 31
    again = look(tmp_path / "list.csv", url="where")
    assert again.question == "" and again.roles["url"] == "where"
    assert again.sample["url"][0].as_py() == "ftp://nowhere/0.jpg"
    assert [each.name for each in again.left_out] == ["list.csv, row 30"]
    assert all(each.is_fetched for each in again.candidates)


def test_of_a_large_list_only_the_beginning_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(recognition, "HEAD_BYTES", 2_000)
    rows = "".join(f"http://localhost:1/{i:06}.jpg\n" for i in range(1_000))
    (tmp_path / "list.tsv").write_text(f"url\n{rows}")
    found = look(tmp_path / "list.tsv")
    assert found.rows_estimated and 950 < found.rows < 1_050
    assert len(found.sample) == contents.SAMPLE_ROWS


# --- Embeddings


def vectors_table(**more) -> pa.Table:
    numbers = pa.array([[0.1] * 16] * 20, pa.list_(pa.float32()))
    return pa.table({"clip": numbers, "url": ["http://x/y"] * 20, **more})


def test_embeddings_in_parquet_files_are_recognized(tmp_path):
    path = tmp_path / "v.parquet"
    pq.write_table(vectors_table().rename_columns(["embedding", "url"]), path)
    found = look(path)
    assert (found.kind, found.dimension, found.rows) == ("parquet", 16, 20)
    assert not found.has_text_vectors
    pq.write_table(vectors_table(), path)
    assert look(path).kind == "images"  # of another name it may be anything
    assert look(path).kinds == ("parquet", "images")
    again = look(path, "parquet")
    assert (again.kind, again.roles["embedding"]) == ("parquet", "clip")


def test_laion_shards_are_recognized(tmp_path):
    for number in (0, 3):
        write_shard(tmp_path, number)
    found = look(tmp_path)
    assert (found.kind, found.files, found.rows, found.dimension) == ("laion", 2, 80, 8)
    assert found.roles["nsfw"] == "NSFW"
    values = rated_values(found.sample, RatingRules())
    assert {each.value: each.meaning for each in values} == {
        "": "unrated",
        "UNLIKELY": "safe",
        "NSFW": "unsafe",
        "UNSURE": "unsure",
    }
    np.save(tmp_path / "img_emb_0.npy", np.zeros(3))
    with pytest.raises(ShardUnreadable, match="has the shape"):
        look(tmp_path)


def test_shards_at_an_address_are_looked_at(tmp_path, file_server, settings):
    write_shard(tmp_path, 0)
    for path in tmp_path.iterdir():
        file_server.files[f"/{path.name}"] = path.read_bytes()
    settings.SOURCE_ALLOWED_HOSTS = [file_server.base.removeprefix("http://")]
    dataset = Dataset(
        source=file_server.base,
        columns={},
        shard_range="0-9",
        image_pattern="img_emb_{n}.npy",
        text_pattern="text_emb_{n}.npy",
        metadata_pattern="metadata_{n}.parquet",
    )
    found = recognize(dataset)
    assert (found.kind, found.files, found.rows, found.dimension) == (
        *("laion", 10, 400, 8),
    )
    assert not found.files_are_here
    dataset.shard_range = "7"
    with pytest.raises(CannotFetch, match="img_emb_7.npy: .* status 404"):
        recognize(dataset)
    dataset.shard_range = ""
    with pytest.raises(ShardUnreadable, match="Say which shards"):
        recognize(dataset)


def test_hosts_of_the_own_network_are_not_asked(settings):
    settings.SOURCE_ALLOWED_HOSTS = []
    dataset = Dataset(source="http://127.0.0.1/x", columns={}, shard_range="0")
    with pytest.raises(CannotFetch, match="Only public internet addresses"):
        remote.look_at(dataset)


# --- Nothing


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "it is empty"),
        ({"a.pdf": b"%PDF", "b.doc": b"x"}, "none of its 2 files are images"),
        ({"a.parquet": b"no table"}, "a.parquet is damaged"),
        ({"a.tar": b"no tar"}, "a.tar"),
        ({"a.csv": b""}, "a.csv is empty"),
    ],
)
def test_where_there_is_nothing_to_import_it_is_said(tmp_path, files, sentence):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ShardUnreadable) as raised:
        look(tmp_path)
    assert sentence in raised.value.message


def test_a_single_image_is_no_source(tmp_path):
    (tmp_path / "a.jpg").write_bytes(image())
    with pytest.raises(ShardUnreadable, match="cannot be imported by itself"):
        look(tmp_path / "a.jpg")
