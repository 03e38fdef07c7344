"""The documentation names paths, modules and headings that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in (
        "*.md",
        "docs/*.md",
        "deploy/**/*.md",
        "static/js/*.md",
        "postcards/*.md",
    )
    for path in ROOT.glob(pattern)
)
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()}
BLOCK = re.compile(r"^```.*?^```$|^ {4,}[^\n]+$", re.M | re.S)
INLINE_CODE = re.compile(r"`[^`]+`")
# Such as search/query/model.py, tests/support/ or docs/*.md, but no part of a URL.
PATH = re.compile(r"(?<![\w./:<-])[\w-]+/[\w./*-]+(?![\w<{])")
MODULE = re.compile(r"`((?:search|usercollections|laionweb|postcards)(?:\.\w+){2,})`")
LINK = re.compile(r"\]\(\s*([^)\s]+)\s*\)")
MADE = ("var/", "deploy/.env")  # by commands, so they may be missing


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_there_are_pages_to_check():
    assert {"README.md", "CONTRIBUTING.md", "docs/architecture.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_named_paths_exist(page: str):
    text = text_of(page)
    inline = INLINE_CODE.findall(BLOCK.sub("", text))
    for code in [*BLOCK.findall(text), *inline]:
        for path in PATH.findall(code):
            if path.split("/")[0] in FOLDERS and not path.startswith(MADE):
                found = any(ROOT.glob(path.rstrip("/.")))
                assert found, f"{page}: there is no {path}"


@pytest.mark.parametrize("page", PAGES)
def test_named_modules_exist(page: str):
    for name in MODULE.findall(text_of(page)):
        package, *rest = name.replace("usercollections", "collections").split(".")
        path = ROOT / package
        while rest and (path / rest[0]).is_dir():
            path /= rest.pop(0)
        assert not rest or (path / f"{rest[0]}.py").exists(), f"{page}: {name}"


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: str):
    for link in LINK.findall(BLOCK.sub("", text_of(page))):
        if re.match(r"https?://", link):
            continue
        target, _, heading = link.partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), f"{page}: {link}"
        assert not heading or heading in anchors(path), f"{page}: no heading {link}"


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


def test_the_readme_is_an_introduction():
    """Everything else has a page in docs/."""
    assert 6_000 <= (ROOT / "README.md").stat().st_size <= 8_000
