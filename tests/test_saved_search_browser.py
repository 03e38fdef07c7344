"""Saved searches and the history in Chromium, by keyboard and by hand."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

AXE = Path(__file__).with_name("axe.min.js")
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
SEND = """([url, data]) => fetch(url, {
  method: 'POST',
  body: new URLSearchParams(data),
  headers: {
    'X-CSRFToken': document.querySelector('meta[name=csrf-token]').content,
    'X-Requested-With': 'XMLHttpRequest'
  }
}).then(answer => answer.status)"""


@pytest.fixture(scope="module")
def session(browser, live_server_process) -> dict:
    """The cookies of the admin, who has signed in once for all tests."""
    context = browser.new_context(base_url=live_server_process.url)
    page = context.new_page()
    page.goto("/accounts/login/")
    page.fill("input[name=login]", "admin")
    page.fill("input[name=password]", live_server_process.password)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{live_server_process.url}/")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def signed_in(opened, session) -> Callable[..., Page]:
    """Opens pages of the admin, who has kept nothing yet."""

    def open_page(**options) -> Page:
        return opened(storage_state=session, **options)

    page = open_page()
    page.goto("/searches/")
    send(page, "/searches/history/keep", keep="yes")
    send(page, "/searches/history/clear")
    for row in page.locator("ol.saved > li").all():
        send(page, f"/searches/{row.get_attribute('data-key')}/delete")
    return open_page


def send(page: Page, url: str, **data: str) -> None:
    assert page.evaluate(SEND, [url, data]) == 200


def keep(page: Page, *names: str) -> None:
    """Saves searches; the first of them is the first of the list."""
    page.goto("/searches/")
    for name in reversed(names):
        send(page, "/searches/save", address=f"q={name}", name=name)
    page.goto("/searches/")
    expect(page.locator("ol.saved h2")).to_have_text(names)


def search(page: Page, words: str) -> None:
    page.locator("#q").fill(words)
    page.keyboard.press("Enter")
    expect(page).to_have_title(f"{words} – laionweb")
    expect(page.locator("#results .save")).to_be_visible()


def saved(page: Page):
    return page.locator("ol.saved h2")


def toast(page: Page):
    return page.locator("#toasts .toast")


# --- Saving


def test_a_search_is_saved_by_keyboard_and_taken_back(signed_in):
    page = signed_in()
    page.goto("/")
    search(page, "boats at night")
    page.locator(".save summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".save [name=name]")).to_be_focused()
    expect(page.locator(".save [name=name]")).to_have_value("Boats at night")
    page.keyboard.press("Escape")
    expect(page.locator(".save summary")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".save [name=name]")).to_be_focused()
    page.keyboard.type("Boats")
    page.keyboard.press("Enter")
    expect(toast(page)).to_contain_text("Saved as “Boats”.")
    expect(page.locator(".save .kept")).to_be_focused()
    expect(page.locator(".save .kept")).to_have_text("Saved as “Boats”")
    toast(page).get_by_role("button", name="Undo").click()
    expect(page.locator(".save summary")).to_be_visible()
    page.goto("/searches/")
    expect(page.locator(".notice.none")).to_be_visible()


def test_a_search_that_finds_nothing_yet_is_saved_and_remembered(signed_in):
    page = signed_in()
    with page.expect_response("**/searches/history/"):
        page.goto("/?q=boat+width>90000")
    expect(page.locator(".notice h2")).to_have_text("Nothing found")
    page.locator(".save summary").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".save .kept")).to_be_visible()
    page.goto("/searches/")
    expect(saved(page)).to_have_count(1)
    expect(page.locator(".past li")).to_have_count(1)


def test_what_is_saved_is_listed_with_its_pictures_and_run(signed_in):
    page = signed_in()
    page.goto("/?q=boats+at+night&mode=exact&dataset=postcards")
    page.locator(".save summary").click()
    expect(page.locator(".save input[name=name]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(toast(page)).to_contain_text("Saved as")
    page.locator(".save .kept").click()
    expect(saved(page)).to_have_text(["Boats at night, exact"])
    expect(page.locator(".asks li")).to_have_text(
        ["boats at night", "exact", "Postcards"]
    )
    strip = page.locator(".strip img")
    expect(strip).to_have_count(6)
    first = strip.first.get_attribute("alt")
    saved(page).get_by_role("link").click()
    expect(page.locator("#results .hit img").first).to_have_attribute("alt", first)
    expect(page.locator(".save .kept")).to_be_visible()


def test_a_saved_search_is_edited(signed_in):
    page = signed_in()
    keep(page, "boats")
    page.locator(".saved .menu-of summary").click()
    page.get_by_role("link", name="Edit the search").click()
    expect(page).to_have_url(re.compile("dataset=postcards$"))
    expect(page.locator(".save .kept")).to_be_visible()
    search(page, "a red boat")
    page.get_by_role("button", name="Update “boats”").click()
    expect(toast(page)).to_contain_text("Updated “boats”.")
    expect(page.locator(".save .kept")).to_have_text("Saved as “boats”")
    search(page, "a cat")
    expect(page.locator(".editing")).to_have_count(0)
    page.goto("/searches/")
    expect(page.locator(".asks li").first).to_have_text("a red boat")


def test_what_is_new_is_marked(signed_in):
    page = signed_in()
    told = {"kept": True, "new_shards": [0]}
    page.route("**/searches/history/", lambda route: route.fulfill(json=told))
    page.goto("/?q=boats&dataset=postcards")
    expect(page.locator("#results .hit.new .sign-new").first).to_have_text("New")
    hits, marked = page.locator("#results .hit"), page.locator("#results .sign-new")
    page.locator(".more > a").scroll_into_view_if_needed()
    expect(hits.nth(60)).to_be_visible()
    page.wait_for_function(
        "document.querySelectorAll('#results .hit:not(.new)').length === 0"
    )
    assert marked.count() == hits.count()
    page.unroute_all()
    search(page, "a cat")
    expect(marked).to_have_count(0)


# --- The list


def test_the_order_is_made_by_keys_and_by_dragging(signed_in):
    page = signed_in()
    keep(page, "boat", "cat", "dog")
    page.locator(".grip").first.focus()
    page.keyboard.press("ArrowDown")
    expect(saved(page)).to_have_text(["cat", "boat", "dog"])
    expect(page.locator("#moved")).to_have_text("boat: now 2 of 3")
    expect(page.locator(".grip").nth(1)).to_be_focused()
    page.reload()
    expect(saved(page)).to_have_text(["cat", "boat", "dog"])
    expect(page.locator(".strip img").last).to_be_visible()
    grip, first = page.locator(".grip").last, page.locator(".grip").first
    grip.hover()
    page.mouse.down()
    box = first.bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] - 4, steps=8)
    page.mouse.up()
    expect(page.locator("#moved")).to_have_text("dog: now 1 of 3")
    page.reload()
    expect(saved(page)).to_have_text(["dog", "cat", "boat"])


def test_it_is_renamed_and_deleted_with_a_way_back(signed_in):
    page = signed_in()
    keep(page, "boat", "cat")
    page.locator(".saved .menu-of summary").first.click()
    page.get_by_label("Name").first.fill("Ships")
    page.keyboard.press("Enter")
    expect(saved(page)).to_have_text(["Ships", "cat"])
    toast(page).get_by_role("button", name="Undo").click()
    expect(saved(page)).to_have_text(["boat", "cat"])
    page.locator(".saved .menu-of summary").first.click()
    page.get_by_role("button", name="Delete", exact=True).first.click()
    expect(saved(page)).to_have_text(["cat"])
    toast(page).get_by_role("button", name="Undo").click()
    expect(saved(page)).to_have_text(["boat", "cat"])
    page.reload()
    expect(saved(page)).to_have_text(["boat", "cat"])


def test_no_more_than_two_are_searched_at_a_time(signed_in):
    page = signed_in(viewport={"width": 1280, "height": 3000})
    keep(page, *(f"boat {number}" for number in range(6)))
    expect(page.locator(".strip img")).to_have_count(36)
    asked = page.evaluate(
        """performance.getEntriesByType('resource')
          .filter(({ name }) => name.endsWith('/glance'))
          .map(({ startTime, responseEnd }) => [startTime, responseEnd])"""
    )
    at_once = [sum(a <= start < b for a, b in asked) for start, _ in asked]
    assert len(asked) == 6 and max(at_once) == 2


# --- The history


def test_searches_are_remembered_and_suggested(signed_in):
    page = signed_in()
    page.goto("/")
    for words in ["boats at night", "a black cat"]:
        with page.expect_response("**/searches/history/"):
            search(page, words)
    page.goto("/")
    page.keyboard.press("/")
    suggested = page.locator("#suggestions [role=option]")
    expect(suggested).to_have_text(["a black cat", "boats at night"])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(suggested.nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page).to_have_title("boats at night – laionweb")
    expect(page.locator("#q")).to_have_value("boats at night")
    expect(page.locator("#suggestions")).to_have_count(0)
    page.locator("#q").fill("")
    expect(suggested).to_have_count(2)
    page.keyboard.press("Escape")
    expect(suggested).to_have_count(0)
    page.keyboard.type("cat")
    expect(suggested.first).to_have_text("a black cat")


def test_the_history_is_listed_saved_from_cleared_and_switched_off(signed_in):
    page = signed_in()
    page.goto("/")
    for words in ["boats at night", "a black cat"]:
        with page.expect_response("**/searches/history/"):
            search(page, words)
    page.goto("/searches/")
    past = page.locator(".past li")
    expect(past).to_have_count(2)
    past.first.get_by_role("button", name="Remove from history").click()
    expect(past).to_have_count(1)
    toast(page).get_by_role("button", name="Undo").click()
    expect(past).to_have_count(2)
    past.first.get_by_role("button", name="Save").click()
    expect(toast(page)).to_contain_text("Saved as “A black cat”.")
    page.get_by_text("Clear…").click()
    page.get_by_role("button", name="Delete all 2 searches").click()
    expect(page.locator(".messages")).to_contain_text("cleared")
    expect(past).to_have_count(0)
    page.get_by_role("button", name="Turn off history").click()
    expect(page.get_by_text("new searches are not saved")).to_be_visible()
    page.goto("/")
    with page.expect_response("**/searches/history/"):
        search(page, "a dog")
    page.goto("/searches/")
    expect(past).to_have_count(0)


def test_the_menu_has_the_users_pages_and_signs_out(signed_in):
    page = signed_in()
    page.goto("/?q=boats")
    link = page.get_by_role("link", name="Concepts")
    expect(link).to_be_hidden()
    page.locator(".menu summary").focus()
    page.keyboard.press("Enter")
    expect(link).to_be_visible()
    page.keyboard.press("Escape")
    expect(link).to_be_hidden()
    expect(page.locator(".menu summary")).to_be_focused()
    page.goto("/searches/")
    page.locator(".menu summary").click()
    expect_accessible(page, ".top")
    page.route("**/accounts/logout/", lambda route: route.fulfill(body="Bye"))
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("body")).to_have_text("Bye")


def test_the_palette_goes_to_what_is_saved_and_presses_buttons(signed_in):
    page = signed_in()
    keep(page, "a black cat")
    page.goto("/collections/")
    page.keyboard.press("Control+k")
    palette = page.get_by_role("dialog", name="Go to")
    expect(palette.get_by_role("option", name="My searches")).to_be_visible()
    page.keyboard.type("black")
    saved_search = palette.get_by_role("option", name="a black cat", exact=True)
    expect(saved_search).to_have_attribute("aria-selected", "true")
    expect_accessible(page, "#palette")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/\?q=a\+black\+cat"))
    page.wait_for_load_state()
    page.keyboard.press("Control+k")
    expect(palette.get_by_role("combobox")).to_be_focused()
    page.keyboard.type("select all")
    selecting = palette.get_by_role("option", name="Select all", exact=True)
    expect(selecting).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.locator("#selection")).to_be_visible()


def test_visitors_have_none_of_it(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/?q=a+boat&dataset=postcards")
    page.locator("#q").fill("")
    page.locator("#q").focus()
    page.get_by_role("link", name="Save search").click()
    expect(page).to_have_url(re.compile(r"/accounts/login/\?next=%2F%3Fq%3Da%2Bboat"))
    assert not [url for url in asked if "/searches/" in url]


# --- Looks


@pytest.mark.parametrize(
    "options",
    [{"color_scheme": "light"}, {"color_scheme": "dark", **PHONE}],
    ids=["light", "dark, phone"],
)
def test_all_of_it_is_accessible(signed_in, options):
    page = signed_in(**options)
    keep(page, "boat", "a search with quite a long name, so that it has to be broken")
    send(page, "/searches/history/", address="q=a+black+cat")
    page.goto("/searches/")
    expect(page.locator(".strip img")).to_have_count(12)
    page.locator(".saved .menu-of summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect_accessible(page, "main")
    page.goto("/")
    page.locator("#q").focus()
    expect(page.locator("#suggestions [role=option]")).to_have_count(1)
    expect_accessible(page, ".box")
    page.goto("/?q=a+red+boat&dataset=postcards")
    if "has_touch" in options:
        page.get_by_role("button", name="More", exact=True).click()
    page.locator(".save summary").click()
    box = page.locator(".save form").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= page.viewport_size["width"]
    expect_accessible(page, ".save")


def expect_accessible(page: Page, part: str) -> None:
    page.evaluate(AXE.read_text())
    found = page.evaluate("part => axe.run(part).then(told => told.violations)", part)
    assert not [(each["id"], each["nodes"][0]["html"]) for each in found]
