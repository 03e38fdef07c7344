"""Exports in Chromium: from what is looked at to a file that opens."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect
from support import axe
from test_concept_browser import sign_in
from test_search_browser import FIRST, search, shown

PHONE = {
    "viewport": {"width": 360, "height": 740},
    "has_touch": True,
    "is_mobile": True,
}


@pytest.fixture
def signed_in(page, live_server_process) -> Page:
    sign_in(page, live_server_process)
    return page


def first(page: Page):
    """The latest export on the list."""
    return page.locator(".exports > li").first


def downloaded(page: Page, press, to: Path) -> Path:
    with page.expect_download() as download:
        press.click()
    path = to / download.value.suggested_filename
    download.value.save_as(path)
    return path


def posted(page: Page, where: str, **data) -> dict:
    """Return the API's response to the user who is signed in."""
    token = page.locator("meta[name=csrf-token]").get_attribute("content")
    headers = {"X-CSRFToken": token, "Referer": page.url}
    answer = page.request.post(where, data=data, headers=headers)
    assert answer.ok, answer.text()
    return answer.json()


def concept(page: Page, words: str) -> str:
    """The id of a new concept, which is what these words are."""
    search = {"dataset": "postcards", "terms": [{"text": words}], "limit": 1}
    found = posted(page, "/api/search/", **search, include=["embedding"])
    vector = found["results"][0]["embedding"]
    made = {"name": words, "dataset": "postcards", "embedding": vector}
    return posted(page, "/api/concepts/", **made)["id"]


def test_a_search_becomes_a_file_that_opens(signed_in, tmp_path):
    page = signed_in
    search(page, "boats at night")
    nearest = shown(page)[:FIRST]
    page.get_by_role("link", name="Export…").click()
    expect(page.locator(".asks")).to_contain_text("boats at night")
    page.locator("#limit").fill(str(FIRST))
    page.get_by_text("Parquet", exact=True).click()
    page.get_by_label("With embeddings").check()
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.locator(".messages")).to_have_text("“boats at night” is ready.")
    expect(first(page)).to_contain_text("20 rows")
    link = first(page).get_by_role("link", name="Download")
    path = downloaded(page, link, tmp_path)
    table = pq.read_table(path)
    assert table["id"].to_pylist() == nearest
    assert len(table["embedding"][0].as_py()) == 512
    link = first(page).get_by_role("link", name="Manifest")
    manifest = json.loads(downloaded(page, link, tmp_path).read_text())
    assert manifest["files"][0]["name"] == path.name
    first(page).get_by_role("button", name="Delete").click()
    expect(page.locator(".messages")).to_contain_text("Deleted “")


def test_a_large_one_is_watched_until_it_is_done(signed_in):
    page = signed_in
    terms = {"dataset": "postcards", "terms": [{"text": "a cat"}]}
    for _ in range(3):  # the worker takes one after the other
        before = {"kind": "search", "form": "parquet", "search": terms}
        posted(page, "/api/exports/", **before, embeddings=True)
    page.goto("/exports/new?search=q%3Da%2Bcat")
    page.get_by_text("CSV", exact=True).click()
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.locator(".messages")).to_contain_text("Exporting “")
    page.evaluate("window.isTheSame = true")
    expect(first(page).locator(".state")).to_have_text(re.compile("Queued|Running"))
    expect(first(page).locator(".state")).to_have_text("Done")
    expect(page.locator("#toasts")).to_contain_text("“a cat” is ready.")
    assert page.evaluate("window.isTheSame")
    expect(first(page)).to_contain_text("600 rows")
    expect(page.locator("[hx-trigger]")).to_have_count(0)


def test_a_threshold_is_chosen_on_the_drawing(signed_in):
    page = signed_in
    page.goto(f"/concepts/{concept(page, 'a windmill')}/")
    page.get_by_role("link", name="Export…").click()
    expect(page.locator("h1")).to_contain_text("a windmill")
    rank = page.locator(".ranks a", has_text=re.compile("top 100$"))
    rank.click()
    expect(rank).to_have_attribute("aria-current", "true")
    field, told = page.locator("#at-least"), page.locator("#reached")
    expect(told).to_have_text("100 of them")
    hundredth = float(field.input_value())
    slider = page.locator("#at-least-slider")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert float(field.input_value()) > hundredth
    expect(told).to_have_text(re.compile(r"about \d+ of them"))
    fewer = int(told.inner_text().split()[1])
    assert fewer < 100
    field.fill("-1")
    expect(told).to_have_text("all 600")
    field.fill(str(hundredth))
    page.get_by_label("Compare with").select_option("text")
    expect(page).to_have_url(re.compile("field=text"))
    expect(page.locator("#at-least")).to_have_value("")
    page.locator(".ranks a", has_text=re.compile("top 10$")).click()
    page.get_by_role("button", name="Export", exact=True).click()
    expect(first(page)).to_contain_text(re.compile(r"1\d rows"))


def test_all_of_it_is_accessible_and_fits_a_phone(signed_in, opened):
    page = signed_in
    ways = [
        f"/exports/new?concept={concept(page, 'snow')}",
        "/exports/new?dataset=postcards",
        "/exports/",
    ]
    phone = opened(**PHONE, storage_state=page.context.storage_state())
    for way in ways:
        for one in (page, phone):
            one.goto(way)
            folded = one.locator("main details")
            folded.evaluate_all("all => all.forEach(each => { each.open = true })")
        assert axe.violations(page, rules=()) == [], way
        wide = phone.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, way


def test_without_scripts_a_form_makes_one(opened, live_server_process):
    plain = opened(java_script_enabled=False)
    sign_in(plain, live_server_process)
    plain.goto("/exports/new?dataset=postcards")
    plain.get_by_text("List for img2dataset").click()
    plain.get_by_role("button", name="Export", exact=True).click()
    expect(first(plain)).to_contain_text("List for img2dataset")
    # The postcards have addresses on this server alone.
    expect(first(plain)).to_contain_text("skipped: 600 without a public URL")
