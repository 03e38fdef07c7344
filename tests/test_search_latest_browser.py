"""The latest action wins in Chromium, whatever answer comes first or late."""

import re
from contextlib import suppress

import pytest
from playwright.sync_api import Error, Page, expect
from test_search_browser import expect_settled, parameters


class Held:
    """Holds the requests for results until they are released."""

    def __init__(self, page: Page):
        self.page, self.routes = page, []
        page.route(re.compile(r"/\?|/search/weigh"), self.hold)

    def hold(self, route) -> None:
        if route.request.headers.get("hx-request"):
            self.routes.append(route)
        else:
            route.continue_()

    def wait_for(self, count: int) -> None:
        while len(self.routes) < count:
            self.page.wait_for_timeout(20)

    def release(self) -> None:
        """Answer all, the last first, and hold no more."""
        self.page.unroute_all(behavior="ignoreErrors")
        for route in reversed(self.routes):
            with suppress(Error):  # the page has given it up
                route.continue_()
        expect_settled(self.page)
        given_up = "htmx:afterRequest", "htmx:sendAbort"
        self.page.complaints[:] = [
            text
            for text in self.page.complaints
            if not any(event in text for event in given_up)
        ]


@pytest.fixture
def at_boats(page) -> Page:
    page.goto("/?q=a+boat&dedupe=no")
    expect(page.locator("#results .hit").first).to_be_visible()
    return page


def search(page: Page, words: str) -> None:
    page.locator("#q").fill(words)
    page.locator("#q").press("Enter")


def open_panel(page: Page) -> None:
    page.get_by_role("button", name="Filters", exact=True).click()
    expect(page.locator("#cutoff-slider")).to_be_visible()


def test_of_two_searches_the_second_is_shown(at_boats):
    page, held = at_boats, Held(at_boats)
    search(page, "a red house")
    held.wait_for(1)
    search(page, "a cat")
    held.wait_for(2)
    held.release()
    expect(page).to_have_title("a cat – laionweb")
    assert parameters(page)["q"] == "a cat"
    expect(page.locator("#q")).to_have_value("a cat")


def test_changes_add_up_while_answers_are_late(at_boats):
    page = at_boats
    open_panel(page)
    held = Held(page)
    page.get_by_label("Sort").select_option("size")
    held.wait_for(1)
    # Of the near-duplicates; empty cards cover it by now.
    page.locator(".chips .remove").last.dispatch_event("click")
    held.wait_for(2)
    search(page, "a cat")
    held.wait_for(3)
    held.release()
    expect(page).to_have_title("a cat – laionweb")
    assert parameters(page).get("sort") == "size"
    assert "dedupe" not in parameters(page)
    expect(page.get_by_label("Sort")).to_have_value("size")
    expect(page.get_by_label("Show near-duplicates")).not_to_be_checked()


@pytest.mark.parametrize("answered", ["before", "after"])
def test_a_slider_moved_during_a_search_stays_where_it_is(at_boats, answered):
    page = at_boats
    open_panel(page)
    held = Held(page)
    search(page, "a cat")
    held.wait_for(1)
    slider = page.locator("#cutoff-slider")
    slider.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    cutoff = page.locator("#least").input_value()
    if answered == "after":
        held.wait_for(2)
    held.release()
    expect(page).to_have_url(re.compile("cutoff="))
    expect_settled(page)
    assert parameters(page)["q"] == "a cat"
    assert parameters(page)["cutoff"] == cutoff
    expect(page).to_have_title("a cat – laionweb")
    expect(page.locator("#least")).to_have_value(cutoff)
    expect(page.locator(".chip.filter").last).to_contain_text(f"≥ {float(cutoff):g}")


def test_back_during_a_search_leads_back(at_boats):
    page = at_boats
    search(page, "a red house")
    expect(page).to_have_title("a red house – laionweb")
    held = Held(page)
    search(page, "a cat")
    held.wait_for(1)
    page.go_back()
    expect(page).to_have_title("a boat – laionweb")
    held.release()
    page.wait_for_timeout(300)
    expect(page).to_have_title("a boat – laionweb")
    assert parameters(page)["q"] == "a boat"
    expect(page.locator("#q")).to_have_value("a boat")
