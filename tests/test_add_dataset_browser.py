"""From a folder of images to searching it, in Chromium."""

import io
import os
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from support import axe
from test_ingestion_browser import log_in

IMPORT_MS = 120_000
PHONE = {"width": 360, "height": 740}


@pytest.fixture
def folder(request) -> Path:
    """Six images and a broken one, in a folder that is open to imports."""
    top = Path(os.environ["INGEST_FOLDERS"]) / request.node.name
    folder = top / "Summer <b>2024"
    folder.mkdir(parents=True)
    for number in range(6):
        file = io.BytesIO()
        Image.new("RGB", (60, 40), (40 * number, 90, 200)).save(file, "JPEG")
        (folder / f"red boat {number}.jpg").write_bytes(file.getvalue())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    return folder


@pytest.fixture
def staff(opened, live_server_process):
    """Opens the site as staff; deletes the datasets that a test adds."""
    pages: list[Page] = []

    def open_page(**options) -> Page:
        page = opened(**options)
        log_in(page, live_server_process.password)
        pages.append(page)
        return page

    yield open_page
    page = pages[0]
    page.goto("/admin/search/dataset/")
    page.get_by_role("row").filter(has_text="summer").get_by_role("checkbox").check()
    page.locator("select[name=action]").select_option("Delete selected datasets")
    page.get_by_role("button", name=re.compile("^(Go|Run)")).click()
    page.get_by_role("button", name="Yes, I’m sure").click()
    expect(page.locator(".messagelist")).to_contain_text("Successfully deleted 1")


def expect_searchable(page: Page) -> None:
    """The import announces its end, and its images are found and seen."""
    sentence = page.locator(".standing .sentence")
    expect(sentence).to_contain_text("Done: 6 images in", timeout=IMPORT_MS)
    expect(sentence).to_contain_text("1 left out")
    expect(page.locator("#announced")).to_contain_text("Done: 6 images")
    page.get_by_role("link", name="Search them").click()
    expect(page.locator("#results .hit")).to_have_count(6)
    image = page.locator("#results img").first
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 0


def test_a_folder_is_brought_in_and_searched_by_mouse(staff, folder):
    page = staff()
    page.goto("/collections/")
    page.get_by_role("link", name="Datasets").click()
    page.get_by_role("link", name="Add dataset").click()
    page.get_by_role("link", name=folder.parent.name).click()
    page.get_by_role("link", name=folder.name).click()
    expect(page.locator(".use")).to_contain_text("7 images here")
    page.get_by_role("link", name="Use this folder").click()
    expect(page.locator(".previews img")).to_have_count(6)
    expect(page.locator(".reasons")).to_contain_text("broken.jpg")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_label("Title")).to_have_value("Summer <b>2024")
    page.get_by_label("The example's model").check()
    page.get_by_role("button", name="Test the model").click()
    expect(page.locator("#tested")).to_contain_text("It works: 512 numbers")
    expect(page.get_by_label("The example's model")).to_be_checked()
    page.get_by_label("Safe: show all").check()
    page.get_by_role("button", name="Import").click()
    expect(page).to_have_url(re.compile("/ingestion/summer-b2024/$"))
    expect_searchable(page)
    page.goto("/datasets/")
    card = page.locator(".cover").filter(has_text="Summer <b>2024")
    expect(card).to_contain_text("6 images")
    expect(card.locator(".tile")).to_have_count(4)


def test_a_folder_is_brought_in_by_keys_on_a_phone(staff, folder):
    page = staff(viewport=PHONE)
    page.goto("/datasets/")
    page.get_by_role("link", name="Add dataset").press("Enter")
    path = page.get_by_label("Or write its path")
    path.focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(f"{folder}/gone")
    page.keyboard.press("Enter")
    expect(page.locator(".refused")).to_contain_text("There is no file or folder")
    expect(page.locator(".refused")).to_be_focused()
    expect(path).to_have_value(f"{folder}/gone")
    check_step(page)
    path.focus()
    for _ in "/gone":
        page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    expect(page.locator(".previews img")).to_have_count(6)
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    check_step(page)
    page.get_by_role("button", name="Next").press("Enter")
    page.get_by_label("Another one").press("Space")
    page.get_by_label("Model", exact=True).press_sequentially("ViT-Z-99")
    page.get_by_label("Weights").press_sequentially("none")
    page.keyboard.press("Enter")
    wrong = "There is no model named “ViT-Z-99”."
    expect(page.locator(".refused")).to_have_text(wrong)
    expect(page.get_by_label("Model", exact=True)).to_have_value("ViT-Z-99")
    check_step(page)
    page.go_back()
    page.go_forward()
    page.get_by_label("Another one").focus()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("The example's model")).to_be_checked()
    page.get_by_label("Title").press("End")
    page.keyboard.type(" too")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/ingestion/summer-b2024-too/$"))
    expect_searchable(page)
    # Chromium and htmx report the two steps that were refused.
    assert all("404" in each or "400" in each for each in page.complaints)
    page.complaints.clear()


def check_step(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert axe.violations(page, impacts=axe.GRAVE) == []
