"""Imports in Chromium, from the click to the search."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support import axe

from postcards.shards import MODEL

PAGE = "/ingestion/second/"
ARRIVAL_MS = 120_000
STATES = ("pending", "queued", "ingesting", "paused", "arrived", "ingested", "failed")


@pytest.fixture
def opened(opened, live_server_process) -> Callable[..., Page]:
    """Return a function that opens the staff's pages."""

    def open_page(**options) -> Page:
        page = opened(**options)
        log_in(page, live_server_process.password)
        return page

    return open_page


def log_in(page: Page, password: str) -> None:
    page.goto("/admin/")
    page.get_by_label("Username or email").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Site administration")).to_be_visible()


@pytest.fixture
def second(opened, postcards_folder) -> Iterator[str]:
    """A dataset without imported shards, deleted afterwards."""
    source = Path(os.environ["INGEST_FOLDERS"]) / "second"
    shutil.copytree(postcards_folder, source, dirs_exist_ok=True)
    page = opened()
    page.goto("/admin/search/dataset/add/")
    page.get_by_label("Title").fill("Second")
    page.get_by_label("Slug").fill("second")
    page.get_by_role("textbox", name="Source").fill(str(source))
    page.get_by_label("Without removal list").check()
    page.get_by_label("Model").fill(MODEL)
    page.get_by_label("Weights").fill("")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("was added successfully")
    yield PAGE
    page.goto("/admin/search/dataset/")
    page.get_by_role("row").filter(has_text="second").get_by_role("checkbox").check()
    page.locator("select[name=action]").select_option("Delete selected datasets")
    page.get_by_role("button", name=re.compile("^(Go|Run)")).click()
    page.get_by_role("button", name="Yes, I’m sure").click()
    expect(page.locator(".messagelist")).to_contain_text("Successfully deleted 1")
    assert page.request.get("/?dataset=second&q=a").status == 404


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def expect_all_in(page: Page) -> None:
    for cell in ("#s0", "#s1"):
        expect(page.locator(cell)).to_have_class("ingested", timeout=ARRIVAL_MS)
    expect(page.locator("#figures")).to_contain_text("2,000 of 2,000")


def test_staff_starts_an_import_and_sees_it_arrive(opened, second):
    page = opened()
    page.goto("/admin/search/dataset/")
    page.get_by_role("row").filter(has_text="second").get_by_text(
        "Manage import"
    ).click()
    expect(page).to_have_url(re.compile(f"{PAGE}$"))
    page.evaluate("window.isTheSame = true")
    press(page, "Start")
    expect(page.locator(".said")).to_have_text("2 shards are queued.")
    expect(page.locator("#cells .cell")).to_have_count(2)
    expect_all_in(page)
    expect(page.locator("#count-ingested")).to_have_text("2")
    assert page.evaluate("window.isTheSame")

    # Nothing is asked any more, until there is something to be seen again.
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.wait_for_timeout(3_000)
    assert requests == []
    page.locator("#cells .cell").nth(1).click()
    expect(page.locator("#meant")).to_contain_text("to the selected shards (1)")
    press(page, "Replace")
    expect(page.locator(".said")).to_have_text("1 shard is being replaced.")
    expect_all_in(page)
    assert any("/live?" in url for url in requests)

    page.goto("/?dataset=second&q=a+black+cat")
    expect(page.locator("#results .summary")).to_contain_text("Top matches from 2,000")
    first = page.locator("#results a.picture").first
    expect(first).to_have_attribute("href", re.compile(r"^/d/second/\d+$"))
    item = first.get_attribute("href").rpartition("/")[2]

    page.goto(PAGE)
    page.get_by_label("ID of the item").fill(item)
    press(page, "Take down…")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Take down item {item}?")
    press(page, "Take down")
    expect(page.locator(".said")).to_contain_text(f"Item {item} is hidden")
    assert page.request.get(f"/d/second/{item}").status == 404


def test_what_is_ticked_stays_ticked_while_the_page_changes(opened, second):
    page = opened()
    page.goto(PAGE)
    press(page, "Start")
    expect(page.locator("#cells .cell")).to_have_count(2)
    page.locator("#cells input").nth(1).focus()
    page.keyboard.press("Space")
    expect_all_in(page)
    assert page.locator("#cells input").nth(1).is_checked()
    expect(page.locator("#cells input").nth(1)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    first = page.get_by_role("checkbox", name="0 Ingested: 1,000 items")
    expect(first).to_be_focused()
    expect(page.locator("#s0 .told")).to_be_in_viewport()
    page.locator("#cells input").nth(0).click(modifiers=["Shift"])
    expect(page.locator("#meant")).to_contain_text("(2)")
    press(page, "Select none")
    expect(page.locator("#meant")).to_contain_text("No shards selected")


def test_all_of_it_works_without_javascript(opened, second):
    page = opened(java_script_enabled=False)
    page.goto(second)
    press(page, "Start")
    expect(page.locator(".said")).to_have_text("2 shards are queued.")
    for _ in range(ARRIVAL_MS // 500):
        page.reload()
        if page.locator("#cells .ingested").count() == 2:
            break
        page.wait_for_timeout(500)
    page.get_by_role("checkbox", name="Ingested").first.check()
    press(page, "Delete …")
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete 2 shards?")
    page.get_by_role("link", name="Cancel").click()
    page.get_by_label("By number").fill("0")
    press(page, "Delete …")
    press(page, "Delete")
    expect(page.locator(".said")).to_have_text("1 shard is hidden now.")


def test_a_server_that_does_not_answer_is_told_and_asked_again(opened, second):
    page = opened()
    page.goto(second)
    page.route("**/live?*", lambda route: route.fulfill(status=503, body="<p>Away</p>"))
    press(page, "Start")
    expect(page.locator("#figures")).to_have_class("stale")
    page.unroute("**/live?*")
    expect_all_in(page)
    expect(page.locator(".stale")).to_have_count(0)
    assert all("503" in complaint for complaint in page.complaints)
    page.complaints.clear()


def test_nobody_is_kept_out(opened, second):
    """Check with axe, in a phone's viewport."""
    page = opened(viewport={"width": 360, "height": 740})
    page.goto("/ingestion/postcards/")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert axe.violations(page, impacts=axe.GRAVE) == []
    page.goto(second)
    press(page, "Start")
    expect_all_in(page)
    assert axe.violations(page, impacts=axe.GRAVE) == []
    look = page.locator("#cells label > span").first
    for state in STATES:  # a page has but few of them at a time; they differ in colour
        look.evaluate(f"cell => {{ cell.className = '{state}' }}")
        wrong = axe.violations(page, rules=axe.COLOURS, impacts=axe.GRAVE)
        assert wrong == [], state
