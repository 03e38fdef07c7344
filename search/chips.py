"""How a search was read, in chips; each has a link to the search without it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from . import service
from .forms import SearchForm
from .language import Asked, Part
from .links import DEFAULTS
from .models import Dataset
from .service import Item

TOLD = {
    "nsfw": {"any": "not safe, too", "safe": "safe only"},
    "min_width": "width ≥ {}",
    "max_width": "width ≤ {}",
    "min_height": "height ≥ {}",
    "max_height": "height ≤ {}",
    "min_similarity": "similarity to the caption ≥ {}",
    "license": "license {}",
    "caption": "caption with “{}”",
    "site": "from {}",
    "dedupe": {True: "near-duplicates folded", False: "near-duplicates shown"},
    "cutoff": "similarity ≥ {}",
}


@dataclass(frozen=True)
class Reading:
    """A search as it stands in the address, and how the words in it were read."""

    form: SearchForm
    asked: Asked
    dataset: Dataset

    def changed(self, name: str, value: str) -> str:
        """The address with a filter chosen beside the box, and not in its words."""
        parts = [part for part in self.asked.parts if name in part.filters]
        words = self.asked.without(*parts)
        return self.form.address(**{"q": words, name: value, "cursor": ""})

    def without(self, part: Part) -> str:
        return self.form.address(q=self.asked.without(part), cursor="")


@dataclass(frozen=True)
class Chip:
    """A term or filters, and the address of the search without it.

    `item` or `picture`, a URL, is shown on it; `name` and `value` are the parameter
    that keeps it when other words are searched for; `filters` are the fields it sets.
    """

    label: str
    without: str
    sign: str = ""
    item: Item | None = None
    picture: str = ""
    name: str = ""
    value: object = ""
    filters: tuple[str, ...] = ()


def chips(reading: Reading) -> list[Chip]:
    """Plain words have one only among others: alone, the box says it all."""
    parts = reading.asked.parts
    if all(part.is_plain and part.term.item is None for part in parts):
        parts = ()
    of_parts = (_of_part(part, reading) for part in parts)
    return [*_beside_words(reading), *of_parts, *_chosen(reading)]


def _beside_words(reading: Reading) -> Iterator[Chip]:
    """The picture and the item that stand in the address."""
    form = reading.form
    if embedding := form.asked["embedding"]:
        without = form.address(embedding="", cursor="")
        yield Chip("a picture", without, name="embedding", value=embedding)
    if (number := form.cleaned_data["item"]) is not None:
        without = form.address(item="", cursor="")
        item = service.item(reading.dataset.slug, number)
        yield Chip(_like(item), without, item=item, name="item", value=number)


def _of_part(part: Part, reading: Reading) -> Chip:
    without = reading.without(part)
    if (term := part.term) is None:
        return Chip(_told(part.filters), without, filters=tuple(part.filters))
    sign = _sign(term.weight)
    if term.item is not None:
        item = service.item(reading.dataset.slug, term.item)
        return Chip(_like(item), without, sign, item=item)
    if term.image_url is not None:
        label = f"a picture from {urlsplit(term.image_url).netloc}"
        return Chip(label, without, sign, picture=term.image_url)
    return Chip(term.text, without, sign)


def _chosen(reading: Reading) -> Iterator[Chip]:
    """The filters chosen beside the box, unless the words in it say otherwise."""
    for name, value in reading.form.filters.items():
        if name in reading.asked.filters or reading.form.asked[name] == DEFAULTS[name]:
            continue
        without = reading.form.address(**{name: "", "cursor": ""})
        yield Chip(_told({name: value}), without, filters=(name,))


def _told(filters: Mapping[str, Any]) -> str:
    told = []
    for name, value in filters.items():
        way = TOLD[name]
        told.append(way.format(value) if isinstance(way, str) else way[value])
    return ", ".join(told)


def _like(item: Item) -> str:
    return f"like item {item.id}"


def _sign(weight: float) -> str:
    """+, −, or with a weight of its own 2 × or −2 ×."""
    if abs(weight) == 1:
        return "+" if weight > 0 else "−"
    return f"{weight:g} ×".replace("-", "−")
