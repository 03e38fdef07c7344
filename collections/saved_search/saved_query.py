"""The query strings of saved searches, each in one canonical spelling."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from django.http import QueryDict
from django.urls import reverse

from search.errors import InvalidQuery, NotFound
from search.query.describe import describe_term, with_sign
from search.query.filters import SPECS
from search.query.model import SearchQuery, Term
from search.query.parser import parse
from search.query.url_params import TERMS, search_query_string
from search.retrieval import service
from search.web.forms import SearchForm

from ..models import Collection, Concept
from ..models.ownership import AnyUser

MAX_CHARACTERS = 32_000
MAX_NAME_LENGTH = 60
OPTION_LABELS = {
    "field": {"text": "in captions", "both": "in images and captions"},
    "mode": {"exact": "exact"},
    "sort": {"size": "largest first", "popularity": "most popular first"},
}


@dataclass(frozen=True)
class SavedQuery:
    """A saved search: a query string that the search page would write."""

    dataset: str
    address: str

    @property
    def url(self) -> str:
        """The URL: always one of this site's search page."""
        return f"{reverse('search')}?{self.address}"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.address.encode()).hexdigest()

    @cached_property
    def form(self) -> SearchForm:
        return SearchForm(QueryDict(self.address))

    @property
    def terms(self) -> list[Term]:
        """The terms other than words; none if the form no longer takes the search."""
        if not self.form.is_valid():
            return []
        return [term for name in TERMS for term in self.form.cleaned_data[name]]

    def words(self, user: Any) -> list[str]:
        """Return it in words: first the terms, then the options."""
        return words_of([self], user)[0]

    def name(self, user: Any) -> str:
        """Return a short name made of the words."""
        name = ", ".join(self.words(user)) or "A search"
        if len(name) > MAX_NAME_LENGTH:
            name = name[: MAX_NAME_LENGTH - 1].rstrip(" ,") + "…"
        return name[:1].upper() + name[1:]


def canonical(address: str, dataset: str = "") -> SavedQuery:
    """Return the search in its one spelling, without a cursor or unknown parameters."""
    form = SearchForm(QueryDict(address.lstrip("/?")))
    slug = form.params["dataset"] or dataset
    return SavedQuery(
        slug, search_query_string({**form.params, "dataset": slug, "cursor": ""})
    )


def checked(address: str, user: AnyUser) -> SavedQuery:
    """Return the search of an untrusted query string, without using the engine.

    Raise InvalidQuery for one that cannot be answered, NotFound for one of a dataset
    that does not exist.
    """
    if len(address) > MAX_CHARACTERS:
        raise InvalidQuery("This search is too long to save.")
    query = canonical(address, _first_dataset(user))
    form = query.form
    form.check()
    if not form.is_search:
        raise InvalidQuery("There is nothing to search for in this URL.")
    words = parse(form.params["q"], query.dataset)
    service.check_together(form.search_query(query.dataset, words), user)
    return query


def query_string(address: str) -> str:
    """Return the query string of a URL on any host; of a query string, itself."""
    if address.startswith(("http://", "https://", "/")):
        _, _, address = address.partition("?")
    return address.partition("#")[0]


def query_of(saved: SavedQuery, host: str, user: AnyUser) -> SearchQuery:
    """Return the query, with concepts to resolve; `host` is that of our own pages.

    Raise SearchError for a search that the form no longer takes.
    """
    form = saved.form
    form.check()
    return form.search_query(saved.dataset, form.read(saved.dataset, host, user))


def _first_dataset(user: AnyUser) -> str:
    """Return the slug of the dataset that the search page shows if none is named."""
    if not (datasets := service.datasets(user)):
        raise NotFound("There is no dataset yet.")
    return datasets[0].slug


def words_of(queries: Sequence[SavedQuery], user: Any) -> list[list[str]]:
    """Return the words of each of many searches, with one look-up for all names.

    What the user may not see has no name.
    """
    terms = [term for query in queries for term in query.terms]
    concepts = {term.concept for term in terms if term.concept is not None}
    names: dict[UUID, str] = {}
    for model in (Collection, Concept) if concepts else ():
        found = model.objects.visible_to(user).filter(pk__in=concepts)
        names |= dict(found.values_list("pk", "name"))
    return [list(_words(query, names)) for query in queries]


def _words(query: SavedQuery, names: Mapping[UUID, str]) -> Iterator[str]:
    def name_of(concept: str) -> str:
        name = names.get(UUID(concept))
        return f"like “{name}”" if name else "a refined search"

    form = query.form
    if words := form.params["q"]:
        yield " ".join(words.split())
    if not form.is_valid():
        return  # saved when the form still took it
    for term in query.terms:
        yield with_sign(describe_term(term, name_of), term.weight)
    for name, labels in OPTION_LABELS.items():
        if label := labels.get(form.params[name]):
            yield label
    for name, value in form.filters.items():
        if form.params[name] != SPECS[name].url_default:
            yield SPECS[name].describe(value)
