"""clip-front as it is published, served from an origin of its own, asks our server."""

import json
import re
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote, urlsplit

import pytest
import requests
from conftest import Server, opening
from playwright.sync_api import Page, expect

WORDS = "a red house"
# What the page asks for, and browsers, and is not in the package.
MISSING = ("/vendor/webcomponents-loader.js", "/favicon.ico")


class Front(SimpleHTTPRequestHandler):
    """The built page; only its settings are ours."""

    def __init__(self, *request, own: dict[str, bytes], **options):
        self.own = own
        super().__init__(*request, **options)

    def do_GET(self) -> None:
        content = self.own.get(urlsplit(self.path).path)
        if content is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(self.path))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture(scope="module")
def front(tools: Path, live_server_process: Server) -> Iterator[str]:
    """Where the page is served. Its backend ends in a slash, as by its own settings."""
    (folder,) = tools.parent.glob("lib/python*/site-packages/front/build")
    settings = {
        "defaultBackend": f"{live_server_process.url}/",
        "defaultIndex": "postcards",
        "urlColumn": "url",
    }
    own = {"/config.json": json.dumps(settings).encode(), **dict.fromkeys(MISSING, b"")}
    handler = partial(Front, directory=str(folder), own=own)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def page(browser, front: str, live_server_process: Server) -> Iterator[Page]:
    """It complains of all but its asking our server, which is of another origin."""
    with opening(browser, front) as open_page:
        page = open_page(viewport={"width": 1280, "height": 800})
        page.goto("/")
        yield page
        ours = f"request to another host: {live_server_process.url}/"
        page.complaints[:] = [c for c in page.complaints if not c.startswith(ours)]


def own(server: Server, term: dict, **more) -> list[dict]:
    """Return our own API's hits."""
    body = {"dataset": "postcards", "terms": [term], "limit": 100, **more}
    answer = requests.post(f"{server.url}/api/search/", json=body, timeout=60)
    return answer.json()["results"]


def ids(page: Page) -> list[int]:
    """Return the ids of the images shown, in order, once all are loaded."""
    shown = page.locator("#products img.pic")
    page.wait_for_function(
        "all => all.every(img => img.complete && img.naturalWidth > 100)",
        arg=shown.element_handles(),
    )
    urls = shown.evaluate_all("all => all.map(img => img.src)")
    return [int(url.rpartition("/")[2].removesuffix(".jpg")) for url in urls]


def search(page: Page, words: str) -> None:
    with page.expect_response("**/knn-service"):
        page.locator("#searchBar").fill(words)
        page.locator("#searchBar").press("Enter")
    # The response is here, and now has to be shown.
    expect(page.locator("#products img.pic").nth(9)).to_be_attached()


def test_words_show_pictures_and_more_of_them_on_scrolling(page, live_server_process):
    expect(page.locator("#filter select").first).to_have_value("postcards")
    more = []
    page.on("request", lambda request: more.append(request))
    search(page, WORDS)
    figures = page.locator("#products figure")
    expect(figures.nth(39)).to_be_visible()
    # It asks for 3,000 results: of the few that there are, all are compared.
    hits = own(live_server_process, {"text": WORDS}, mode="exact")
    wanted = [hit["id"] for hit in hits]
    assert ids(page)[:40] == wanted[:40]
    caption = figures.first.locator("figcaption").inner_text().strip()
    assert hits[0]["caption"].startswith(caption.removesuffix("..."))

    page.mouse.move(700, 400)
    while figures.count() < 100:  # it asks for no more while it waits for an answer
        page.mouse.wheel(0, 100_000)
        page.mouse.wheel(0, -200)
        page.wait_for_timeout(50)
    assert ids(page)[:100] == wanted
    asked = [r.post_data_json["ids"] for r in more if r.url.endswith("//metadata")]
    assert sum(asked, [])[:60] == wanted[40:]

    page.get_by_label("Display similarities").check()
    shown = page.locator("#products figure p").first
    expect(shown).to_have_text(f"{hits[0]['similarity']:.4f}")


def test_a_hit_is_searched_by(page, live_server_process):
    search(page, WORDS)
    figure = page.locator("#products figure").nth(3)
    number = ids(page)[3]
    figure.hover()
    with page.expect_response("**/knn-service") as answered:
        figure.locator(".subImageSearch").click()
    url = f"{live_server_process.url}/postcards/{number}.jpg"
    assert answered.value.request.post_data_json["image_url"] == url
    expect(page.locator("#searchBar")).to_have_value("")
    expect(page.locator("#products img.pic").first).to_have_attribute("src", url)
    hit = own(live_server_process, {"item": number}, limit=10)
    assert {row["id"] for row in hit} <= set(ids(page))
    address = f"imageUrl={re.escape(quote(url, safe=''))}(&|$)"
    expect(page).to_have_url(re.compile(address))


def test_a_picture_is_searched_by_and_all_results_are_downloaded(
    page, live_server_process
):
    picture = requests.get(f"{live_server_process.url}/postcards/77.jpg", timeout=60)
    file = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": picture.content}
    page.locator("#filechooser").set_input_files(file)
    expect(page.locator("#products figure").nth(39)).to_be_visible()
    assert ids(page)[0] == 77
    for label in ("Hide (near) duplicate images", "Safe mode", "Remove violence"):
        with page.expect_response("**/knn-service"):
            page.get_by_label(label).uncheck()
    with page.expect_download() as downloaded:
        page.locator("#download").click()
    rows = json.loads(Path(downloaded.value.path()).read_text())
    assert sorted(row["id"] for row in rows) == list(range(600))
    assert all(row["caption"] and row["url"] for row in rows)
