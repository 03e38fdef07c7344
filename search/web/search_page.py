"""The variables of the search page's templates: of a search, or before there is one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Self

import numpy as np
from django.conf import settings
from django.http import HttpRequest

from search.errors import (
    InvalidQuery,
    NotFound,
    SearchError,
    TooManyRequests,
    UnreadableWord,
)
from search.evaluation.exact_check import ExactCheck
from search.models import Dataset, Shard, Viewer
from search.query.filters import UNRESTRICTED
from search.query.model import MAX_RESULTS, SearchQuery, split_slugs
from search.query.parser import parse
from search.query.url_params import TERMS, search_url
from search.query.words import in_small_letters
from search.retrieval import popularity, service
from search.retrieval.column_stats import available_filters, has_ratings
from search.retrieval.dataset_index import PICTURES
from search.retrieval.items import Hit, TruncatedText
from search.retrieval.service import Page

from .chips import Chip, SearchReading, chips
from .forms import (
    FIELDS,
    SORT_CHOICES,
    FilterInput,
    SearchForm,
    recall_choices,
)
from .hints import Hints, hints
from .summary import Note, headline, hidden_by_chip, hidden_notes, no_results_notes

START_IMAGES = 36
MAX_EXAMPLES = 6
MAX_EXAMPLE_LENGTH = 48  # characters; longer captions are cut to their first words
MIN_EXAMPLE_LENGTH = 8


@dataclass(frozen=True, kw_only=True)
class SearchBox:
    """The variables of every page with a search box."""

    form: SearchForm
    asked: Mapping[str, Any]
    choices: Mapping[str, Any]  # parameters that stay when other words are searched for
    datasets: Sequence[Dataset]
    selected: Sequence[Dataset]  # those that are searched
    dataset: Dataset | None  # the first of them
    searched: str  # their slugs, between commas
    is_arriving: bool  # no dataset has items yet, and one will
    is_search: bool
    saved_address: str
    reset: str
    search_params: str

    @classmethod
    def of(cls, form: SearchForm, user: Viewer) -> Self:
        datasets, asked = service.datasets(user), form.params
        kept = (*TERMS, "q", "dataset", "cursor")
        selected = _selected_datasets(datasets, asked["dataset"])
        return cls(
            form=form,
            asked=asked,
            choices={name: asked[name] for name in asked if name not in kept},
            datasets=datasets,
            selected=selected,
            dataset=next(iter(selected), None),
            searched=",".join(dataset.slug for dataset in selected),
            is_arriving=not datasets and _is_arriving(user),
            is_search=form.is_search,
            saved_address=form.query_string("cursor"),
            reset=search_url({name: asked[name] for name in ("q", *TERMS, "dataset")}),
            search_params=form.query_string("dataset", "cursor")
            if form.is_search
            else "",
        )

    def required_datasets(self) -> Sequence[Dataset]:
        """Return the datasets that are searched. Raises NotFound."""
        if not self.selected:
            raise NotFound("There is no dataset with this name.")
        return self.selected

    @property
    def together(self) -> Sequence[tuple[str, str]]:
        """The slugs and titles of what can be searched at once: all of a model."""
        groups: dict[object, list[Dataset]] = {}
        for each in self.datasets:
            groups.setdefault(each.comparable, []).append(each)
        found = {}
        for group in groups.values():
            if len(group) > 1:
                of_model = f" of {group[0].model}" if len(groups) > 1 else ""
                slugs = ",".join(each.slug for each in group)
                found[slugs] = f"All {len(group)}{of_model}"
        if len(self.selected) > 1:
            found.setdefault(self.searched, titles_of(self.selected))
        return list(found.items())


def titles_of(datasets: Sequence[Dataset]) -> str:
    return " and ".join(dataset.title for dataset in datasets)


@dataclass(frozen=True)
class Example:
    words: str
    address: str


@dataclass(frozen=True)
class Facet:
    """A dataset of several, how many of its items pass, and the search of it alone."""

    title: str
    count: str
    address: str


@dataclass(frozen=True, kw_only=True)
class SearchPage(SearchBox):
    """The variables of search/page.html, _answer.html, _hits.html and _exact.html."""

    # Results of a search, or random items before there is one.
    hits: Sequence[Hit] = ()
    shows_unrated: bool = False  # without blurring them
    has_ratings: bool = True  # of the dataset
    unveiled: str = ""  # address of the same page with unrated items not blurred
    # Before a search.
    item_count: str = ""
    examples: Sequence[Example] = ()
    # Of a search.
    more: str = ""  # address of the next hits
    total: int = 0  # about how many hits there are to come
    facets: Sequence[Facet] = ()  # of a search of several datasets
    chips: Sequence[tuple[Chip, str]] = ()  # with how many items each hides
    headline: str = ""
    hidden: Sequence[Note] = ()
    truncated: Sequence[TruncatedText] = ()
    nothing: Sequence[Note] = ()
    hints: Hints = field(default_factory=Hints)
    exact: bool = False
    encode_ms: float = 0.0
    search_ms: float = 0.0
    took_ms: float = 0.0
    # Of the comparison with the exact search.
    exact_check: str = ""  # query string that makes it
    check: ExactCheck | None = None
    # Of a search that failed.
    error: SearchError | None = None
    unread: tuple[str, str, str] | None = None  # words before, of and after the error
    address: str = ""  # of this answer


@dataclass(frozen=True)
class FiltersPanel:
    """The variables of search/_panel.html besides those of the page."""

    fields: Sequence[tuple[str, str]]
    orders: Sequence[tuple[str, str]]
    recalls: Sequence[tuple[str, str]]  # none where searches read no clusters
    filter_inputs: Sequence[FilterInput]

    @classmethod
    def of(cls, form: SearchForm, datasets: Sequence[Dataset]) -> Self:
        """Offer what the datasets can be filtered and sorted by."""
        by_picks = any(map(popularity.is_known, datasets))
        orders = [
            order for order in SORT_CHOICES if by_picks or order[0] != "popularity"
        ]
        filters = [available_filters(each) for each in datasets]
        names = set[str]().union(*filters or [available_filters(None)])
        inputs = form.filter_inputs(names, form="search")
        choices = [
            choice
            for choice in FIELDS
            if all(choice[0] in each.search_fields for each in datasets)
        ]
        calibrated = any(each.curve("image", PICTURES) for each in datasets)
        recalls = recall_choices(form.params["recall"]) if calibrated else []
        return cls(choices, orders, recalls, inputs)


def _is_arriving(user: Viewer) -> bool:
    """Return whether a dataset that the user may see has shards."""
    datasets = Dataset.objects.visible_to(user)
    return Shard.objects.filter(dataset__in=datasets).exists()


def _selected_datasets(datasets: Sequence[Dataset], text: str) -> Sequence[Dataset]:
    """Return the datasets of these slugs, none if one of them is not known."""
    if not text:
        return datasets[:1]
    known = {dataset.slug: dataset for dataset in datasets}
    slugs = split_slugs(text)
    return [known[slug] for slug in slugs] if known.keys() >= set(slugs) else []


def with_start(
    page: SearchPage, datasets: Sequence[Dataset], user: Viewer
) -> SearchPage:
    """Show random images and examples of searches."""
    form, count = page.form, START_IMAGES // len(datasets)
    of_each = [service.random_hits(each.slug, count, user) for each in datasets]
    hits = [hit for row in zip_longest(*of_each) for hit in row if hit is not None]
    return replace(
        page,
        hits=hits,
        item_count=f"{sum(each.item_count() for each in datasets):,}",
        examples=[
            Example(words, form.url(q=words, cursor=""))
            for words in _example_queries(datasets[0], hits)
        ],
        shows_unrated=form.params["nsfw"] == UNRESTRICTED,
        has_ratings=all(map(has_ratings, datasets)),
        unveiled=form.url(nsfw=UNRESTRICTED),
    )


def _example_queries(dataset: Dataset, hits: Sequence[Hit]) -> tuple[str, ...]:
    """Return words to search for: captions, unless the dataset has examples."""
    examples = settings.EXAMPLE_QUERIES.get(dataset.slug)
    return examples or tuple(_captions(hits))[:MAX_EXAMPLES]


def _captions(hits: Sequence[Hit]) -> Iterator[str]:
    used = set()
    for hit in hits:
        words = _first_words(hit.caption)
        if in_small_letters(words) not in used and _is_plain(words):
            used.add(in_small_letters(words))
            yield words


def _first_words(caption: str) -> str:
    words = " ".join(caption[: 4 * MAX_EXAMPLE_LENGTH].split())
    if len(words) <= MAX_EXAMPLE_LENGTH:
        return words
    return words[: MAX_EXAMPLE_LENGTH + 1].rpartition(" ")[0].rstrip(" ,;:–-")


def _is_plain(words: str) -> bool:
    """Return whether it reads as words, not as query syntax or a number."""
    if len(words) < MIN_EXAMPLE_LENGTH or not any(map(str.isalpha, words)):
        return False
    try:
        parts = parse(words).parts
    except InvalidQuery:
        return False
    return len(parts) == 1 and parts[0].is_plain and words.isprintable()


def read_search(
    form: SearchForm, datasets: Sequence[Dataset], request: HttpRequest
) -> SearchReading:
    """Read the search of a form that has been checked."""
    slugs = ",".join(dataset.slug for dataset in datasets)
    asked = form.read(slugs, request.get_host(), request.user)
    return SearchReading(form, asked, datasets, request.user)


def with_more_hits(page: SearchPage, query: SearchQuery, found: Page) -> SearchPage:
    """Show further hits, which follow those of the pages before."""
    return replace(
        page,
        hits=found.hits,
        more=page.form.url(cursor=found.next) if found.next else "",
        shows_unrated=query.filters.nsfw == UNRESTRICTED,
    )


def with_results(
    page: SearchPage,
    read: SearchReading,
    query: SearchQuery,
    found: Page,
    similarities: np.ndarray | None,
) -> SearchPage:
    """Show the first hits of a search, and what is known of all.

    A search with a cutoff needs the similarities of the nearest items.
    """
    labels = chips(read)
    return replace(
        with_more_hits(page, query, found),
        facets=[
            Facet(
                each.dataset.title,
                f"{'about ' if each.estimated else ''}{each.items:,}",
                page.form.url(dataset=each.dataset.slug, cursor=""),
            )
            for each in found.datasets
        ],
        chips=[(chip, hidden_by_chip(chip, read, similarities)) for chip in labels],
        headline=headline(read, labels, found, similarities),
        hidden=tuple(hidden_notes(read, found)),
        truncated=found.truncated,
        hints=hints(read, found),
        nothing=()
        if found.hits
        else no_results_notes(read, labels, found, similarities),
        has_ratings=all(map(has_ratings, read.datasets)),
        unveiled=read.changed("nsfw", UNRESTRICTED),
        total=_count(read, found, similarities, query.filters.cutoff),
        exact=found.exact,
        exact_check="" if found.exact else page.form.query_string("cursor"),
        encode_ms=found.encode_ms,
        search_ms=found.search_ms,
        took_ms=found.encode_ms + found.search_ms,
    )


def _count(
    read: SearchReading,
    found: Page,
    similarities: np.ndarray | None,
    cutoff: float | None,
) -> int:
    """Return about how many results a search has, with its near-duplicates."""
    if similarities is not None and cutoff is not None:
        return int(np.count_nonzero(similarities >= cutoff))
    items = found.matching.items if found.matching else read.item_count()
    return min(items, MAX_RESULTS)


def with_error(page: SearchPage, error: SearchError) -> SearchPage:
    """Show why a search failed; of a word that cannot be read, which one it is."""
    if isinstance(error, TooManyRequests):
        raise error  # the middleware answers, and the page stays as it is
    if not isinstance(error, UnreadableWord):
        return replace(page, error=error)
    words, begin, end = page.form.params["q"], error.start, error.end
    unread = (words[:begin], words[begin:end], words[end:])
    return replace(page, error=error, unread=unread)
