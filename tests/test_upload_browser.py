"""From files on a visitor's computer to searching them, in Chromium."""

import io
import os
import re
from itertools import count
from pathlib import Path
from zipfile import ZipFile

import pytest
from playwright.sync_api import Page, Route, expect
from support import axe
from test_add_dataset_browser import PHONE, check_step, expect_searchable, staff
from test_setup_sources import image

from search.ingestion.setup.uploads import CHUNK_BYTES

__all__ = ["staff"]  # a fixture
FILES = "**/api/uploads/*/file/**"


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Six images and a broken one."""
    paths = [tmp_path / f"red boat {number}.jpg" for number in range(7)]
    for number, path in enumerate(paths):
        path.write_bytes(image(30 * number))
    paths[6].write_bytes(b"\xff\xd8\xff nothing")
    return paths


def choose(page: Page, paths: list[Path], by_key: bool = False) -> None:
    button = page.get_by_role("button", name="Choose files")
    with page.expect_file_chooser() as chooser:
        if by_key:
            button.press("Enter")
        else:
            button.click()
    chooser.value.set_files(paths)


def expect_uploaded(page: Page, text: str) -> None:
    expect(page.locator("#upload .spoken")).to_have_text(text)


def test_images_are_uploaded_and_searched_by_mouse(staff, photos, tmp_path):
    page = staff()
    page.goto("/datasets/add/")
    numbers = count()

    def break_off(route: Route) -> None:
        """The connection is lost for the requests of a moment."""
        if 2 <= next(numbers) < 8:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route(FILES, break_off)
    choose(page, photos)
    expect_uploaded(page, "7 files uploaded.")
    assert next(numbers) > 9  # it was lost, and has continued
    page.unroute(FILES)
    large = tmp_path / "large.jpg"
    large.write_bytes(b"x" * 20_000)
    page.evaluate("document.getElementById('upload').dataset.maxBytes = 10_000")
    choose(page, [large])
    expect_uploaded(page, "7 files uploaded, 1 failed.")
    row = page.locator("#upload .files li").first
    expect(row).to_contain_text("large.jpg")
    expect(row).to_contain_text("The file is too large.")
    expect(page.get_by_role("button", name="Try again")).to_be_focused()
    assert axe.violations(page, impacts=axe.GRAVE) == []
    page.get_by_role("link", name="Continue without them").click()
    expect(page.locator(".previews img")).to_have_count(6)
    page.get_by_role("button", name="Next").click()
    page.get_by_label("Title").fill("Summer from here")
    page.get_by_label("The example's model").check()
    page.get_by_label("Safe: show all").check()
    page.get_by_role("button", name="Import").click()
    expect(page).to_have_url(re.compile("/ingestion/summer-from-here/$"))
    expect_searchable(page)
    # Chromium reports the connections that were lost.
    assert all("ERR_CONNECTION_RESET" in each for each in page.complaints)
    page.complaints.clear()


def test_a_zip_file_is_continued_after_a_reload_by_keys_on_a_phone(staff, tmp_path):
    path = tmp_path / "summer days.zip"
    with ZipFile(path, "w") as file:
        for number in range(6):
            file.writestr(f"boat {number}.jpg", image(30 * number))
        file.writestr("noise.bin", os.urandom(CHUNK_BYTES + 1_000))
    page = staff(viewport=PHONE)
    page.goto("/datasets/add/")
    offsets: list[str] = []

    def hold_back(route: Route) -> None:
        """The second chunk never gets through."""
        offset = re.search(r"offset=(\d+)", route.request.url)[1]
        offsets.append(offset)
        if offset == "0":
            route.continue_()

    page.route(FILES, hold_back)
    choose(page, [path], by_key=True)
    expect(page.locator("#upload .how")).to_have_text("99 %")
    page.once("dialog", lambda dialog: dialog.accept())
    page.reload()
    page.unroute(FILES)
    page.route(
        FILES, lambda route: (offsets.append(route.request.url), route.continue_())
    )
    expect(page.locator(".earlier")).to_contain_text("Unfinished upload: 1 file, 8.0")
    check_step(page)
    choose(page, [path], by_key=True)
    expect_uploaded(page, "1 file uploaded.")
    assert f"offset={CHUNK_BYTES}" in offsets[-1]
    expect(page.locator("#upload .next")).to_be_focused()
    check_step(page)
    page.keyboard.press("Enter")
    expect(page.locator(".source")).to_contain_text("A zip file of images")
    expect(page.locator(".previews img")).to_have_count(6)
    page.get_by_role("button", name="Next").press("Enter")
    expect(page.get_by_label("Title")).to_have_value("Summer days")
    page.get_by_label("The example's model").check()
    page.get_by_label("Title").press("Enter")
    expect(page).to_have_url(re.compile("/ingestion/summer-days/$"))
    expect_searchable(page)


def test_an_upload_is_cancelled_and_files_are_dropped(staff_page, photos):
    page = staff_page
    page.goto("/datasets/add/")
    page.route(FILES, lambda route: None)
    data = io.BytesIO(image(1)).getvalue()
    transfer = page.evaluate_handle(
        """bytes => {
          const transfer = new DataTransfer()
          const file = new File([new Uint8Array(bytes)], 'dropped.jpg')
          transfer.items.add(file)
          return transfer
        }""",
        list(data),
    )
    page.dispatch_event("#upload .drop", "drop", {"dataTransfer": transfer})
    expect(page.locator("#upload .files li")).to_contain_text("dropped.jpg")
    page.get_by_role("button", name="Cancel").click()
    expect_uploaded(page, "The upload is cancelled.")
    expect(page.locator("#upload .sending")).to_be_hidden()
    page.unroute(FILES)
    page.reload()
    expect(page.locator(".earlier")).to_have_count(0)


@pytest.fixture
def staff_page(opened, live_server_process) -> Page:
    from test_ingestion_browser import log_in

    page = opened()
    log_in(page, live_server_process.password)
    return page
