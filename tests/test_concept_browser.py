"""Refining in Chromium: marks, rounds, their history, and what is saved of them."""

import re

from playwright.sync_api import Page, expect
from support import axe
from test_search_browser import expect_settled, search, shown

PHONE = {
    "viewport": {"width": 360, "height": 740},
    "has_touch": True,
    "is_mobile": True,
}


def sign_in(page: Page, server) -> None:
    page.goto("/accounts/login/")
    page.fill("input[name=login]", "admin")
    page.fill("input[name=password]", server.password)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"//[^/]+/$"))


def hit(page: Page, place: int):
    return page.locator("#results .hit").nth(place)


def mark(page: Page, key: str, *places: int) -> None:
    word = "good" if key == "p" else "bad"
    for place in places:
        hit(page, place).locator("a.picture").focus()
        page.keyboard.press(key)
        expect(hit(page, place)).to_have_attribute("data-mark", word)


def refine(page: Page) -> str:
    """Presses R; returns the address of the round."""
    before = page.url
    page.keyboard.press("r")
    page.wait_for_url(lambda url: "concept=" in url and url != before)
    expect_settled(page)
    return page.url


def steps(page: Page) -> list[str]:
    """Their names, and what they say of their marks."""
    links = page.locator("#refine .steps ol a")
    return [" ".join(text.split()) for text in links.all_inner_texts()]


def current(page: Page):
    return page.locator("#refine .steps [aria-current=step] b")


def tally(page: Page):
    return page.locator("#refine .tally")


def test_a_search_is_refined_twice_and_the_history_goes_back_and_on(page, opened):
    page.goto("/")
    search(page, "boats")
    first = shown(page)
    expect(page.locator("#refine")).to_be_hidden()
    mark(page, "p", 0, 1)
    mark(page, "x", 2)
    expect(tally(page)).to_have_text("2 relevant, 1 not")
    one = refine(page)
    expect(current(page)).to_have_text("1")
    expect(page.locator("#q")).to_have_value("")
    expect(page.locator("#results .chips")).to_contain_text("boats, refined 1×")
    second = shown(page)
    assert second and not set(second) & set(first[:3])
    assert steps(page)[0] == "Start 2 of 3 relevant"
    expect(tally(page)).to_have_text("2 relevant, 1 not")  # the marks stay

    mark(page, "p", 0)
    mark(page, "x", 1)
    expect(page.locator("#refine [aria-current]")).to_contain_text("1 of 2 relevant")
    two = refine(page)
    expect(current(page)).to_have_text("2")
    assert steps(page) == ["Start 2 of 3 relevant", "1 1 of 2 relevant", "2"]
    third = shown(page)

    page.go_back()
    expect(current(page)).to_have_text("1")
    assert page.url == one and shown(page)[:8] == second[:8]
    expect(hit(page, 0)).to_have_attribute("data-mark", "good")
    page.locator("#refine .ahead").click()
    expect(current(page)).to_have_text("2")
    assert page.url == two and shown(page)[:8] == third[:8]
    page.locator("#refine .steps ol a").first.click()
    expect(current(page)).to_have_text("Start")
    expect_settled(page)
    assert shown(page)[:8] == first[:8]
    expect(page.locator("#q")).to_have_value("boats")

    # Another browser sees the pictures at a copied address, and not the marks.
    other = opened()
    other.goto(two)
    assert shown(other)[:8] == third[:8]
    expect(other.locator("#refine")).to_be_hidden()
    assert other.locator("[data-mark]").count() == 0


def test_marks_by_mouse_are_listed_taken_back_and_outlast_a_reload(page):
    page.goto("/?q=cats")
    hit(page, 0).hover()
    hit(page, 0).locator("[data-act=good]").click()
    hit(page, 1).hover()
    hit(page, 1).locator("[data-act=bad]").click()
    expect(tally(page)).to_have_text("1 relevant, 1 not")
    thumbnails = page.locator("#refine .marks img")
    expect(thumbnails).to_have_count(2)
    for place in range(2):
        expect(thumbnails.nth(place)).to_have_js_property("complete", True)
        assert thumbnails.nth(place).evaluate("image => image.naturalWidth")
    page.reload()
    expect(tally(page)).to_have_text("1 relevant, 1 not")
    expect(hit(page, 0)).to_have_attribute("data-mark", "good")
    page.get_by_role("button", name=re.compile("^Unmark image .* not relevant")).click()
    expect(tally(page)).to_have_text("1 relevant, 0 not")
    assert hit(page, 1).get_attribute("data-mark") is None
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.locator("#refine")).to_be_hidden()
    page.locator("#toasts button").click()
    expect(tally(page)).to_have_text("1 relevant, 0 not")
    # Other words are another search, and have no marks yet.
    search(page, "dogs")
    expect(page.locator("#refine")).to_be_hidden()
    page.go_back()
    expect(tally(page)).to_have_text("1 relevant, 0 not")


def test_what_was_seen_comes_back_when_asked(page):
    page.goto("/?q=boats")
    first = shown(page)[:6]
    mark(page, "p", 0, 1)
    refine(page)
    assert not set(shown(page)) & set(first)
    page.locator("#refine .seen").click()
    expect(page.locator("#refine .seen")).to_have_text("Hide already seen")
    expect_settled(page)
    assert set(first[:2]) <= set(shown(page)[:4])


def test_the_last_of_two_rounds_asked_for_at_once_is_shown(page):
    page.goto("/?q=houses")
    mark(page, "p", 0)
    refine(page)
    expect(current(page)).to_have_text("1")
    hit(page, 1).locator("a.picture").focus()
    page.evaluate("document.querySelector('#refine .go').click()")
    page.keyboard.press("p")
    page.keyboard.press("r")
    expect(current(page)).to_have_text(re.compile("^2"))
    expect(tally(page)).to_have_text("2 relevant, 0 not")
    assert [step.split()[0] for step in steps(page)] == ["Start", "1", "2", "2b"]


def test_letters_are_keys_on_layouts_of_other_scripts(page):
    page.goto("/?q=houses")
    press = """([key, code]) => document.activeElement.dispatchEvent(
        new KeyboardEvent("keydown", { key, code, bubbles: true, cancelable: true }))"""
    for place, key, code, mark in (
        (0, "з", "KeyP", "good"),  # Russian
        (1, "χ", "KeyX", "bad"),  # Greek
        (2, "p", "KeyR", "good"),  # Dvorak, where P is in the place of R
    ):
        hit(page, place).locator("a.picture").focus()
        page.evaluate(press, [key, code])
        expect(hit(page, place)).to_have_attribute("data-mark", mark)
    hit(page, 3).locator("a.picture").focus()
    page.evaluate(press, ["l", "KeyP"])  # Dvorak, too
    expect(hit(page, 3)).not_to_have_attribute("data-mark", "good")


def test_a_visitor_is_led_to_sign_in_and_back(page):
    page.goto("/?q=trees")
    mark(page, "p", 0)
    address = refine(page)
    expect(current(page)).to_have_text("1")
    page.locator("#refine").get_by_role("link", name="Save as concept").click()
    page.wait_for_url("**/accounts/login/**")
    round_id = re.search(r"concept=([0-9a-f-]+)", address)[1]
    assert round_id in page.url


def test_a_round_is_saved_as_a_concept_and_searched_with(page, live_server_process):
    sign_in(page, live_server_process)
    page.goto("/?q=boats")
    mark(page, "p", 0, 1)
    mark(page, "x", 3)
    refine(page)
    expect(current(page)).to_have_text("1")
    page.locator("#refine .keeps").click()
    page.locator("#save-concept-name").fill("My boats")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Saved as “My boats”.")

    page.locator("#refine .go").click()
    expect(current(page)).to_have_text("2")
    page.locator("#refine .keeps").click()
    page.get_by_label("Save it as").select_option(
        label="The next version of “My boats”"
    )
    page.locator("#save-concept .primary").click()
    expect(page.locator("#toasts")).to_contain_text("Saved version 2 of “My boats”.")

    page.goto("/concepts/")
    page.get_by_role("link", name="Search Postcards with My boats").click()
    expect(page.locator("#results .chips")).to_contain_text("My boats")
    boats = shown(page)[:10]
    page.goto("/concepts/")
    page.get_by_role("link", name="My boats", exact=True).click()
    expect(page.locator(".versions li")).to_have_count(2)
    assert [
        int(item)
        for item in page.locator(".strip .hit").evaluate_all(
            "hits => hits.map(hit => hit.dataset.item)"
        )
    ][:10] == boats
    page.get_by_role("button", name="Restore version 1").click()
    expect(page.locator(".versions li")).to_have_count(3)

    page.get_by_text("Edit", exact=True).click()
    page.get_by_role("button", name="Delete concept").click()
    page.wait_for_url("**/concepts/")
    expect(page.locator("#toasts")).to_contain_text("Deleted “My boats”.")
    page.locator("#toasts button").click()
    expect(page.locator(".concepts .name", has_text="My boats")).to_be_visible()


def test_axe_finds_nothing_wrong(page, live_server_process):
    sign_in(page, live_server_process)
    page.goto("/?q=horses")
    mark(page, "p", 0)
    mark(page, "x", 1)
    refine(page)
    expect(current(page)).to_have_text("1")
    assert axe.violations(page, rules=()) == []
    page.locator("#refine .keeps").click()
    page.locator("#save-concept-name").fill("Horses")
    assert axe.violations(page, rules=()) == []
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Saved as")
    page.goto("/concepts/")
    assert axe.violations(page, rules=()) == []
    page.get_by_role("link", name="Horses", exact=True).click()
    expect(page.locator(".strip .hit").first).to_be_visible()
    assert axe.violations(page, rules=()) == []


def test_on_a_phone_the_bar_is_small_and_unfolds(opened):
    page = opened(**PHONE)
    page.goto("/?q=boats")
    for place, act in ((0, "good"), (1, "bad")):
        hit(page, place).locator(f"[data-act={act}]").tap()
    bar = page.locator("#refine")
    expect(bar).to_be_visible()
    assert bar.bounding_box()["height"] < 80
    page.locator("#refine .go").tap()
    expect(current(page)).to_have_text("1")
    assert bar.bounding_box()["height"] < 130
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["viewport"]["width"]
    page.locator("#refine .unfold").tap()
    expect(page.locator("#refine .strength input")).to_be_visible()
    expect(page.locator("#refine .marks img")).to_have_count(2)
    # The last pictures can be scrolled to above it.
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    small = page.locator("#refine button:visible, #refine a:visible").evaluate_all(
        "all => all.filter(one => one.getBoundingClientRect().height < 36).length"
    )
    assert small == 0
