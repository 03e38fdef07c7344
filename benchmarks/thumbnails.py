"""Small pictures of items: how quickly they come at first, and from the disk.

    .venv/bin/python benchmarks/thumbnails.py

A server of its own gives postcards, drawn large, as hosts of photographs do. Times
depend on the machine; compare the ratios.
"""

import os
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
FOLDER = tempfile.TemporaryDirectory()
os.environ["VAR_DIR"] = FOLDER.name
os.environ["DJANGO_SETTINGS_MODULE"] = "laionweb.settings"

import django  # noqa: E402

django.setup()

from django.conf import settings  # noqa: E402
from PIL import Image  # noqa: E402

from postcards.shards import jpeg  # noqa: E402
from search.thumbnails import SIZES, service  # noqa: E402
from search.thumbnails.service import ThumbnailSource  # noqa: E402
from search.thumbnails.store import store  # noqa: E402

PICTURES = 60
ASKERS = 8
SHAPES = ((1600, 1200), (1024, 768), (640, 480))


def photograph(number: int) -> bytes:
    """Return a postcard with a camera's noise, a third of them in each of SHAPES."""
    shape = SHAPES[number % len(SHAPES)]
    drawn = Image.open(BytesIO(jpeg(number))).resize(shape)
    noise = Image.effect_noise(shape, 40).convert("RGB")
    file = BytesIO()
    Image.blend(drawn, noise, 0.15).save(file, "JPEG", quality=88)
    return file.getvalue()


class Host(BaseHTTPRequestHandler):
    photographs: list[bytes] = []

    def do_GET(self) -> None:
        content = self.photographs[int(self.path.strip("/"))]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


def main() -> None:
    Host.photographs = [photograph(number) for number in range(PICTURES)]
    host = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=host.serve_forever, daemon=True).start()
    settings.FETCH_ALLOWED_HOSTS = [f"127.0.0.1:{host.server_port}"]
    urls = [f"http://127.0.0.1:{host.server_port}/{n}" for n in range(PICTURES)]
    print(f"{PICTURES} pictures, {ASKERS} asked for at once: pictures/s, CPU ms each")
    print(rate("fetched and made, in all sizes", urls, create))
    for size in SIZES:
        print(rate(f"from the disk, {size} px", urls, partial(stored, size)))
    fetched = sum(map(len, Host.photographs))
    for size in SIZES:
        taken = sum(len(stored(size, url)) for url in urls)
        print(f"{taken / PICTURES / 1024:7.1f} kB at {size} px, {taken / fetched:.1%}")
    print(f"{fetched / PICTURES / 1024:7.1f} kB as fetched")


def rate(name: str, urls: list[str], get) -> str:
    begun, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(ASKERS) as askers:
        list(askers.map(get, urls))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return f"{name:32} {len(urls) / seconds:9.1f} {cpu / len(urls) * 1e3:8.2f}"


def create(url: str) -> None:
    source = ThumbnailSource(url=url, removed=False, withheld=False)
    service._create_sizes(source, store(), service.storage_key(url))


def stored(size: int, url: str) -> bytes:
    return store().get(service.storage_key(url), size)


if __name__ == "__main__":
    main()
