"""Which addresses are kept: those of our own searches, each in one spelling."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from django.http import QueryDict
from django.urls import reverse

from search.errors import InvalidQuery, NotFound
from search.models import Dataset
from search.query.model import SearchQuery, Term
from search.query.parser import parse
from search.query.url_params import DEFAULTS, TERMS, search_query_string
from search.retrieval import service
from search.web.chips import FILTER_LABELS
from search.web.forms import SearchForm

from ..models import Collection, Concept

MAX_CHARACTERS = 32_000
MAX_NAME_LENGTH = 60
CHOICES = {
    "field": {"text": "in captions", "both": "in pictures and captions"},
    "mode": {"exact": "exact"},
    "sort": {"size": "largest first", "popularity": "most often picked first"},
}


@dataclass(frozen=True)
class SavedQuery:
    """A search as it is kept: a query string that the search page would write."""

    dataset: str
    address: str

    @property
    def url(self) -> str:
        """Whatever is kept, this leads to the search page and nowhere else."""
        return f"{reverse('search')}?{self.address}"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.address.encode()).hexdigest()

    @cached_property
    def form(self) -> SearchForm:
        return SearchForm(QueryDict(self.address))

    @property
    def terms(self) -> list[Term]:
        """Those beside the words; none of a time when more could be asked."""
        if not self.form.is_valid():
            return []
        return [term for name in TERMS for term in self.form.cleaned_data[name]]

    def words(self, user: Any) -> list[str]:
        """What it asks for, in words: first what is looked for, then how."""
        return words_of([self], user)[0]

    def name(self, user: Any) -> str:
        """A short one, from the words."""
        name = ", ".join(self.words(user)) or "A search"
        if len(name) > MAX_NAME_LENGTH:
            name = name[: MAX_NAME_LENGTH - 1].rstrip(" ,") + "…"
        return name[:1].upper() + name[1:]


def canonical(address: str, dataset: str = "") -> SavedQuery:
    """A query string in the one spelling, without a cursor and whatever is not ours."""
    form = SearchForm(QueryDict(address.lstrip("/?")))
    slug = form.asked["dataset"] or dataset
    return SavedQuery(
        slug, search_query_string({**form.asked, "dataset": slug, "cursor": ""})
    )


def checked(address: str) -> SavedQuery:
    """The search of a query string from outside.

    Raises InvalidQuery for what is not one that could be answered, NotFound for one of
    a dataset that is not there. Asks nothing of the engine.
    """
    if len(address) > MAX_CHARACTERS:
        raise InvalidQuery("This search is too long to be kept.")
    asking = canonical(address, _first_dataset())
    form = asking.form
    form.check()
    if not form.is_search:
        raise InvalidQuery("There is nothing to search for in this address.")
    Dataset.for_slug(asking.dataset)
    form.search_query(asking.dataset, parse(form.asked["q"], asking.dataset))
    return asking


def query_string(address: str) -> str:
    """That of a whole address, on whatever host; of a query string, itself."""
    if address.startswith(("http://", "https://", "/")):
        _, _, address = address.partition("?")
    return address.partition("#")[0]


def query_of(asking: SavedQuery, host: str) -> SearchQuery:
    """What is asked of the service; `host` is the one that our pages are under.

    Its concepts are still to be resolved for a user. Raises SearchError for what
    cannot be asked any more.
    """
    form = asking.form
    form.check()
    return form.search_query(asking.dataset, form.read(asking.dataset, host))


def _first_dataset() -> str:
    """The one that the search page shows where none is named."""
    if not (datasets := service.datasets()):
        raise NotFound("There is no dataset yet.")
    return datasets[0].slug


def words_of(askings: Sequence[SavedQuery], user: Any) -> list[list[str]]:
    """The words of many searches; what they name is looked up for all of them at once.

    What is not open to the user has no name.
    """
    terms = [term for asking in askings for term in asking.terms]
    concepts = {term.concept for term in terms if term.concept is not None}
    names: dict[UUID, str] = {}
    for model in (Collection, Concept) if concepts else ():
        found = model.objects.visible_to(user).filter(pk__in=concepts)
        names |= dict(found.values_list("pk", "name"))
    return [list(_words(asking, names)) for asking in askings]


def _words(asking: SavedQuery, names: Mapping[UUID, str]) -> Iterator[str]:
    form = asking.form
    if words := form.asked["q"]:
        yield " ".join(words.split())
    if not form.is_valid():
        return  # it is from a time when more could be asked
    for term in asking.terms:
        sign = "not " if term.weight < 0 else ""
        yield sign + _of_term(term, names)
    for name, words in CHOICES.items():
        if told := words.get(form.asked[name]):
            yield told
    for name, value in form.filters.items():
        if form.asked[name] != DEFAULTS[name]:
            way = FILTER_LABELS[name]
            yield way.format(value) if isinstance(way, str) else way[value]


def _of_term(term: Term, names: Mapping[UUID, str]) -> str:
    if term.item is not None:
        return f"like item {term.item}"
    if term.embedding is not None:
        return "a picture"
    name = names.get(UUID(term.concept))
    return f"like “{name}”" if name else "a refined search"
