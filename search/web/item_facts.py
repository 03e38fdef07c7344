"""The fields of an item in groups, and the texts to copy that name it."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from search.links import link_of, readable_host
from search.models import Dataset
from search.retrieval.items import Item

# Columns of img2dataset's files, with their labels.
FILE_COLUMNS = {
    "image_path": "Path",
    "file": "File",
    "key": "Key",
    "original_width": "Original width",
    "original_height": "Original height",
    "sha256": "SHA-256",
    "md5": "MD5",
    "status": "Download status",
    "error_message": "Download error",
}
EMPTY = {"", "{}", "[]", "null", "None", "nan"}
MAX_SHORT = 120  # characters of a value that is not folded
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#|!])")
MAX_ALT = 120


@dataclass(frozen=True)
class Fact:
    """A label and a value; `href` links it, `title` explains it."""

    label: str
    value: str
    href: str = ""
    title: str = ""

    @property
    def is_long(self) -> bool:
        return len(self.value) > MAX_SHORT or "\n" in self.value


@dataclass(frozen=True)
class FactGroup:
    """Facts under a heading; those of the source's own columns are folded."""

    title: str
    facts: Sequence[Fact]
    folded: bool = False


def fact_groups(item: Item, dataset: Dataset, address: str) -> list[FactGroup]:
    """Return all that is known of an item; `address` is that of its page."""
    other = {k: v for k, v in item.metadata.items() if v.strip() not in EMPTY}
    camera = list(_exif(other.pop("exif", "")))
    file = [
        Fact(label, other.pop(name))
        for name, label in FILE_COLUMNS.items()
        if name in other
    ]
    groups = [
        FactGroup("Image", list(_of_image(item))),
        FactGroup("Source", list(_of_source(item, dataset, address))),
        FactGroup("File", file, folded=True),
        FactGroup("Camera (EXIF)", camera, folded=True),
        FactGroup(
            "Other columns", [Fact(k, _readable(v)) for k, v in other.items()], True
        ),
    ]
    return [group for group in groups if group.facts]


def _of_image(item: Item) -> Iterator[Fact]:
    if item.width and item.height:
        pixels = item.width * item.height / 1e6
        size = f"{item.width} × {item.height}"
        yield Fact("Size", f"{size} ({pixels:.1f} MP)" if pixels >= 0.1 else size)
    if item.caption_similarity is not None:
        yield Fact(
            "Caption match",
            f"{item.caption_similarity:.2f}",
            title="Similarity of image and caption, from the dataset",
        )
    if item.nsfw:
        yield Fact("NSFW", item.nsfw)


def _of_source(item: Item, dataset: Dataset, address: str) -> Iterator[Fact]:
    yield Fact("Dataset", dataset.title, href=dataset.get_absolute_url())
    yield Fact("ID", str(item.id), href=address)
    if item.license:
        yield Fact("License", item.license)
    if host := readable_host(item.url):
        yield Fact("Site", host)
    if item.url:
        yield Fact("URL", item.url)


def _exif(text: str) -> Iterator[Fact]:
    """Yield the entries of img2dataset's JSON, or the text as it is."""
    try:
        entries = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, dict):
        yield Fact("EXIF", text)
        return
    for name, value in entries.items():
        if (shown := str(value).strip()) not in EMPTY:
            yield Fact(str(name), shown)


def _readable(value: str) -> str:
    """Indent a JSON object or list; return any other text as it is."""
    if not value.startswith(("{", "[")):
        return value
    try:
        return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return value


@dataclass(frozen=True)
class Copy:
    label: str
    text: str


def copies(
    item: Item, dataset: Dataset, address: str, image: str, today: date
) -> list[Copy]:
    """Return the texts to copy; `image` is the URL of its image here, if it has one."""
    texts = {
        "Link": address,
        "Citation": _citation(item, dataset, address, today),
        "Markdown": _markdown(item, address, image),
        "Caption": item.caption,
        "URL": link_of(item.url) or item.url,
        "ID": str(item.id),
    }
    return [Copy(label, text) for label, text in texts.items() if text]


def _citation(item: Item, dataset: Dataset, address: str, today: date) -> str:
    title = f"“{' '.join(item.caption.split())}”" if item.caption else "Image"
    source = f" Original: {url}." if (url := link_of(item.url)) else ""
    licence = f" License: {item.license}." if item.license else ""
    where = f"In: {dataset.title}, item {item.id}. {address} (accessed {today})."
    return f"{title}. {where}{source}{licence}"


def _markdown(item: Item, address: str, image: str) -> str:
    caption = " ".join(item.caption.split())[:MAX_ALT] or f"Item {item.id}"
    text = MARKDOWN.sub(r"\\\1", caption)
    return f"[![{text}]({image})]({address})" if image else f"[{text}]({address})"
