"""What the search page shows: of a search, or before there is one."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.http import HttpRequest

from search.errors import (
    InvalidQuery,
    NotFound,
    SearchError,
    TooManyRequests,
    UnreadableWord,
)
from search.models import Dataset
from search.query.model import SearchQuery
from search.query.parser import parse
from search.query.url_params import DEFAULTS, TERMS, search_url
from search.retrieval import popularity, service
from search.retrieval.column_stats import filled_columns, has_safety
from search.retrieval.items import Hit
from search.retrieval.service import Page

from .chips import SearchReading, chips
from .forms import FIELDS, ORIENTATION_CHOICES, SORT_CHOICES, SearchForm
from .histogram import similarity_histogram
from .summary import headline, hidden_by_chip, hidden_notes, no_results_notes

START_IMAGES = 36
EXAMPLES = {
    "postcards": (
        "a red house by a lake at night",
        "boats at night",
        "rainbow over a lake",
        "black cat, moon",
        "hot air balloon in the early morning",
        "thunderstorm at the beach",
    )
}
MAX_EXAMPLES = 6
MAX_EXAMPLE_LENGTH = 48  # characters; longer captions are cut to their first words
MIN_EXAMPLE_LENGTH = 8


def start_images(dataset: Dataset) -> tuple[Hit, ...]:
    """Pictures by chance that are unlike each other."""
    return service.random_hits(dataset.slug, START_IMAGES)


def example_queries(dataset: Dataset, hits: Sequence[Hit]) -> tuple[str, ...]:
    """What can be searched for; captions, for a dataset that we know nothing of."""
    return EXAMPLES.get(dataset.slug) or tuple(_captions(hits))[:MAX_EXAMPLES]


def _captions(hits: Sequence[Hit]) -> Iterator[str]:
    told = set()
    for hit in hits:
        words = _first_words(hit.caption)
        if words.lower() not in told and _is_plain(words):
            told.add(words.lower())
            yield words


def _first_words(caption: str) -> str:
    words = " ".join(caption[: 4 * MAX_EXAMPLE_LENGTH].split())
    if len(words) <= MAX_EXAMPLE_LENGTH:
        return words
    return words[: MAX_EXAMPLE_LENGTH + 1].rpartition(" ")[0].rstrip(" ,;:–-")


def _is_plain(words: str) -> bool:
    """Whether it reads as words, and not as parts of our language or as a number."""
    if len(words) < MIN_EXAMPLE_LENGTH or not any(map(str.isalpha, words)):
        return False
    try:
        parts = parse(words).parts
    except InvalidQuery:
        return False
    return len(parts) == 1 and parts[0].is_plain and words.isprintable()


Context = dict[str, Any]


def page_context(form: SearchForm) -> Context:
    """What every page with a search box needs, whether a search succeeds or not."""
    datasets = service.datasets()
    asked = form.asked
    return {
        "form": form,
        "asked": asked,
        # What stays when something else is searched for.
        "choices": {
            name: asked[name]
            for name in DEFAULTS
            if name not in ("q", *TERMS, "dataset", "cursor")
        },
        "datasets": datasets,
        "dataset": _selected_dataset(datasets, asked["dataset"]),
        "is_search": form.is_search,
        "saved_address": form.told("cursor"),
        "reset": search_url({name: asked[name] for name in ("q", *TERMS, "dataset")}),
        "search_params": form.told("dataset", "cursor") if form.is_search else "",
    }


def filters_panel(dataset: Dataset | None) -> Context:
    """What can be chosen in the panel of filters, for this dataset."""
    orders = [
        order
        for order in SORT_CHOICES
        if order[0] != "popularity" or (dataset and popularity.is_known(dataset))
    ]
    columns = filled_columns(dataset) if dataset else {}
    return {
        "fields": FIELDS,
        "shapes": ORIENTATION_CHOICES,
        "orders": orders,
        "columns": columns,
    }


def _selected_dataset(datasets: Sequence[Dataset], slug: str) -> Dataset | None:
    if not slug:
        return next(iter(datasets), None)
    return next((dataset for dataset in datasets if dataset.slug == slug), None)


def require_dataset(dataset: Dataset | None) -> Dataset:
    if dataset is None:
        raise NotFound("There is no dataset of that name.")
    return dataset


def start_context(form: SearchForm, dataset: Dataset) -> Context:
    hits = start_images(dataset)
    return {
        "hits": hits,
        "item_count": f"{dataset.item_count():,}",
        "examples": [
            {"words": words, "address": form.address(q=words, cursor="")}
            for words in example_queries(dataset, hits)
        ],
        "veiled": form.asked["nsfw"] != "any" and not has_safety(dataset),
        "unveiled": form.address(nsfw="any"),
    }


def read_search(
    form: SearchForm, dataset: Dataset, request: HttpRequest
) -> SearchReading:
    """How a search in the address is read, once it has been checked."""
    asked = form.read(dataset.slug, request.get_host())
    return SearchReading(form, asked, dataset, request.user)


def hits_context(read: SearchReading, page: Page) -> Context:
    """Of a further page, which goes on under those before it."""
    more = read.form.address(cursor=page.next) if page.next else ""
    return {"hits": page.hits, "more": more}


def results_context(read: SearchReading, query: SearchQuery, page: Page) -> Context:
    form, found = read.form, chips(read)
    return hits_context(read, page) | {
        "chips": [(chip, hidden_by_chip(chip, read, page)) for chip in found],
        "headline": headline(read, found, page),
        "hidden": tuple(hidden_notes(read, page)),
        "nothing": () if page.hits else no_results_notes(read, found, page),
        "spread": similarity_histogram(page.similarities, query.filters.cutoff),
        "veiled": query.filters.nsfw == "safe" and not has_safety(read.dataset),
        "unveiled": read.changed("nsfw", "any"),
        "exact": page.exact,
        "exact_check": "" if page.exact else form.told("cursor"),
        "encode_ms": page.encode_ms,
        "search_ms": page.search_ms,
        "took_ms": page.encode_ms + page.search_ms,
    }


def error_context(form: SearchForm, error: SearchError) -> Context:
    if isinstance(error, TooManyRequests):
        raise error  # the middleware answers, and what is shown stays
    if not isinstance(error, UnreadableWord):
        return {"error": error}
    words, begin, end = form.asked["q"], error.start, error.end
    return {"error": error, "unread": (words[:begin], words[begin:end], words[end:])}
