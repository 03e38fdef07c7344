"""How a search was read, in chips; each has a link to the search without it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from search.models import Dataset
from search.query import concepts
from search.query.model import MAX_WEIGHT, Term
from search.query.parsed import ParsedQuery, Token
from search.query.url_params import DEFAULTS, TERMS, split_weight, with_weight
from search.retrieval import service
from search.retrieval.service import Item

from .forms import SearchForm

FILTER_LABELS: dict[str, str | dict[Any, str]] = {
    "nsfw": {"any": "not safe, too", "safe": "safe only"},
    "min_width": "width ≥ {}",
    "max_width": "width ≤ {}",
    "min_height": "height ≥ {}",
    "max_height": "height ≤ {}",
    "orientation": "{}",
    "min_similarity": "similarity to the caption ≥ {}",
    "license": "license {}",
    "caption": "caption with “{}”",
    "site": "from {}",
    "dedupe": {True: "near-duplicates folded", False: "near-duplicates shown"},
    "cutoff": "similarity ≥ {}",
}
SLIDER_MAX = (
    2.0  # a weight is chosen from −SLIDER to SLIDER, unless it is beyond already
)


@dataclass(frozen=True)
class SearchReading:
    """A search as it stands in the address, and how the words in it were read."""

    form: SearchForm
    asked: ParsedQuery
    dataset: Dataset
    user: Any = None

    def changed(self, name: str, value: str) -> str:
        """The address with a filter chosen beside the box, and not in its words."""
        parts = [part for part in self.asked.parts if name in part.filters]
        words = self.asked.without(*parts)
        return self.form.address(**{"q": words, name: value, "cursor": ""})

    def without(self, part: Token) -> str:
        return self.form.address(q=self.asked.without(part), cursor="")

    def weighed(self, key: str, weight: float) -> str:
        """The address in which the term of a chip has another weight.

        KeyError, ValueError or IndexError where there is no such term.
        """
        name, _, place = key.partition("-")
        if name == "q":
            part = [part for part in self.asked.parts if part.term][int(place)]
            words = self.asked.weighed(part, weight)
            return self.form.address(q=words, cursor="")
        values = list({term: self.form.asked[term] for term in TERMS}[name])
        values[int(place)] = with_weight(weight, split_weight(values[int(place)])[1])
        return self.form.address(**{name: values, "cursor": ""})


@dataclass(frozen=True)
class Chip:
    """A term or filters, and the address of the search without it.

    A term has a `key`, by which its weight is changed, and `turned`, the address with
    its sign turned; `item` is shown on it, or the picture `embedding`; `name` and
    `value` are the parameter that keeps it when other words are searched for. `filters`
    are the fields of query.Filters that it sets, with their values.
    """

    label: str
    without: str
    key: str = ""
    weight: float = 1.0
    turned: str = ""
    item: Item | None = None
    embedding: str = ""
    address: str = ""
    name: str = ""
    value: str = ""
    filters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_away(self) -> bool:
        return self.weight < 0

    @property
    def reach(self) -> float:
        """How far its slider goes."""
        return min(max(SLIDER_MAX, abs(self.weight)), MAX_WEIGHT)


def chips(reading: SearchReading) -> list[Chip]:
    """Plain words have one only among others: alone, the box says it all."""
    parts = reading.asked.parts
    if all(part.is_plain and part.term and part.term.item is None for part in parts):
        parts = ()
    of_terms = _of_terms(parts, reading)
    of_filters = (_of_filters(part, reading) for part in parts if not part.term)
    return [*_url_terms(reading), *of_terms, *of_filters, *_panel_filters(reading)]


def _url_terms(reading: SearchReading) -> Iterator[Chip]:
    """The pictures, items and concepts that stand in the address."""
    form = reading.form
    for name in TERMS:
        values = form.asked[name]
        for place, term in enumerate(form.cleaned_data[name]):
            left = values[:place] + values[place + 1 :]
            without = form.address(**{name: left, "cursor": ""})
            chip = _of_term(term, f"{name}-{place}", reading, without, values[place])
            yield replace(chip, name=name, value=values[place])


def _of_terms(parts: tuple[Token, ...], reading: SearchReading) -> Iterator[Chip]:
    terms = ((part, part.term) for part in parts if part.term)
    for place, (part, term) in enumerate(terms):
        yield _of_term(term, f"q-{place}", reading, reading.without(part))


def _of_term(
    term: Term, key: str, reading: SearchReading, without: str, value: str = ""
) -> Chip:
    """`value` is the term in the address; without one it stands in the words."""
    turned = reading.weighed(key, -term.weight or 1.0)
    chip = Chip(term.text or "", without, key, term.weight, turned)
    if term.item is not None:
        item = service.item(reading.dataset.slug, term.item)
        return replace(chip, label=f"like item {item.id}", item=item)
    if term.embedding is not None:
        return replace(chip, label="a picture", embedding=split_weight(value)[1])
    if term.concept is not None:
        found = concepts.find(term.concept, reading.user, reading.dataset.slug)
        return replace(chip, label=found.label, address=found.address)
    if term.image_url is not None:
        host = urlsplit(term.image_url).netloc
        return replace(chip, label=f"a picture from {host}")
    return chip


def _of_filters(part: Token, reading: SearchReading) -> Chip:
    return Chip(
        _filters_label(part.filters), reading.without(part), filters=part.filters
    )


def _panel_filters(reading: SearchReading) -> Iterator[Chip]:
    """The filters chosen beside the box, unless the words in it say otherwise."""
    for name, value in reading.form.filters.items():
        if name in reading.asked.filters or reading.form.asked[name] == DEFAULTS[name]:
            continue
        without = reading.form.address(**{name: "", "cursor": ""})
        yield Chip(_filters_label({name: value}), without, filters={name: value})


def _filters_label(filters: Mapping[str, Any]) -> str:
    told = []
    for name, value in filters.items():
        way = FILTER_LABELS[name]
        told.append(way.format(value) if isinstance(way, str) else way[value])
    return ", ".join(told)
