"""Imports of images: URL lists, folders, tar files."""

import csv
import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support import searching
from support.tiny_shards import drop_tables, ids_of, import_all, publish, queue, rows_of

from postcards.captions import caption
from postcards.scene import scene_of
from postcards.shards import HEIGHT, MODEL, WIDTH, encoder, jpeg
from search.clickhouse.schema import SHARD_BITS
from search.errors import SearchUnavailable, ShardUnreadable
from search.fetch import Limits
from search.images import decoders
from search.ingestion import shard_run
from search.ingestion.sources import image_fetch, image_lists, images
from search.ingestion.sources.cells import NOT_UTF8, SEVERAL
from search.ingestion.sources.image_fetch import downscale_url, read_image, refusal
from search.ingestion.sources.image_files import caption_from_name
from search.ingestion.sources.registry import source_of
from search.ingestion.sources.tables import TableFile
from search.models import Dataset, Reject, Removal, Shard
from search.query.model import SearchQuery, Term
from search.removals import takedowns
from search.removals.takedowns import REJECT_REASON

pytestmark = pytest.mark.django_db
State = Shard.State
POSTCARDS = range(20)
UNSPLASH_HEADER = (
    "photo_id photo_url photo_image_url photo_submitted_at photo_featured photo_width "
    "photo_height photo_aspect_ratio photo_description photographer_username "
    "photographer_first_name photographer_last_name exif_camera_make "
    "exif_camera_model exif_iso exif_aperture_value exif_focal_length "
    "exif_exposure_time photo_location_name photo_location_latitude "
    "photo_location_longitude photo_location_country photo_location_city stats_views "
    "stats_downloads ai_description ai_primary_landmark_name "
    "ai_primary_landmark_latitude ai_primary_landmark_longitude "
    "ai_primary_landmark_confidence"
)


@cache
def picture(postcard_id: int) -> bytes:
    return jpeg(postcard_id)


def words(postcard_id: int) -> str:
    return caption(scene_of(postcard_id), postcard_id)[0]


# --- A server of pictures, and what else servers do


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answer = getattr(self, self.path.strip("/").partition("/")[0], None)
        with suppress(OSError):  # the fetcher has gone away
            answer() if answer else self.send_error(404)

    def log_message(self, *_) -> None:
        pass

    def give(self, body: bytes, kind: str = "image/jpeg", **headers: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def postcards(self) -> None:
        self.give(picture(int(Path(self.path).stem)))

    def page(self) -> None:
        self.give(b"<!doctype html><title>Gone</title>", "text/html")

    def huge(self) -> None:
        self.give(b"", Content_Length=str(2**30))

    def noai(self) -> None:
        self.give(picture(0), X_Robots_Tag="otherbot: noindex, noai")

    def otherbot(self) -> None:
        self.give(picture(0), X_Robots_Tag="otherbot: noai")

    def slow(self) -> None:
        time.sleep(4)

    def cut(self) -> None:
        self.give(picture(0)[:9000])


class Site(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def site(settings) -> Iterator[Site]:
    site = Site()
    settings.FETCH_ALLOWED_HOSTS = [f"127.0.0.1:{site.server_port}"]
    thread = threading.Thread(target=site.serve_forever, args=[0.02])
    thread.start()
    yield site
    site.shutdown()
    thread.join()
    site.server_close()


@pytest.fixture
def pictures(tmp_path) -> Iterator[Dataset]:
    """A dataset of images; the test writes them into `source`."""
    dataset = Dataset.objects.create(
        slug="pictures",
        title="Pictures",
        kind=Dataset.Kind.IMAGES,
        model=MODEL,
        weights="",
        source=str(tmp_path),
    )
    yield dataset
    drop_tables(dataset)


@pytest.fixture
def small_batches(monkeypatch) -> None:
    monkeypatch.setattr(images, "BATCH_ROWS", 4)


def unsplash_row(number: int, url: str, description: str) -> dict[str, str]:
    return {
        "photo_id": f"id-{number}",
        "photo_url": f"https://unsplash.com/photos/id-{number}",
        "photo_image_url": url,
        "photo_width": "4032",
        "photo_height": "3024",
        "photo_description": description,
        "photographer_username": "'\"quoted\"'",
    }


def write_unsplash(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, UNSPLASH_HEADER.split(), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


def list_postcards(folder: Path, site: Site, count: int = len(POSTCARDS)) -> None:
    urls = [f"{site.url}/postcards/{i}.jpg" for i in range(count)]
    table = {"URL": urls, "TEXT": [words(i) for i in range(count)]}
    pq.write_table(pa.table(table), folder / "list.parquet", row_group_size=7)


def rejected(dataset: Dataset) -> dict[int, str]:
    return {
        reject.row: reject.reason
        for shard in dataset.shards.all()
        for reject in shard.rejects.all()
    }


# --- Lists


def test_a_list_in_the_shape_of_unsplash_is_found_by_words(pictures, site, tmp_path):
    rows = [
        unsplash_row(i, f"{site.url}/postcards/{i}.jpg", words(i)) for i in POSTCARDS
    ]
    rows[3]["photo_description"] = 'A "quoted"\tdescription\nof two lines'
    rows[4]["photo_description"] = ""
    write_unsplash(tmp_path / "photos.tsv000", rows)
    (tmp_path / "keywords.tsv000").write_text("photo_id\tkeyword\nid-0\thouse\n")
    pictures.source = str(tmp_path / "photos.tsv*")
    pictures.save()
    (shard,) = import_all(pictures)
    assert (shard.state, shard.error) == (State.INGESTED, "")
    assert shard.rows_visible == len(POSTCARDS)
    assert not rejected(pictures)

    stored = rows_of(pictures)
    vectors = np.array([row["image_embedding"] for row in stored])
    truth = encoder().encode_images([read_image(picture(i)).image for i in POSTCARDS])
    assert np.abs(vectors - truth).max() < 2**-8
    assert stored[3]["caption"] == rows[3]["photo_description"]
    assert stored[3]["url"] == f"{site.url}/postcards/3.jpg"
    assert (stored[3]["width"], stored[3]["height"]) == (WIDTH, HEIGHT)
    assert stored[3]["metadata"]["photo_id"] == "id-3"
    assert stored[3]["metadata"]["original_width"] == "4032"
    assert stored[3]["metadata"]["photo_url"] == "https://unsplash.com/photos/id-3"
    assert len(stored[3]["metadata"]["md5"]) == 32
    assert stored[4]["caption"] == ""
    assert np.isnan(stored[4]["caption_similarity"])
    assert stored[5]["caption_similarity"] > 0.1

    ranks = [ids_by_words(words(i)).index(i) for i in POSTCARDS[::2]]
    assert sum(rank < 3 for rank in ranks) >= 0.8 * len(ranks)


def ids_by_words(text: str) -> list[int]:
    query = SearchQuery("pictures", (Term(text=text),), mode="exact", limit=20)
    return [hit.id for hit in searching.find(query).hits]


def test_what_cannot_be_had_is_rejected_with_its_reason(
    pictures, site, tmp_path, monkeypatch
):
    monkeypatch.setattr(image_fetch, "LIMITS", Limits(2**20, seconds=3.0))
    expected = {
        "/postcards/1.jpg": "",
        "/missing/2.jpg": "status 404",
        "/page": "Could not read this file.",
        "/huge": "larger than 1 MB",
        "/noai/1.jpg": "noai (X-Robots-Tag)",
        "/otherbot/1.jpg": "",
        "/slow": "took longer than 3 seconds",
        "/cut": "",
    }
    lines = [f"{site.url}{path},{words(1)}" for path in expected]
    expected |= {"ftp": "Use a URL that begins", "own": "public internet addresses"}
    lines += ["ftp://example.org/a.jpg,x", "http://127.0.0.1/a.jpg,x"]
    expected |= {
        "none": "no address",
        "short": "It has 1 cell;",
        "long": "It has 3 cells;",
    }
    lines += [",no address", "https://example.org/a.jpg", "https://example.org/,a,b"]
    expected |= {"nul": "URL is not valid"}
    lines += [f"{site.url}/postcards/\0.jpg,x"]
    (tmp_path / "list.csv").write_text("\n".join(["Image_URL,Caption", *lines, ""]))
    (shard,) = import_all(pictures)
    assert (shard.state, shard.rows, shard.rows_visible) == (State.INGESTED, 14, 3)
    reasons = rejected(pictures)
    for row, reason in enumerate(expected.values()):
        assert reason in reasons.get(row, ""), reasons
    stored = {row["id"]: row["metadata"] for row in rows_of(pictures)}
    assert list(stored) == [0, 5, 7]
    assert [row.get("truncated") for row in stored.values()] == [None, None, "true"]
    assert shard.notes[images.TRUNCATED] == 1
    missing = shard.rejects.get(row=1)
    assert missing.url == f"{site.url}/missing/2.jpg"
    assert missing.file == "list.csv, line 3"


def test_what_is_on_the_list_of_removals_is_not_fetched(pictures, site, tmp_path):
    list_postcards(tmp_path, site, 4)
    takedowns.add(Removal.Kind.URL, [f"{site.url}/postcards/1.jpg"], None)
    takedowns.add(Removal.Kind.ITEM, ["2"], pictures)
    md5 = read_image(picture(3)).md5
    takedowns.add(Removal.Kind.MD5, [md5.upper()], None)
    import_all(pictures)
    assert ids_of(pictures) == [0]
    assert rejected(pictures) == dict.fromkeys([1, 2, 3], REJECT_REASON)
    assert sorted(site.asked) == ["/postcards/0.jpg", "/postcards/3.jpg"]


def test_the_encode_workers_are_left_to_the_queries(pictures, site, tmp_path, settings):
    settings.SEARCH_ENCODER = "search.encoder.remote.CeleryEncoder"
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    list_postcards(tmp_path, site, 4)
    import_all(pictures)
    assert ids_of(pictures) == [0, 1, 2, 3]


@pytest.mark.usefixtures("small_batches")
def test_a_run_that_broke_off_goes_on_where_it_was(pictures, site, tmp_path):
    list_postcards(tmp_path, site)
    import_all(pictures)
    undisturbed = rows_of(pictures)
    assert len(undisturbed) == len(POSTCARDS)

    (key,) = queue(pictures)
    site.asked.clear()
    encode, calls = encoder().encode_images, []

    def breaking(pictures: list) -> np.ndarray:
        calls.append(len(pictures))
        if len(calls) == 2:
            raise SearchUnavailable("The encoder is away.")
        return encode(pictures)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder(), "encode_images", breaking)
        with pytest.raises(SearchUnavailable):
            shard_run.ingest(key)
    shard = pictures.shards.get()
    assert (shard.state, shard.rows_done) == (State.QUEUED, 4)
    assert 8 <= len(site.asked) <= 16  # no more than two batches ahead
    site.asked.clear()
    assert shard_run.ingest(key)
    publish(pictures)
    assert "/postcards/0.jpg" not in site.asked
    assert rows_of(pictures) == undisturbed
    assert pictures.shards.get().state == State.INGESTED


@pytest.mark.usefixtures("small_batches")
def test_a_run_that_is_stopped_leaves_no_threads(pictures, site, tmp_path):
    list_postcards(tmp_path, site)
    batches = source_of(pictures).open(0, 512).batches(4)
    first = next(batches)
    assert (first.start, first.end) == (4, 8)
    assert any(thread.name.startswith("images") for thread in threading.enumerate())
    batches.close()
    assert not any(thread.name.startswith("images") for thread in threading.enumerate())
    assert len(site.asked) < len(POSTCARDS)


@pytest.mark.parametrize("max_counted", [0, 2**20])
def test_a_list_is_cut_into_shards_of_whole_stretches(
    pictures, site, tmp_path, monkeypatch, max_counted
):
    """Count rows or lines when the import starts."""
    monkeypatch.setattr(image_lists, "SHARD_ROWS", 8)
    monkeypatch.setattr(image_lists, "MAX_COUNTED_BYTES", max_counted)
    list_postcards(tmp_path, site)
    lines = "line\n" * 20
    row = f'{site.url}/postcards/3.jpg,"{lines}"\n'
    (tmp_path / "more.csv").write_text(f"url,caption\n{row}")
    (tmp_path / "more.csv.gz").write_bytes(b"")
    found = 4 if max_counted else 6
    assert source_of(pictures).shards() == list(range(found))
    shards = import_all(pictures)
    assert [(shard.number, shard.rows) for shard in shards] == [
        (0, 8),
        (1, 8),
        (2, 4),
        (3, 2),
    ]
    reject = Reject.objects.get(shard__in=shards)
    assert (reject.row, reject.file) == (1, "more.csv.gz")
    assert "only these are read" in reject.reason
    stored = {row["id"]: row["url"] for row in rows_of(pictures)}
    assert stored[(1 << SHARD_BITS) + 2] == f"{site.url}/postcards/10.jpg"
    assert stored[3 << SHARD_BITS] == f"{site.url}/postcards/3.jpg"
    assert len(stored) == 21


def test_rows_of_lists_have_a_place_in_their_file(tmp_path, monkeypatch):
    monkeypatch.setattr(image_lists, "SHARD_ROWS", 1_000)
    (tmp_path / "a.csv").write_text("url\n//e.org/1\n\n//e.org/2\n")
    urls = [f"//e.org/{i}" for i in range(image_lists.SHARD_ROWS + 3)]
    pq.write_table(pa.table({"url": urls}), tmp_path / "b.parquet")
    shards = image_lists.lists(str(tmp_path), {})
    places = {
        number: [place for rows in shards[number]().read(0, 2) for place in rows.files]
        for number in (0, 2)
    }
    assert places == {
        0: ["a.csv, line 2", "a.csv, line 4"],
        2: [f"b.parquet/{image_lists.SHARD_ROWS + i}" for i in range(3)],
    }


def test_lists_as_other_programs_write_them(tmp_path):
    (tmp_path / "a.CSV").write_bytes(
        b'\xef\xbb\xbfurl,"cap"\r\n\r\nx,"a\nb"\r\ny,\xff\r\n'
    )
    table = TableFile(tmp_path / "a.CSV")
    assert (table.names, len(table)) == (["url", "cap"], 2)
    (rows,) = table.read(0, 2, 10)
    assert rows.table.to_pydict() == {"url": ["x", "y"], "cap": ["a\nb", "\ufffd"]}


@pytest.mark.parametrize("name", ["a.tsv", "a.parquet"])
def test_any_stretch_of_a_table_is_read_in_tables_of_one_size(tmp_path, name):
    numbers = [str(i) for i in range(100)]
    if name == "a.tsv":
        (tmp_path / name).write_text("\n".join(["url", *numbers]))
    else:
        rows = pa.table({"url": numbers})
        pq.write_table(rows, tmp_path / name, row_group_size=7)
    table = TableFile(tmp_path / name)
    assert len(table) == 100
    for first, last, size in [(0, 100, 9), (20, 41, 10), (6, 8, 5), (21, 28, 7)]:
        read = [rows.table["url"].to_pylist() for rows in table.read(first, last, size)]
        assert sum(read, []) == numbers[first:last]
        assert {len(rows) for rows in read[:-1]} <= {size}
        assert 0 < len(read[-1]) <= size
    assert list(table.read(100, 100, 5)) == []


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "photo,words\nx,y\n", "no column that is known to hold addresses"),
        ("a.csv", "url,url\nx,y\n", "two columns of the same name"),
        ("a.csv", "Url,URL\nx,y\n", "Url and URL differ in case alone"),
        ("a.csv", "", "is empty"),
        ("a.parquet", "PAR1", "is damaged"),
        ("[a]**b?.csv", "photo\nx\n", "no column that is known"),
        ("a.txt", "http://example.org", "There is no list of images"),
    ],
)
def test_a_list_that_cannot_be_read_is_said_to_be_wrong(
    pictures, tmp_path, name, content, reason
):
    (tmp_path / name).write_text(content)
    with pytest.raises(ShardUnreadable, match=reason):
        source = source_of(pictures)
        source.shards()
        source.open(0, 512)


def test_addresses_that_are_no_texts_are_said_to_be_wrong(pictures, tmp_path):
    pq.write_table(pa.table({"url": [{"a": 1}]}), tmp_path / "a.parquet")
    (shard,) = import_all(pictures)
    assert shard.error == "The column url holds struct<a: int64>; text is needed."


@pytest.mark.parametrize("columns", [{"url": "link"}, ["url"], "url"])
def test_columns_that_are_not_there_are_named(pictures, tmp_path, columns):
    (tmp_path / "a.csv").write_text("url,caption\nx,y\n")
    pictures.columns = columns
    with pytest.raises(ShardUnreadable, match="columns are not|there are url, caption"):
        source_of(pictures).open(0, 512)


def test_a_model_of_another_dimension_is_refused(pictures, site, tmp_path):
    list_postcards(tmp_path, site, 1)
    with pytest.raises(ShardUnreadable, match="makes vectors of 512 numbers"):
        source_of(pictures).open(0, 768)
    assert not site.asked


# --- Folders and tar files


def sample(i: int) -> dict[str, bytes]:
    """Return postcard i with its caption and metadata, in img2dataset's format."""
    facts = {
        "url": f"https://example.org/{i}.jpg",
        "width": 9,
        "tags": ["\ud800"],
        "x": None,
    }
    return {
        "jpg": picture(i),
        "txt": words(i).encode(),
        "json": json.dumps(facts).encode(),
    }


def write_folder(folder: Path, samples: dict[str, dict[str, bytes]]) -> None:
    for name, sample in samples.items():
        for ending, content in sample.items():
            path = folder / f"{name}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def write_tar(path: Path, samples: dict[str, dict[str, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, sample in samples.items():
            for ending, content in sample.items():
                member = tarfile.TarInfo(f"{name}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


SAMPLES = {
    "00/a": sample(0),
    "00/b": {"jpg": picture(1), "txt": b" A black cat\n"},
    "00/c": {"jpg": picture(2), "json": b'{"caption": "Snow", "url": "/etc/passwd"}'},
    "00/red_house-at.lake7": {"jpg": picture(3)},
    "01/broken": {"jpg": b"\xff\xd8 not a picture"},
    "01/worse": {"jpg": picture(4), "json": b"[" * 100_000},
    "01/long": {"jpg": picture(4), "txt": b"x" * 300_000},
}
REASONS = {
    "01/broken.jpg": "damaged|Could not read this file.",
    "01/worse.jpg": "JSON",
    "01/long.jpg": "bytes are too many",
}


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_pictures_on_disk_come_in_with_what_lies_beside_them(pictures, tmp_path, kind):
    if kind == "folder":
        write_folder(tmp_path, SAMPLES)
        (tmp_path / "00" / ".hidden.jpg").write_bytes(picture(5))
        numbers, prefix = [0], ""
    else:
        hidden = {"00/._a": {"jpg": b"a note of some file system"}}
        write_tar(tmp_path / "part-00007.tar", SAMPLES | hidden)
        (tmp_path / "00007.parquet").write_bytes(b"of img2dataset")
        numbers, prefix = [7], "part-00007.tar/"
    shards = import_all(pictures)
    assert [(shard.number, shard.error) for shard in shards] == [(numbers[0], "")]
    stored = {row["metadata"]["file"]: row for row in rows_of(pictures)}
    first = stored[f"{prefix}00/a.jpg"]
    assert first["id"] == numbers[0] << SHARD_BITS
    assert (first["caption"], first["url"]) == (words(0), "https://example.org/0.jpg")
    assert first["metadata"]["original_width"] == "9"
    assert first["metadata"]["tags"] == '["\ufffd"]'
    assert "x" not in first["metadata"]
    assert (first["width"], first["height"]) == (WIDTH, HEIGHT)
    header = {
        name: (row["caption"], row["url"], row["metadata"].get("original_url"))
        for name, row in stored.items()
        if row is not first
    }
    assert header == {
        f"{prefix}00/b.jpg": ("A black cat", "", None),
        f"{prefix}00/c.jpg": ("Snow", "", "/etc/passwd"),
        f"{prefix}00/red_house-at.lake7.jpg": ("red house at lake", "", None),
    }
    rejects = pictures.shards.get().rejects.all()
    reasons = {reject.file.removeprefix(prefix): reject.reason for reject in rejects}
    if kind == "tar":
        assert "only these are read" in reasons.pop("00007.parquet")
    assert reasons.keys() == REASONS.keys()
    for name, reason in REASONS.items():
        assert any(part in reasons[name] for part in reason.split("|"))


def test_texts_of_files_are_decoded_by_one_rule_and_named_by_the_setting(
    pictures, tmp_path
):
    broken = (
        b'{"ALT": ["Ren\xe9", "x"], "Rating": "NSFW", "URL": "https://example.org/"}'
    )
    files = {
        "a": {"jpg": picture(0), "json": broken},
        "b": {"jpg": picture(1), "txt": "Café".encode("utf-16")},
        "c": {"jpg": picture(2), "txt": b"Caf\xe9"},
        os.fsdecode(b"caf\xe9"): {"jpg": picture(3)},
    }
    write_folder(tmp_path, files)
    pictures.columns = {"caption": "alt", "nsfw": "rating"}
    pictures.save()
    (shard,) = import_all(pictures)
    assert (shard.error, shard.notes) == (
        "",
        {NOT_UTF8: 3, SEVERAL.format("caption"): 1},
    )
    first, *others = rows_of(pictures)
    assert (first["caption"], first["nsfw"]) == ("Ren\ufffd", "NSFW")
    assert first["url"] == "https://example.org/"
    assert first["metadata"]["original_caption"] == '["Ren\ufffd", "x"]'
    assert [row["caption"] for row in others] == ["Café", "Caf\ufffd", "caf"]
    assert others[-1]["metadata"]["file"] == "caf\ufffd.jpg"


def test_a_tar_file_that_is_cut_short_is_refused(pictures, tmp_path):
    path = tmp_path / "0.tar"
    write_tar(path, SAMPLES)
    whole = path.read_bytes()
    source = source_of(pictures)
    for size in (0, 300, 20_000, len(whole) // 2, len(whole) - 10_240):
        path.write_bytes(whole[:size])
        with pytest.raises(ShardUnreadable, match=r"0\.tar is (cut short|damaged)"):
            source.open(0, 512)
    header = whole.index(b"00/b.jpg")
    path.write_bytes(whole[:header] + bytes(512) + whole[header + 512 :])
    with pytest.raises(ShardUnreadable, match="damaged: there is more after its end"):
        source.open(0, 512)


# --- One picture


@pytest.mark.parametrize(
    ("header", "directive"),
    [
        ("noai", "noai"),
        ("all, NoImageAI", "noimageai"),
        ("noindex", "noindex"),
        ("laionweb: noindex", "noindex"),
        ("none", "none"),
        ("googlebot: noindex", ""),
        ("nofollow, max-image-preview:large", ""),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST", ""),
        ("noaims", ""),
        ("", ""),
    ],
)
def test_what_a_host_does_not_allow(header, directive):
    assert refusal({"x-robots-tag": header}) == directive
    assert refusal({}) == ""


def test_unsplash_is_asked_for_small_copies():
    small = "https://images.unsplash.com/photo-1?ixid=a&q=75&fm=jpg&w=320&fit=max"
    assert downscale_url("https://images.unsplash.com/photo-1?ixid=a&w=9000") == (
        "https://images.unsplash.com/photo-1?ixid=a&w=320&q=75&fm=jpg&fit=max"
    )
    assert sorted(
        downscale_url("https://images.unsplash.com/photo-1?ixid=a")
    ) == sorted(small)
    for other in ("https://example.org/a.jpg?w=9", "http://[", "", "/a.jpg"):
        assert downscale_url(other) == other


def test_a_listed_size_holds_where_a_smaller_copy_was_asked_for(
    pictures, site, tmp_path, monkeypatch
):
    monkeypatch.setattr(image_fetch, "UNSPLASH", "127.0.0.1")
    rows = [
        unsplash_row(i, f"{site.url}/postcards/{i}.jpg", words(i)) for i in range(2)
    ]
    rows[1]["photo_width"] = "unknown"
    write_unsplash(tmp_path / "photos.tsv000", rows)
    import_all(pictures)
    sizes = [(row["width"], row["height"]) for row in rows_of(pictures)]
    assert sizes == [(4032, 3024), (WIDTH, HEIGHT)]
    assert site.asked[0].endswith("?q=75&fm=jpg&w=320&fit=max")
    assert rows_of(pictures)[0]["url"] == f"{site.url}/postcards/0.jpg"


@pytest.mark.parametrize("size", [(3000, 2000), (6000, 150), (200, 100), (384, 384)])
def test_pictures_wait_in_few_pixels_and_in_their_shape(size):
    data = io.BytesIO()
    Image.new("RGB", size).save(data, "PNG")
    made = read_image(data.getvalue())
    assert (made.width, made.height) == size
    width, height = made.image.size
    assert width * height <= 1.01 * decoders.MAX_PIXELS
    assert min(width, height) <= decoders.SHORT_SIDE
    assert width / height == pytest.approx(size[0] / size[1], rel=0.02)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("00/golden-gate_7.jpg", "golden gate"),
        ("000000123.jpg", ""),
        ("Über den Wolken.PNG", "Über den Wolken"),
        ("Cafe\u0301_1.jpg", "Caf\u00e9"),
        ("हिन्दी-2.jpg", "हिन्दी"),
    ],
)
def test_the_name_of_a_file_made_readable(name, text):
    assert caption_from_name(name) == text
