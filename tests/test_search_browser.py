"""The search page in Chromium, on a server as a newcomer starts it."""

import base64
import re
from contextlib import suppress
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Error, Page, Route, expect
from support import axe

from postcards.scene import Description, Scene

COUNT = 600  # postcards of the server
FIRST = 20  # of the results: more are loaded while one looks
EXAMPLE = 123


def expect_settled(page: Page) -> None:
    """Nothing is on its way, and what has come is in its place."""
    moving = page.locator(".htmx-request, .htmx-swapping, .htmx-settling")
    expect(moving).to_have_count(0)


def search(page: Page, words: str) -> None:
    page.locator("#q").fill(words)
    page.keyboard.press("Enter")
    expect(page).to_have_title(f"{words} – laionweb")
    expect_settled(page)


def shown(page: Page) -> list[int]:
    """The ids of the pictures that are shown."""
    return page.locator("#results a.picture").evaluate_all(
        "links => links.map(link => Number(link.pathname.split('/').pop()))"
    )


def parameters(page: Page) -> dict[str, str]:
    return {
        name: value for name, (value,) in parse_qs(urlsplit(page.url).query).items()
    }


def found(page: Page, *terms: dict, **options) -> list[int]:
    """Return the API's hits."""
    body = {"dataset": "postcards", "terms": terms, "limit": FIRST, **options}
    answer = page.request.post("/api/search/", data=body)
    assert answer.ok, answer.text()
    return [hit["id"] for hit in answer.json()["results"]]


def scene(page: Page, item: int) -> Scene:
    answer = page.request.get(f"/api/datasets/postcards/items/{item}/")
    return Scene.from_json(answer.json()["metadata"]["scene"])


def provoked(page: Page, *words: str) -> None:
    """Takes the errors out of the complaints that the test brought about."""
    mine = [text for text in page.complaints if any(word in text for word in words)]
    assert mine
    page.complaints[:] = [text for text in page.complaints if text not in mine]


# --- Words


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("boats at night", Description(time="night", things=({"kind": "boat"},))),
        ("rainbow above the desert", Description(land="desert", features=("rainbow",))),
        ("windmill at sunset", Description("sunset", things=({"kind": "windmill"},))),
    ],
)
def test_words_find_pictures_that_show_what_they_say(page, words, wanted):
    page.goto("/")
    search(page, words)
    assert parameters(page) == {"q": words, "dataset": "postcards"}
    first = shown(page)[:10]
    assert len(set(first)) == 10
    assert sum(wanted.fits(scene(page, item)) for item in first) >= 8
    expect(page.locator("#announcement")).to_contain_text("Top matches from 600 images")


def test_a_search_changes_the_results_and_leaves_the_page(page):
    page.goto("/")
    page.evaluate("window.isTheSame = true")
    search(page, "a boat")
    assert page.evaluate("window.isTheSame")
    expect(page.locator("#q")).to_be_focused()
    page.locator(".wordmark").click()
    expect(page.locator(".examples a")).to_have_count(6)
    expect(page.locator("#q")).to_have_value("")


def test_an_example_shows_what_can_be_asked(page):
    page.goto("/")
    example = page.locator(".examples a").first
    words = example.inner_text()
    example.click()
    expect(page).to_have_title(f"{words} – laionweb")
    expect(page.locator("#q")).to_have_value(words)
    expect(page.locator("#results .similarity").first).to_have_text(
        re.compile(r"0\.\d")
    )


def test_the_address_holds_the_search(page, opened):
    page.goto("/")
    search(page, "boats at night")
    boats, address = shown(page)[:FIRST], page.url
    search(page, "a black cat")
    cats = shown(page)[:FIRST]
    assert cats != boats
    page.go_back()
    expect(page.locator("#q")).to_have_value("boats at night")
    assert shown(page)[:FIRST] == boats
    page.go_forward()
    expect(page.locator("#q")).to_have_value("a black cat")
    assert shown(page)[:FIRST] == cats
    page.reload()
    expect(page.locator("#q")).to_have_value("a black cat")
    assert shown(page)[:FIRST] == cats
    stranger = opened()
    stranger.goto(address)
    expect(stranger.locator("#q")).to_have_value("boats at night")
    assert shown(stranger)[:FIRST] == boats


def test_a_slash_leads_to_the_box(page):
    page.goto("/")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("cats/dogs")
    expect(page.locator("#q")).to_have_value("cats/dogs")


def test_the_newest_search_wins(page):
    held: list[Route] = []
    page.goto("/")
    page.route(re.compile(r"\?q=slow"), lambda route: held.append(route))
    page.locator("#q").fill("slow")
    with page.expect_request(re.compile(r"\?q=slow")):
        page.keyboard.press("Enter")
    with page.expect_event("requestfailed") as failed:
        search(page, "a black cat")
    assert "q=slow" in failed.value.url
    for route in held:
        with suppress(Error):  # nobody waits for it any more
            route.continue_()
    expect_settled(page)
    expect(page.locator("#q")).to_have_value("a black cat")
    assert parameters(page)["q"] == "a black cat"
    assert shown(page)[:FIRST] == found(page, {"text": "a black cat"})
    provoked(page, "htmx:sendAbort", "htmx:afterRequest")  # so it tells of the first


# --- Choices


def keep_panel_open(page: Page) -> None:
    """As a user finds them who has opened the filters once."""
    page.add_init_script("document.cookie = 'panel=open; path=/'")


def test_captions_can_be_searched(page):
    keep_panel_open(page)
    page.goto("/")
    search(page, "a black cat")
    page.get_by_role("radio", name="Captions").check()
    expect(page.locator("#results .summary")).to_contain_text("600 captions")
    expect_settled(page)
    assert parameters(page)["field"] == "text"
    assert shown(page)[:FIRST] == found(page, {"text": "a black cat"}, field="text")
    page.go_back()
    expect(page.locator("#results .summary")).to_contain_text("600 images")
    expect(page.get_by_role("radio", name="Images")).to_be_checked()


def test_an_exact_search_can_be_asked_for(page):
    keep_panel_open(page)
    page.goto("/")
    search(page, "a black cat")
    page.get_by_label("Exact search").check()
    expect(page).to_have_url(re.compile("mode=exact"))
    expect(page.locator("#results .summary")).to_contain_text("exact")
    expect_settled(page)
    assert parameters(page)["mode"] == "exact"
    assert shown(page)[:FIRST] == found(page, {"text": "a black cat"}, mode="exact")


def test_captions_and_pictures_can_be_searched_at_once(page):
    keep_panel_open(page)
    page.goto("/")
    search(page, "a black cat")
    page.get_by_role("radio", name="Both").check()
    expect(page.locator("#results .summary")).to_contain_text("images and captions")
    expect_settled(page)
    assert shown(page)[:FIRST] == found(page, {"text": "a black cat"}, field="both")


# --- The language of the box, and filters


def chips(page: Page) -> list[str]:
    """The sign and the label of each chip."""
    told = page.locator(".chip").evaluate_all(
        """chips => chips.map((chip) => ['.sign', '.label']
            .map((part) => chip.querySelector(part)?.textContent ?? '').join(' '))"""
    )
    return [" ".join(text.split()) for text in told]


def test_filters_get_into_the_address_and_stay_there(page):
    keep_panel_open(page)
    page.goto("/")
    search(page, "a boat")
    page.get_by_label("Words in the caption").fill("moon")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_count(2)
    page.get_by_label("Width from").fill("100")
    page.keyboard.press("Tab")
    expect(page.locator(".chip")).to_have_count(3)
    expect(page.get_by_label("Width to")).to_be_focused()
    expect_settled(page)
    filters = {"caption": "moon", "min_width": 100}
    assert parameters(page).items() >= {"caption": "moon", "min_width": "100"}.items()
    assert shown(page)[:FIRST] == found(page, {"text": "a boat"}, filters=filters)
    search(page, "a cat")
    assert chips(page) == ["+ a cat", "width ≥ 100", "caption with “moon”"]
    assert shown(page)[:FIRST] == found(page, {"text": "a cat"}, filters=filters)
    page.get_by_role("link", name="Remove: width ≥ 100").click()
    expect(page.locator(".chip")).to_have_count(2)
    expect(page.get_by_label("Width from")).to_have_value("")
    expect(page.get_by_label("Words in the caption")).to_have_value("moon")
    page.go_back()
    expect(page.get_by_label("Width from")).to_have_value("100")
    page.reload()
    assert chips(page) == ["+ a cat", "width ≥ 100", "caption with “moon”"]


def test_a_ticked_filter_is_applied_at_once_and_goes_with_a_picture(page):
    keep_panel_open(page)
    page.goto("/")
    search(page, "a boat")
    page.get_by_label("Show near-duplicates").check()
    expect(page.locator(".chip.filter")).to_have_text(
        re.compile("near-duplicates shown")
    )
    expect(page.get_by_label("Show near-duplicates")).to_be_visible()
    expect_settled(page)
    choose(page, page.request.get(f"/postcards/{EXAMPLE}.jpg").body())
    expect_preview(page)
    assert set(parameters(page)) == {"embedding", "dedupe", "dataset"}


def test_a_chip_takes_its_words_out_of_the_box(page):
    page.goto("/")
    search(page, "a boat -car nsfw:any")
    assert chips(page) == ["+ a boat", "− car", "includes NSFW"]
    page.get_by_role("link", name="Remove: car").click()
    expect(page.locator("#q")).to_have_value("a boat nsfw:any")
    assert chips(page) == ["+ a boat", "includes NSFW"]
    page.get_by_role("link", name="Remove: includes NSFW").click()
    expect(page.locator("#q")).to_have_value("a boat")
    expect(page.locator(".chip")).to_have_count(1)
    expect_settled(page)
    assert shown(page)[:FIRST] == found(page, {"text": "a boat"})


def test_a_word_that_cannot_be_read_is_marked_and_can_be_put_right(page):
    page.goto("/")
    search(page, "a boat heigth>5")
    expect(page.get_by_role("alert").locator("mark")).to_have_text("heigth>5")
    expect(page.locator("#q")).to_have_value("a boat heigth>5")
    provoked(page, "400", "htmx:")
    search(page, "a boat height>5")
    assert chips(page) == ["+ a boat", "height ≥ 6"]


def test_the_filters_open_and_close_by_a_button(page):
    page.goto("/")
    page.get_by_role("button", name="Filters", exact=True).click()
    expect(page.get_by_label("Width from")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Width from")).to_be_hidden()


# --- Pictures and examples

BRING = """([way, name, bytes]) => {
    const file = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))
    const data = new DataTransfer()
    data.items.add(new File([file], name, { type: 'image/jpeg' }))
    const about = { bubbles: true, cancelable: true }
    document.body.dispatchEvent(
        way === 'paste'
            ? new ClipboardEvent('paste', { ...about, clipboardData: data })
            : new DragEvent(way, { ...about, dataTransfer: data }))
}"""


def bring(page: Page, way: str, data: bytes) -> None:
    page.evaluate(BRING, [way, "picture.jpg", base64.b64encode(data).decode()])


def drop(page: Page, data: bytes) -> None:
    bring(page, "dragenter", data)
    expect(page.locator("#drop")).to_be_visible()
    bring(page, "drop", data)
    expect(page.locator("#drop")).to_be_hidden()


def paste(page: Page, data: bytes) -> None:
    bring(page, "paste", data)


def choose(page: Page, data: bytes, name: str = "picture.jpg") -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("label[for=picture-file]").click()
    file = {"name": name, "mimeType": "image/jpeg", "buffer": data}
    chooser.value.set_files(file)


def expect_preview(page: Page) -> None:
    expect(page.locator(".chip").first).to_contain_text("your image")
    preview = page.locator(".chip img")
    expect(preview).to_have_attribute("src", re.compile("^data:image/jpeg"))
    assert preview.evaluate("image => image.decode().then(() => image.naturalWidth)")


@pytest.mark.parametrize("way", [drop, paste, choose])
def test_a_picture_finds_its_own_item_first(page, way):
    page.goto("/")
    way(page, page.request.get(f"/postcards/{EXAMPLE}.jpg").body())
    expect(page).to_have_title("Like an image – laionweb")
    expect_settled(page)
    assert shown(page)[0] == EXAMPLE
    assert set(parameters(page)) == {"embedding", "dataset"}
    expect_preview(page)


def test_a_search_by_a_picture_can_be_refined_left_and_come_back_to(page):
    page.goto("/")
    choose(page, page.request.get(f"/postcards/{EXAMPLE}.jpg").body())
    expect_preview(page)
    search(page, "at night")
    assert set(parameters(page)) == {"q", "embedding", "dataset"}
    expect_preview(page)
    page.reload()
    expect_preview(page)
    page.get_by_role("link", name="Remove image").click()
    expect(page.locator(".chip")).to_have_count(1)
    assert parameters(page) == {"q": "at night", "dataset": "postcards"}
    page.go_back()
    expect_preview(page)
    page.go_back()
    expect(page).to_have_title("Like an image – laionweb")
    expect_settled(page)
    assert shown(page)[0] == EXAMPLE


def test_a_picture_too_large_to_send_is_made_smaller_first(page):
    data = BytesIO()
    noise = Image.effect_noise((2_000, 1_900), 100)
    Image.merge("RGB", [noise, noise.rotate(90), noise.rotate(180)]).save(
        data, "PNG", compress_level=0
    )
    assert len(data.getvalue()) > 10 * 2**20
    page.goto("/")
    choose(page, data.getvalue(), "noise.png")
    expect(page).to_have_title("Like an image – laionweb")
    expect_preview(page)


def test_a_file_that_is_no_picture_is_refused_and_the_words_stay(page):
    page.goto("/")
    search(page, "a black cat")
    page.locator("#q").fill("a black cat at")
    choose(page, b"no picture at all")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Could not read this file")
    expect(page.locator("#q")).to_have_value("a black cat at")
    assert parameters(page)["q"] == "a black cat"
    expect(page.locator("#announcement")).to_contain_text("Could not read this file")
    provoked(page, "415")
    search(page, "a black cat at night")
    expect(alert).to_have_count(0)


def test_more_like_this_shows_the_nearest_of_an_item(page):
    page.goto("/")
    search(page, "boats at night")
    item = shown(page)[2]
    page.locator("#results .hit").nth(2).hover()
    page.locator("#results .like").nth(2).click()
    expect(page.locator(".chip")).to_contain_text(f"like item {item}")
    expect_settled(page)
    assert parameters(page) == {"item": str(item), "dataset": "postcards"}
    expect(page.locator("#q")).to_have_value("")
    first = shown(page)[:FIRST]
    assert item not in first
    assert first == found(page, {"item": item})


def test_an_item_has_a_page(page):
    page.goto("/?q=boats+at+night")
    first = shown(page)[:FIRST]
    page.goto(page.locator("#results a.picture").first.get_attribute("href"))
    answer = page.request.get(f"/api/datasets/postcards/items/{first[0]}/").json()
    expect(page.get_by_role("heading", level=1)).to_have_text(answer["caption"])
    facts = page.locator(".item dl")
    expect(facts.filter(has_text=answer["metadata"]["md5"])).to_have_count(1)
    expect(page.locator(".nearest .hit")).to_have_count(12)
    shown_large = page.locator(".large img")
    assert shown_large.evaluate("i => i.decode().then(() => i.naturalWidth)") == 640
    page.go_back()
    expect(page.locator("#q")).to_have_value("boats at night")
    assert shown(page)[:FIRST] == first


def test_from_the_page_of_an_item_one_searches_on(page):
    page.goto(f"/d/postcards/{EXAMPLE}")
    page.get_by_role("link", name="Similar captions").click()
    expect(page.locator(".chip")).to_contain_text(f"like item {EXAMPLE}")
    assert parameters(page)["field"] == "text"
    page.goto(f"/d/postcards/{EXAMPLE}")
    paste(page, page.request.get("/postcards/77.jpg").body())
    expect_preview(page)
    assert shown(page)[0] == 77


# --- Many results

ONE_PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" width="4" height="3"/>"""


def draw_nothing(page: Page) -> None:
    """Spares the server the drawing of hundreds of pictures."""
    page.route(
        "**/t/postcards/**",
        lambda route: route.fulfill(body=ONE_PICTURE, content_type="image/svg+xml"),
    )


def test_scrolling_leads_through_all_pictures_once(page):
    draw_nothing(page)
    query = "q=a+boat+%22at%22&mode=exact"
    found = page.request.get(f"/api/search/?dataset=postcards&{query}").json()
    wanted = found["matching"]["items"]
    assert 100 < wanted < COUNT
    page.goto(f"/?{query}")
    address = page.url
    hits = page.locator("#results .hit")
    while (count := hits.count()) < wanted:
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(hits).not_to_have_count(count)
    expect(page.locator(".more")).to_have_count(0)
    assert len(set(shown(page))) == len(shown(page)) == wanted
    assert page.url == address
    search(page, "a cat")
    assert page.evaluate("scrollY") == 0


def test_more_is_loaded_by_the_keyboard_and_the_focus_goes_on_there(page):
    draw_nothing(page)
    page.add_init_script(
        "window.IntersectionObserver = class { observe () {} disconnect () {} }"
    )
    page.goto("/?q=a+boat")
    page.get_by_role("link", name="Load more").focus()
    for count in (80, 120):
        page.keyboard.press("Enter")
        expect(page.locator("#results .hit")).to_have_count(count)
        expect(page.locator("#results a.picture").nth(count - 40)).to_be_focused()
        assert len(set(shown(page))) == count
        page.get_by_role("link", name="Load more").focus()


# --- What goes wrong


def test_a_picture_that_is_gone_is_replaced_by_its_caption(page):
    page.route("**/t/postcards/**", lambda route: route.abort())
    page.goto("/?q=a+boat")
    first = page.locator("#results a.picture").first
    expect(first).to_have_class(re.compile("broken"))
    caption = page.locator("#results .caption").first.inner_text()
    said = first.evaluate("link => getComputedStyle(link, '::after').content")
    assert said == f'"Image not available: {caption}"'
    provoked(page, "ERR_FAILED")


def test_a_server_that_does_not_answer_can_be_asked_again(page):
    page.goto("/")
    page.route("**/?q=*", lambda route: route.abort())
    page.locator("#q").fill("a black cat")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The server did not answer.")
    expect(page.locator("#q")).to_have_value("a black cat")
    page.unroute("**/?q=*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#results .summary")).to_be_visible()
    assert shown(page)[:FIRST] == found(page, {"text": "a black cat"})
    provoked(page, "ERR_FAILED", "htmx:")


def test_an_address_that_is_wrong_is_told_in_a_sentence(page):
    page.goto("/?q=a+boat&cursor=forged")
    expect(page.get_by_role("alert")).to_contain_text("This cursor is not valid")
    page.goto("/d/postcards/600")
    expect(page.get_by_role("alert")).to_contain_text("There is no item 600")
    provoked(page, "400", "404")


# --- Without JavaScript, on small screens, in the dark, for everyone


def test_all_of_it_works_without_javascript(opened):
    page = opened(java_script_enabled=False)
    page.goto("/")
    page.locator("#q").fill("boats at night")
    page.keyboard.press("Enter")
    expect(page).to_have_title("boats at night – laionweb")
    links = page.locator("#results a.picture")
    hrefs = [link.get_attribute("href") for link in links.all()]
    page.get_by_role("link", name="Load more").click()
    expect(page).to_have_url(re.compile("cursor="))
    more = [link.get_attribute("href") for link in links.all()]
    assert len({*hrefs, *more}) == 80
    page.get_by_role("link", name="More like this: ").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_contain_text("like item")
    picture = page.request.get(f"/postcards/{EXAMPLE}.jpg").body()
    page.locator("#picture-file").set_input_files(
        {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": picture}
    )
    page.get_by_role("button", name="Search by the chosen image").click()
    expect(page).to_have_title("Like an image – laionweb")
    expect(links.first).to_have_attribute("href", f"/d/postcards/{EXAMPLE}")
    page.locator("#q").fill("at night")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"q=at\+night.*embedding="))
    page.get_by_role("link", name="Remove image").click()
    expect(page).not_to_have_url(re.compile("embedding="))
    page.get_by_label("Words in the caption").fill("moon")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("caption=moon"))
    assert chips(page) == ["+ at night", "caption with “moon”"]
    page.get_by_role("link", name="Remove: caption with “moon”").click()
    expect(page).not_to_have_url(re.compile("caption="))


def test_without_javascript_a_phone_has_the_filters_below_the_pictures(opened):
    page = opened(java_script_enabled=False, viewport={"width": 360, "height": 740})
    for place in ("/", "/?q=boats"):
        page.goto(place)
        last = page.locator("#results .hit").last.bounding_box()
        assert page.locator("#panel").bounding_box()["y"] > last["y"] + last["height"]


PLACES = [
    "/",
    f"/?q=boats+at+night&item={EXAMPLE}",
    "/?q=a+house+-car+2:item:7+nsfw:any&caption=a",
    "/?q=a+house+width>9999",
    f"/d/postcards/{EXAMPLE}",
]


def test_nothing_sticks_out_on_a_phone(opened):
    page = opened(viewport={"width": 360, "height": 740}, has_touch=True)
    for place in PLACES:
        page.goto(place)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, place
        assert page.locator("#q").bounding_box()["width"] > 120
        assert page.locator(".beside-box").bounding_box()["height"] < 60  # one row
        page.locator(".menu summary").click()
        box = page.locator(".menu > div").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360
        page.keyboard.press("Escape")
        for hit in page.locator(".hit .frame").all()[:4]:
            box = hit.bounding_box()
            assert box["width"] > 120 and box["x"] + box["width"] <= 360


def test_the_page_follows_the_system_into_the_dark(opened):
    background = "getComputedStyle(document.body).backgroundColor"
    seen = {}
    page = opened()
    page.goto("/")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        numbers = re.findall(r"\d+", page.evaluate(background))
        seen[scheme] = [int(number) for number in numbers]
    assert min(seen["light"]) > 200
    assert max(seen["dark"]) < 60


def test_the_theme_that_is_chosen_stays_on_every_page(page):
    page.goto("/")
    page.locator(".menu summary").click()
    page.get_by_role("radio", name="Dark").check()
    for place in ("/", "/datasets/", "/accounts/login/", "/nowhere"):
        answer = page.goto(place)
        assert 'data-theme="dark"' in answer.text(), place
    page.complaints.clear()  # of the page that does not exist
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"


def test_help_has_tabs_and_is_a_page_without_scripts(page, opened):
    page.goto("/datasets/")
    page.get_by_role("link", name="Help").click()
    dialog = page.get_by_role("dialog", name="Help")
    expect(dialog.get_by_role("tabpanel")).to_contain_text("golden gate")
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("tabpanel")).to_contain_text("Go to the search box")
    assert axe.violations(page, impacts=axe.GRAVE) == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    plain = opened(java_script_enabled=False)
    plain.goto("/datasets/")
    plain.get_by_role("link", name="Help").click()
    expect(plain.get_by_role("heading", name="Search tips")).to_be_visible()
    plain.locator("#q").fill("a boat")
    plain.get_by_role("button", name="Search").click()
    expect(plain.locator(".hit").first).to_be_visible()


def test_nobody_is_kept_out(page):
    draw_nothing(page)
    for place in PLACES:
        page.goto(place)
        assert axe.violations(page, impacts=axe.GRAVE) == [], place
