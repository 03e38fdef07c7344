"""No page asks another host for anything, or does what the policy of pages forbids."""

import re
import socket
from functools import partial
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect
from support.api_docs import add_pickers

HEARD = """
addEventListener('securitypolicyviolation', (event) => {
  console.error(`forbidden: ${event.violatedDirective} ${event.blockedURI}`)
})
"""
FOR_ALL = [
    "/",
    "/?q=boats+at+night",
    "/?q=boats&sort=size&nsfw=any",
    "/?item=3",
    "/d/postcards/",
    "/d/postcards/3?q=boats",
    "/d/postcards/99999999",
    "/accounts/login/",
    "/accounts/signup/",
    "/nowhere",
]
FOR_STAFF = [
    "/ingestion/postcards/",
    "/admin/",
    "/admin/search/dataset/",
    "/admin/search/dataset/add/",
    "/admin/search/dataset/1/change/",
    "/admin/search/dataset/1/history/",
    "/admin/search/removal/",
    "/admin/search/removal/add/",
    "/admin/auth/user/1/change/",
    "/admin/password_change/",
]


@pytest.fixture
def visitor(page: Page) -> Page:
    page.add_init_script(HEARD)
    return page


def visit(page: Page, path: str) -> None:
    answer = page.goto(path)
    policy = answer.headers["content-security-policy"]
    assert "'unsafe" not in policy and "http" not in policy
    images = re.search(r"img-src ([^;]*)", policy)[1].split()
    assert sorted(images) == ["'self'", "blob:", "data:"]
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]
    if answer.status >= 400:  # which the console tells, too
        page.complaints[:] = [
            text for text in page.complaints if f"status of {answer.status}" not in text
        ]


def test_what_a_visitor_sees_comes_from_here(visitor):
    for path in FOR_ALL:
        visit(visitor, path)
        assert not visitor.complaints, path


def test_the_pages_of_staff_live_with_the_policy(visitor, live_server_process):
    visit(visitor, "/accounts/login/")
    visitor.locator("input[name=login]").fill("admin")
    visitor.locator("input[name=password]").fill(live_server_process.password)
    visitor.keyboard.press("Enter")
    visitor.wait_for_url(lambda url: "login" not in url)
    for path in FOR_STAFF:
        visit(visitor, path)
        assert not visitor.complaints, path


def test_pictures_of_the_grid_are_small_and_our_own(visitor):
    visit(visitor, "/?q=boats+at+night")
    pictures = visitor.locator("#results .hit img")
    own = re.compile(r"/t/postcards/\d+/(160|320|640)\.webp$")
    for number in range(8):  # those in view
        expect(pictures.nth(number)).to_have_js_property("complete", True)
        assert own.search(pictures.nth(number).evaluate("e => e.currentSrc"))
    assert pictures.first.evaluate("e => e.naturalWidth") in (160, 320, 640)


def test_a_picture_that_is_still_being_fetched_is_asked_for_again(visitor):
    """A dead one is not; its caption stands in its place."""
    asked: dict[str, int] = {}

    def answer(route: Route) -> None:
        item = route.request.url.split("/")[-2]
        asked[item] = asked.get(item, 0) + 1
        if item in dead:
            route.fulfill(status=404)
        elif item in late and asked[item] <= 2:
            route.fulfill(status=503, headers={"Retry-After": "1"})
        else:
            route.continue_()

    found = visitor.request.get("/api/search/?dataset=postcards&q=boats&limit=2")
    ids = [str(hit["id"]) for hit in found.json()["results"]]
    late, dead = ids[:1], ids[1:]
    visitor.route("**/t/postcards/**", answer)
    visit(visitor, "/?q=boats")
    pictures = visitor.locator("#results .hit a.picture")
    expect(pictures.nth(1)).to_contain_class("broken")
    image = pictures.first.locator("img")
    expect(image).not_to_have_js_property("naturalWidth", 0)
    expect(pictures.first).not_to_contain_class("broken")
    assert asked[late[0]] >= 3
    visitor.wait_for_load_state("networkidle")
    before = asked[dead[0]]  # in several sizes, as the page settled
    visitor.wait_for_timeout(1_500)
    assert asked[dead[0]] == before
    mine = ("status of 404", "status of 503")
    visitor.complaints[:] = [
        text for text in visitor.complaints if not any(word in text for word in mine)
    ]


@pytest.mark.parametrize(
    "path", ["/", "/t/postcards/3/160", "/t/postcards/99999999/160", "/api/datasets/"]
)
def test_an_answer_to_head_has_no_body(path, live_server_process):
    """The page asks so for images; a body would be read as the next answer."""
    host, port = urlsplit(live_server_process.url).netloc.split(":")
    lines = f"HEAD {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b"".join(iter(partial(connection.recv, 65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 ")
    assert re.search(rb"Content-Length: [1-9]", head)
    assert body == b""


def test_what_is_opened_after_a_search_becomes_popular(visitor, live_server_process):
    """Said of the items and of the words once five people picked them."""
    visit(visitor, "/?q=a+lonely+lighthouse+-car")
    popular = visitor.locator("#results .popular")
    words = popular.locator(".words-picked a")
    for place in (0, 1, 2, 3, 4, 0):
        with visitor.expect_response(re.compile("/picked$")) as answer:
            visitor.locator("#results .hit a.picture").nth(place).click()
        assert answer.value.status == 204
        visitor.keyboard.press("Escape")
        expect(visitor.locator("#detail[open]")).to_have_count(0)
    add_pickers(live_server_process, "a lonely lighthouse")
    visitor.reload()
    popular.locator("summary").click()
    expect(words.filter(has_text="a lonely lighthouse")).to_have_count(1)
    # Tests before this one may have opened others of these pictures.
    favourites = popular.locator(".favourites a")
    expect(favourites.nth(1)).to_be_visible()
    told = re.compile(r"^Picked [1-9]\d* times?: ")
    expect(favourites.first).to_have_attribute("title", told)
    small = favourites.first.locator("img")
    expect(small).not_to_have_css("filter", re.compile("blur"))
    grid = visitor.locator("#results .grid")
    grid.evaluate("grid => grid.classList.add('veiled')")
    expect(small).to_have_css("filter", re.compile("blur"))
    grid.evaluate("grid => grid.classList.remove('veiled')")
    favourites.first.click()
    expect(visitor.locator("#detail[open]")).to_have_count(1)
    expect(visitor.locator("#detail .popularity")).to_contain_text("Picked ")
