"""Accounts in Chromium, by the keyboard alone, on a server as a newcomer starts it."""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from conftest import opening
from playwright.sync_api import Page, expect
from support import axe

DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {
    "viewport": {"width": 360, "height": 740},
    "is_mobile": True,
    "has_touch": True,
    "color_scheme": "dark",
}
PASSWORD = "a long password 1"


@pytest.fixture(scope="module")
def limited_server(example_server) -> Iterator:
    """A server that allows three searches in an hour."""
    with example_server(LIMIT_SEARCH="3/h") as server:
        yield server


@pytest.fixture
def opened(browser, limited_server) -> Iterator[Callable[..., Page]]:
    with opening(browser, limited_server.url) as open_page:
        yield open_page


def reach(page: Page, role: str, name: str) -> None:
    """Presses Tab until this has the focus."""
    wanted = page.get_by_role(role, name=name, exact=True)
    for _ in range(60):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the Tab key does not come to {role} “{name}”")


def press(page: Page, role: str, name: str) -> None:
    reach(page, role, name)
    page.keyboard.press("Enter")


def write(page: Page, label: str, text: str) -> None:
    field = page.get_by_label(label, exact=True)
    for _ in range(60):
        if field.evaluate("element => element === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(field).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type(text)


def check_looks(page: Page, heading: str) -> None:
    """The page of this heading is here; nothing sticks out, nobody is kept out."""
    expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
    page.wait_for_load_state()
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") == width, page.url
    on_phone = width == PHONE["viewport"]["width"]  # which comes in the dark
    schemes = ("dark",) if on_phone else ("light", "dark")
    assert axe.violations(page, schemes) == [], page.url


@pytest.mark.parametrize(("name", "options"), [("desk", DESKTOP), ("hand", PHONE)])
def test_an_account_from_its_first_to_its_last_day(opened, name, options):
    page = opened(**options)
    page.goto("/account/")
    press(page, "link", "Sign up")
    check_looks(page, "Sign up")
    write(page, "Username", name)
    write(page, "Email", f"{name}@example.org")
    write(page, "Password", "short")
    page.keyboard.press("Enter")
    expect(page.get_by_text("This password is too short")).to_be_visible()
    check_looks(page, "Sign up")
    write(page, "Password", PASSWORD)
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile("/account/$"))  # where it began
    check_looks(page, name)
    press(page, "button", "Sign out")
    expect(page.get_by_text("You are signed out.")).to_be_visible()

    page.goto("/accounts/login/?next=/account/")
    check_looks(page, "Sign in")
    write(page, "Username or email", f"{name}@example.org")
    write(page, "Password", PASSWORD)
    press(page, "button", "Sign in")
    expect(page).to_have_url(re.compile("/account/$"))

    secret = a_token(page)
    check_looks(page, name)
    assert status_by(page, secret) == 200
    assert status_by(page, f"{secret}x") == 401

    press(page, "button", "Revoke notebook")
    expect(page.get_by_text("“notebook” no longer works")).to_be_visible()
    check_looks(page, name)
    assert status_by(page, secret) == 401

    press(page, "link", "Delete my account…")
    check_looks(page, "Delete your account?")
    write(page, "Your password", "wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Wrong password.")).to_be_visible()
    provoked(page, "400")
    write(page, "Your password", PASSWORD)
    press(page, "button", "Delete account")
    expect(page.get_by_text("its data were deleted")).to_be_visible()
    page.goto("/account/")
    expect(page).to_have_url(re.compile("/accounts/login/"))


def a_token(page: Page) -> str:
    write(page, "Token name", "notebook")
    press(page, "button", "Create token")
    shown = page.get_by_label("The new token")
    expect(shown).to_be_focused()
    return shown.input_value()


def status_by(page: Page, token: str) -> int:
    """Return the API's response to a program with this token and no cookies."""
    asking = page.context.browser.new_context()
    address = page.url.split("/account")[0] + "/api/datasets/"
    header = {"Authorization": f"Token {token}"}
    status = asking.request.get(address, headers=header).status
    asking.close()
    return status


def provoked(page: Page, words: str) -> None:
    """Takes the errors out of the complaints that the test brought about."""
    mine = [text for text in page.complaints if words in text]
    assert mine
    page.complaints[:] = [text for text in page.complaints if text not in mine]


def test_whoever_searches_too_much_keeps_what_they_see(opened):
    page = opened(**DESKTOP)
    page.goto("/?q=a+boat")
    pictures = page.locator("#results a.picture")
    expect(pictures.first).to_be_visible()
    for words in ("a house", "a house at night", "a cat"):
        page.locator("#q").fill(words)
        with page.expect_response(re.compile("q=")) as answer:
            page.keyboard.press("Enter")
        if answer.value.status == 429:
            break
        expect(page).to_have_title(re.compile(words))
    expect(page.locator(".toast")).to_contain_text("the limit is 3 searches in an hour")
    assert pictures.count() > 0
    provoked(page, "429")
    page.reload()
    expect(page.get_by_role("heading", name="Too many requests")).to_be_visible()
    check_looks(page, "Too many requests")
    provoked(page, "429")
    answer = page.request.get("/api/search/?dataset=postcards&q=a+boat")
    assert (answer.status, json.loads(answer.body())["code"]) == (429, "throttled")
