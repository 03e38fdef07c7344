"""Images on the server's disk: which files are taken, and how their items are shown."""

import csv
import hashlib
import io
import json
import os
import tarfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pillow_heif
import pillow_jxl  # noqa: F401  # registers the format
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.tiny_shards import drop_tables, import_all, rows_of

from postcards.shards import HEIGHT, MODEL, WIDTH, jpeg
from search.errors import ShardUnreadable
from search.images.formats import UNKNOWN_FORMAT
from search.ingestion.sources import image_files, images
from search.ingestion.sources.cells import SEVERAL
from search.ingestion.sources.image_set import LeftOut, WithLeftOut
from search.ingestion.sources.image_tables import ImageTable
from search.ingestion.sources.original import find_original
from search.ingestion.sources.registry import source_of
from search.ingestion.sources.samples import group
from search.models import Dataset, Removal, Shard
from search.removals import takedowns
from search.removals.takedowns import REJECT_REASON
from search.thumbnails import service

pytestmark = pytest.mark.django_db
pillow_heif.register_heif_opener()


@pytest.fixture
def dataset(tmp_path, settings) -> Iterator[Dataset]:
    """A dataset of images; the test writes them into `source`."""
    (tmp_path / "source").mkdir()
    settings.VAR_DIR = tmp_path / "var"
    service._lookup_source.cache_clear()
    dataset = Dataset.objects.create(
        slug="album",
        title="Album",
        kind=Dataset.Kind.IMAGES,
        model=MODEL,
        weights="",
        source=str(tmp_path / "source"),
    )
    yield dataset
    drop_tables(dataset)


def drawing(
    colour: str, format: str = "PNG", size: tuple[int, int] = (64, 48)
) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, format)
    return data.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def captions(dataset: Dataset) -> dict[str, str]:
    return {row["metadata"]["file"]: row["caption"] for row in rows_of(dataset)}


def left_out(dataset: Dataset) -> dict[str, str]:
    return {
        reject.file: reject.reason
        for shard in dataset.shards.all()
        for reject in shard.rejects.all()
    }


# --- Which text belongs to which image


@pytest.mark.parametrize(
    ("images", "texts", "expected", "alone"),
    [
        # The same name but for the ending, however many dots it has.
        (["22.05.jpg", "22.07.jpg"], ["22.05.txt"], ["22.05.txt", ""], []),
        (
            ["22.05.jpg", "22.07.jpg"],
            ["22.05.TXT", "22.06.txt"],
            ["22.05.TXT", ""],
            [1],
        ),
        (["a/b.jpg", "c/b.jpg"], ["a/b.cap", "b.txt"], ["a/b.cap", ""], [1]),
        (["a.jpg", "b.jpg"], ["a.jpg.txt"], ["a.jpg.txt", ""], []),
        (["scan", "a.jpg"], ["scan.txt"], ["scan.txt", ""], []),
        (["a.jpg"], ["a.text"], ["a.text"], []),
        (["caf\u00e9.jpg"], ["cafe\u0301.txt"], ["cafe\u0301.txt"], []),
        (["e\u0301/a.b.jpg"], ["\u00e9/a.txt"], ["\u00e9/a.txt"], []),
        (["e\u0301"], ["\u00e9.txt"], ["\u00e9.txt"], []),
        # The same key, as webdataset pairs.
        (["s1.input.jpg"], ["s1.outputs.txt"], ["s1.outputs.txt"], []),
        (["./s1.in.jpg", "./s2.in.jpg"], ["./s2.txt"], ["", "./s2.txt"], []),
        (["s.in.jpg", "s.out.png"], ["s.text.txt"], ["s.text.txt"] * 2, []),
        (["s.jpg", "s.mask.png"], ["s.txt"], ["s.txt", "s.txt"], []),
        (["f.1.jpg", "f.2.jpg"], ["f.1.a.txt", "f.2.a.txt"], ["", ""], [0, 1]),
        (["a.jpg"], ["b.txt"], [""], [0]),
    ],
)
def test_texts_describe_images_by_name_and_by_key(images, texts, expected, alone):
    samples, others = group(images, texts)
    assert [sample.image for sample in samples] == images
    assert [sample.caption for sample in samples] == expected
    assert others == [texts[place] for place in alone]


def test_further_texts_of_a_sample_become_metadata(dataset):
    sample = {
        "s.input.jpg": jpeg(0),
        "s.outputs.txt": b"A caption",
        "s.json": json.dumps({"key": "s", "file": "/etc/passwd"}).encode(),
        "s.cls": b"7\n",
        "t.jpg": jpeg(1),
        "t.txt": b"The first",
        "t.cap": b"The second",
    }
    write_tar(Path(dataset.source) / "0.tar", sample)
    import_all(dataset)
    first, second = (row["metadata"] for row in rows_of(dataset))
    assert captions(dataset) == {
        "0.tar/s.input.jpg": "A caption",
        "0.tar/t.jpg": "The first",
    }
    assert (first["key"], first["cls"]) == ("s", "7")
    assert (first["file"], first["original_file"]) == (
        "0.tar/s.input.jpg",
        "/etc/passwd",
    )
    assert second["cap"] == "The second"
    assert not left_out(dataset)


# --- Which files are taken

TAKEN = {
    "a.jfif": jpeg(0),
    "b.JPE": jpeg(1),
    "c.tif": drawing("navy", "TIFF"),
    "d.bmp": drawing("red", "BMP"),
    "e.webp": drawing("green", "JPEG"),
    "f": drawing("blue", "PNG"),
    "g.2024-05-01": drawing("pink", "GIF"),
    "h.HEIC": drawing("gold", "HEIF"),
    "i": drawing("gray", "JXL"),
}
LEFT_OUT = {
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "film.mp4": b"\0\0\0\x18ftypisom",
    "alone.txt": b"A caption",
    "notes": b"",
    "sub/list.csv": b"url\n",
}
IGNORED = {".DS_Store": b"x", "sub/Thumbs.db": b"x", ".git/h.jpg": jpeg(2)}


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_what_is_not_taken_is_named_with_the_reason(dataset, client, kind):
    source = Path(dataset.source)
    files = {"z.jpg": jpeg(3)[:20]} | TAKEN | LEFT_OUT | IGNORED
    if kind == "folder":
        write(source, files)
        (source / "link.jpg").symlink_to("nowhere")
    else:
        del files[".git/h.jpg"]
        write_tar(source / "0.tar", files)
        with tarfile.open(source / "0.tar", "a") as tar:
            link = tarfile.TarInfo("link.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "z.jpg"
            tar.addfile(link)
    (shard,) = import_all(dataset)
    prefix = "0.tar/" if kind == "tar" else ""
    assert captions(dataset).keys() == {prefix + name for name in TAKEN}
    reasons = {
        name.removeprefix(prefix): why for name, why in left_out(dataset).items()
    }
    assert reasons.keys() == {*LEFT_OUT, "z.jpg", "link.jpg"}
    assert "no image" in reasons.pop("alone.txt")
    assert "link" in reasons.pop("link.jpg")
    assert "damaged" in reasons.pop("z.jpg")
    assert set(reasons.values()) == {UNKNOWN_FORMAT}
    assert shard.rows == len(TAKEN) + len(LEFT_OUT) + 2 == shard.rows_done


def test_images_keep_their_ids_whatever_is_left_out(dataset, monkeypatch):
    monkeypatch.setattr(image_files, "SHARD_ROWS", 3)
    source = Path(dataset.source)
    files = {f"{i}.jpg": jpeg(i) for i in range(4)}
    write(source, files | {"0.svg": b"<svg/>", "z.svg": b"<svg/>"})
    first, second = import_all(dataset)
    ids = {row["metadata"]["file"]: row["id"] for row in rows_of(dataset)}
    assert (first.rows, second.rows, second.rejects.count()) == (3, 3, 2)
    assert list(ids) == list(files)


def test_a_file_that_a_tar_file_has_twice_is_taken_once(dataset):
    path = Path(dataset.source) / "0.tar"
    write_tar(path, {"a.jpg": jpeg(0), "b.jpg": jpeg(1)})
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("a.jpg")
        member.size = len(jpeg(2))
        tar.addfile(member, io.BytesIO(jpeg(2)))
    import_all(dataset)
    assert captions(dataset).keys() == {"0.tar/a.jpg", "0.tar/b.jpg"}
    assert "later file" in left_out(dataset)["0.tar/a.jpg"]


def test_a_folder_without_images_is_none(dataset):
    write(Path(dataset.source), LEFT_OUT)
    (Path(dataset.source) / "sub" / "list.csv").unlink()
    with pytest.raises(ShardUnreadable, match="There is no list"):
        source_of(dataset).shards()


# --- Parquet files that hold images


def struct(content: bytes | None, path: str = "") -> dict[str, object]:
    return {"bytes": content, "path": path}


def test_images_in_a_parquet_file_as_hugging_face_has_them(dataset, monkeypatch):
    monkeypatch.setattr(images, "BATCH_ROWS", 4)
    monkeypatch.setattr(images, "MAX_WAITING_BYTES", 1)
    count = 11
    cells = [struct(jpeg(i), f"red_{i}.jpg") for i in range(count)]
    cells[2], cells[5], cells[7] = struct(None, "x.jpg"), None, struct(b"no image")
    table = {
        "image": cells,
        "jpg": [jpeg(20)] * count,
        "captions": [["A caption", "Another"], None, *[["x"]] * 9],
        "tags": [["a", "b"]] * count,
        "file": ["../../etc/passwd"] * count,
        "width": ["9"] * count,
    }
    write(Path(dataset.source), {"README.md": b"# A card", ".gitattributes": b""})
    path = Path(dataset.source) / "train-00003-of-00009.parquet"
    pq.write_table(pa.table(table), path, row_group_size=5)
    (shard,) = import_all(dataset)
    assert (shard.state, shard.error, shard.number) == (Shard.State.INGESTED, "", 9)
    stored = {row["id"] & 0xFFFFFFFF: row for row in rows_of(dataset)}
    assert sorted(stored) == [0, 1, 3, 4, 6, 8, 9, 10]
    assert [stored[row]["caption"] for row in (0, 1, 3)] == ["A caption", "red", "x"]
    metadata = stored[10]["metadata"]
    assert metadata["file"] == f"{path.name}/10"
    assert metadata["image_path"] == "red_10.jpg"
    assert (metadata["original_width"], stored[10]["width"]) == ("9", WIDTH)
    assert metadata["original_file"] == "../../etc/passwd"
    assert metadata["jpg"] == f"{len(jpeg(20)):,} bytes"
    assert "image" not in metadata
    several = stored[0]["metadata"]["original_caption"]
    assert json.loads(several) == ["A caption", "Another"]
    assert shard.notes == {SEVERAL.format("caption"): 1}
    reasons = left_out(dataset)
    assert "only these are read" in reasons.pop("README.md")
    assert list(reasons) == [f"{path.name}/{row}" for row in (2, 5, 7)]
    assert "holds no image" in reasons[f"{path.name}/2"]
    assert "holds no image" in reasons[f"{path.name}/5"]


@pytest.mark.parametrize(
    ("columns", "configured", "expected"),
    [
        ({"jpg": "jpg", "txt": "bytes"}, {}, "jpg"),
        ({"content": "jpg", "bytes_of_sound": "bytes", "txt": "text"}, {}, "content"),
        ({"photo": "struct", "image": "text", "txt": "text"}, {}, "photo"),
        ({"jpg": "jpg", "Mask": "struct", "txt": "text"}, {"image": "mask"}, "Mask"),
    ],
)
def test_columns_of_images_are_recognized(dataset, columns, configured, expected):
    values = {
        "jpg": [jpeg(0), None],
        "struct": [struct(jpeg(1)), struct(None)],
        "bytes": [b"A caption", b"x"],
        "text": ["A caption", "x"],
    }
    table = {name: values[kind] for name, kind in columns.items()}
    pq.write_table(pa.table(table), Path(dataset.source) / "0.parquet")
    dataset.columns = configured
    dataset.save()
    source = source_of(dataset)
    (batch,) = source.open(0, 512).batches(0)
    assert batch.table["caption"].to_pylist() == ["A caption"]
    assert [rejected.row for rejected in batch.rejected] == [1]
    assert (batch.table["width"][0].as_py(), batch.table["height"][0].as_py()) == (
        (WIDTH, HEIGHT)
    )
    assert source.open(0, 512).images.images.image == expected


def test_a_column_without_images_is_refused(dataset):
    table = pa.table({"url": ["http://example.org/a.jpg"], "sound": [b"RIFF"]})
    pq.write_table(table, Path(dataset.source) / "0.parquet")
    assert source_of(dataset).open(0, 512).images.roles["url"] == "url"  # a list
    dataset.columns = {"image": "sound"}
    with pytest.raises(ShardUnreadable, match="sound does not hold images"):
        source_of(dataset).shards()


def test_sources_without_rows_are_complete(dataset):
    source = Path(dataset.source)
    empty = pa.table({"image": pa.array([], pa.struct({"bytes": pa.binary()}))})
    pq.write_table(empty, source / "0.parquet")
    pq.write_table(pa.table({"image": [struct(jpeg(0))]}), source / "1.parquet")
    pq.write_table(pa.table({"text": ["a"]}), source / "2.parquet")
    shards = import_all(dataset)
    assert [shard.rows for shard in shards] == [0, 1, None]
    assert [shard.error for shard in shards] == [
        *("", ""),
        "2.parquet has no column of images.",
    ]


def test_any_stretch_of_a_table_is_read_in_pieces_that_fit_batches(tmp_path):
    path = tmp_path / "a.parquet"
    table = {"jpg": [bytes([row]) for row in range(100)], "text": list("x" * 100)}
    pq.write_table(pa.table(table), path, row_group_size=30)
    others = [LeftOut(f"{row}", "") for row in range(100, 130)]
    for start in (0, 12, 36, 96, 108, 120):
        rows = list(WithLeftOut(ImageTable(path, {}), others).read(start, 12))
        names = [name.as_py() for each in rows for name in each.table["file"]]
        numbers = [int(name.removeprefix("a.parquet/")) for name in names]
        assert numbers == list(range(start, 130))
        at = start
        for each in rows:
            last = at + len(each.table) - 1
            assert at // 12 == last // 12
            at = last + 1


# --- How items without a URL are shown


def fill(dataset: Dataset, kind: str) -> Path:
    """Write three images as a source; return the file in which they are."""
    source = Path(dataset.source)
    files = {"00/a.jpg": jpeg(0), "00/b.png": drawing("red"), "c.jpg": jpeg(2)}
    if kind == "folder":
        write(source, files)
        return source / "00" / "b.png"
    if kind == "tar":
        write_tar(source / "0.tar", files)
        return source / "0.tar"
    table = pa.table({"image": [struct(each) for each in files.values()]})
    pq.write_table(table, source / "0.parquet", row_group_size=2)
    return source / "0.parquet"


def thumbnail(client, item: int = 1) -> object:
    service._lookup_source.cache_clear()
    return client.get(f"/t/album/{item}/160.webp")


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet"])
def test_images_of_files_are_shown(dataset, client, settings, kind):
    settings.FETCH_THUMBNAILS = False
    path = fill(dataset, kind)
    import_all(dataset)
    answer = thumbnail(client)
    assert answer.status_code == 200, answer.content
    shown = Image.open(io.BytesIO(answer.content)).convert("RGB")
    assert shown.size == (64, 48)
    red, green, blue = shown.getpixel((30, 20))
    assert red > 240 > 20 > max(green, blue)
    hit = client.get("/api/datasets/album/items/1/").json()
    assert hit["thumbnail"].endswith("/t/album/1/320.webp")
    page = client.get("/d/album/1").content.decode()
    assert 'src="/t/album/1/1280.webp"' in page

    # What is cached stays; anything else in the place of the image is not shown.
    path.write_bytes(path.read_bytes()[:-1] + b"!" if kind == "folder" else b"")
    assert thumbnail(client).status_code == 200
    service.store().delete(service.thumbnail_source("album", 1).key)
    assert thumbnail(client).status_code == 404

    takedowns.take_down(dataset, 1, "")
    assert thumbnail(client).status_code == 410


def test_a_removed_image_is_deleted_from_the_cache(dataset, client):
    fill(dataset, "tar")
    import_all(dataset)
    assert thumbnail(client).status_code == 200
    key = service.thumbnail_source("album", 1).key
    assert service.store().get(key, 160)
    md5 = rows_of(dataset)[1]["metadata"]["md5"]
    takedowns.add(Removal.Kind.MD5, [md5], None)
    assert thumbnail(client).status_code == 410
    assert not service.store().get(key, 160)
    import_all(dataset)
    assert left_out(dataset) == {"0.tar/00/b.png": REJECT_REASON}


def test_only_files_of_the_source_are_shown(tmp_path):
    md5 = "0" * 32
    write(tmp_path, {"in/a.jpg": b"x", "out.jpg": b"x", "out.tar": b"x"})
    source = str(tmp_path / "in")
    assert find_original(source, {}, "a.jpg", md5) is not None
    for name in (
        *("../out.jpg", str(tmp_path / "out.jpg"), "../out.tar/a.jpg", "out.tar/a.jpg"),
        *("a.jpg/b", "b.jpg", "", ".", "a.parquet/x", "\0", "x" * 5_000),
    ):
        assert find_original(source, {}, name, md5) is None, name
    assert find_original(source, {}, "a.jpg", "") is None


def test_an_image_is_found_by_its_name_in_any_normal_form(tmp_path):
    md5 = hashlib.md5(jpeg(0)).hexdigest()
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        name = f"é {form}.jpg"
        write(tmp_path, {unicodedata.normalize(form, name): jpeg(0)})
        stored = unicodedata.normalize(other, name)
        original = find_original(str(tmp_path), {}, stored, md5)
        assert original is not None and original.read() == jpeg(0)


def test_an_image_is_found_by_a_name_that_is_not_utf8(dataset, client):
    folder = os.fsencode(dataset.source) + b"/caf\xe9?"
    os.mkdir(folder)
    Path(os.fsdecode(folder + b"/\xff.jpg")).write_bytes(jpeg(0))
    import_all(dataset)
    assert captions(dataset).keys() == {"caf\ufffd?/\ufffd.jpg"}
    assert thumbnail(client, 0).status_code == 200


def test_the_rejects_file_names_files(dataset, admin_client):
    write(Path(dataset.source), {"a.jpg": jpeg(0), "b.svg": b"<svg/>"})
    import_all(dataset)
    answer = admin_client.get("/ingestion/album/rejects.csv")
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    head, row = csv.reader(io.StringIO(text, newline=""))
    assert dict(zip(head, row, strict=True)) == {
        "shard": "0",
        "row": "1",
        "item": "1",
        "url": "",
        "file": "b.svg",
        "reason": UNKNOWN_FORMAT,
    }
