"""The pages about the API in Chromium: for eyes, keys, phones, and without scripts."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from search.api.docs import examples

AXE = Path(__file__).with_name("axe.min.js")
RULES = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']}"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
# Not all of them: axe looks at each row.
UNFOLD = """[...document.querySelectorAll('main details:not([open])')].slice(0, 6)
    .forEach(folded => { folded.open = true })"""
PAGES = ("/api/docs/", "/api/docs/reference/")


def example(page: Page, title: str):
    return page.get_by_role("group", name=f"Language of the example “{title}”")


def code_of(page: Page, title: str, language: str):
    return page.get_by_role("group", name=f"{title}, {language}", exact=True)


def check_for_everybody(page: Page) -> None:
    page.evaluate(AXE.read_text(encoding="utf-8") + ";0")
    violations = page.evaluate(f"axe.run({RULES}).then(found => found.violations)")
    assert [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in violations
    ] == []


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    ("scheme", "size"), [("light", DESKTOP), ("dark", PHONE)], ids=["light", "dark"]
)
def test_nobody_is_kept_out(opened, path, scheme, size):
    """Neither by what is shown at first nor by what unfolds."""
    page = opened(color_scheme=scheme, viewport=size)
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    page.evaluate(UNFOLD)
    if path == "/api/docs/" and scheme == "light":
        page.get_by_role("radio", name="Python").first.check(force=True)
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    check_for_everybody(page)


def test_a_language_is_chosen_for_all_examples_and_for_the_next_visit(opened):
    page = opened(viewport=DESKTOP)
    page.goto("/api/docs/")
    expect(code_of(page, "Search by words", "curl")).to_be_visible()
    expect(code_of(page, "Search by words", "Python")).to_be_hidden()

    tab = example(page, "Search by many terms").get_by_text("Python")
    tab.scroll_into_view_if_needed()
    before = tab.bounding_box()["y"]
    tab.click()
    assert abs(tab.bounding_box()["y"] - before) < 2
    expect(code_of(page, "Search by words", "Python")).to_be_visible()
    expect(code_of(page, "Search by words", "curl")).to_be_hidden()

    page.reload()
    expect(code_of(page, "Search by words", "Python")).to_be_visible()
    example(page, "Search by words").get_by_label("Python").focus()
    page.keyboard.press("ArrowLeft")
    expect(code_of(page, "Create an export and download it", "curl")).to_be_visible()


def test_an_example_is_copied_as_it_stands(opened, live_server_process):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    page.goto("/api/docs/")
    page.get_by_role("button", name="Copy “Search by words” for curl").click()
    expect(page.get_by_text("Copied", exact=True)).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == code_of(page, "Search by words", "curl").inner_text()
    [wanted, _] = examples.for_site("words", live_server_process.url, "postcards")
    assert copied == wanted.code


def test_all_of_it_is_there_without_javascript(opened):
    page = opened(java_script_enabled=False, viewport=PHONE)
    page.goto("/api/docs/")
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)
    example(page, "Search by words").get_by_text("Python").click()
    expect(code_of(page, "Search by words", "Python")).to_be_visible()
    page.get_by_role("link", name="All operations").click()
    page.get_by_role("heading", name="POST /api/search/").click()
    expect(page.get_by_text("terms[].image_url").first).to_be_visible()


def test_the_pages_are_reached_and_lead_to_each_other(opened):
    page = opened(viewport=DESKTOP)
    page.goto("/")
    page.get_by_label("Menu").click()
    page.get_by_role("link", name="API", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The API")
    page.get_by_role("link", name="All operations").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("All operations")
    page.goto("/api/docs/reference/#refine")
    expect(page.locator("#refine")).to_be_in_viewport()
    page.get_by_role("link", name="The API, task by task").click()
    expect(page).to_have_url("/api/docs/")


def test_the_contents_make_room_on_a_phone(opened):
    page = opened(viewport=PHONE)
    page.goto("/api/docs/")
    contents = page.get_by_role("navigation", name="On this page")
    expect(contents.get_by_role("link").first).to_be_hidden()
    contents.get_by_text("On this page").click()
    contents.get_by_role("link", name="Exports").click()
    expect(page.get_by_role("heading", name="Exports", level=2)).to_be_in_viewport()
