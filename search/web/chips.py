"""Chips: how a search was read, each with a link to the search without it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search.models import Dataset
from search.query import concepts
from search.query.describe import describe_filters, describe_term
from search.query.filters import SPECS
from search.query.model import MAX_WEIGHT, Term
from search.query.parsed import ParsedQuery, Token
from search.query.url_params import TERMS, split_weight, with_weight
from search.retrieval import service
from search.retrieval.service import Item

from .forms import SearchForm

SLIDER_MAX = 2.0  # either way, unless the weight is beyond it already


@dataclass(frozen=True)
class SearchReading:
    """The parameters of a search, and how its words were parsed."""

    form: SearchForm
    parsed: ParsedQuery
    datasets: Sequence[Dataset]
    user: Any = None

    @property
    def slugs(self) -> str:
        return ",".join(dataset.slug for dataset in self.datasets)

    @property
    def titles(self) -> str:
        return " and ".join(dataset.title for dataset in self.datasets)

    def item_count(self) -> int:
        return sum(dataset.item_count() for dataset in self.datasets)

    def changed(self, name: str, value: str) -> str:
        """Return the URL with a filter's parameter, in place of words that set it."""
        parts = [part for part in self.parsed.parts if name in part.filters]
        words = self.parsed.without(*parts)
        return self.form.url(**{"q": words, name: value, "cursor": ""})

    def without(self, part: Token) -> str:
        return self.form.url(q=self.parsed.without(part), cursor="")

    def weighed(self, key: str, weight: float) -> str:
        """Return the URL in which the term of a chip has another weight.

        Raise KeyError, ValueError or IndexError where there is no such term.
        """
        name, _, place = key.partition("-")
        if name == "q":
            part = [part for part in self.parsed.parts if part.term][int(place)]
            words = self.parsed.weighed(part, weight)
            return self.form.url(q=words, cursor="")
        values = list({term: self.form.params[term] for term in TERMS}[name])
        values[int(place)] = with_weight(weight, split_weight(values[int(place)])[1])
        return self.form.url(**{name: values, "cursor": ""})


@dataclass(frozen=True)
class Chip:
    """A term or filters, and the URL of the search without it.

    A term has a `key`, by which its weight is changed, and `turned`, the URL with its
    sign turned; `item` is shown on it, or the image of `embedding`; `name` and `value`
    are the parameter that keeps it when other words are searched for. `filters` are
    the values of the filters that it sets, by their names.
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
        """The maximum of its weight slider."""
        return min(max(SLIDER_MAX, abs(self.weight)), MAX_WEIGHT)


def chips(reading: SearchReading) -> list[Chip]:
    """Return the chips of a search: of its terms, then of its filters."""
    parts = reading.parsed.parts
    of_terms = _of_terms(parts, reading)
    of_filters = (_of_filters(part, reading) for part in parts if not part.term)
    return [*_url_terms(reading), *of_terms, *of_filters, *_panel_filters(reading)]


def _url_terms(reading: SearchReading) -> Iterator[Chip]:
    """Yield those of the images, items and concepts in the URL's parameters."""
    form = reading.form
    for name in TERMS:
        values = form.params[name]
        for place, term in enumerate(form.cleaned_data[name]):
            left = values[:place] + values[place + 1 :]
            without = form.url(**{name: left, "cursor": ""})
            chip = _of_term(term, f"{name}-{place}", reading, without, values[place])
            yield replace(chip, name=name, value=values[place])


def _of_terms(parts: tuple[Token, ...], reading: SearchReading) -> Iterator[Chip]:
    terms = ((part, part.term) for part in parts if part.term)
    for place, (part, term) in enumerate(terms):
        yield _of_term(term, f"q-{place}", reading, reading.without(part))


def _of_term(
    term: Term, key: str, reading: SearchReading, without: str, value: str = ""
) -> Chip:
    """Return the chip of a term; `value` is its URL parameter, if it is not in `q`."""
    item = concept = None
    if term.item is not None:
        item = service.item(reading.slugs, term.item, reading.user)
    if term.concept is not None:
        concept = concepts.find(term.concept, reading.user, reading.slugs)
    return Chip(
        describe_term(term, lambda _: concept.label if concept else ""),
        without,
        key,
        term.weight,
        turned=reading.weighed(key, -term.weight or 1.0),
        item=item,
        embedding=split_weight(value)[1] if term.embedding is not None else "",
        address=concept.address if concept else "",
    )


def _of_filters(part: Token, reading: SearchReading) -> Chip:
    return Chip(
        describe_filters(part.filters), reading.without(part), filters=part.filters
    )


def _panel_filters(reading: SearchReading) -> Iterator[Chip]:
    """Yield those of the filters of the panel that the words do not override."""
    params = reading.form.params
    for name, value in reading.form.filters.items():
        if name in reading.parsed.filters or params[name] == SPECS[name].url_default:
            continue
        without = reading.form.url(**{name: "", "cursor": ""})
        chosen = {name: value}
        yield Chip(describe_filters(chosen), without, filters=chosen)
