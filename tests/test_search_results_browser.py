"""Looking at results in Chromium: the grid, the keyboard, the selection, the panel."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support import axe

SEARCH = "/?q=boats+-snow"
# Keeps what is told to the other modules for the test, and from them.
EVENTS = """names => {
    window.told = []
    for (const name of names) {
        window.addEventListener(`laionweb:${name}`, (event) => {
            window.told.push({ name, ...JSON.parse(JSON.stringify(event.detail)) })
            event.stopImmediatePropagation()
        }, true)
    }
}"""


@pytest.fixture
def results(page) -> Page:
    page.goto(SEARCH)
    return page


def hits(page: Page):
    return page.locator("main .hit")


def ids(page: Page) -> list[int]:
    return hits(page).evaluate_all("all => all.map(hit => Number(hit.dataset.item))")


def focused(page: Page) -> int:
    """The place of the hit that has the focus; -1 if none has."""
    return page.evaluate(
        "[...document.querySelectorAll('main .hit')]"
        ".indexOf(document.activeElement.closest('.hit'))"
    )


def selected(page: Page) -> list[int]:
    return page.locator("main .hit[data-selected]").evaluate_all(
        "all => all.map(hit => Number(hit.dataset.item))"
    )


def columns(page: Page) -> int:
    return hits(page).evaluate_all(
        "all => all.filter(hit => hit.getBoundingClientRect().top"
        " === all[0].getBoundingClientRect().top).length"
    )


def told(page: Page, name: str) -> list[dict]:
    """The events of that name since EVENTS was told to listen."""
    return [
        {key: event[key] for key in event if key != "name"}
        for event in page.evaluate("window.told")
        if event["name"] == name
    ]


def item(number: int) -> dict:
    return {"dataset": "postcards", "id": number}


# --- The grid


def test_no_picture_moves_while_pages_arrive(page):
    page.add_init_script(
        "window.moved = 0;"
        "new PerformanceObserver(list => { for (const shift of list.getEntries())"
        " if (!shift.hadRecentInput && shift.sources.some(({ node }) =>"
        " node?.parentElement?.closest('main .grid'))) window.moved += shift.value })"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    page.goto("/?q=a+boat")
    expect(page.locator(".grid-tools")).to_be_visible()
    page.wait_for_load_state("networkidle")
    for count in (80, 120):
        page.evaluate(
            "scrollTo(0, scrollY - innerHeight - 500 +"
            " document.querySelector('.more').getBoundingClientRect().top)"
        )
        expect(hits(page)).to_have_count(count)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.moved") < 0.001


def test_pictures_come_small_from_this_site_and_only_when_they_are_near(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/?q=a+boat")
    page.wait_for_load_state("networkidle")
    pictures = [url for url in asked if "/t/postcards/" in url]
    assert 0 < len(pictures) < 40
    assert not any(url.endswith((".jpg", "1280.webp")) for url in asked)
    first = hits(page).first.locator("img")
    assert first.evaluate("image => image.loading") != "lazy"
    assert first.evaluate("image => image.fetchPriority") == "high"
    assert hits(page).last.locator("img").evaluate("image => image.loading") == "lazy"


def test_layout_and_size_can_be_chosen_and_are_remembered(results):
    before = columns(results)
    results.get_by_role("button", name="Equal tiles").click()
    box = hits(results).first.locator(".frame").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(4 / 3, abs=0.02)
    size = results.get_by_label("Image size")
    size.focus()
    for _ in range(8):
        size.press("ArrowRight")
    assert columns(results) < before
    chosen = columns(results)
    results.reload()
    assert columns(results) == chosen
    expect(results.get_by_role("button", name="Equal tiles")).to_have_attribute(
        "aria-pressed", "true"
    )


def test_whole_pictures_stand_in_rows_of_one_height(results):
    results.evaluate(
        "document.querySelectorAll('main .hit').forEach((hit, place) => {"
        " hit.dataset.ratio = [600, 1500, 1000, 2100][place % 4] })"
    )
    boxes = (
        hits(results)
        .locator(".frame")
        .evaluate_all(
            "all => all.map(frame => { const box = frame.getBoundingClientRect();"
            " return [box.top, box.height, box.width / box.height] })"
        )
    )
    rows = {round(top) for top, _, _ in boxes}
    for row in rows:
        heights = [height for top, height, _ in boxes if round(top) == row]
        assert max(heights) - min(heights) < 1.5
    assert [ratio for _, _, ratio in boxes[:4]] == pytest.approx(
        [0.6, 1.5, 1.0, 2.1], rel=0.02
    )


def test_pictures_that_are_gone_are_told_by_their_caption_and_counted(page):
    page.route(
        re.compile(r"/t/postcards/\d*[05]/"), lambda route: route.fulfill(status=404)
    )
    page.goto(SEARCH)
    page.evaluate(
        "document.querySelectorAll('.hit img').forEach(i => i.loading='eager')"
    )
    gone = sum(number % 5 == 0 for number in ids(page))
    broken = page.locator(".hit .picture.broken")
    expect(broken).to_have_count(gone)
    caption = broken.first.get_attribute("data-caption")
    said = broken.first.evaluate("link => getComputedStyle(link, '::after').content")
    assert said == f'"Image not available: {caption}"'
    expect(page.locator(".gone")).to_have_text(f"{gone} images couldn’t be loaded")
    page.complaints[:] = [text for text in page.complaints if "404" not in text]


# A list of as many hits as are asked for, copies of the forty on the page.
GROW = """count => {
    const grid = document.querySelector('#results .grid')
    const all = [...grid.querySelectorAll('.hit')]
    const next = grid.querySelector('.more')
    for (let number = all.length; number < count; number++) {
        const copy = all[number % all.length].cloneNode(true)
        copy.dataset.item = number + 1_000_000
        next.before(copy)
    }
    next.remove()
    document.dispatchEvent(new CustomEvent('laionweb:settled'))
}"""
WATCH_TASKS = """() => {
    window.longest = 0
    window.shift = 0
    new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) {
            window.longest = Math.max(window.longest, duration)
        }
    }).observe({ type: 'longtask' })
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
            if (!entry.hadRecentInput) window.shift += entry.value
        }
    }).observe({ type: 'layout-shift' })
}"""
NODES = "document.querySelectorAll('*').length"


def scroll_to_the_end(page: Page, screens: float) -> int:
    """Return the most elements that the page has on the way."""
    page.evaluate(
        """async (screens) => {
            window.nodes = 0
            const bottom = () => document.body.scrollHeight - innerHeight
            while (scrollY < bottom() - 2) {
                scrollBy({ top: screens * innerHeight, behavior: 'instant' })
                await new Promise((r) => requestAnimationFrame(() => setTimeout(r)))
                const count = document.querySelectorAll('*').length
                window.nodes = Math.max(window.nodes, count)
            }
        }""",
        screens,
    )
    return page.evaluate("window.nodes")


def test_a_long_list_keeps_few_hits_in_the_page(results):
    results.evaluate(GROW, 1_000)
    height = results.evaluate("document.body.scrollHeight")
    results.evaluate(WATCH_TASKS)
    assert scroll_to_the_end(results, 0.9) < 3_000
    assert results.evaluate("document.body.scrollHeight") == pytest.approx(
        height, rel=0.01
    )
    assert results.evaluate("window.shift") < 0.1
    position = results.locator("#position span")
    expect(position).to_have_text("1,000 of 1,000")
    hits(results).last.locator("a.picture").focus()
    results.keyboard.press("Home")
    numbers = ids(results)
    assert focused(results) == 0 and numbers[0] < 1_000_000
    results.keyboard.press("End")
    assert ids(results)[-1] == 1_000_999
    results.get_by_role("button", name="Back to top").click()
    assert results.evaluate("scrollY") == 0
    assert ids(results)[0] == numbers[0]
    assert focused(results) == 0
    results.locator(".toolbar").get_by_role("button", name="Select all").click()
    expect(results.locator("#selection")).to_contain_text("1,000 selected")


@pytest.mark.soak
def test_five_thousand_results_are_scrolled_through(results):
    results.evaluate(GROW, 5_000)
    results.evaluate(WATCH_TASKS)
    assert scroll_to_the_end(results, 0.5) < 3_000
    assert results.evaluate("window.shift") < 0.1
    # Not asserted, since it depends on what else the machine does.
    print(f"longest task: {results.evaluate('window.longest')} ms")


def test_a_reload_lands_on_the_same_image(results):
    seen = results.locator("#position span")
    while not re.match(r"[2-9]\d\d ", seen.text_content()):
        results.evaluate("scrollTo(0, document.body.scrollHeight)")
        results.wait_for_timeout(100)
    top = """() => [...document.querySelectorAll('main .hit')].find(
        (hit) => hit.getBoundingClientRect().bottom > 0).dataset.item"""
    before = results.evaluate(top)
    results.reload()
    expect(results.locator(f"main .hit[data-item='{before}']")).to_be_in_viewport()


# --- Veils


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_veiled_picture_shows_itself_when_asked_and_can_be_hidden_again(results, by):
    results.evaluate(
        "document.querySelector('main .grid').classList.add('veiled');"
        "document.dispatchEvent(new CustomEvent('laionweb:settled'))"
    )
    picture = hits(results).first.locator("a.picture")
    blurred = """picture =>
        getComputedStyle(picture.querySelector('img')).filter.includes('blur')"""
    assert picture.evaluate(blurred)
    if by == "mouse":
        picture.click(position={"x": 20, "y": 120})
    else:
        picture.press("Enter")
    assert not picture.evaluate(blurred)
    expect(results.locator("#detail")).to_be_hidden()
    assert hits(results).nth(1).locator("a.picture").evaluate(blurred)
    picture.press("Enter")
    large = results.locator("#detail .large")
    expect_detail(results, ids(results)[0])
    assert not large.evaluate(blurred)
    results.keyboard.press("ArrowRight")
    expect_detail(results, ids(results)[1])
    assert large.evaluate(blurred)
    results.keyboard.press("Escape")
    hits(results).first.get_by_role("button", name="Hide this image").click()
    assert picture.evaluate(blurred)


# --- The keyboard


def test_arrows_walk_through_the_grid_as_it_is_seen(results):
    across = columns(results)
    assert across > 2
    results.keyboard.press("Escape")
    results.evaluate("document.activeElement.blur()")
    walk = [
        ("ArrowDown", 0),
        ("ArrowRight", 1),
        ("ArrowDown", across + 1),
        ("ArrowLeft", across),
        ("ArrowUp", 0),
        ("End", 39),
        ("Home", 0),
    ]
    for key, place in walk:
        results.keyboard.press(key)
        assert focused(results) == place, key
    for _ in range(6):
        results.keyboard.press("ArrowDown")
    link = hits(results).nth(focused(results)).locator("a.picture")
    expect(link).to_be_in_viewport(ratio=1)
    outline = link.evaluate("link => getComputedStyle(link).outlineStyle")
    assert outline == "solid"


def test_letters_do_with_a_picture_what_they_say(results):
    results.evaluate(EVENTS, ["mark", "collect"])
    numbers = ids(results)
    hits(results).nth(2).locator("a.picture").focus()
    for key in ("p", "x", "a"):
        results.keyboard.press(key)
    one = [item(numbers[2])]
    marks = [event["good"] for event in told(results, "mark")]
    assert marks[0] is True and marks[-1] is False
    assert all(event["items"] == one for event in told(results, "mark"))
    assert told(results, "collect")[-1] == {"items": one}
    results.keyboard.press("?")
    expect(results.locator("#keys")).to_contain_text("Relevant: more like this")


def test_a_mark_shows_on_its_picture_and_by_its_button(results):
    hit = hits(results).first
    hit.evaluate("hit => { hit.dataset.mark = 'bad' }")
    bad = hit.get_by_role("button", name="Not relevant")
    expect(bad).to_have_attribute("aria-pressed", "true")
    expect(bad).to_have_css("opacity", "1")
    assert bad.evaluate("button => getComputedStyle(button).borderRadius") != "50%"
    expect(hit.get_by_role("button", name="Relevant", exact=True)).to_have_attribute(
        "aria-pressed", "false"
    )


def test_m_searches_for_more_like_the_focused_one(results):
    number = ids(results)[1]
    hits(results).nth(1).locator("a.picture").focus()
    results.keyboard.press("m")
    expect(results).to_have_url(re.compile(rf"item={number}"))


# --- The selection


def test_ranges_are_selected_by_shift_and_go_with_escape(results):
    numbers = ids(results)
    bar = results.locator("#selection")
    expect(bar).to_be_hidden()
    hits(results).nth(1).hover()
    hits(results).nth(1).get_by_role("button", name="Select").click()
    expect(bar).to_contain_text("1 selected")
    hits(results).nth(4).locator("a.picture").click(modifiers=["Shift"])
    assert selected(results) == numbers[1:5]
    hits(results).nth(7).locator("a.picture").click(modifiers=["Control"])
    hits(results).nth(2).locator("a.picture").click(modifiers=["Control"])
    assert selected(results) == [numbers[1], *numbers[3:5], numbers[7]]
    results.keyboard.press("Escape")
    assert selected(results) == []
    expect(bar).to_be_hidden()
    hits(results).first.locator("a.picture").focus()
    results.keyboard.press("Space")
    for _ in range(3):
        results.keyboard.press("Shift+ArrowRight")
    assert selected(results) == numbers[:4]
    assert results.url.endswith(SEARCH)


def test_a_selection_stays_while_more_arrives_and_is_acted_on_as_a_whole(results):
    results.evaluate(EVENTS, ["mark", "collect"])
    results.locator(".toolbar").get_by_role("button", name="Select all").click()
    results.locator(".more").scroll_into_view_if_needed()
    expect(hits(results)).to_have_count(80)
    first = [item(number) for number in ids(results)[:40]]
    bar = results.locator("#selection")
    expect(bar).to_contain_text("40 selected")
    bar.get_by_role("button", name="Relevant", exact=True).click()
    bar.get_by_role("button", name="Add to collection").click()
    assert told(results, "mark")[0] == {"items": first, "good": True}
    assert told(results, "collect")[0] == {"items": first}
    bar.get_by_role("button", name="Select all").click()
    expect(bar).to_contain_text("80 selected")
    results.locator("#q").fill("a cat")
    results.locator("#q").press("Enter")
    expect(results).to_have_title(re.compile("a cat"))
    expect(bar).to_be_hidden()


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_selection_is_downloaded(results, kind):
    numbers = ids(results)[:2]
    for place in (0, 1):
        hits(results).nth(place).hover()
        hits(results).nth(place).get_by_role("button", name="Select").click()
    with results.expect_download() as download:
        results.get_by_role("button", name=f"Download as {kind.upper()}").click()
    assert download.value.suggested_filename == f"selection.{kind}"
    text = Path(download.value.path()).read_text(encoding="utf-8")
    if kind == "json":
        rows = json.loads(text)
        assert [row["id"] for row in rows] == numbers
        assert 0 < rows[1]["similarity"] <= rows[0]["similarity"] < 1
        assert rows[0]["width"] == 640
    else:
        assert [line.split(",")[1] for line in text.splitlines()[1:]] == [
            str(number) for number in numbers
        ]


# --- The panel


def expect_detail(page: Page, number: int) -> None:
    """The panel shows this item, and all of it has come."""
    shown = page.locator("#detail .item:not(.arriving)")
    expect(shown).to_have_attribute("data-item", str(number))


def test_a_click_shows_the_picture_large_with_all_that_is_known_of_it(results):
    results.evaluate(EVENTS, ["opened"])
    number = ids(results)[1]
    hits(results).nth(1).locator("a.picture").click()
    expect_detail(results, number)
    about = results.request.get(f"/api/datasets/postcards/items/{number}/").json()
    panel = results.locator("#detail")
    expect(panel.get_by_role("heading", level=2)).to_have_text(about["caption"])
    assert about["metadata"]["md5"] in panel.locator("dl").all_text_contents()[2]
    large = panel.locator(".large img")
    assert large.evaluate("i => i.decode().then(() => i.naturalWidth)") == 640
    source = panel.get_by_role("link", name="View original")
    assert source.get_attribute("rel") == "noopener noreferrer nofollow"
    why = panel.locator(".why")
    expect(why.locator(".term")).to_have_text(["boats", "− snow"])
    shares = [
        float(text.replace("−", "-"))
        for text in why.locator(".value").all_inner_texts()
    ]
    similarity = float(hits(results).nth(1).get_attribute("data-similarity"))
    assert sum(shares) == pytest.approx(similarity, abs=0.02)
    assert told(results, "opened") == [item(number)]


def test_the_panel_has_an_address_that_back_leaves_and_a_reload_shows(results):
    results.evaluate("window.isTheSame = true")
    numbers = ids(results)
    hits(results).nth(1).locator("a.picture").click()
    expect_detail(results, numbers[1])
    expect(results).to_have_url(re.compile(rf"/d/postcards/{numbers[1]}\?q=boats"))
    results.keyboard.press("ArrowRight")
    expect_detail(results, numbers[2])
    results.get_by_role("button", name="Previous image").click()
    expect_detail(results, numbers[1])
    results.keyboard.press("ArrowRight")
    expect_detail(results, numbers[2])
    results.go_back()
    expect(results.locator("#detail")).to_be_hidden()
    assert results.url.endswith(SEARCH)
    assert results.evaluate("window.isTheSame") and focused(results) == 2
    results.go_forward()
    expect_detail(results, numbers[2])
    results.keyboard.press("Escape")
    expect(results.locator("#detail")).to_be_hidden()
    expect(results).to_have_url(re.compile(re.escape(SEARCH) + "$"))
    hits(results).first.locator("a.picture").press("Enter")
    expect_detail(results, numbers[0])
    results.reload()
    expect(results.get_by_role("heading", level=1)).to_be_visible()
    expect(results.locator("main .why .term")).to_have_text(["boats", "− snow"])
    results.get_by_role("link", name="All results").click()
    assert ids(results) == numbers


def test_from_the_panel_one_searches_on_and_comes_back(results):
    results.evaluate("window.isTheSame = true")
    numbers = ids(results)
    hits(results).nth(3).locator("a.picture").click()
    expect_detail(results, numbers[3])
    results.locator("#detail").get_by_role("link", name="More like this").click()
    expect(results).to_have_url(re.compile(rf"/\?item={numbers[3]}"))
    expect(results.locator("#detail")).to_be_hidden()
    expect(results.locator(".chip")).to_contain_text(f"like item {numbers[3]}")
    results.go_back()
    expect(results).to_have_url(re.compile(re.escape(SEARCH) + "$"))
    expect(results.locator("#q")).to_have_value("boats -snow")
    assert ids(results)[:40] == numbers
    assert results.evaluate("window.isTheSame")


def test_the_panel_turns_on_to_pictures_that_were_not_loaded_yet(results):
    results.keyboard.press("Escape")
    hits(results).nth(39).locator("a.picture").click()
    results.get_by_role("button", name="Next image").click()
    expect(hits(results)).not_to_have_count(40)
    expect_detail(results, ids(results)[40])


def expect_scale(page: Page, scale: float) -> None:
    page.wait_for_function(
        """scale => {
            const image = document.querySelector('#detail .large img')
            const { a } = new DOMMatrix(getComputedStyle(image).transform)
            return Math.abs(a - scale) < 0.1
        }""",
        arg=scale,
    )


def test_the_viewer_zooms_pans_and_hides_details(results):
    hits(results).nth(1).locator("a.picture").click()
    expect_detail(results, ids(results)[1])
    stage = results.locator("#detail .stage").bounding_box()
    results.mouse.move(stage["x"] + 100, stage["y"] + 100)
    results.mouse.wheel(0, -400)
    expect_scale(results, 2.4)
    results.keyboard.press("0")
    expect_scale(results, 1)
    results.keyboard.press("+")
    expect_scale(results, 1.5)
    results.keyboard.press("ArrowRight")  # pans
    expect_detail(results, ids(results)[1])
    results.get_by_role("button", name="Zoom out").click()
    expect_scale(results, 1)
    results.mouse.dblclick(stage["x"] + 200, stage["y"] + 200)
    expect_scale(results, 2.5)
    results.keyboard.press("0")
    results.get_by_role("button", name="Full screen").click()
    results.wait_for_function("() => document.fullscreenElement")
    results.keyboard.press("ArrowRight")
    expect_detail(results, ids(results)[2])
    results.keyboard.press("f")
    results.wait_for_function("() => !document.fullscreenElement")
    results.keyboard.press("i")
    expect(results.locator("#detail .about")).to_be_hidden()
    results.keyboard.press("i")
    expect(results.locator("#detail .about")).to_be_visible()


def test_similar_images_open_in_the_viewer_and_back_returns(results):
    number = ids(results)[1]
    hits(results).nth(1).locator("a.picture").click()
    strip = results.locator("#detail .neighbours .hit")
    expect(strip).to_have_count(12)
    first, second = strip.evaluate_all("all => all.map(hit => +hit.dataset.item)")[:2]
    strip.first.locator("a").click()
    expect_detail(results, first)
    results.keyboard.press("ArrowRight")
    expect_detail(results, second)
    results.go_back()
    expect_detail(results, number)
    results.locator("#detail .neighbours .hit a").first.click()
    expect_detail(results, first)
    results.keyboard.press("Escape")
    expect(results.locator("#detail")).to_be_hidden()
    expect(results).to_have_url(re.compile(re.escape(SEARCH) + "$"))


def test_a_pinch_zooms_the_image(opened):
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
    page = opened(**phone, is_mobile=True)
    page.goto(SEARCH)
    hits(page).first.locator("a.picture").tap(position={"x": 70, "y": 40})
    expect_detail(page, ids(page)[0])
    session = page.context.new_cdp_session(page)
    for kind, gap in (("Start", 40), ("Move", 80), ("Move", 120)):
        points = [{"x": 180 - gap / 2, "y": 100}, {"x": 180 + gap / 2, "y": 100}]
        session.send(
            "Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points}
        )
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect_scale(page, 3)
    swipe(page, 300, 60)
    expect_detail(page, ids(page)[0])
    assert axe.violations(page, impacts=axe.GRAVE) == []


def test_the_panel_copies(opened):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    page.goto(SEARCH)
    number = ids(page)[0]
    hits(page).first.locator("a.picture").click()
    expect_detail(page, number)
    page.locator(".copies").get_by_role("button", name="ID").click()
    expect(page.locator("#detail #toasts")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == str(number)
    page.locator(".copies").get_by_role("button", name="Markdown").click()
    page.wait_for_function(
        "() => navigator.clipboard.readText().then(text => text.startsWith('[!['))"
    )


def test_the_link_of_a_picture_still_opens_a_page_of_its_own(results):
    number = ids(results)[0]
    with results.context.expect_page() as tab:
        hits(results).first.locator("a.picture").click(modifiers=["Control"])
    expect(tab.value).to_have_url(re.compile(rf"/d/postcards/{number}$"))
    expect(results.locator("#detail")).to_be_hidden()


# --- Coming back


def test_whoever_comes_back_finds_the_place_where_they_were(results):
    for count in (80, 120):
        results.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(hits(results)).to_have_count(count)
    hits(results).nth(100).scroll_into_view_if_needed()
    number = ids(results)[100]
    results.goto("/d/postcards/7")
    results.go_back()
    hit = results.locator(f"main .hit[data-item='{number}']")
    expect(hit).to_be_in_viewport()


# --- Phones, and everyone


def test_on_a_phone_all_of_it_is_within_reach(opened):
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
    page = opened(**phone, is_mobile=True)
    page.goto(SEARCH)
    numbers = ids(page)
    hit = hits(page).first
    for name in ("Select", "Relevant", "Not relevant", "Add to a collection"):
        button = hit.get_by_role("button", name=name, exact=True)
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= 36
        assert button.evaluate("button => getComputedStyle(button).opacity") == "1"
    hit.get_by_role("button", name="Select").tap()
    hits(page).nth(1).locator("a.picture").tap(position={"x": 70, "y": 40})
    assert selected(page) == numbers[:2]
    bar = page.locator("#selection").bounding_box()
    assert bar["x"] >= 0 and bar["x"] + bar["width"] <= 360
    page.get_by_role("button", name="Clear the selection").tap()
    hits(page).nth(1).locator("a.picture").tap(position={"x": 70, "y": 40})
    expect_detail(page, numbers[1])
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    swipe(page, 300, 60)
    expect_detail(page, numbers[2])
    swipe(page, 60, 300)
    expect_detail(page, numbers[1])
    page.go_back()
    expect(page.locator("#detail")).to_be_hidden()


def swipe(page: Page, start: int, end: int) -> None:
    session = page.context.new_cdp_session(page)
    for kind, x in (("Start", start), ("Move", (start + end) / 2), ("Move", end)):
        session.send(
            "Input.dispatchTouchEvent",
            {"type": f"touch{kind}", "touchPoints": [{"x": x, "y": 150}]},
        )
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_nobody_is_kept_out_of_the_panel_and_the_selection(page):
    page.goto(SEARCH)
    page.locator(".toolbar").get_by_role("button", name="Select all").click()
    hits(page).first.evaluate("hit => { hit.dataset.mark = 'good' }")
    hits(page).nth(1).evaluate("hit => { hit.dataset.mark = 'bad' }")
    assert axe.violations(page, impacts=axe.GRAVE) == []
    page.keyboard.press("Escape")
    hits(page).first.locator("a.picture").click()
    expect_detail(page, ids(page)[0])
    assert axe.violations(page, impacts=axe.GRAVE) == []
