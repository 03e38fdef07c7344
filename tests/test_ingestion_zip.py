"""Images in zip files: what is imported, left out, found again, and refused."""

import zlib
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pytest
from test_setup_sources import image, look

from search.errors import ImageTooLarge, NotAnImage, ShardUnreadable
from search.images.formats import MAX_BYTES
from search.ingestion.setup.previews import previews
from search.ingestion.sources.archives import archive_members, open_archive
from search.ingestion.sources.original import find_original

pytestmark = pytest.mark.usefixtures("processes")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    path = tmp_path / "photos.zip"
    with ZipFile(path, "w") as file:
        file.mkdir("trip")
        file.writestr("trip/é.jpg", image(1), ZIP_DEFLATED)
        file.writestr("trip/é.txt", "a boat", ZIP_STORED)
        file.writestr("trip/b.jpg", image(2), ZIP_STORED)
        file.writestr("plain", image(3), ZIP_DEFLATED)
        file.writestr("c.jpg", b"\xff\xd8\xff broken", ZIP_STORED)
        file.writestr("old.jpg", image(4), ZIP_BZIP2)
        file.writestr("__MACOSX/trip/._b.jpg", b"x")
        file.writestr("empty.pdf", b"", ZIP_DEFLATED)
        for content in (b"first", image(5)):
            file.writestr("twice.jpg", content)
        file.writestr("secret.jpg", image(6))
        file.infolist()[-1].flag_bits |= 1  # encrypted
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_file_is_recognized_and_its_images_are_found_again(photos):
    found = look(photos)
    assert (found.what, found.kind, found.rows) == (
        *("A zip file of images", "images", 5),
    )
    assert found.sample["caption"].to_pylist()[0] == "a boat"
    left_out = {each.name: each.reason for each in found.left_out}
    assert left_out["photos.zip/old.jpg"] == (
        "It is compressed by a method other than deflate."
    )
    assert left_out["photos.zip/secret.jpg"] == "It is encrypted."
    assert "later file" in left_out["photos.zip/twice.jpg"]
    assert "photos.zip/empty.pdf" in left_out and len(left_out) == 4
    shown = {each.name: each for each in previews(found.candidates)}
    assert {name for name, each in shown.items() if each.reason} == {"photos.zip/c.jpg"}
    for name in ("trip/é.jpg", "trip/b.jpg", "plain", "twice.jpg"):
        loaded = next(
            each.load()
            for each in found.candidates
            if each.name == f"photos.zip/{name}"
        )
        for source in (photos, photos.parent):
            file = f"photos.zip/{name}"
            original = find_original(str(source), {}, file, loaded.md5)
            assert zlib.crc32(original.read()) == crc_of(photos, name)


def crc_of(path: Path, name: str) -> int:
    with ZipFile(path) as file:
        return file.getinfo(name).CRC


def test_a_member_is_decompressed_up_to_its_limit(tmp_path):
    bomb = b"\0" * (MAX_BYTES + 1)
    path = tmp_path / "bomb.zip"
    with ZipFile(path, "w", ZIP_DEFLATED) as file:
        file.writestr("a.jpg", bomb)
        file.writestr("b.jpg", image(1))
    assert path.stat().st_size < 20_000
    members, _ = archive_members(path)
    with pytest.raises(ImageTooLarge, match="too many"):
        members["a.jpg"].read(MAX_BYTES)
    # One that says less than it has is cut where it says that it ends, and refused.
    small = path.read_bytes().replace(
        len(bomb).to_bytes(4, "little"), (5_000).to_bytes(4, "little")
    )
    path.write_bytes(small)
    members, _ = archive_members(path)
    assert len(members["a.jpg"]._read(members["a.jpg"].packed, 5_000)) == 5_000
    with pytest.raises(NotAnImage):
        members["a.jpg"].read(MAX_BYTES)
    assert members["b.jpg"].read(MAX_BYTES) == image(1)


@pytest.mark.parametrize("damage", [b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"])
def test_damaged_zip_files_are_refused(tmp_path, damage):
    path = tmp_path / "a.zip"
    with ZipFile(path, "w") as file:
        file.writestr(ZipInfo("a.jpg"), image(1))
    path.write_bytes(path.read_bytes().replace(damage, b"XXXX"))
    if damage == b"PK\x03\x04":
        with pytest.raises(NotAnImage):
            archive_members(path)[0]["a.jpg"].read(MAX_BYTES)
    else:
        with pytest.raises(ShardUnreadable, match="damaged"):
            open_archive(path, {})
