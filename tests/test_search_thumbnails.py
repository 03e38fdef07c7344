"""Thumbnails of items: fetched once, kept on disk, and nothing hidden is shown."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import ROOT
from django.core.cache import caches
from PIL import Image, ImageChops, ImageCms, ImageStat
from support import python_process
from support.crowd import described, drawn, put_in_engine
from test_search_fetch import Handler, Site, serving
from test_search_pictures import encoded, png_bomb

from search.clickhouse import client as engine
from search.clickhouse import schema
from search.fetch import Limits
from search.models import Dataset
from search.removals.takedowns import add
from search.thumbnails import SIZES, service
from search.thumbnails.store import Store, store
from search.thumbnails.work_queue import FetchQueue, InProgress, UnresponsiveHosts

pytestmark = pytest.mark.django_db
PATHS = (
    *("/wide.jpg", "/small.png", "/slow.jpg", "/missing", "/page.html", "/bomb.png"),
    *("/drawing.svg", "/inwards", "/huge", "/drip", "/busy", "/tall.jpg"),
)
POSTCARD, NOWHERE = len(PATHS), len(PATHS) + 1
ROWS = 200
SOURCE_CACHE_S = service.SOURCE_CACHE_S
MD5 = "0123456789abcdef0123456789abcdef"


def photo(width: int, height: int, **options) -> bytes:
    """With a place and a camera in it, as photographs have them."""
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8825)[1] = "N"
    noise = Image.effect_noise((width, height), 60).convert("RGB")
    return encoded(noise, "JPEG", exif=exif, **options)


def drip(page: Handler) -> None:
    page.give(200, Content_Length=1_000)
    for _ in range(50):
        page.wfile.write(b"x")
        time.sleep(0.05)


WIDE, TALL = photo(1600, 900), photo(400, 3_000)
ANSWERS = {
    "/wide.jpg": lambda page: page.give(200, WIDE),
    "/tall.jpg": lambda page: page.give(200, TALL),
    "/small.png": lambda page: page.give(
        200, encoded(Image.new("RGB", (400, 300), "navy"), "PNG")
    ),
    "/missing": lambda page: page.give(404),
    "/page.html": lambda page: page.give(200, b"<html>It moved.</html>"),
    "/bomb.png": lambda page: page.give(200, png_bomb(13_000)),
    "/drawing.svg": lambda page: page.give(200, b"<svg xmlns='x'><script/></svg>"),
    "/inwards": lambda page: page.give(302, Location="http://169.254.169.254/"),
    "/huge": lambda page: page.give(200, Content_Length=10 * 2**20 + 1),
    "/drip": drip,
    "/busy": lambda page: page.give(503),
}


@pytest.fixture(scope="module")
def module_site() -> Iterator[Site]:
    yield from serving(Site())


@pytest.fixture(scope="module")
def gallery(module_site: Site, django_db_setup) -> Iterator[Dataset]:
    """In the engine alone; item N is the picture at PATHS[N]."""
    urls = [module_site.url + path for path in PATHS] + ["/postcards/7.jpg"]
    urls += [""] * (ROWS - len(urls))
    crowd = drawn(ROWS, shards={0: 1.0}, removed=0)
    facts = crowd.facts.drop_columns(["url"])
    facts = facts.append_column("url", pa.array(urls))
    facts = facts.append_column("md5", pa.array([MD5.upper()] * len(urls)))
    dataset = described(crowd, "gallery", without_removal_list=True)
    put_in_engine(replace(crowd, facts=facts), dataset, build=False)
    yield dataset
    schema.drop(dataset.item_table)


@pytest.fixture
def site(module_site, gallery, settings, tmp_path, monkeypatch, db) -> Site:
    """Its answers to be changed at will; with nothing kept of what was before."""
    module_site.asked.clear()
    module_site.pages = dict(ANSWERS)
    settings.FETCH_ALLOWED_HOSTS = [f"127.0.0.1:{module_site.server_port}"]
    settings.VAR_DIR = tmp_path
    settings.LIMITS = dict(settings.LIMITS, thumbnail="")
    for seconds in ("FETCH_WAIT_S", "SLOT_WAIT_S"):  # however busy the machine is
        monkeypatch.setattr(service, seconds, 20)
    monkeypatch.setattr(service, "_unresponsive", UnresponsiveHosts())
    monkeypatch.setattr(service, "SOURCE_CACHE_S", 1e9)  # no test waits for it
    service._lookup_source.cache_clear()
    gallery.pk = None
    gallery.save(force_insert=True)
    return module_site


def address(item: int | str, size: int = 320) -> str:
    return f"/t/gallery/{PATHS.index(item) if item in PATHS else item}/{size}.webp"


def opened(answer) -> Image.Image:
    assert answer.status_code == 200, answer.content
    return Image.open(BytesIO(answer.content))


def picture(item: int, size: int = 320) -> bytes:
    return service.thumbnail("gallery", item, size, lambda: None)


# --- What is shown


def test_all_sizes_are_made_of_one_fetch(client, site):
    sizes = {size: opened(client.get(address("/wide.jpg", size))) for size in SIZES}
    assert [each.size for each in sizes.values()] == [
        *((160, 90), (320, 180), (640, 360), (1280, 720))
    ]
    assert {each.format for each in sizes.values()} == {"WEBP"}
    assert [page.path for page in site.asked] == ["/wide.jpg"]


def test_nothing_of_the_file_remains_but_the_picture(client, site):
    assert b"a camera" in WIDE
    small = opened(client.get(address("/wide.jpg")))
    assert not small.getexif() and not {"icc_profile", "xmp", "exif"} & {*small.info}
    assert b"camera" not in client.get(address("/wide.jpg")).content


def test_a_picture_is_never_enlarged_and_stays_upright(client, site):
    assert opened(client.get(address("/small.png", 1280))).size == (400, 300)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90°
    lying = encoded(Image.new("RGB", (400, 300)), "JPEG", exif=exif)
    site.pages["/small.png"] = lambda page: page.give(200, lying)
    store().delete(service.storage_key(f"{site.url}/small.png"))
    assert opened(client.get(address("/small.png", 160))).size == (160, 213)


def test_a_tower_is_twice_as_high_as_wide_at_most(client, site):
    assert opened(client.get(address("/tall.jpg", 320))).size == (85, 640)


def test_colours_are_what_the_profile_of_the_picture_says():
    """By this one, what is stored as red is blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for text in (b"sRGB", "sRGB".encode("utf-16-be")):
        profile = profile.replace(text, text.lower().replace(b"s", b"p"))
    swapped = profile.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ")
    swapped = swapped.replace(b"----", b"bXYZ")
    red = Image.new("RGB", (40, 40), (255, 0, 0))
    made = service.resize_all(encoded(red, "PNG", icc_profile=swapped))
    small = Image.open(BytesIO(made[160])).convert("RGB")
    assert small.getpixel((20, 20))[2] > 200 > 60 > small.getpixel((20, 20))[0]


def test_the_answer_is_kept_by_browsers_and_can_do_nothing(client, site):
    answer = client.get(address("/wide.jpg"))
    assert answer["Content-Type"] == "image/webp"
    assert answer["Cache-Control"] == "public, max-age=3600"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    again = client.get(address("/wide.jpg"), headers={"If-None-Match": answer["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = client.head(address("/wide.jpg"))
    assert (head.status_code, head["ETag"]) == (200, answer["ETag"])
    assert head["Content-Length"] == str(len(answer.content))
    assert client.post(address("/wide.jpg")).status_code == 405


def test_where_visitors_need_an_account_no_proxy_keeps_pictures(
    admin_client, client, site, settings
):
    settings.SEARCH_ANONYMOUS = False
    answer = admin_client.get(address("/wide.jpg"))
    assert answer["Cache-Control"] == "private, max-age=3600"
    assert client.get(address("/wide.jpg")).status_code in (302, 401, 403)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/t/gallery/200/320.webp", "no item 200"),
        ("/t/gallery/99999999999999999999/320.webp", "no item"),
        ("/t/gallery/0/321.webp", "160, 320, 640, 1280"),
        (f"/t/gallery/{NOWHERE}/320.webp", "no image URL"),
    ],
)
def test_what_is_not_there_is_not_found(client, site, path, word):
    answer = client.get(path)
    assert answer.status_code == 404
    assert word in answer.content.decode()
    assert answer["Cache-Control"] == "public, max-age=60"
    assert not site.asked


def test_an_unknown_dataset_is_answered_like_a_hidden_one(client, site):
    answer = client.get("/t/other/0/320.webp")
    assert answer.status_code == 404
    assert "no dataset" in answer.content.decode()
    assert answer["Cache-Control"] == "private, no-cache"


def test_our_own_pictures_are_drawn_without_asking_anybody(client, site, settings):
    settings.FETCH_THUMBNAILS = False
    settings.FETCH_ALLOWED_HOSTS = []
    small = opened(client.get(address(POSTCARD)))
    original = opened(client.get("/postcards/7.jpg")).resize((320, 240))
    apart = ImageStat.Stat(ImageChops.difference(small.convert("RGB"), original))
    assert max(apart.mean) < 8


# --- What is not to be had


@pytest.mark.parametrize(
    ("path", "passing", "word"),
    [
        ("/missing", False, "status 404"),
        ("/page.html", False, "Could not read this file."),
        ("/drawing.svg", False, "Could not read this file."),
        ("/bomb.png", False, "13000 × 13000"),
        ("/huge", False, "larger than 10 MB"),
        ("/inwards", False, "Only public internet addresses"),
        ("/drip", True, "took longer"),
        ("/busy", True, "status 503"),
    ],
)
def test_a_picture_that_cannot_be_had_is_not_asked_for_again(
    client, site, monkeypatch, path, passing, word
):
    if path == "/drip":
        monkeypatch.setattr(service, "LIMITS", Limits(seconds=0.5))
    for size in (320, 160, 320):
        answer = client.get(address(path, size))
        assert answer.status_code == 404 and word in answer.content.decode()
        assert answer["Cache-Control"] in ("public, max-age=600", "public, max-age=599")
    assert len(site.asked) == 1
    _, seconds = store().error(service.storage_key(site.url + path))
    lasting = service.TEMPORARY_S if passing else service.PERMANENT_S
    assert lasting - 20 < seconds <= lasting


def test_after_its_time_it_is_asked_for_again(client, site):
    assert client.get(address("/missing")).status_code == 404
    site.pages["/missing"] = ANSWERS["/wide.jpg"]
    assert client.get(address("/missing")).status_code == 404
    (reason,) = store().folder.rglob("*.why")
    os.utime(reason, (1, 1))
    assert opened(client.get(address("/missing"))).size == (320, 180)
    assert not list(store().folder.rglob("*.why"))


def test_a_host_that_fails_several_times_is_left_alone(client, site):
    """Each of its pictures would take as long as the fetcher waits."""
    site.pages = dict.fromkeys(PATHS, ANSWERS["/busy"])
    words = [client.get(address(path)).content.decode() for path in PATHS]
    assert len(site.asked) == 3
    assert sum("does not answer at present" in each for each in words) == len(PATHS) - 3


def test_private_addresses_are_refused(client, site, settings):
    settings.FETCH_ALLOWED_HOSTS = []
    answer = client.get(address("/wide.jpg"))
    assert answer.status_code == 404 and not site.asked


def test_an_admin_can_have_nothing_fetched(client, site, settings):
    settings.FETCH_THUMBNAILS = False
    answer = client.get(address("/wide.jpg"))
    assert (answer.status_code, site.asked) == (404, [])
    assert "not fetched here" in answer.content.decode()


def test_of_laion_nothing_is_fetched_before_a_removal_list(client, site, gallery):
    Dataset.objects.update(without_removal_list=False)
    assert "removal list" in client.get(address("/wide.jpg")).content.decode()
    assert not site.asked
    service._lookup_source.cache_clear()
    add("url", ["https://other.example/"], gallery)
    assert client.get(address("/wide.jpg")).status_code == 200


# --- What has been removed


def mark_removed(deleted: int) -> None:
    sql = "ALTER TABLE item_gallery UPDATE deleted = {deleted:UInt8} WHERE id = 0"
    engine.command(sql, {"deleted": deleted}, mutations_sync=1)


def test_what_is_removed_is_gone_within_a_minute(client, site, monkeypatch):
    monkeypatch.setattr(service, "SOURCE_CACHE_S", SOURCE_CACHE_S)
    assert client.get(address(0)).status_code == 200
    mark_removed(1)
    try:
        later = time.monotonic() + 60
        monkeypatch.setattr(service.time, "monotonic", lambda: later)
        answer = client.get(address(0))
    finally:
        mark_removed(0)
    assert answer.status_code == 410
    assert not list(store().folder.rglob("*.webp"))


@pytest.mark.parametrize(
    ("kind", "value"), [("item", "0"), ("url", None), ("md5", MD5)]
)
def test_a_removal_list_holds_from_when_it_is_loaded(
    client, site, gallery, kind, value
):
    assert client.get(address(0)).status_code == 200
    add(kind, [value or f"{site.url}/wide.jpg"], gallery if kind == "item" else None)
    service._lookup_source.cache_clear()
    answer = client.get(address(0))
    assert answer.status_code == 410
    assert client.get(address(0), headers={"If-None-Match": "*"}).status_code == 410
    assert not list(store().folder.rglob("*.webp"))


# --- Many at once


def test_what_many_ask_for_at_once_is_fetched_once(site):
    service.thumbnail_source("gallery", 0)
    started = threading.Barrier(20)

    def ask(size: int) -> bytes:
        started.wait()
        return picture(0, size)

    with ThreadPoolExecutor(20) as askers:
        found = list(askers.map(ask, SIZES * 5))
    assert len(site.asked) == 1
    assert len(set(found)) == 4


def test_threads_do_not_wait_long_for_a_slow_host(site, monkeypatch):
    """Half of the web server's threads may, and the others are told to come again."""
    release, released = threading.Event(), threading.Event()

    def slowly(page: Handler) -> None:
        release.wait(60)
        released.set()
        page.give(200, WIDE)

    site.pages["/slow.jpg"] = slowly
    monkeypatch.setattr(service, "LIMITS", Limits(seconds=60))
    monkeypatch.setattr(service, "FETCH_WAIT_S", 0.3)
    monkeypatch.setattr(service, "SLOT_WAIT_S", 0.1)
    slow = PATHS.index("/slow.jpg")
    service.thumbnail_source("gallery", slow)
    with ThreadPoolExecutor(20) as askers:
        asked = [askers.submit(picture, slow) for _ in range(20)]
    assert not released.is_set()
    refusals = [each.exception() for each in asked]
    assert {type(error) for error in refusals} == {InProgress}
    assert {error.retry_after_s for error in refusals} == {1}
    release.set()
    monkeypatch.setattr(service, "FETCH_WAIT_S", 20)
    assert picture(slow) and len(site.asked) == 1


def test_who_comes_too_early_is_told_when_to_come_again(client, site, monkeypatch):
    monkeypatch.setattr(service, "FETCH_WAIT_S", 0.01)
    site.pages["/slow.jpg"] = lambda page: (time.sleep(0.2), page.give(200, WIDE))
    answer = client.get(address("/slow.jpg"))
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    assert answer["Cache-Control"] == "no-store"
    monkeypatch.setattr(service, "FETCH_WAIT_S", 20)
    assert client.get(address("/slow.jpg")).status_code == 200


def test_a_slow_host_holds_up_no_other():
    line, release = FetchQueue(threads=6, per_host=2), threading.Event()
    slow = [line.submit(f"s{n}", "slow", partial(release.wait, 10)) for n in range(20)]
    quick = [line.submit(f"q{n}", "quick", lambda n=n: n) for n in range(20)]
    assert [future.result(5) for future in quick] == list(range(20))
    assert not any(future.done() for future in slow)
    release.set()
    assert all(future.result(5) for future in slow)


def test_what_has_to_be_made_counts_and_what_is_there_does_not(client, site, settings):
    settings.LIMITS = dict(settings.LIMITS, thumbnail="1/min")
    caches["limits"].clear()
    statuses = [
        client.get(address(path)).status_code
        for path in ("/wide.jpg", "/wide.jpg", "/small.png", "/wide.jpg")
    ]
    assert statuses == [200, 200, 429, 200]
    caches["limits"].clear()


PROCESS = """
import sys, django
django.setup()
from search.thumbnails import service, store
source = service.ThumbnailSource(url=sys.argv[1], removed=False, withheld=False)
print("ready", flush=True)
sys.stdin.readline()
sizes = service._create_sizes(source, store.store(), service.storage_key(source.url))
print(sorted((size, len(content)) for size, content in sizes.items()), flush=True)
"""


def test_two_processes_fetch_once_and_a_restart_finds_it(site, settings, tmp_path):
    url = f"{site.url}/wide.jpg"
    site.pages["/wide.jpg"] = lambda page: (time.sleep(0.5), page.give(200, WIDE))
    environment = {
        **os.environ,
        "VAR_DIR": str(tmp_path),
        "FETCH_ALLOWED_HOSTS": settings.FETCH_ALLOWED_HOSTS[0],
    }
    processes = [
        python_process.Popen(
            ["-c", PROCESS, url],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    first, second = (process.communicate(timeout=120)[0] for process in processes)
    assert first == second and len(site.asked) == 1
    kept = store().all(service.storage_key(url))
    assert str(sorted((size, len(each)) for size, each in kept.items())) in first
    assert picture(0) == kept[320] and len(site.asked) == 1


# --- On disk


def test_a_file_that_was_cut_off_is_made_anew(client, site):
    whole = client.get(address("/wide.jpg")).content
    for path in store().folder.rglob("*.webp"):
        path.write_bytes(path.read_bytes()[:-7])
    assert client.get(address("/wide.jpg")).content == whole
    assert len(site.asked) == 2


def test_a_full_disk_keeps_nobody_from_the_picture(client, site, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "put", full)
    monkeypatch.setattr(Store, "put_error", full)
    assert opened(client.get(address("/wide.jpg"))).size == (320, 180)
    assert client.get(address("/missing")).status_code == 404


def webp(length: int, number: int) -> bytes:
    body = number.to_bytes(4, "little") * (length // 4)
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


def key(number: int) -> str:
    return f"{number:040x}"[::-1]


def taken(folder: Path) -> int:
    """Bytes; two names of one file count once."""
    files = {}
    for path in folder.rglob("*.webp"):
        with suppress(FileNotFoundError):
            told = path.stat()
            files[told.st_ino] = told.st_size
    return sum(files.values())


def settled(kept: Store, limit: int) -> bool:
    """Return whether the size falls below the limit while a little more is written."""
    for number in range(10_000, 10_200):
        kept.put(key(number), {320: webp(4_000, number)})
        if taken(kept.folder) <= limit:
            return True
        time.sleep(0.02)
    return False


def test_what_nobody_looked_at_for_longest_makes_room(tmp_path):
    kept = Store(tmp_path, limit := 200 * 4096)
    for number in range(150):
        kept.put(key(number), dict.fromkeys(SIZES, webp(4_000, number)))
    earlier = time.time() - 7200
    for path in tmp_path.rglob("*.webp"):
        os.utime(path, (earlier, earlier))
    for number in range(20):
        assert kept.get(key(number), 320)
    for number in range(150, 240):
        kept.put(key(number), {320: webp(4_000, number)})
    assert settled(kept, limit) and taken(tmp_path) > limit / 2
    there = {number for number in range(240) if kept.get(key(number), 320)}
    assert there >= {*range(20), *range(150, 240)} and len(there) <= limit / 4_000


def test_many_writers_and_readers_stay_within_the_limit(tmp_path):
    """They find whole pictures or none, and leave nothing half written."""
    limit = 200 * 4096
    stores = [Store(tmp_path, limit) for _ in range(2)]

    def write(number: int) -> None:
        content = webp(4_000, number)
        stores[number % 2].put(key(number), {160: content, 320: content})
        assert stores[1 - number % 2].get(key(number), 320) in (content, None)

    with ThreadPoolExecutor(8) as writers:
        list(writers.map(write, range(1_000)))
    assert settled(stores[0], limit) and taken(tmp_path) > limit / 2
    assert not list(tmp_path.rglob(".part*"))
