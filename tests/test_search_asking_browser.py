"""Asking in Chromium: chips and their weights, pictures, filters, the cutoff, Back."""

import base64
import re

from playwright.sync_api import Page, expect
from support import axe
from test_search_browser import (
    EXAMPLE,
    FIRST,
    chips,
    draw_nothing,
    expect_preview,
    expect_settled,
    found,
    parameters,
    paste,
    provoked,
    shown,
)

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}


def open_panel(page: Page) -> None:
    page.get_by_role("button", name="Filters", exact=True).click()


def asked(page: Page) -> str:
    return parameters(page)["q"]


# --- Chips


def open_weight(page: Page, of: str):
    """The slider of a chip."""
    page.locator(".chip", has_text=of).locator("summary").click()
    slider = page.locator(".weight[open] input[type=range]")
    expect(slider).to_be_visible()
    return slider


def test_a_weight_is_changed_by_keys(page):
    page.goto("/?q=a+house+-car")
    slider = open_weight(page, "car")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".weight[open] output")).to_have_text("-0.8")
    expect(page.locator("#q")).to_have_value("a house -0.8:car")
    expect_settled(page)
    assert asked(page) == "a house -0.8:car"
    expect(slider).to_be_focused()  # so that one can go on
    terms = {"text": "a house"}, {"text": "car", "weight": -0.8}
    assert shown(page)[:FIRST] == found(page, *terms)
    page.keyboard.press("End")
    expect(page.locator("#q")).to_have_value("a house 2:car")
    page.keyboard.press("Escape")
    expect(slider).to_be_hidden()
    page.go_back()
    expect(page.locator("#q")).to_have_value("a house -0.8:car")


def test_a_weight_is_changed_by_the_mouse_when_it_is_let_go(page):
    page.goto(f"/?q=at+night&item={EXAMPLE}")
    slider = open_weight(page, "like item")
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.74, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, middle, steps=4)
    assert parameters(page)["item"] == str(EXAMPLE)
    page.mouse.up()
    expect(page).to_have_url(re.compile(rf"item=-[0-9.]+%3A{EXAMPLE}"))
    expect_settled(page)
    weight = float(parameters(page)["item"].split(":")[0])
    assert -1.2 < weight < -0.4
    terms = {"text": "at night"}, {"item": EXAMPLE, "weight": weight}
    assert shown(page)[:FIRST] == found(page, *terms)


def test_a_sign_is_turned_by_a_click(page):
    page.goto(f"/?q=a+boat+-car&item={EXAMPLE}")
    first, *others = chips(page)
    assert first.startswith(f"+ like item {EXAMPLE}: ")
    assert others == ["+ a boat", "− car"]
    page.get_by_role("link", name="car: less like this, switch to more").click()
    expect(page.locator("#q")).to_have_value("a boat +car")
    page.get_by_role("link", name=re.compile("^like item .*: more like this")).click()
    expect(page).to_have_url(re.compile("item=-1%3A"))
    expect_settled(page)
    first, *others = chips(page)
    assert first.startswith(f"− like item {EXAMPLE}: ")
    assert others == ["+ a boat", "+ car"]


DRAG = """([from, to, shift]) => {
    const data = new DataTransfer()
    const { dataset, item } = document.querySelectorAll('.hit')[from].dataset
    const told = JSON.stringify({ dataset, id: Number(item) })
    data.setData('application/x-laionweb-item', told)
    const send = (kind, target) => target.dispatchEvent(new DragEvent(kind,
        { bubbles: true, cancelable: true, dataTransfer: data, shiftKey: shift }))
    send('dragenter', document.body)
    const half = document.querySelector(`.signs [data-sign="${to}"]`)
    if (half.closest('[hidden]')) throw new Error('one cannot see where to drop')
    send('dragover', half)
    send('drop', half)
    return Number(item)
}"""


def test_a_result_dragged_onto_the_box_joins_the_search(page):
    page.goto("/?q=a+boat&nsfw=any")
    first = page.evaluate(DRAG, [0, 1, False])
    expect(page.locator(".chip", has_text=f"like item {first}")).to_be_visible()
    expect_settled(page)
    assert parameters(page)["item"] == str(first)
    assert parameters(page).items() >= {"q": "a boat", "nsfw": "any"}.items()
    expect(page.locator(".signs")).to_be_hidden()
    image = page.locator(".chip img").first
    assert image.get_attribute("src") == f"/t/postcards/{first}/160.webp"
    for to, shift in ((-1, False), (1, True)):
        away = page.evaluate(DRAG, [2, to, shift])
        expect(page).to_have_url(re.compile(f"item=-1%3A{away}"))
        expect_settled(page)
    assert len(page.locator(".chip.away").all()) == 2


def test_a_result_can_be_dragged_by_hand(page):
    page.goto("/?q=a+boat")
    first = shown(page)[0]
    hit, box = page.locator(".hit .picture").first, page.locator("#search .box")
    hit.hover()
    page.mouse.down()
    corner = box.bounding_box()
    page.mouse.move(corner["x"] + 100, corner["y"] + 80, steps=5)
    expect(page.locator(".signs")).to_be_visible()
    page.mouse.move(corner["x"] + 100, corner["y"] + 20, steps=5)
    expect(page.locator(".signs .over")).to_have_text("+ more like it")
    page.mouse.up()
    expect(page).to_have_url(re.compile(f"item={first}"))


# --- Pictures


def picture(page: Page, item: int = EXAMPLE) -> bytes:
    return page.request.get(f"/postcards/{item}.jpg").body()


def choose(page: Page, *items: int) -> None:
    files = [
        {"name": f"{i}.jpg", "mimeType": "image/jpeg", "buffer": picture(page, i)}
        for i in items
    ]
    page.locator("#picture-file").set_input_files(files)


def test_several_pictures_are_shown_on_chips_of_their_own(page):
    page.goto("/")
    choose(page, EXAMPLE, 77)
    expect(page).to_have_title("Like 2 images – laionweb")
    expect_settled(page)
    assert chips(page) == ["+ your image"] * 2
    previews = page.locator(".chip img")
    sources = [each.get_attribute("src") for each in previews.all()]
    assert len(set(sources)) == 2
    assert {EXAMPLE, 77} <= {*shown(page)[:10]}
    page.get_by_role("link", name="an image: more like this, switch to less").nth(
        1
    ).click()
    expect(page.locator(".chip.away img")).to_have_attribute("src", sources[1])
    page.get_by_role("link", name="Remove image").first.click()
    expect(previews).to_have_count(1)
    expect(previews).to_have_attribute("src", sources[1])


PASTE_INTO_BOX = """(bytes) => {
    const file = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))
    const data = new DataTransfer()
    data.items.add(new File([file], 'a.jpg', { type: 'image/jpeg' }))
    document.querySelector('#q').dispatchEvent(new ClipboardEvent('paste',
        { bubbles: true, cancelable: true, clipboardData: data }))
}"""


def test_a_picture_pasted_into_the_box_joins_what_is_in_it(page):
    page.goto("/?q=at+night")
    page.evaluate(PASTE_INTO_BOX, base64.b64encode(picture(page)).decode())
    expect_preview(page)
    assert asked(page) == "at night"
    paste(page, picture(page, 77))  # anywhere else it stands alone
    expect(page).not_to_have_url(re.compile("q=at"))
    expect_preview(page)
    assert shown(page)[0] == 77
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="+ Image").click()
    chooser.value.set_files(
        {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": picture(page)}
    )
    expect(page.locator(".chip img")).to_have_count(2)


def test_a_part_of_a_picture_is_searched_by_with_keys_and_mouse(page):
    page.goto("/")
    choose(page, EXAMPLE)
    expect_preview(page)
    whole, words = parameters(page)["embedding"], page.locator(".chip img")
    before = words.get_attribute("src")
    page.locator(".chip summary").click()
    page.get_by_role("button", name="Crop image").click()
    frame = page.locator("#crop .part")
    expect(frame).to_be_focused()
    start = frame.bounding_box()
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    moved = frame.bounding_box()
    assert moved["x"] < start["x"] and moved["y"] < start["y"]
    assert moved["width"] > start["width"] and moved["height"] > start["height"]
    page.mouse.move(moved["x"] + moved["width"], moved["y"] + moved["height"])
    page.mouse.down()
    page.mouse.move(moved["x"] + 200, moved["y"] + 160, steps=3)
    page.mouse.up()
    small = frame.bounding_box()
    assert abs(small["width"] - 200) < 8 and abs(small["height"] - 160) < 8
    page.mouse.move(small["x"] + 60, small["y"] + 60)
    page.mouse.down()
    page.mouse.move(small["x"] + 5_000, small["y"] + 60, steps=3)
    page.mouse.up()
    stage = page.locator("#crop canvas").bounding_box()
    box = frame.bounding_box()
    assert abs(box["x"] + box["width"] - stage["x"] - stage["width"]) < 4  # no further
    page.get_by_role("button", name="Search this area").click()
    expect(words).not_to_have_attribute("src", before)
    expect_settled(page)
    assert parameters(page)["embedding"] != whole
    assert len(page.locator(".chip").all()) == 1
    page.go_back()
    expect(words).to_have_attribute("src", before)


def test_areas_of_a_result_are_drawn_and_searched_by_and_drawn_again(page):
    page.goto("/?q=a+boat")
    page.locator("main .hit a.picture").first.click()
    page.get_by_role("button", name="Search an area").click()
    frames = page.locator("#crop .part")
    expect(frames).to_be_focused()
    stage = page.locator("#crop canvas").bounding_box()
    for left in (10, 210):
        page.mouse.move(stage["x"] + left, stage["y"] + 20)
        page.mouse.down()
        page.mouse.move(stage["x"] + left + 150, stage["y"] + 120, steps=3)
        page.mouse.up()
    expect(frames).to_have_count(2)  # the first took the place of what was there
    box = frames.first.bounding_box()
    assert abs(box["x"] - stage["x"] - 10) < 4 and abs(box["width"] - 150) < 4
    page.get_by_role("button", name="Search these 2 areas").click()
    expect(page.locator("#detail")).to_be_hidden()
    expect(page.locator(".chip img")).to_have_count(2)
    expect_settled(page)
    first, second = page.evaluate(
        "new URLSearchParams(location.search).getAll('embedding')"
    )
    page.locator(".chip summary").first.click()
    page.get_by_role("button", name="Crop image").first.click()
    again = frames.bounding_box()
    assert abs(again["width"] / again["height"] - 1.5) < 0.1
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_role("button", name="Search this area").click()
    page.wait_for_function(
        """first => {
            const [one] = new URLSearchParams(location.search).getAll('embedding')
            return one !== first
        }""",
        arg=first,
    )
    assert second in page.url  # behind the first, as before


# --- The panel


def test_the_panel_opens_beside_the_results_and_stays_open(page):
    page.goto("/?q=a+boat")
    width = page.get_by_label("Width from")
    button = page.get_by_role("button", name="Filters", exact=True)
    expect(page.locator(".grid").first).to_be_visible()
    expect(width).to_be_hidden()
    button.click()
    expect(width).to_be_visible()
    expect(button).to_have_attribute("aria-expanded", "true")
    panel, grid = page.locator("#panel").bounding_box(), page.locator(".grid").first
    assert panel["x"] + panel["width"] < grid.bounding_box()["x"]
    page.reload()
    expect(width).to_be_visible()
    page.get_by_role("button", name="Close the filters").click()
    expect(width).to_be_hidden()


def test_on_a_phone_the_panel_is_a_sheet(opened):
    page = opened(**PHONE)
    page.goto("/?q=a+boat")
    width = page.get_by_label("Width from")
    expect(width).to_be_hidden()
    page.get_by_role("button", name="Filters", exact=True).tap()
    expect(width).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_label("Shape").select_option("portrait")
    expect(page).to_have_url(re.compile("orientation=portrait"))
    expect(page.locator("#results")).to_contain_text("None of the 600 images")
    page.get_by_role("button", name="Apply").tap()
    expect(width).to_be_hidden()
    page.get_by_role("link", name="Without “portrait”").tap()
    expect(page.locator("#results .hit")).to_have_count(40)
    page.get_by_role("button", name="Filters", exact=True).tap()
    page.keyboard.press("Escape")
    expect(width).to_be_hidden()


def test_a_filter_of_the_panel_replaces_the_one_in_the_box(page):
    page.goto("/?q=a+boat+width>5+nsfw:any")
    open_panel(page)
    page.get_by_label("Width from").fill("7")
    page.keyboard.press("Enter")
    expect(page.locator("#q")).to_have_value("a boat nsfw:any")
    expect(page.locator(".chip", has_text="width ≥ 7")).to_be_visible()
    page.get_by_role("link", name="Reset").click()
    expect(page).not_to_have_url(re.compile("min_width"))
    expect(page.get_by_label("Width from")).to_have_value("")
    expect(page.locator("#q")).to_have_value("a boat nsfw:any")


def test_the_cutoff_is_set_by_its_slider(page):
    page.goto("/?q=a+boat&dedupe=no")
    open_panel(page)
    slider = page.locator("#cutoff-slider")
    slider.focus()
    page.keyboard.press("End")
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    # On a slow machine the results change between two keys, and the slider with them.
    place = "slider => slider.dataset.edges.split(' ')[slider.value]"
    while parameters(page).get("cutoff") != slider.evaluate(place):
        page.wait_for_timeout(100)
    expect_settled(page)
    expect(slider).to_be_focused()
    told = slider.get_attribute("aria-valuetext")
    count = int(re.match(r"([\d,]+) of the top 600 reach", told)[1])
    expect(page.locator("#cutoff-count")).to_contain_text(f"{count} of the top 600")
    cutoff = float(parameters(page)["cutoff"])
    filters = {"cutoff": cutoff, "dedupe": False}
    hits = found(page, {"text": "a boat"}, filters=filters, limit=100)
    assert len(hits) == min(count, 100)
    page.keyboard.press("Home")
    expect(page).not_to_have_url(re.compile("cutoff="))
    expect(page.locator(".chip", has_text="similarity")).to_have_count(0)


def test_results_are_sorted_on_request(page):
    page.goto("/?q=a+boat")
    open_panel(page)
    page.get_by_label("Sort").select_option("size")
    expect(page).to_have_url(re.compile("sort=size"))
    expect(page.locator(".summary")).to_contain_text(", largest first")
    expect_settled(page)
    assert shown(page)[:FIRST] == found(page, {"text": "a boat"}, sort="size")
    page.go_back()
    expect(page.get_by_label("Sort")).to_have_value("similarity")


# --- What the page says of its results


def offer_check(page: Page) -> None:
    """Add the link of searches by an index, which the small example does without."""
    page.evaluate(
        """() => {
            const link = document.createElement('a')
            link.textContent = 'check'
            link.href = '/search/exact' + location.search
            const target = { get: link.href, target: '#exact-check', swap: 'innerHTML' }
            for (const [name, value] of Object.entries(target)) {
                link.setAttribute(`hx-${name}`, value)
            }
            link.setAttribute('hx-push-url', 'false')
            document.querySelector('#results .summary').append(link)
            htmx.process(link)
        }"""
    )


def test_one_click_checks_the_index(page):
    page.goto("/?q=a+black+cat")
    offer_check(page)
    page.locator("#q").fill("a black cat at")
    page.get_by_role("link", name="check").click()
    expect(page.locator("#exact-check")).to_contain_text(
        "Every image was already compared: these are the 40 nearest."
    )
    expect(page.locator("#q")).to_have_value("a black cat at")
    expect(page).to_have_url(re.compile(r"/\?q=a\+black\+cat$"))
    expect(page.locator("#results .hit")).to_have_count(40)


def test_an_exact_check_that_fails_leaves_the_results(page):
    page.goto("/?q=a+black+cat")
    offer_check(page)
    page.route("**/search/exact*", lambda route: route.abort())
    page.get_by_role("link", name="check").click()
    expect(page.locator("#exact-check")).to_contain_text("did not answer")
    expect(page.locator("#results .hit")).to_have_count(40)
    page.wait_for_timeout(300)
    provoked(page, "ERR_FAILED", "htmx:")


def test_back_leads_to_the_same_place_in_many_results(page):
    draw_nothing(page)
    page.goto("/?q=a+boat")
    hits = page.locator("#results .hit")
    while (count := hits.count()) < 120:
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(hits).not_to_have_count(count)
    expect_settled(page)
    page.evaluate("scrollTo(0, document.body.scrollHeight * 0.6)")
    top = page.evaluate("scrollY")
    before = shown(page)
    page.evaluate("document.querySelector('.chips .sign, .wordmark').click()")
    expect(page.locator(".examples")).to_be_visible()
    expect_settled(page)
    page.go_back()
    expect(page.locator("#q")).to_have_value("a boat")
    expect_settled(page)
    assert shown(page)[:100] == before[:100]
    page.wait_for_function(f"Math.abs(scrollY - {top}) < 200")


def test_a_copied_link_shows_the_same_in_a_private_window(page, opened):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"/?q=a+house+-0.5:car+width>5&item=2:{EXAMPLE}&dedupe=no&cutoff=0.1")
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator(".toast")).to_contain_text("Link copied")
    address = page.evaluate("navigator.clipboard.readText()")
    stranger = opened()
    stranger.goto(address)
    assert chips(stranger) == chips(page)
    assert shown(stranger)[:FIRST] == shown(page)[:FIRST]
    expect(stranger.get_by_label("Show near-duplicates")).to_be_checked()


# --- For everyone


def test_nobody_is_kept_out_of_panel_chips_and_crop(page):
    draw_nothing(page)
    page.goto(f"/?q=a+house+-car&item={EXAMPLE}&cutoff=0.1")
    page.locator(".chip summary").first.click()
    expect_no_violations(page)
    page.goto("/")
    page.get_by_role("button", name="Filters", exact=True).click()
    expect_no_violations(page)
    page.keyboard.press("Escape")
    choose(page, EXAMPLE)
    expect_preview(page)
    page.locator(".chip summary").click()
    page.get_by_role("button", name="Crop image").click()
    expect(page.locator("#crop .part")).to_be_focused()
    expect_no_violations(page)


def expect_no_violations(page: Page) -> None:
    assert axe.violations(page, impacts=axe.GRAVE) == []
