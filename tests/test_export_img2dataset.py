"""img2dataset itself reads our list, and fetches what is on it."""

import io
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from support.crowd import Crowd, bfloat16, stored, unit
from support.export_helpers import made, rows
from support.tiny_shards import drop_tables

from search.models import SYSTEM
from search.query.filters import Filters

pytestmark = pytest.mark.django_db
TIMEOUT_S = 120
CAPTIONS = [
    '=HYPERLINK("http://evil")',
    "two\nlines, a comma",
    "日本語 🏠",
    "",
    'a "quoted" \\N word',
    "nan",
]


class Pictures(BaseHTTPRequestHandler):
    """/7.png is a picture, and there is nothing at /missing.png."""

    def do_GET(self) -> None:
        match = re.fullmatch(r"/(\d+)\.png", self.path)
        if match is None:
            self.send_error(404)
            return
        file = io.BytesIO()
        Image.new("RGB", (40, 30), (int(match[1]) % 256, 80, 160)).save(file, "PNG")
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(file.getvalue())))
        self.end_headers()
        self.wfile.write(file.getvalue())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pictures) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def listed(host):
    """A dataset of pictures that are on that host, but for two."""
    count = len(CAPTIONS)
    image = unit(np.random.default_rng(1).standard_normal((count + 2, 8)))
    crowd = Crowd(
        ids=np.arange(count + 2, dtype=np.uint64),
        image=bfloat16(image),
        text=bfloat16(image),
        facts=pa.table(
            {
                "url": [
                    *(f"{host}/{n}.png" for n in range(count)),
                    f"{host}/missing.png",
                    "data:,",
                ],
                "caption": [*CAPTIONS, "missing", "no address"],
                "similarity": np.linspace(0.1, 0.5, count + 2),
                "license": ["CC-BY"] * (count + 2),
                "deleted": np.zeros(count + 2, np.uint8),
            }
        ),
    )
    dataset = stored(crowd, "listed", build=False)
    yield crowd
    drop_tables(dataset)


def test_img2dataset_fetches_our_list_and_keeps_captions(tools, listed, tmp_path):
    from usercollections.export.export_request import of_dataset

    asked = of_dataset(SYSTEM, "listed", Filters(), "img2dataset")
    manifest = made(asked, tmp_path, None)
    assert manifest["counts"]["left_out"]["no_address"] == 1
    (tmp_path / "pictures").mkdir()
    _, *given = shlex.split(manifest["command"])
    here = ["--output_format=files", "--image_size=32", "--processes_count=1"]
    done = subprocess.run(
        [tools / "img2dataset", *given, *here, "--thread_count=4"],
        cwd=tmp_path,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    fetched = tmp_path / "pictures" / "00000"
    ours = rows(manifest, tmp_path)
    for row in ours[:-1]:
        path = fetched / f"{row['key']}.jpg"
        with Image.open(path) as picture:
            assert picture.size == (32, 32)
        assert path.with_suffix(".txt").read_text() == row["caption"]
        told = json.loads(path.with_suffix(".json").read_text())
        assert (told["id"], told["caption"]) == (row["id"], row["caption"])
        assert (told["license"], told["status"]) == ("CC-BY", "success")
        assert told["caption_similarity"] == pytest.approx(row["caption_similarity"])
        assert (told["original_width"], told["original_height"]) == (40, 30)
    assert len(list(fetched.glob("*.jpg"))) == len(CAPTIONS) == len(ours) - 1
    stats = json.loads((tmp_path / "pictures" / "00000_stats.json").read_text())
    assert (stats["successes"], stats["failed_to_download"]) == (len(CAPTIONS), 1)
