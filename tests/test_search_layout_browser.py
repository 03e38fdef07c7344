"""Images first in Chromium: what fits on the first screen, and that nothing jumps."""

import re

import pytest
from playwright.sync_api import Page, expect

MAX_SHIFT = 0.05
LAPTOP = {"viewport": {"width": 1280, "height": 720}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
}
SEARCHES = ["/?q=boats", "/?q=red+house+width>600", "/?item=5&nsfw=any"]
# The cumulative layout shift, as browsers define it, without windows of sessions: the
# sum is never less than that.
SHIFTS = """
    window.shift = 0
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
            if (!entry.hadRecentInput) window.shift += entry.value
        }
    }).observe({ type: 'layout-shift', buffered: true })
"""
ROWS = """() => {
    const tops = [...document.querySelectorAll('main .hit .frame')]
        .map((frame) => frame.getBoundingClientRect())
        .filter(({ top, bottom }) => top >= 0 && bottom <= innerHeight)
        .map(({ top }) => Math.round(top))
    return new Set(tops).size
}"""


def delay(page: Page, pattern: str, milliseconds: int) -> None:
    def answer(route) -> None:
        page.wait_for_timeout(milliseconds)
        route.continue_()

    page.route(pattern, answer)


def settle(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    expect(page.locator(".htmx-request")).to_have_count(0)


def first_top(page: Page) -> float:
    return page.locator("main .hit .frame").first.bounding_box()["y"]


@pytest.mark.parametrize("address", SEARCHES)
def test_the_first_screen_shows_images(opened, address):
    page = opened(**LAPTOP)
    page.goto(address)
    expect(page.locator("#results .hit").first).to_be_visible()
    assert page.evaluate(ROWS) >= 2
    toolbar = page.locator(".toolbar").bounding_box()
    assert toolbar["height"] < 100  # terms, and one line
    page = opened(**PHONE)
    page.goto(address)
    expect(page.locator("#results .hit").first).to_be_visible()
    assert first_top(page) < 200
    assert page.locator(".toolbar").bounding_box()["height"] < 60  # one line
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("panel", ["open", "folded"])
def test_nothing_jumps_from_the_start_page_to_further_searches(opened, panel):
    page = opened(**LAPTOP)
    page.add_init_script(SHIFTS)
    page.add_init_script(f"document.cookie = 'panel={panel}; path=/'")
    page.goto("/")
    settle(page)
    delay(page, re.compile(r"/\?q="), 700)  # longer than input excuses a shift
    for words in ("boats", "a red house"):
        page.locator("#q").fill(words)
        page.locator("#q").press("Enter")
        expect(page).to_have_title(re.compile(f"^{words}"))
        settle(page)
    page.go_back()
    expect(page).to_have_title(re.compile("^boats"))
    settle(page)
    page.locator("main .hit a.picture").first.click()
    page.wait_for_timeout(600)
    page.keyboard.press("Escape")
    page.wait_for_timeout(600)
    assert page.evaluate("window.shift") <= MAX_SHIFT


def test_on_a_phone_the_tools_are_in_a_menu(opened):
    page = opened(**PHONE)
    page.goto("/?q=boats")
    copy = page.get_by_role("button", name="Copy link")
    expect(copy).to_be_hidden()
    page.get_by_role("button", name="More", exact=True).tap()
    expect(copy).to_be_visible()
    assert copy.bounding_box()["height"] >= 44
    expect(page.get_by_label("Image size")).to_be_visible()
    page.keyboard.press("Escape")
    expect(copy).to_be_hidden()


def test_a_page_is_light(opened):
    """Without images: few requests, and few bytes as they are sent."""
    page = opened(**LAPTOP)
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    urls, sizes = {}, {}

    def begun(event) -> None:
        urls[event["requestId"]] = event["response"]["url"]

    def done(event) -> None:
        sizes[event["requestId"]] = event["encodedDataLength"]

    session.on("Network.responseReceived", begun)
    session.on("Network.loadingFinished", done)
    page.goto("/?q=boats")
    settle(page)
    own = [request for request, url in urls.items() if "/t/" not in url]
    assert 0 < len(own) <= 15
    assert sum(sizes.get(request, 0) for request in own) <= 150_000
