"""Collections in Chromium: by mouse, by keyboard, on a phone."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

AXE = Path(__file__).with_name("axe.min.js")
PHONE = {"viewport": {"width": 360, "height": 780}, "has_touch": True}


@pytest.fixture(scope="module")
def signed_in(browser, live_server_process) -> dict:
    """The cookies of the admin."""
    context = browser.new_context(base_url=live_server_process.url)
    page = context.new_page()
    page.goto("/accounts/login/")
    sign_in(page, live_server_process.password)
    state = context.storage_state()
    context.close()
    return state


def sign_in(page: Page, password: str) -> None:
    page.locator("input[name=login]").fill("admin")
    page.locator("input[name=password]").fill(password)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/login" not in url)


@pytest.fixture
def mine(opened, signed_in) -> Page:
    return opened(storage_state=signed_in)


def search(page: Page, words: str) -> None:
    page.goto(f"/?q={words}")
    settled(page)


def settled(page: Page) -> None:
    """Nothing is on its way, and what has come is in its place."""
    moving = page.locator(".htmx-request, .htmx-swapping, .htmx-settling")
    expect(moving).to_have_count(0)


def toast(page: Page):
    return page.locator("#toasts")


def made(page: Page, name: str, ids: range) -> str:
    """Makes a collection by the page's own request; its address."""
    page.goto("/collections/")
    return page.evaluate(
        """async ([name, items]) => {
            const { send } = await import('/static/js/dom.js')
            return (await send('/collections/', { name, items })).to
        }""",
        [
            name,
            "[" + ",".join(f'{{"dataset":"postcards","id":{i}}}' for i in ids) + "]",
        ],
    )


def order_of(page: Page) -> list[int]:
    return page.locator(".members > .hit").evaluate_all(
        "hits => hits.map(hit => Number(hit.dataset.item))"
    )


def expect_order(page: Page, *items: int) -> None:
    """The pictures of the collection, as soon as they have settled down."""
    page.wait_for_function(
        """wanted => wanted === [...document.querySelectorAll('.members > .hit')]
            .map(hit => hit.dataset.item).join()""",
        arg=",".join(map(str, items)),
    )


def member(page: Page, item: int):
    return page.locator(f'.members > .hit[data-item="{item}"]')


# --- Adding


def test_a_hit_goes_into_a_new_collection_by_keyboard_and_out_again(mine):
    search(mine, "a+boat")
    first = mine.locator("#results .hit a.picture").first
    item = mine.locator("#results .hit").first.get_attribute("data-item")
    first.focus()
    mine.keyboard.press("a")
    box = mine.get_by_label("Find a collection, or name a new one")
    expect(box).to_be_focused()
    box.fill("By keyboard")
    expect(
        mine.get_by_role("button", name="New collection “By keyboard”")
    ).to_be_visible()
    mine.keyboard.press("Enter")
    expect(toast(mine)).to_contain_text("Created “By keyboard” with 1 image.")
    expect(first).to_be_focused()
    # The first of the list has it now, and says so; Enter there takes it out.
    mine.keyboard.press("a")
    box.fill("keyb")
    choice = mine.locator("#collect .choice")
    expect(choice).to_have_count(1)
    expect(choice).to_contain_text("✓ in it")
    mine.keyboard.press("Enter")
    expect(toast(mine)).to_contain_text("Removed 1 image from “By keyboard”.")
    mine.keyboard.press("u")
    expect(toast(mine)).to_contain_text("Undone.")
    settled(mine)
    mine.goto("/collections/")
    mine.get_by_role("link", name="By keyboard").click()
    expect_order(mine, int(item))


def test_a_hit_is_added_by_mouse_and_the_toast_undoes_it(mine):
    address = made(mine, "By mouse", range(3))
    search(mine, "a+windmill")
    hit = mine.locator("#results .hit").first
    hit.hover()
    hit.get_by_role("button", name="Add to a collection").click()
    mine.locator("#collect .choice", has_text="By mouse").click()
    expect(toast(mine)).to_contain_text("Added 1 image to “By mouse”.")
    mine.get_by_role("button", name="Undo").click()
    expect(toast(mine)).to_contain_text("Removed 1 image from “By mouse” again.")
    mine.goto(address)
    expect_order(mine, 0, 1, 2)


def test_a_selection_goes_in_as_a_whole(mine):
    address = made(mine, "Selected", range(1))
    search(mine, "a+car")
    for place in (0, 1, 2):
        mine.locator("#results .hit a.picture").nth(place).focus()
        mine.keyboard.press(" ")
    mine.keyboard.press("a")
    expect(mine.locator("#collect h2")).to_have_text("Add 3 images to a collection")
    with mine.expect_response("**/add"):
        mine.locator("#collect .choice", has_text="Selected").click()
    expect(toast(mine)).to_contain_text("Added 3 images")
    mine.goto(address)
    expect(mine.locator("#size")).to_have_text("4 images")


def test_a_hit_is_dropped_to_be_added(mine):
    made(mine, "Dropped on", range(1))
    search(mine, "a+car")
    picture = mine.locator("#results .hit a.picture").first.bounding_box()
    mine.mouse.move(picture["x"] + 60, picture["y"] + 60)
    mine.mouse.down()
    mine.mouse.move(picture["x"] + 80, picture["y"] + 90, steps=4)
    pad = mine.locator("#collect-drop")
    expect(pad).to_be_visible()
    box = pad.bounding_box()
    mine.mouse.move(box["x"] + 50, box["y"] + 30, steps=4)
    mine.mouse.up()
    expect(pad).not_to_be_visible()
    expect(mine.locator("#collect .choice", has_text="Dropped on")).to_be_visible()


def test_a_visitor_signs_in_and_goes_on_with_what_was_chosen(
    opened, live_server_process
):
    page = opened()
    search(page, "a+cat")
    page.locator("#results .hit a.picture").first.focus()
    page.keyboard.press("a")
    expect(page.locator("#collect")).to_contain_text("Sign in to use collections")
    page.locator("#collect").get_by_role("link", name="Sign in").click()
    sign_in(page, live_server_process.password)
    expect(page).to_have_url(re.compile(r"/\?q=a\+cat"))
    expect(page.get_by_label("Find a collection, or name a new one")).to_be_focused()
    page.keyboard.type("Waited for me")
    page.keyboard.press("Enter")
    expect(toast(page)).to_contain_text("Created “Waited for me” with 1 image.")
    # It does not come back a second time.
    page.reload()
    expect(page.locator("#collect")).not_to_be_visible()


# --- The page of a collection


def test_a_note_is_kept_while_it_is_typed(mine):
    address = made(mine, "Noted", range(2))
    mine.goto(address)
    mine.get_by_label("Your note on image 2").click()
    mine.keyboard.type("for the calendar")
    expect(toast(mine)).to_contain_text("Note saved.")
    mine.reload()
    expect(mine.get_by_label("Your note on image 2")).to_have_value("for the calendar")


def test_a_note_is_kept_though_one_leaves_at_once(mine):
    address = made(mine, "Left", range(2))
    mine.goto(address)
    mine.get_by_label("Your note on image 1").fill("in a hurry")
    mine.goto("/collections/")
    note = mine.get_by_label("Your note on image 1")
    for _ in range(20):
        mine.goto(address)
        if note.input_value() == "in a hurry":
            return
    raise AssertionError("the note was lost")


def test_pictures_are_taken_out_and_come_back(mine):
    address = made(mine, "Shrinking", range(4))
    mine.goto(address)
    member(mine, 1).locator("a.picture").focus()
    mine.keyboard.press("Delete")
    expect(toast(mine)).to_contain_text("Removed 1 image from “Shrinking”.")
    expect(mine.locator("#size")).to_have_text("3 images")
    expect_order(mine, 0, 2, 3)
    mine.get_by_role("button", name="Undo").click()
    expect(mine.locator("#size")).to_have_text("4 images")
    expect_order(mine, 0, 1, 2, 3)
    mine.reload()
    expect_order(mine, 0, 1, 2, 3)
    member(mine, 2).locator(".grip").click()
    mine.locator("#member").get_by_role("button", name="Remove").click()
    expect(mine.locator("#size")).to_have_text("3 images")


def drag(page: Page, item: int, onto: int) -> None:
    """Drops a picture on the left half of another."""
    member(page, item).scroll_into_view_if_needed()
    grip = member(page, item).locator(".grip").bounding_box()
    target = member(page, onto).locator(".frame").bounding_box()
    page.mouse.move(grip["x"] + 18, grip["y"] + 18)
    page.mouse.down()
    page.mouse.move(target["x"] + 60, target["y"] + 60, steps=6)
    page.mouse.move(target["x"] + 20, target["y"] + 60)
    page.mouse.up()


def test_the_order_is_made_by_dragging_and_by_the_keyboard(mine):
    address = made(mine, "Ordered", range(6))
    mine.goto(address)
    drag(mine, 3, onto=1)
    expect(toast(mine)).to_contain_text("Moved 1 image.")
    expect_order(mine, 0, 3, 1, 2, 4, 5)
    mine.reload()
    expect_order(mine, 0, 3, 1, 2, 4, 5)
    grip = member(mine, 4).locator(".grip")
    grip.focus()
    with mine.expect_response("**/move"):
        mine.keyboard.press("ArrowLeft")
    expect(grip).to_be_focused()
    expect(mine.locator("#announcement")).to_have_text("Now at position 4")
    with mine.expect_response("**/move"):
        mine.keyboard.press("End")
    expect_order(mine, 0, 3, 1, 2, 5, 4)
    grip.press("Enter")
    mine.get_by_label("Move to position").fill("2")
    with mine.expect_response("**/move"):
        mine.keyboard.press("Enter")
    expect_order(mine, 0, 4, 3, 1, 2, 5)
    mine.get_by_role("button", name="Undo").click()
    expect_order(mine, 0, 3, 1, 2, 5, 4)


def test_a_long_collection_goes_on_as_one_scrolls_and_by_its_link(mine):
    address = made(mine, "Long", range(100))
    mine.goto(address)
    assert len(order_of(mine)) in (40, 80)
    mine.locator(".more > a").click()
    expect(mine.locator(".members > .hit")).to_have_count(80)
    mine.mouse.wheel(0, 20_000)
    expect(mine.locator(".members > .hit")).to_have_count(100)
    expect_order(mine, *range(100))
    expect(mine.locator(".more")).to_have_count(0)


def test_a_collection_is_deleted_and_put_back(mine):
    mine.goto(made(mine, "Doomed", range(2)))
    mine.locator("summary", has_text="Edit").click()
    mine.get_by_role("button", name="Delete collection").click()
    mine.wait_for_url("**/collections/")
    expect(toast(mine)).to_contain_text("Deleted “Doomed”.")
    expect(mine.get_by_role("link", name="Doomed")).to_have_count(0)
    mine.get_by_role("button", name="Undo").click()
    expect(mine.get_by_role("link", name="Doomed")).to_be_visible()


def test_a_shared_link_shows_the_collection_in_a_private_window(mine, opened):
    address = made(mine, "For friends", range(3))
    mine.goto(address)
    mine.get_by_label("Your note on image 1").fill("not for friends")
    expect(toast(mine)).to_contain_text("Note saved.")
    mine.locator("#share summary").click()
    mine.get_by_label("Anyone with the link").check()
    mine.get_by_role("button", name="Apply").click()
    expect(mine.locator(".messages")).to_contain_text(
        "Anyone with the link can view it"
    )
    link = mine.get_by_label("Link to this collection").input_value()
    friend = opened()
    friend.goto(link)
    expect_order(friend, 0, 1, 2)
    expect(friend.locator(".note, .grip")).to_have_count(0)
    friend.get_by_role("button", name="Copy to my collections").click()
    expect(friend).to_have_url(re.compile(r"/accounts/login/\?next="))


def test_a_search_inside_shows_the_nearest_first(mine):
    mine.goto(made(mine, "Searched", range(60)))
    mine.get_by_label("Search in this collection").fill("a windmill")
    mine.keyboard.press("Enter")
    expect(mine.locator(".members")).to_have_attribute("data-order", "likeness")
    told = mine.locator(".members .similarity").all_inner_texts()
    assert told == sorted(told, reverse=True)
    mine.get_by_role("link", name="Clear", exact=True).click()
    assert order_of(mine)[:3] == [0, 1, 2]
    mine.get_by_role("link", name="More like these").click()
    expect(mine.locator("#results .hit").first).to_be_visible()


# --- Everyone


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_accessible_and_fit_a_phone(opened, signed_in, scheme):
    page = opened(storage_state=signed_in, color_scheme=scheme, **PHONE)
    address = made(page, f"Phone {scheme}", range(5))
    page.goto("/collections/")
    check(page)
    page.goto(address)
    check(page)
    page.locator("#share summary").tap()
    check(page)
    page.keyboard.press("Escape")
    expect(page.locator("#share")).not_to_have_attribute("open", "")
    page.locator(".grip").first.tap()
    expect(page.locator("#member")).to_be_visible()
    check(page)
    page.keyboard.press("Escape")
    page.locator(".hit").first.locator("[data-act=collect]").tap()
    expect(page.locator("#collect .choice").first).to_be_visible()
    check(page)


def check(page: Page) -> None:
    """Nothing sticks out, nothing is too small for a finger, axe finds nothing."""
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{wide} pixels too wide"
    small = page.evaluate(
        """[...document.querySelectorAll(
            '.collection button, .shelf button, .collection summary, #collect button')]
            .filter(each => each.checkVisibility() && !each.closest('.frame'))
            .filter(each => each.getBoundingClientRect().height < 36)
            .map(each => each.outerHTML)"""
    )
    assert not small
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")["violations"]
    assert not found, [(each["id"], each["nodes"][0]["html"]) for each in found]
